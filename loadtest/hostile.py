#!/usr/bin/env python3
"""What hostile peers cost other clients: a pair of bystanders alone, then under each attack.

For each attack the broker starts anew. Bystanders exchange messages over mutual TLS at QoS 1 and a fixed rate (open
loop), first alone, then while the attack runs, in several windows each; the medians of the windows' latencies and the growth of the
broker's resident memory make a row of the table: a machine that stands still for a millisecond, as virtual ones do, spoils a window and not the row. The broker has core 0; bystanders and attackers share the others: attackers with the lowest priority, bystanders
with real-time priority where that is permitted (as root), so that what the attackers do on that core is no part of the
latencies; the broker goes before what else its core does. Nothing is judged by time; a message of the bystanders that is lost, or a bystander that is cut off, is an error.

    python3 loadtest/hostile.py
    python3 loadtest/hostile.py --attacks 'never reads' 'many filters' --seconds 30
    python3 loadtest/hostile.py --broker mosquitto      # what the same attacks do to its clients

Needs `fleethaven` and `fleethaven-loadtest`, built with `cargo build --release -p fleethaven -p fleethaven-loadtest --features
fleethaven/jemalloc` or named by FLEETHAVEN_BIN and LOADTEST_BIN, and openssl. Everything listens on loopback and lives in a temporary folder.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import brokers
from attacks import ATTACKS, Target
from brokers import BROKERS, ROOT, Pki, executable

# How bystanders are started so that they go before all else on their core.
FIRST = []
FAULTS = ("lost", "duplicated", "reordered", "refused", "connections_lost")
OPEN_FILES = 4096
# From the start of an attack until it is measured, and how much longer it lasts than the bystanders' messages.
LEAD_SECONDS, TAIL_SECONDS = 0.5, 1.5
# What opening and closing the bystanders' connections takes in each window, at most.
OPENING_SECONDS = 0.5
HEADING = ("attack", "what it did", "p50 alone", "p50 attacked", "p99 alone", "p99 attacked", "ratio", "memory, most",
           "memory, after")


def main():
    options = parse_arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    brokers.PREFERENCE[:] = permitted(["nice", "-n", "-20"])
    FIRST[:] = permitted(["chrt", "-f", "5"])
    tool = executable("LOADTEST_BIN", ROOT / "target/release/fleethaven-loadtest")
    with tempfile.TemporaryDirectory(prefix="fleethaven-hostile-") as folder:
        pki = Pki(Path(folder) / "pki", 1)
        # Mosquitto started by root may change its user, and must still reach its files.
        os.chmod(folder, 0o755)
        broker = BROKERS[options.broker](Path(folder), pki)
        results = [measured(options, broker, pki, tool, name) for name in options.attacks]
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print("\n".join(table(results)))
    faults = [f"{result['attack']}: {result['faults']}" for result in results if result["faults"]]
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="NAME",
                        help=f"some of: {', '.join(ATTACKS)}")
    parser.add_argument("--broker", choices=list(BROKERS), default="fleethaven", help="who is attacked (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=5, help="alone, and as many under each attack (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="of a window (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=1000, help="bystanders' messages a second (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser.parse_args()


def measured(options, broker, pki, tool, name):
    """The bystanders alone and under one attack."""
    with broker.running([0]) as running:
        tls_options = ["--tls", "--ca", str(running.ca), "--identities", str(pki.clients)]
        target = Target(address(running.plain), address(running.tls), tool, tls_options)
        alone = [bystanders(options, target) for _ in range(options.windows)]
        before = memory(running.pid, "VmRSS")
        # From here on the kernel counts the most memory anew.
        Path(f"/proc/{running.pid}/clear_refs").write_text("5")
        with multiprocessing.Pool(1, initializer=step_back) as attackers:
            lasts = LEAD_SECONDS + options.windows * (options.seconds + OPENING_SECONDS) + TAIL_SECONDS
            attack = attackers.apply_async(ATTACKS[name], (target, time.monotonic() + lasts))
            time.sleep(LEAD_SECONDS)
            attacked = [bystanders(options, target) for _ in range(options.windows)]
            did = attack.get(timeout=lasts + 60)
        most, after = memory(running.pid, "VmHWM"), memory(running.pid, "VmRSS")
    counts = {fault: sum(window.get(fault) or 0 for window in attacked) for fault in FAULTS}
    latencies = {f"{quantile}_{when}_us": statistics.median(window[f"latency_{quantile}_us"] for window in windows)
                 for quantile in ("p50", "p99") for when, windows in (("alone", alone), ("attacked", attacked))}
    return {
        "attack": name,
        "did": did,
        **latencies,
        "ratio": latencies["p99_attacked_us"] / latencies["p99_alone_us"],
        "memory_most": most - before,
        "memory_after": after - before,
        "faults": {fault: count for fault, count in counts.items() if count},
        "warnings": sorted({warning for window in attacked for warning in window.get("warnings", [])}),
    }


def step_back():
    """Attackers run on the generators' cores with the lowest priority."""
    os.nice(19)
    cores = others()
    if cores:
        os.sched_setaffinity(0, cores)


def others():
    """The cores beside the broker's."""
    return set(range(1, os.cpu_count() or 1)) & os.sched_getaffinity(0)


def bystanders(options, target):
    """What the bystanders report of one window."""
    command = [target.tool, "pairs", "--pairs", "1", "--qos", "1", "--rate", str(options.rate), "--window", "1000",
               "--warmup", "0", "--duration", str(options.seconds), "--client-prefix", "bystander", "--json",
               "--target", "{}:{}".format(*target.tls), *target.tls_options]
    taskset = ["taskset", "-c", ",".join(map(str, sorted(others())))] if others() else []
    prefix = FIRST + taskset
    done = subprocess.run(prefix + command, capture_output=True, text=True, timeout=options.seconds + 120, check=False)
    if done.returncode:
        raise SystemExit(f"the bystanders failed: {done.stderr}")
    return json.loads(done.stdout)


def permitted(prefix):
    """The prefix, when commands may be started with it."""
    started = shutil.which(prefix[0]) and subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if started and not started.returncode and not started.stderr:
        return prefix
    print(f"{' '.join(prefix)} is not permitted: the latencies hold what else the cores do", file=sys.stderr)
    return []


def memory(pid, name):
    """A size in /proc/PID/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def table(results):
    yield "| " + " | ".join(HEADING) + " |"
    yield "|---" * len(HEADING) + "|"
    for result in results:
        times = [f"{result[f'{quantile}_{when}_us'] / 1000:.2f} ms"
                 for quantile in ("p50", "p99") for when in ("alone", "attacked")]
        sizes = [f"{result[f'memory_{when}'] / 2**20:+.0f} MiB" for when in ("most", "after")]
        cells = [result["attack"], result["did"], *times, f"{result['ratio']:.1f}", *sizes]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    for result in results:
        yield from (f"- {result['attack']}: {warning}" for warning in result["warnings"])


if __name__ == "__main__":
    sys.exit(main())
