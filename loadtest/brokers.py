"""The brokers that are compared: how each is set up, started on given cores, and stopped.

Everything listens on loopback only and lives in the folder given.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import fleethaven_setup

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass
class Running:
    """A broker that listens: addresses of its listeners, its process, and the CA of its TLS certificate."""

    pid: int
    plain: str
    tls: str
    ca: Path


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
    version: str = field(init=False, default="")

    def __post_init__(self):
        # Debian keeps it where only root looks; its own service need not run.
        search = os.environ.get("PATH", "") + ":/usr/sbin"
        if not shutil.which("mosquitto", path=search):
            subprocess.run([ROOT / ".ci/debian", "mosquitto=mosquitto"], check=True, stdout=sys.stderr)
        self.binary = shutil.which("mosquitto", path=search)
        help_text = subprocess.run([self.binary, "-h"], capture_output=True, text=True, check=False).stdout
        self.version = help_text.splitlines()[0] if help_text else "mosquitto"

    @contextlib.contextmanager
    def running(self, cores):
        plain, tls = free_port(), free_port()
        config = self.folder / "mosquitto.conf"
        config.write_text(self.config(plain, tls))
        arguments = pinned(cores) + [self.binary, "-c", str(config)]
        with spawned(arguments, self.folder / "mosquitto.log") as child:
            wait_for_port(plain, child)
            wait_for_port(tls, child)
            yield Running(child.pid, f"127.0.0.1:{plain}", f"127.0.0.1:{tls}", self.pki.ca)

    def config(self, plain, tls):
        user = "user root\n" if os.geteuid() == 0 else ""
        return user + (
            "per_listener_settings true\n"
            "persistence false\n"
            "set_tcp_nodelay true\n"
            "max_queued_messages 0\n"
            "max_inflight_messages 0\n"
            "connection_messages false\n"
            "log_dest stderr\n"
            "log_type error\n"
            f"listener {plain} 127.0.0.1\n"
            "allow_anonymous true\n"
            f"listener {tls} 127.0.0.1\n"
            f"cafile {self.pki.ca}\n"
            f"certfile {self.pki.folder / 'server.crt'}\n"
            f"keyfile {self.pki.folder / 'server.key'}\n"
            "require_certificate true\n"
            "use_identity_as_username true\n"
            "tls_version tlsv1.3\n"
        )


@dataclass
class Fleethaven:
    """`fleethaven dev` with the clients' certificates registered and one policy attached to each.

    Clients of the plain listener are anonymous; they are evaluated by the same path, under the built-in policy. Queues of clients
    that read slower than others publish are as good as unbounded, as Mosquitto's are.
    """

    folder: Path
    pki: Pki
    version: str = field(init=False, default="Fleethaven")

    def __post_init__(self):
        self.binary = executable("FLEETHAVEN_BIN", ROOT / "target/release/fleethaven")
        with self.started([0]) as (ready, _):
            fleethaven_setup.register(ready, self.pki.client_certificates())

    @contextlib.contextmanager
    def running(self, cores):
        with self.started(cores) as (ready, pid):
            yield Running(pid, ready["mqtt"], ready["mqtt_tls"], ready["ca_file"])

    @contextlib.contextmanager
    def started(self, cores):
        """Starts it on the same data folder and any ports; gives its ready line and process id."""
        settings = self.folder / "fleethaven.toml"
        settings.write_text(
            "[limits]\n"
            "inflight-out = 65535\n"
            "session-queued-messages = 10000000\n"
            "session-queued-bytes = 1073741824\n"
        )
        # Neither broker logs each connection.
        arguments = [self.binary, "dev", "--config", str(settings), "--data-dir", str(self.folder / "data"), "--log", "warn"]
        for listener in ("--mqtt", "--mqtt-tls", "--https", "--admin"):
            arguments += [listener, "127.0.0.1:0"]
        log = self.folder / "fleethaven.log"
        with spawned(pinned(cores) + arguments, log, stdout=subprocess.PIPE) as child:
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


def pinned(cores):
    """The prefix that keeps a command on these cores; taskset replaces itself, so the process id stays right."""
    if not set(cores) <= os.sched_getaffinity(0) or not shutil.which("taskset"):
        return list(PREFERENCE)
    return [*PREFERENCE, "taskset", "-c", ",".join(map(str, cores))]


# How brokers and load tools are started so that they go before whatever else the machine does.
PREFERENCE = []


def prefer(saturated):
    """From here on they go before all else, which needs root. At rates below saturation by real-time priority: what else the
    machine does then hardly shows in latencies. The kernel stops a process that saturates its core with that, for 50 ms in
    each second: such a one gets the highest ordinary priority."""
    PREFERENCE[:] = ["nice", "-n", "-20"] if saturated else ["chrt", "-f", "5"]


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
