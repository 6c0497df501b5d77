"""A cluster on one machine, every process on loopback: what `make cluster` starts and tests use.

In Python because the tests that kill its processes are, and because it is about starting, watching and ending them."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from instance import (
    ANY_PORT,
    START_SECONDS,
    STOP_SECONDS,
    Fleethaven,
    Lines,
    StartFailed,
    binary,
    eventually,
)
from network import Network

METASTORES, ROUTERS, GATEWAYS, WORKERS, APIS = 3, 2, 2, 2, 2


# Below those that systems give to whoever asks for any port, so that nobody else is given one before it is used.
PORTS = range(12_000, 32_000)
GIVEN: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on now; for those that must know each other's before they start."""
    while True:
        port = random.choice(PORTS)
        if port in GIVEN:
            continue
        GIVEN.add(port)
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def fleethaven(*arguments: object) -> dict:
    """A command that ends, and the line that it prints."""
    command = [str(binary()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def pki(*arguments: object) -> dict:
    """`fleethaven pki …` and what it printed."""
    return fleethaven("pki", *arguments)


class Journal(Lines):
    """The log lines of several processes, as they come."""

    def __init__(self):
        self.ended = False
        self.all: list[str] = []
        self._changed = threading.Condition()

    def add(self, line: str):
        with self._changed:
            self.all.append(line)
            self._changed.notify_all()


class Copied:
    """A stream whose lines a journal gets, too."""

    def __init__(self, stream, journal: Journal):
        self.stream, self.journal = stream, journal

    def __iter__(self):
        for line in self.stream:
            self.journal.add(line.rstrip("\n"))
            yield line


class Pausable:
    """A process that can be made to stand still."""

    process: subprocess.Popen | None = None

    def pause(self):
        """SIGSTOP: it neither runs nor ends; its sockets stay, and the kernel accepts for it."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def close(self):
        if self.is_alive():
            self.kill()


class Process(Pausable):
    """One process of the cluster, started again with the same arguments as often as a test likes."""

    def __init__(self, name: str, role: str, arguments: list[str], journal: Journal | None = None):
        self.name, self.role, self.arguments = name, role, arguments
        self.journal = journal or Journal()
        self.ready: dict = {}
        # Told to stop: a load balancer sends nobody here any more.
        self.leaving = False
        # What it runs from its next start on, when that is another release.
        self.binary = binary()

    def launch(self) -> Process:
        self.leaving = False
        self.process = subprocess.Popen(
            [self.binary, self.role, *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.log = Lines(self.process.stdout), Lines(Copied(self.process.stderr, self.journal))
        return self

    def until_ready(self) -> Process:
        """Reads the ready line."""
        line = self.out.first(2 * START_SECONDS)
        if line is None:
            self.kill()
            raise StartFailed(self.process.returncode, self.log.rest())
        self.ready = json.loads(line)
        return self

    def start(self) -> Process:
        return self.launch().until_ready()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(2 * STOP_SECONDS)

    def admin(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the admin port; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.ready['admin']}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_ready(self) -> bool:
        return self.admin("/readyz")[0] == 200

    def metric(self, sample: str) -> float:
        """The value of one sample, named with its labels."""
        for line in self.admin("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        raise AssertionError(f"{self.name} has no metric {sample}")


class Redis(Pausable):
    """A Redis with an append-only file, in a folder of its own."""

    name = role = "redis"

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Redis:
        self.folder.mkdir(exist_ok=True)
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        if server is None:
            raise FileNotFoundError("there is no redis-server: `.ci/debian redis-server=redis-server` installs it")
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        settings += ["--appendonly", "yes", "--save", "", "--daemonize", "no", "--maxmemory-policy", "noeviction"]
        self.process = subprocess.Popen([server, *settings], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        eventually(self.answers, "Redis answers", START_SECONDS)
        return self

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as tcp:
                tcp.sendall(b"PING\r\n")
                return tcp.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class Metastores:
    """The nodes of the metadata store, and the certificates by which all know each other. With `faulty`, processes reach each
    other through a `network` that a test can harm."""

    def __init__(self, folder: Path, faulty: bool = False, joining: bool = False):
        """`joining`: its nodes find out whether there is a store before they form one, as in the chart."""
        self.folder = Path(folder)
        self.joining = ["--join"] if joining else []
        self.pki = self.folder / "pki"
        self.journal = Journal()
        self.processes: dict[str, Process] = {}
        self.network = Network(self.pids) if faulty else None

    def pids(self) -> dict[str, int]:
        running = [process for process in list(self.processes.values()) if process.is_alive()]
        return {process.name: process.process.pid for process in running}

    def reached(self, name: str, address: str) -> str:
        """Where others reach the process `name`, which listens at `address`."""
        return self.network.front(name, address) if self.network else address

    def start(self) -> Metastores:
        pki("init", "--dir", self.pki, "--cluster", "local")
        names = [f"metastore-{node}" for node in range(1, METASTORES + 1)]
        own_addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
        self.metastore_addresses = [self.reached(name, own) for name, own in own_addresses.items()]
        peers = ",".join(f"{node}={address}" for node, address in enumerate(self.metastore_addresses, 1))
        for node, (name, own) in enumerate(own_addresses.items(), 1):
            arguments = ["--node-id", str(node), "--listen", own, "--peer", peers, *self.joining]
            self.launch(name, "metastore", [*arguments, "--data-dir", self.data(name)])
        self.until_ready(self.metastores)
        return self

    def issue(self, name: str, role: str) -> Path:
        """Certificate, key and trusted CAs of one process, in a folder."""
        return Path(pki("issue", "--dir", self.pki, "--role", role, "--name", name)["folder"])

    def data(self, name: str) -> str:
        return str(self.folder / name)

    def add(self, name: str, role: str, arguments: list[str]) -> Process:
        """Starts a process."""
        return self.launch(name, role, arguments).until_ready()

    def launch(self, name: str, role: str, arguments: list[str], release: Path | None = None) -> Process:
        """Starts a process, which becomes ready when it likes."""
        certificates = self.issue(name, role)
        arguments = [*arguments, "--cluster-tls", str(certificates), "--admin", ANY_PORT]
        process = self.processes[name] = Process(name, role, arguments, self.journal)
        process.binary = release or process.binary
        return process.launch()

    def listening(self, name: str) -> list[str]:
        """Where a process listens for others of the cluster."""
        if self.network is None:
            return ["--listen", ANY_PORT]
        own = f"127.0.0.1:{free_port()}"
        return ["--listen", own, "--advertise", self.reached(name, own)]

    def until_ready(self, processes: list[Process]):
        for process in processes:
            process.until_ready()
        names = [process.name for process in processes]

        def ready():
            self.revive()
            return all(process.is_ready() for process in processes)

        eventually(ready, f"{names} ready", 2 * START_SECONDS)

    def revive(self):
        """What a supervisor does: what has ended with an error is started anew. A process that stood still for longer than its
        lease does so, on a busy machine, too."""
        for process in list(self.processes.values()):
            if process.process and (process.process.poll() or 0) > 0:
                process.start()

    def of_role(self, role: str) -> list[Process]:
        return [process for process in self.processes.values() if process.role == role]

    @property
    def metastores(self) -> list[Process]:
        return self.of_role("metastore")

    def leader(self) -> Process:
        """The metastore that leads, and that the others follow."""

        def leading():
            alive = [process for process in self.metastores if process.is_alive()]
            leaders = [process for process in alive if process.metric("fleethaven_metastore_leads") == 1]
            return leaders[0] if len(leaders) == 1 else None

        return eventually(leading, "one leader", START_SECONDS)

    def close(self):
        for process in self.processes.values():
            process.close()
        if self.network:
            self.network.close()


class Spread(dict):
    """A ready line in which some values are another process's each time: clients are spread as by a load balancer, over what serves
    now."""

    def __init__(self, line: dict, **spread: Callable[[], list[Process]]):
        super().__init__(line)
        self.turns = {key: (itertools.count(), processes) for key, processes in spread.items()}

    def __getitem__(self, key: str):
        if key not in self.turns:
            return super().__getitem__(key)
        turn, processes = self.turns[key]
        serving = [process for process in processes() if process.is_alive() and process.ready and not process.leaving]
        if not serving:
            raise ConnectionRefusedError(f"nobody serves {key}")
        return serving[next(turn) % len(serving)].ready[key]


class Cluster(Fleethaven):
    """Processes of every role and a Redis: to its clients, what one process is to them."""

    def __init__(
        self,
        folder: Path,
        *gateway: str,
        faulty: bool = False,
        gateways: int | None = None,
        outbound: str | None = None,
    ):
        """`outbound`: networks that rules may call."""
        super().__init__(Path(folder))
        self.gateway_settings = list(gateway)
        self.outbound = ["--allow-outbound", outbound] if outbound else []
        self.first_gateways = GATEWAYS if gateways is None else gateways
        self.nodes = Metastores(self.data_dir, faulty)
        self.redis = Redis(self.data_dir / "redis")

    @property
    def log(self) -> Journal:
        """The log of all processes."""
        return self.nodes.journal

    @log.setter
    def log(self, _):
        raise AttributeError("the log is the processes'")

    def start(self, *more: str) -> Cluster:
        self.redis.start()
        self.nodes.start()
        self.metastore = ",".join(self.nodes.metastore_addresses)
        redis = self.nodes.reached(self.redis.name, self.redis.address)
        reach = ["--metastore", self.metastore, "--redis", f"redis://{redis}"]
        server = pki("server", "--dir", self.data_dir / "server-pki")
        shown = ["--server-cert", server["server_cert"], "--server-key", server["server_key"]]
        account = self.account_key()
        web = ["--https", ANY_PORT]
        for number in range(1, ROUTERS + 1):
            name = f"router-{number}"
            self.nodes.launch(name, "router", [*reach, *self.nodes.listening(name)])
        for number in range(1, WORKERS + 1):
            self.nodes.launch(f"rules-worker-{number}", "rules-worker", [*reach, *self.outbound])
        self.of_gateways = [*reach, *shown, "--mqtt-tls", ANY_PORT, *web, *self.gateway_settings, *more]
        for number in range(1, self.first_gateways + 1):
            self.launch_gateway(f"gateway-{number}")
        self.nodes.until_ready([*self.routers, *self.workers, *self.gateways])
        data_endpoint = self.gateways[0].ready["data_endpoint"]
        at = ["--data-endpoint", data_endpoint.removeprefix("https://")]
        for number in range(1, APIS + 1):
            self.nodes.launch(f"api-{number}", "api", [*reach, *shown, *web, *at, *self.outbound])
        self.nodes.until_ready(self.apis)
        described = self.described(account, server["ca_file"])
        gateways, apis = lambda: self.gateways, lambda: self.apis
        self.ready = Spread(described, mqtt_tls=gateways, data_endpoint=gateways, iot_endpoint=apis)
        self.process = self.gateways[0].process
        return self

    def launch_gateway(self, name: str, release: Path | None = None) -> Process:
        """Starts a gateway, of another release if one is given; it serves when it likes."""
        return self.nodes.launch(name, "gateway", [*self.of_gateways, *self.nodes.listening(name)], release)

    def account_key(self) -> dict:
        """Makes the account, and returns its access key."""
        operator = self.nodes.issue("operator", "operator")
        return fleethaven("account", "--metastore", self.metastore, "--cluster-tls", operator)

    def described(self, account: dict, ca_file: str) -> dict:
        """What one process says in its ready line."""
        gateway, api = self.gateways[0].ready, self.apis[0].ready
        ready = {
            "ready": True,
            **account,
            "iot_endpoint": api["iot_endpoint"],
            "data_endpoint": gateway["data_endpoint"],
            "jobs_endpoint": api["iot_endpoint"],
            **{key: gateway[key] for key in ("mqtt_tls", "mqtt", "mqtt_quic", "https_mtls", "admin")},
            "ca_file": ca_file,
            "aws_config_file": str(self.data_dir / "aws-config"),
        }
        Path(ready["aws_config_file"]).write_text(aws_config(ready))
        return ready

    def leader(self) -> Process:
        return self.nodes.leader()

    @property
    def network(self) -> Network:
        return self.nodes.network

    @property
    def metastores(self) -> list[Process]:
        return self.nodes.metastores

    @property
    def routers(self) -> list[Process]:
        return self.nodes.of_role("router")

    @property
    def gateways(self) -> list[Process]:
        return self.nodes.of_role("gateway")

    @property
    def workers(self) -> list[Process]:
        return self.nodes.of_role("rules-worker")

    @property
    def apis(self) -> list[Process]:
        return self.nodes.of_role("api")

    def close(self):
        self.nodes.close()
        self.redis.close()

    def stop(self) -> int:
        """In the order in which nobody misses what is gone."""
        for role in ("api", "gateway", "rules-worker", "router", "metastore"):
            stopping = [process for process in self.nodes.of_role(role) if process.is_alive()]
            for process in stopping:
                process.process.send_signal(signal.SIGTERM)
            for process in stopping:
                process.process.wait(2 * STOP_SECONDS)
        self.redis.process.terminate()
        self.redis.process.wait(STOP_SECONDS)
        return max(process.process.returncode for process in self.nodes.processes.values())


def aws_config(ready: dict) -> str:
    """The AWS config file that one process writes, for the endpoints of a cluster."""
    services = {"iot": "iot", "iot_data_plane": "data", "iot_jobs_data_plane": "jobs", "sts": "iot", "iam": "iot"}
    endpoints = "".join(
        f"{service} =\n  endpoint_url = {ready[f'{endpoint}_endpoint']}\n" for service, endpoint in services.items()
    )
    return (
        "[profile fleethaven]\n"
        f"aws_access_key_id = {ready['access_key_id']}\n"
        f"aws_secret_access_key = {ready['secret_access_key']}\n"
        f"region = {ready['region']}\n"
        f"ca_bundle = {ready['ca_file']}\n"
        "services = fleethaven\n\n"
        f"[services fleethaven]\n{endpoints}"
    )


def main():
    with tempfile.TemporaryDirectory(prefix="fleethaven-cluster-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            for process in cluster.nodes.processes.values():
                print(json.dumps({"process": process.name, "pid": process.process.pid, **process.ready}))
            print(json.dumps(cluster.ready))
            print(f"  export AWS_CONFIG_FILE={cluster.ready['aws_config_file']} AWS_PROFILE=fleethaven")
            print("Control-C stops all of them, and deletes what they kept.", flush=True)
            while True:
                time.sleep(1)
                cluster.nodes.revive()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)
            cluster.stop()
        finally:
            cluster.close()


if __name__ == "__main__":
    main()
