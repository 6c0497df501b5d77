#!/usr/bin/env python3
"""Fleethaven beside Mosquitto, over mutual TLS 1.3, on one machine in one run.

Each scenario runs several rounds; in each round both brokers run it, freshly started, in alternating order.
The broker has core 0 and the generator core 1. Figures are medians over the rounds; the ratio is Fleethaven's
figure over Mosquitto's. Prints a Markdown table, and writes it with --output.

    python3 loadtest/compare.py                      # everything, about six minutes
    python3 loadtest/compare.py --quick              # one short round
    python3 loadtest/compare.py --scenario idle --brokers fleethaven

Needs `fleethaven` (FLEETHAVEN_BIN, or target/release/fleethaven), `fleethaven-loadtest` (LOADTEST_BIN, or
target/release/fleethaven-loadtest), openssl, and mosquitto, which is installed from Debian when absent.
Everything listens on loopback only and lives in a temporary folder.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import fleethaven_setup

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass
class Figure:
    """One row of the table: a field of the load tool's report."""

    label: str
    name: str
    unit: str
    scale: float = 1.0
    # Whether a ratio below 1 means that Fleethaven does better.
    lower_is_better: bool = True


@dataclass
class Scenario:
    """Arguments of the load tool and what is read from its report."""

    name: str
    arguments: list
    figures: list
    # Whether it takes a duration.
    timed: bool = True


def cpu(label, per):
    return Figure(f"{label}: broker CPU per {per}", f"broker_cpu_us_per_{per}", "µs")


SCENARIOS = [
    Scenario(
        "fan-in-qos0",
        ["fan-in", "--publishers", "100", "--qos", "0"],
        [
            cpu("fan-in 100 → 1, QoS 0", "message"),
            Figure("fan-in 100 → 1, QoS 0: rate", "messages_per_second", "msg/s", 1, False),
        ],
    ),
    Scenario(
        "fan-in-qos1",
        ["fan-in", "--publishers", "100", "--qos", "1"],
        [
            cpu("fan-in 100 → 1, QoS 1", "message"),
            Figure("fan-in 100 → 1, QoS 1: rate", "messages_per_second", "msg/s", 1, False),
        ],
    ),
    Scenario(
        "fan-out",
        ["fan-out", "--subscribers", "1000", "--qos", "0"],
        [
            cpu("fan-out 1 → 1,000, QoS 0", "delivery"),
            Figure("fan-out 1 → 1,000, QoS 0: rate", "deliveries_per_second", "deliveries/s", 1, False),
        ],
    ),
    Scenario(
        "idle",
        ["idle"],
        [Figure("idle mTLS connection: resident memory", "broker_bytes_per_connection", "KB", 1e-3)],
        timed=False,
    ),
    Scenario(
        "handshakes",
        ["handshakes", "--in-flight", "32"],
        [
            Figure("full handshakes to CONNACK", "handshakes_per_second", "/s", 1, False),
            cpu("full handshake to CONNACK", "handshake"),
        ],
    ),
]


def main():
    options = parse_arguments()
    raise_file_limit(options.connections + 256)
    load = executable("LOADTEST_BIN", ROOT / "target/release/fleethaven-loadtest")
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="fleethaven-compare-") as folder:
        # Mosquitto started by root may change its user, and must still reach its files.
        os.chmod(folder, 0o755)
        pki = Pki(Path(folder) / "pki", options.certificates)
        brokers = {name: BROKERS[name](Path(folder), pki, cores) for name in options.brokers}
        results = run_all(options, brokers, load, pki, cores)
    document = "\n".join(table(options, brokers, results)) + "\n"
    print(document)
    if options.output:
        options.output.write_text(document)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def parse_arguments():
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=5, help="seconds measured per scenario")
    parser.add_argument("--connections", type=int, default=5000, help="idle connections")
    parser.add_argument("--certificates", type=int, default=20, help="client certificates")
    parser.add_argument("--scenario", action="append", choices=names, help="only this; repeatable")
    parser.add_argument("--brokers", nargs="+", choices=list(BROKERS), default=list(BROKERS))
    parser.add_argument("--quick", action="store_true", help="one round of two seconds")
    parser.add_argument("--output", type=Path, help="write the Markdown here too")
    parser.add_argument("--json", type=Path, help="write every run's report here")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.duration = 1, 2
    return options


def run_all(options, brokers, load, pki, cores):
    """All reports, by scenario and broker, in the order of the rounds."""
    chosen = [one for one in SCENARIOS if not options.scenario or one.name in options.scenario]
    results = {one.name: {name: [] for name in brokers} for one in chosen}
    for scenario in chosen:
        for round_number in range(options.rounds):
            order = list(brokers) if round_number % 2 == 0 else list(reversed(brokers))
            for name in order:
                report = run_once(options, brokers[name], scenario, load, pki, cores)
                results[scenario.name][name].append(report)
                figure = scenario.figures[0]
                note(f"{scenario.name} round {round_number + 1} {name}: {figure.name} {report[figure.name]}")
    return results


def run_once(options, broker, scenario, load, pki, cores):
    with broker.running() as (address, pid, ca):
        arguments = pinned(1, cores) + [load, *scenario.arguments, "--target", address, "--pid", str(pid)]
        arguments += ["--tls", "--ca", str(ca), "--identities", str(pki.clients), "--json"]
        arguments += ["--connect-timeout", "120"]
        if scenario.timed:
            return run_load([*arguments, "--duration", str(options.duration)], options.duration)
        # A few connections first, so that what a broker loads once is not counted per connection.
        run_load([*arguments, "--connections", "20", "--settle", "1"], 1)
        return run_load([*arguments, "--connections", str(options.connections)], 3)


def run_load(arguments, seconds):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds + 180, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}\nfailed: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Pki:
    """One authority, one server certificate for Mosquitto, and the clients' certificates; P-256 throughout."""

    def __init__(self, folder, clients):
        self.folder, self.clients = folder, folder / "clients"
        self.clients.mkdir(parents=True)
        self.ca = folder / "ca.crt"
        self.make_key(folder / "ca.key")
        self.openssl("req", "-x509", "-new", "-key", folder / "ca.key", "-out", self.ca, "-days", "2",
                     "-subj", "/CN=Load test authority")
        self.sign(folder / "server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for number in range(clients):
            self.sign(self.clients / f"device{number:04}", f"device{number}", "extendedKeyUsage=clientAuth\n")

    def client_certificates(self):
        return [path.read_text() for path in sorted(self.clients.glob("*.crt"))]

    def sign(self, stem, name, extensions):
        key, request = stem.with_suffix(".key"), stem.with_suffix(".csr")
        extension_file = stem.with_suffix(".ext")
        extension_file.write_text("basicConstraints=CA:FALSE\n" + extensions)
        self.make_key(key)
        self.openssl("req", "-new", "-key", key, "-out", request, "-subj", f"/CN={name}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key",
                     "-CAcreateserial", "-out", stem.with_suffix(".crt"), "-days", "2",
                     "-extfile", extension_file)

    def make_key(self, path):
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@dataclass
class Mosquitto:
    """Eclipse Mosquitto with require_certificate and no queue bounds, so that it drops nothing."""

    folder: Path
    pki: Pki
    cores: int
    version: str = field(init=False, default="")

    def __post_init__(self):
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        if not Path(binary).exists():
            install("mosquitto")
        self.binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        help_text = subprocess.run([self.binary, "-h"], capture_output=True, text=True, check=False).stdout
        self.version = help_text.splitlines()[0] if help_text else "mosquitto"

    @contextlib.contextmanager
    def running(self):
        port = free_port()
        config = self.folder / "mosquitto.conf"
        config.write_text(self.config(port))
        with spawned(pinned(0, self.cores) + [self.binary, "-c", str(config)], self.folder / "mosquitto.log") as child:
            wait_for_port(port, child)
            yield f"127.0.0.1:{port}", child.pid, self.pki.ca

    def config(self, port):
        user = "user root\n" if os.geteuid() == 0 else ""
        return user + (
            f"listener {port} 127.0.0.1\n"
            f"cafile {self.pki.ca}\n"
            f"certfile {self.pki.folder / 'server.crt'}\n"
            f"keyfile {self.pki.folder / 'server.key'}\n"
            "require_certificate true\n"
            "use_identity_as_username true\n"
            "tls_version tlsv1.3\n"
            "persistence false\n"
            "set_tcp_nodelay true\n"
            "max_queued_messages 0\n"
            "max_inflight_messages 0\n"
            "connection_messages false\n"
            "log_dest stderr\n"
            "log_type error\n"
        )


@dataclass
class Fleethaven:
    """`fleethaven dev` with the clients' certificates registered and one policy attached to each."""

    folder: Path
    pki: Pki
    cores: int
    version: str = field(init=False, default="Fleethaven")

    def __post_init__(self):
        self.binary = executable("FLEETHAVEN_BIN", ROOT / "target/release/fleethaven")
        with self.started() as (ready, _):
            fleethaven_setup.register(ready, self.pki.client_certificates())

    @contextlib.contextmanager
    def running(self):
        with self.started() as (ready, pid):
            yield ready["mqtt_tls"], pid, ready["ca_file"]

    @contextlib.contextmanager
    def started(self):
        """Starts it on the same data folder and any ports; gives its ready line and process id."""
        arguments = [self.binary, "dev", "--data-dir", str(self.folder / "data"), "--profile", "standard"]
        for listener in ("--mqtt-tls", "--https", "--admin"):
            arguments += [listener, "127.0.0.1:0"]
        log = self.folder / "fleethaven.log"
        with spawned(pinned(0, self.cores) + arguments, log, stdout=subprocess.PIPE) as child:
            yield ready_line(child, log), child.pid


BROKERS = {"fleethaven": Fleethaven, "mosquitto": Mosquitto}


def ready_line(child, log):
    readable, _, _ = select.select([child.stdout], [], [], START_SECONDS)
    line = child.stdout.readline() if readable else b""
    if not line:
        raise SystemExit(f"fleethaven said nothing; its log ends:\n{log.read_text()[-2000:]}")
    return json.loads(line)


@contextlib.contextmanager
def spawned(arguments, log, stdout=subprocess.DEVNULL):
    """A child process that is gone afterwards, whatever happens."""
    with log.open("ab") as errors:
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()


def pinned(core, cores):
    """The prefix that keeps a command on one core; taskset replaces itself, so the process id stays right."""
    return ["taskset", "-c", str(core)] if cores > 1 and shutil.which("taskset") else []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for_port(port, child):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def executable(variable, default):
    path = Path(os.environ.get(variable, default))
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is not there; build it with `cargo build --release`, or set {variable}")
    return str(path)


def install(package):
    if os.geteuid() != 0:
        raise SystemExit(f"{package} is not installed: `sudo apt-get install {package}`")
    note(f"installing {package}")
    # The package must not start a broker of its own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
        subprocess.run(["apt-get", *arguments], check=True, env=environment, stdout=subprocess.DEVNULL,
                       timeout=600)
    if shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", "--now", package], check=False, capture_output=True)


def raise_file_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return
    if hard != unlimited and hard < wanted:
        raise SystemExit(f"{wanted} open files needed, {hard} permitted: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def table(options, brokers, results):
    names = list(brokers)
    versions = ", ".join(broker.version for broker in brokers.values())
    yield f"{versions}; {platform.system()} {platform.machine()}, {os.cpu_count()} cores."
    yield f"Mutual TLS 1.3 (P-256), 64-byte payloads, loopback; medians of {options.rounds}; {options.duration} s each."
    yield ""
    yield "| scenario | " + " | ".join(names) + (" | ratio |" if len(names) == 2 else " |")
    yield "|---" * (len(names) + 1 + (len(names) == 2)) + "|"
    for scenario in SCENARIOS:
        if scenario.name in results:
            yield from rows(scenario, names, results[scenario.name])


def rows(scenario, names, reports):
    for figure in scenario.figures:
        medians = [median(reports[name], figure) for name in names]
        row = [figure.label, *(shown(value, figure.unit) for value in medians)]
        if len(names) == 2:
            row.append(ratio(*medians, figure.lower_is_better))
        yield "| " + " | ".join(row) + " |"
    if "own_cpu_share" in reports[names[0]][0]:
        shares = [max(one["own_cpu_share"] for one in reports[name]) for name in names]
        yield row_of(f"{scenario.name}: generator's core in use, at most", [f"{share:.0%}" for share in shares])
    if "lost" in reports[names[0]][0]:
        faults = ("lost", "duplicated", "reordered", "connections_lost")
        sums = ["/".join(str(sum(one[name] for one in reports[broker])) for name in faults) for broker in names]
        yield row_of(f"{scenario.name}: lost/duplicated/reordered/disconnected", sums)


def row_of(label, cells):
    return "| " + " | ".join([label, *cells]) + (" |  |" if len(cells) == 2 else " |")


def median(reports, figure):
    values = [one[figure.name] for one in reports if one[figure.name] is not None]
    return statistics.median(values) * figure.scale if values else None


def shown(value, unit):
    if value is None:
        return "–"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.2f} {unit}"


def ratio(ours, theirs, lower_is_better):
    if not ours or not theirs:
        return "–"
    return f"{ours / theirs:.2f}" + ("" if lower_is_better else " (more is better)")


def note(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
