"""One running `fleethaven dev`: how it is started, spoken to, stopped, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

# A start takes well under a second; a machine that compiles beside the tests may take longer.
START_SECONDS = 30
# The product's grace period after SIGTERM, and some air.
STOP_SECONDS = 20
ANY_PORT = "127.0.0.1:0"

READY_KEYS = {
    "ready",
    "account_id",
    "region",
    "iot_endpoint",
    "data_endpoint",
    "jobs_endpoint",
    "mqtt_tls",
    "mqtt",
    "mqtt_quic",
    "https_mtls",
    "admin",
    "ca_file",
    "access_key_id",
    "secret_access_key",
    "aws_config_file",
}

_session = boto3.session.Session()  # parses the service models once for all clients of the process


def eventually(condition, what: str, seconds: float = 30, pause: float = 0.02):
    """Waits until `condition()` is truthy and returns its value; fails naming `what` was waited for."""
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        never.wait(pause)


def address(text: str) -> tuple[str, int]:
    """Splits `host:port` or `[v6]:port`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def binary() -> Path:
    """The program under test: `FLEETHAVEN_BIN`, else what cargo left in the target directory."""
    named = os.environ.get("FLEETHAVEN_BIN")
    if named:
        return Path(named)
    root = Path(__file__).resolve().parents[4]
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    built = target / "debug" / "fleethaven"
    if not built.exists():
        raise FileNotFoundError(
            f"{built} does not exist: run `cargo build -p fleethaven`, or set FLEETHAVEN_BIN"
        )
    return built


class Lines:
    """The lines of one output stream as they come, for a reader that waits for some of them."""

    def __init__(self, stream):
        self.all: list[str] = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        for line in stream:
            with self._changed:
                self.all.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def first(self, seconds: float) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self.all or self.ended, seconds)
            return self.all[0] if self.all else None

    def having(self, *words: str, seconds: float = 5, since: int = 0) -> str:
        """The first line, from number `since`, that holds every word; case does not count."""
        wanted = [word.lower() for word in words]

        def found():
            for line in self.all[since:]:
                if all(word in line.lower() for word in wanted):
                    return line
            return None

        with self._changed:
            line = self._changed.wait_for(found, seconds)
        if not line:
            tail = "\n".join(self.all[since:][-15:])
            raise AssertionError(f"no log line with {words} within {seconds} s; the last lines were:\n{tail}")
        return line

    def rest(self, seconds: float = 5) -> list[str]:
        """Everything, once the stream has ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended, seconds), "the stream did not end"
            return self.all


class StartFailed(AssertionError):
    """The program ended, or said nothing, where a ready line was expected."""

    def __init__(self, code: int | None, log: list[str]):
        self.code, self.log = code, "\n".join(log)
        super().__init__(f"fleethaven did not become ready (exit code {code}):\n{self.log}")


class Fleethaven:
    """One instance on one data directory. Every port is 0, so that any number of them run beside each other."""

    def __init__(self, data_dir: Path, *settings: str):
        self.data_dir = Path(data_dir)
        self.settings = list(settings)
        self.process: subprocess.Popen | None = None
        self.ready: dict = {}
        self._certificates = 0

    def start(self, *more: str) -> Fleethaven:
        """Starts the program and reads its ready line, at most `START_SECONDS`."""
        listeners = []
        for option in ("--mqtt-tls", "--https", "--admin"):
            if option not in (*self.settings, *more):
                listeners += [option, ANY_PORT]
        self.process = subprocess.Popen(
            [binary(), "dev", "--data-dir", self.data_dir, *listeners, *self.settings, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.log = Lines(self.process.stdout), Lines(self.process.stderr)
        line = self.out.first(START_SECONDS)
        if line is None:
            if self.process.poll() is None and not self.out.ended:
                self.process.kill()
            code = self.process.wait(STOP_SECONDS)
            raise StartFailed(code, self.log.rest())
        self.ready = json.loads(line)
        return self

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self):
        """SIGKILL: what a power cut leaves behind, but for the page cache."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def restart_after_kill(self) -> Fleethaven:
        self.kill()
        return self.start()

    def close(self):
        """Ends it however it stands; for clean-up only."""
        if self.process and self.process.poll() is None:
            self.kill()

    # What the ready line says.

    @property
    def mqtt_tls(self) -> tuple[str, int]:
        return address(self.ready["mqtt_tls"])

    @property
    def https(self) -> tuple[str, int]:
        return address(self.ready["iot_endpoint"].removeprefix("https://").rstrip("/"))

    @property
    def ca_file(self) -> str:
        return self.ready["ca_file"]

    @property
    def account(self) -> str:
        return self.ready["account_id"]

    @property
    def region(self) -> str:
        return self.ready["region"]

    def arn(self, resource: str) -> str:
        return f"arn:aws:iot:{self.region}:{self.account}:{resource}"

    def client(self, service: str = "iot", **other):
        """A boto3 client that never retries, so that a test sees each answer."""
        endpoints = {"iot-data": "data_endpoint", "iot-jobs-data": "jobs_endpoint"}
        settings = {
            "region_name": self.region,
            "endpoint_url": self.ready[endpoints.get(service, "iot_endpoint")],
            "aws_access_key_id": self.ready["access_key_id"],
            "aws_secret_access_key": self.ready["secret_access_key"],
            "verify": self.ca_file,
            "config": Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
        }
        return _session.client(service, **(settings | other))

    @property
    def iot(self):
        """The control plane of this start; made once, and again after a restart, whose port is another."""
        if getattr(self, "_iot_of", None) is not self.process:
            self._iot, self._iot_of = self.client("iot"), self.process
        return self._iot

    def moved(self):
        """The control plane has other ports than before."""
        self._iot_of = None
