#!/usr/bin/env python3
"""Fleethaven beside Mosquitto, on one machine in one run.

Each row runs several rounds; in each round both brokers run it, freshly started, in alternating order. The broker has
core 0 and the load tool core 1. Figures are medians over the rounds; the ratio is Fleethaven's figure over Mosquitto's.
Prints a Markdown table, and writes it with --output; --json writes every run's report.

    python3 loadtest/compare.py                      # everything, about twenty minutes
    python3 loadtest/compare.py --quick              # one short round
    python3 loadtest/compare.py --rows fan-in-qos0 pairs-qos1 --brokers fleethaven

Needs, built with `cargo build --release -p fleethaven -p fleethaven-loadtest --features fleethaven/jemalloc` and, for the
row `matching`, `cargo build --release -p fleethaven-topics --example index_memory`: `fleethaven`, `fleethaven-loadtest` and
`index_memory` in target/release (or at FLEETHAVEN_BIN, LOADTEST_BIN, INDEX_MEMORY_BIN); openssl; and mosquitto, which is
installed from Debian when absent. Everything listens on loopback only and lives in a temporary folder.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from brokers import BROKERS, ROOT, Pki, executable, pinned, prefer
from rows import ROWS, Figure

FAULTS = ("lost", "duplicated", "reordered", "connections_lost")
# Figures of Fleethaven alone that are no row of the load tool.
EXTRA = ("two-cores", "matching")
MOST_CONNECTIONS = 5000


def main():
    options = parse_arguments()
    raise_file_limit(MOST_CONNECTIONS + 256)
    load = executable("LOADTEST_BIN", ROOT / "target/release/fleethaven-loadtest")
    with tempfile.TemporaryDirectory(prefix="fleethaven-compare-", dir=options.folder) as folder:
        # Mosquitto started by root may change its user, and must still reach its files.
        os.chmod(folder, 0o755)
        pki = Pki(Path(folder) / "pki", options.certificates)
        brokers = {name: BROKERS[name](Path(folder), pki) for name in options.brokers}
        results = run_all(options, brokers, load, pki)
    extra = extra_results(options, results)
    lines = [*heading(options, brokers), *table(results), *extra, *remarks(results)]
    document = "\n".join(lines) + "\n"
    print(document)
    if options.output:
        options.output.write_text(document)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def parse_arguments():
    names = [row.name for row in ROWS] + list(EXTRA)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=5, help="seconds measured per timed row")
    parser.add_argument("--certificates", type=int, default=20, help="client certificates")
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW", help="of " + ", ".join(names))
    parser.add_argument("--brokers", nargs="+", choices=list(BROKERS), default=list(BROKERS))
    parser.add_argument("--quick", action="store_true", help="one round of two seconds, fewer messages")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made, such as a disk of its own")
    parser.add_argument("--output", type=Path, help="write the Markdown here too")
    parser.add_argument("--json", type=Path, help="write every run's report here")
    parser.add_argument("--prefer", action="store_true", help="brokers and load tools go before all else (root)")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.duration = 1, 2
    return options


def run_all(options, brokers, load, pki):
    """All reports, by row and broker, in the order of the rounds."""
    results = {}
    for row in (row for row in ROWS if row.name in options.rows):
        results[row.name] = {name: [] for name in brokers}
        for round_number in range(options.rounds):
            order = list(brokers) if round_number % 2 == 0 else list(reversed(brokers))
            for name in order:
                report = run_once(options, name, brokers[name], row, load, pki)
                results[row.name][name].append(report)
                figures = ", ".join(f"{figure.name} {report.get(figure.name)}" for figure in row.figures)
                note(f"{row.name} round {round_number + 1} {name}: {figures}")
    if "two-cores" in options.rows and "fleethaven" in brokers:
        results["two-cores"] = two_cores(options, brokers["fleethaven"], load, pki)
    return results


def run_once(options, name, broker, row, load, pki, cores=(0,), load_cores=(1,)):
    if options.prefer:
        prefer(row.saturates)
    own = row.mosquitto if name == "mosquitto" and row.mosquitto else row.arguments
    with broker.running(cores) as running:
        arguments = pinned(load_cores) + [load, *own, "--pid", str(running.pid), "--json", "--connect-timeout", "120"]
        if row.tls:
            arguments += ["--target", running.tls, "--tls", "--ca", str(running.ca), "--identities", str(pki.clients)]
        else:
            arguments += ["--target", running.plain]
        if row.timed:
            arguments += ["--duration", str(options.duration)]
        if row.first:
            run_load(with_last(arguments, row.first))
        return run_load(with_last(arguments, row.quick) if options.quick else arguments)


def with_last(arguments, later):
    """The arguments, with the later values of those that come twice."""
    kept, names = list(arguments), later[::2]
    for name in names:
        if name in kept:
            at = kept.index(name)
            del kept[at : at + 2]
    return kept + later


def run_load(arguments):
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        return {"warnings": ["the run took more than 15 minutes"]}
    if done.returncode != 0:
        # A scenario that a broker cannot do is a finding, not a reason to end the comparison.
        note(f"{' '.join(arguments)}\nfailed: {done.stderr.strip()}")
        return {"warnings": [f"failed: {done.stderr.strip().splitlines()[-1:]}"]}
    return json.loads(done.stdout)


def two_cores(options, broker, load, pki):
    """500 pairs with the broker on one core and on two. With fewer than three cores the load tool shares them."""
    row = next(row for row in ROWS if row.name == "pairs-qos0")
    load_cores = (2,) if (os.cpu_count() or 1) > 2 else (0, 1)
    runs = {"one": [], "two": []}
    for _ in range(options.rounds):
        for name, cores in (("one", (0,)), ("two", (0, 1))):
            runs[name].append(run_once(options, "fleethaven", broker, row, load, pki, cores, load_cores))
    return runs


def extra_results(options, results):
    """The rows that Mosquitto has no part in; adds the matching runs to the results."""
    lines = []
    if "two-cores" in results:
        figure = Figure("", "broker_cpu_us_per_message", "µs")
        one, two = (median(results["two-cores"][name], figure) for name in ("one", "two"))
        if one and two:
            label = "500 pairs, QoS 0: capacity of two cores over one core's, by CPU per message"
            cells = [f"{2 * one / two:.2f}", "", "", "≥ 1.8", "Mosquitto: one core only", verdict(2 * one / two >= 1.8)]
            lines.append(row_of(label, cells))
    if "matching" in options.rows:
        program = executable("INDEX_MEMORY_BIN", ROOT / "target/release/examples/index_memory")
        count = "100000" if options.quick else "1000000"
        runs = [run_load([*pinned((1,)), program, count, "--json"]) for _ in range(options.rounds)]
        results["matching"] = {"fleethaven": runs}
        for label, name, unit, most in (
            ("matching: median publish that matches one", "median_match_ns", "ns", 1000),
            ("the same: bytes a filter beyond its text", "bytes_beyond_text", "B", 150),
        ):
            value = statistics.median(run[name] for run in runs)
            lines.append(row_of(f"{int(count):,} filters, {label}",
                                [shown(value, unit), "", "", f"≤ {most:,} {unit}", "", verdict(value <= most)]))
    return lines


def heading(options, brokers):
    versions = ", ".join(broker.version for broker in brokers.values())
    yield f"{versions}; {platform.system()} {platform.machine()}, {os.cpu_count()} cores."
    yield (f"64-byte payloads, loopback, MQTT 5; broker on one core, load tool on another; medians of {options.rounds} "
           f"interleaved rounds, {options.duration} s each where timed.")
    yield ""


def table(results):
    yield "| scenario | Fleethaven | Mosquitto | ratio | target | best peer | met |"
    yield "|---|---|---|---|---|---|---|"
    for row in ROWS:
        if row.name in results:
            yield from (line(figure, results[row.name]) for figure in row.figures)


def remarks(results):
    """What the rows cannot be read without."""
    lines = [line for row in ROWS if row.name in results for line in remarks_on(row.name, results[row.name])]
    return ["", *lines] if lines else ["", "Nothing was lost, duplicated, reordered or disconnected in any run."]


def line(figure, reports):
    ours, theirs = (median(reports.get(name, []), figure) for name in ("fleethaven", "mosquitto"))
    ratio = ours / theirs if ours and theirs else None
    target, met = "", None
    if figure.target is not None:
        target, met = f"≤ {figure.target:.2f}", ratio is not None and ratio <= figure.target
    elif figure.at_most is not None:
        target, met = f"≤ {figure.at_most:g} {figure.unit}", ours is not None and ours <= figure.at_most
    elif figure.at_least is not None:
        target, met = f"≥ {figure.at_least:,} {figure.unit}", ours is not None and ours >= figure.at_least
    cells = [shown(ours, figure.unit), shown(theirs, figure.unit), "–" if ratio is None else f"{ratio:.2f}"]
    return row_of(figure.label, [*cells, target, figure.best_peer, "" if met is None else verdict(met)])


def remarks_on(name, reports):
    for broker, runs in reports.items():
        faults = {fault: sum(run.get(fault) or 0 for run in runs) for fault in FAULTS}
        if any(faults.values()):
            yield f"- {name}, {broker}: " + ", ".join(f"{count:,} {fault}" for fault, count in faults.items() if count)
        shares = [run["own_cpu_share"] for run in runs if run.get("own_cpu_share")]
        if shares and max(shares) >= 0.9:
            yield f"- {name}, {broker}: the load tool used up to {max(shares):.0%} of its core, so the rate may be its limit"
        for warning in {warning for run in runs for warning in run.get("warnings", []) if "of a core" not in warning}:
            yield f"- {name}, {broker}: {warning}"


def row_of(label, cells):
    return "| " + " | ".join([label, *cells]) + " |"


def verdict(met):
    return "yes" if met else "no"


def median(reports, figure):
    values = [one[figure.name] for one in reports if one.get(figure.name) is not None]
    return statistics.median(values) * figure.scale if values else None


def shown(value, unit):
    if value is None:
        return "–"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.2f} {unit}"


def raise_file_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return
    if hard != unlimited and hard < wanted:
        raise SystemExit(f"{wanted} open files needed, {hard} permitted: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
