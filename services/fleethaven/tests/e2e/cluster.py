"""A cluster on one machine, every process on loopback: what `make cluster` starts and tests use.

In Python because the tests that kill its processes are, and because it is about starting, watching and ending them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from instance import ANY_PORT, START_SECONDS, STOP_SECONDS, Lines, StartFailed, binary, eventually

METASTORES = 3


def free_port() -> int:
    """A port that nobody listens on now; for those that must know each other's before they start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def pki(*arguments: object) -> dict:
    """`fleethaven pki …` and what it printed."""
    command = [str(binary()), "pki", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


class Process:
    """One process of the cluster, started again with the same arguments as often as a test likes."""

    def __init__(self, name: str, role: str, arguments: list[str]):
        self.name, self.role, self.arguments = name, role, arguments
        self.process: subprocess.Popen | None = None
        self.ready: dict = {}

    def start(self) -> Process:
        self.process = subprocess.Popen(
            [binary(), self.role, *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.log = Lines(self.process.stdout), Lines(self.process.stderr)
        line = self.out.first(START_SECONDS)
        if line is None:
            self.kill()
            raise StartFailed(self.process.returncode, self.log.rest())
        self.ready = json.loads(line)
        return self

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()

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


class Cluster:
    """Processes of every role, and the certificates by which they know each other."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.pki = self.folder / "pki"
        self.processes: dict[str, Process] = {}

    def start(self) -> Cluster:
        pki("init", "--dir", self.pki, "--cluster", "local")
        self.metastore_addresses = [f"127.0.0.1:{free_port()}" for _ in range(METASTORES)]
        peers = ",".join(f"{node}={address}" for node, address in enumerate(self.metastore_addresses, 1))
        for node, address in enumerate(self.metastore_addresses, 1):
            arguments = ["--node-id", str(node), "--listen", address, "--peer", peers]
            self.add(f"metastore-{node}", "metastore", ["--data-dir", self.data(f"metastore-{node}"), *arguments])
        eventually(lambda: all(p.is_ready() for p in self.metastores), "a quorum", START_SECONDS)
        return self

    def data(self, name: str) -> str:
        return str(self.folder / name)

    def issue(self, name: str, role: str) -> Path:
        """Certificate, key and trusted CAs of one process, in a folder."""
        return Path(pki("issue", "--dir", self.pki, "--role", role, "--name", name)["folder"])

    def add(self, name: str, role: str, arguments: list[str]) -> Process:
        certificates = self.issue(name, role)
        arguments = [*arguments, "--cluster-tls", str(certificates), "--admin", ANY_PORT]
        process = self.processes[name] = Process(name, role, arguments)
        return process.start()

    @property
    def metastores(self) -> list[Process]:
        return [process for process in self.processes.values() if process.role == "metastore"]

    def leader(self) -> Process:
        """The metastore that leads, and that the others follow."""

        def leading():
            alive = [process for process in self.metastores if process.process.poll() is None]
            leaders = [process for process in alive if process.metric("fleethaven_metastore_leads") == 1]
            return leaders[0] if len(leaders) == 1 else None

        return eventually(leading, "one leader", START_SECONDS)

    def close(self):
        for process in self.processes.values():
            process.close()

    def stop(self):
        """In the order in which nobody misses what is gone; the metadata store last, its nodes all at once."""
        for process in reversed(self.processes.values()):
            if process.process.poll() is None:
                process.process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.process.wait(STOP_SECONDS)


def main():
    with tempfile.TemporaryDirectory(prefix="fleethaven-cluster-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            for process in cluster.processes.values():
                print(json.dumps({"process": process.name, **process.ready}), flush=True)
            print("Control-C stops all of them.", flush=True)
            while all(process.process.poll() is None for process in cluster.processes.values()):
                time.sleep(0.5)
            print("a process has ended", file=sys.stderr)
        except KeyboardInterrupt:
            cluster.stop()
        finally:
            cluster.close()


if __name__ == "__main__":
    main()
