#!/usr/bin/env python3
"""Figures of identity and state: what the control plane, shadows, connections and a large registry cost, through the real doors.

Everything goes over TLS to `fleethaven dev` (the API by signed HTTPS requests on connections that are kept, devices by MQTT with
client certificates). Fleethaven has core 0 and this tool core 1, where the machine has two. A Python client is soon the slower of
the two: beside operations per second stands what an operation costs the server in CPU time, which does not depend on that.

    python3 loadtest/identity.py                         # everything, a registry of one million things: about half an hour
    python3 loadtest/identity.py --quick                 # small and short: whether it works
    python3 loadtest/identity.py --rows api connects     # some of it
    python3 loadtest/identity.py --rows registry --things 200000

Rows: `api` (reads, writes and shadow updates by REST), `shadow-mqtt`, `connects` (each certificate's first connection after a start of
the server, and further ones), `registry` (filled by CreateThing on many connections: bulk registration needs an S3, and
does one task of an account at a time). Prints Markdown; --json writes every figure. Needs `fleethaven` in target/release (or
at FLEETHAVEN_BIN) and openssl.
"""

import argparse
import contextlib
import hashlib
import hmac
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

from attacks import connect, packet, text
from brokers import ROOT, Pki, executable, pinned, ready_line, spawned
from fleethaven_setup import SignedClient

ROWS = ("api", "shadow-mqtt", "connects", "registry")
TICKS = os.sysconf("SC_CLK_TCK")
THINGS_OF_API = 1000
POLICY = json.dumps({
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}"},
        {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"],
         "Resource": "arn:aws:iot:*:*:topic/devices/${iot:Connection.Thing.ThingName}/*"},
        {"Effect": "Allow", "Action": "iot:Subscribe",
         "Resource": "arn:aws:iot:*:*:topicfilter/devices/${iot:Connection.Thing.ThingName}/*"},
    ],
})


def main():
    options = parse_arguments()
    binary = executable("FLEETHAVEN_BIN", ROOT / "target/release/fleethaven")
    figures = {}
    with tempfile.TemporaryDirectory(prefix="fleethaven-identity-", dir=options.folder) as folder:
        for row in options.rows:
            place = Path(folder) / row
            place.mkdir()
            figures[row] = MEASURES[row](options, Server(binary, place), place)
            shutil.rmtree(place)
    print("\n".join(markdown(options, figures)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="of " + ", ".join(ROWS))
    parser.add_argument("--connections", type=int, default=8, help="of the API and of shadows by MQTT")
    parser.add_argument("--duration", type=float, default=10, help="seconds for each operation")
    parser.add_argument("--certificates", type=int, default=1000, help="of the row connects")
    parser.add_argument("--things", type=int, default=1_000_000, help="of the row registry")
    parser.add_argument("--quick", action="store_true", help="one second each, 50 certificates, 2000 things")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made, such as a disk of its own")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.quick:
        options.duration, options.certificates, options.things = 1, 50, 2000
    return options


class Server:
    """`fleethaven dev` on one folder, however often it is started."""

    def __init__(self, binary, folder):
        self.binary, self.data, self.log = binary, folder / "data", folder / "log"

    @contextlib.contextmanager
    def running(self):
        arguments = [self.binary, "dev", "--data-dir", str(self.data), "--log", "warn", "--audit", "off"]
        for listener in ("--mqtt", "--mqtt-tls", "--https", "--admin"):
            arguments += [listener, "127.0.0.1:0"]
        begun = time.monotonic()
        with spawned(pinned([0]) + arguments, self.log, stdout=subprocess.PIPE) as child:
            yield Running(ready_line(child, self.log), child, time.monotonic() - begun)

    def disk(self):
        files = (path for path in self.data.rglob("*") if path.is_file())
        return sum(path.stat().st_blocks * 512 for path in files)


class Running:
    def __init__(self, ready, child, seconds):
        self.ready, self.child, self.start_seconds = ready, child, seconds

    def cpu(self):
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        line = next(line for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines() if "VmRSS" in line)
        return int(line.split()[1]) * 1024


class Signer(SignedClient):
    """Signed requests on one connection, to the control plane and the data plane."""

    def __init__(self, ready):
        super().__init__(ready)
        self.kept = self.connection()
        self.keys = {}

    def signature(self, scope, to_sign):
        # The key of a day is derived once.
        if scope not in self.keys:
            self.keys = {scope: derived(self.ready["secret_access_key"], scope)}
        return hmac.digest(self.keys[scope], to_sign.encode(), "sha256").hex()

    def ask(self, method, path, body=None):
        """One request; its answer, which must be a success."""
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.kept.request(method, path, payload, self.headers_of(method, path, payload))
        answer = self.kept.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {read[:300]!r}")
        return read

    def headers_of(self, method, path, payload):
        path, _, query = path.partition("?")
        return signed(self, method, path, canonical_query(query), payload)


def derived(secret, scope):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_query(query):
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    quote = lambda word: urllib.parse.quote(word, safe="-_.~")
    return "&".join(sorted(f"{quote(name)}={quote(value)}" for name, value in pairs))


def signed(client, method, path, query, payload):
    """As `SignedClient.signed_headers`, with a query."""
    now = time.gmtime()
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    service = "iotdata" if path.endswith("/shadow") else "iot"
    headers = {"content-type": "application/json", "host": client.endpoint.netloc, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = [method, path, query, *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names]
    canonical = "\n".join([*lines, hashlib.sha256(payload).hexdigest()])
    scope = f"{day}/{client.ready['region']}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = client.signature(scope, "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest]))
    credential = f"{client.ready['access_key_id']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


# Load.


def measured(running, work, asked):
    """`work` in a process for each of `asked`; it gives the seconds that each operation took. Figures of all of them."""
    before, begun = running.cpu(), time.monotonic()
    with multiprocessing.get_context("fork").Pool(len(asked), initializer=step_aside) as pool:
        took = sorted(second for part in pool.starmap(work, asked, chunksize=1) for second in part)
    elapsed, cpu = time.monotonic() - begun, running.cpu() - before
    if not took:
        raise SystemExit("nothing was done in time")
    return {
        "operations": len(took),
        "per_second": len(took) / elapsed,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[len(took) * 99 // 100] * 1000,
        "server_cpu_us": cpu / len(took) * 1e6,
    }


def for_a_while(options, running, work):
    """`work(worker, until, ready)` for the time of one figure."""
    until = time.monotonic() + options.duration
    return measured(running, work, [(worker, until, running.ready) for worker in range(options.connections)])


def step_aside():
    """The tool has the cores that the server has not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    others = os.sched_getaffinity(0) - {0}
    if others:
        os.sched_setaffinity(0, others)


def repeated(until, operation):
    took = []
    number = 0
    while time.monotonic() < until:
        begun = time.monotonic()
        operation(number)
        took.append(time.monotonic() - begun)
        number += 1
    return took


def thing(number):
    return {"attributePayload": {"attributes": {"line": f"l{number % 100}", "serial": f"s{number:09}"}}}


def reads(worker, until, ready):
    client = Signer(ready)
    return repeated(until, lambda _: client.ask("GET", f"/things/t{random.randrange(THINGS_OF_API)}"))


def lists(worker, until, ready):
    client = Signer(ready)
    return repeated(until, lambda _: client.ask("GET", "/things?maxResults=100"))


def writes(worker, until, ready):
    client = Signer(ready)
    return repeated(until, lambda n: client.ask("POST", f"/things/w{worker}-{n}", thing(n)))


def updates(worker, until, ready):
    client = Signer(ready)
    return repeated(until, lambda n: client.ask("PATCH", f"/things/t{worker}", thing(n)))


def shadow_updates(worker, until, ready):
    client = Signer(ready)
    return repeated(until, lambda n: client.ask("POST", f"/things/t{worker}/shadow", reported(n)))


def reported(number):
    return json.dumps({"state": {"reported": {"temperature": number % 100, "humidity": 40, "online": True}}}).encode()


def measure_api(options, server, folder):
    with server.running() as running:
        client = Signer(running.ready)
        for number in range(THINGS_OF_API):
            client.ask("POST", f"/things/t{number}", thing(number))
        operations = {
            "DescribeThing": reads, "ListThings (100)": lists, "CreateThing": writes, "UpdateThing": updates,
            "UpdateThingShadow": shadow_updates,
        }
        return {name: for_a_while(options, running, work) for name, work in operations.items()}


def mqtt_updates(worker, until, ready):
    host, _, port = ready["mqtt"].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port))) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(connect(f"shadow-{worker}"))
        expected(link, 0x20)
        topic = f"$aws/things/t{worker}/shadow/update"

        def update(number):
            identifier = (number % 65535 + 1).to_bytes(2, "big")
            # MQTT 5: no properties.
            link.sendall(packet(0x32, text(topic) + identifier + b"\0" + reported(number)))
            expected(link, 0x40)

        return repeated(until, update)


def expected(link, kind):
    """Reads one packet, which is to be of this kind and no refusal."""
    head = exactly(link, 2)
    rest = exactly(link, head[1])
    code = rest[1] if kind == 0x20 else rest[2] if len(rest) > 2 else 0
    if head[0] & 0xF0 != kind or code >= 0x80:
        raise SystemExit(f"another answer than expected: {head.hex()} {rest.hex()}")


def exactly(link, count):
    read = b""
    while len(read) < count:
        more = link.recv(count - len(read))
        if not more:
            raise SystemExit("the connection ended")
        read += more
    return read


def measure_shadow_mqtt(options, server, folder):
    with server.running() as running:
        return {"update to PUBACK": for_a_while(options, running, mqtt_updates)}


# Connections.


def connects(certificates, ready):
    """One connection with each certificate of this worker: TLS, CONNECT, CONNACK."""
    host, _, port = ready["mqtt_tls"].rpartition(":")
    took = []
    for stem in certificates:
        context = ssl.create_default_context(cafile=ready["ca_file"])
        context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
        begun = time.monotonic()
        with socket.create_connection((host.strip("[]"), int(port))) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as link:
                link.sendall(connect(Path(stem).name))
                expected(link, 0x20)
                took.append(time.monotonic() - begun)
                link.sendall(b"\xe0\x00")
    return took


def measure_connects(options, server, folder):
    note(f"making {options.certificates} certificates")
    pki = Pki(folder / "pki", options.certificates)
    stems = [str(path.with_suffix("")) for path in sorted(pki.clients.glob("*.crt"))]
    with server.running() as running:
        client = Signer(running.ready)
        client.create_policy("of-things", POLICY)
        for stem in stems:
            name = Path(stem).name
            made = client.register_certificate_without_ca(Path(stem + ".crt").read_text(), "ACTIVE")
            client.attach_policy("of-things", made["certificateArn"])
            client.ask("POST", f"/things/{name}", thing(0))
            path = f"/things/{name}/principals"
            client.kept.request("PUT", path, b"", attach_headers(client, path, made["certificateArn"]))
            answer = client.kept.getresponse()
            if answer.status != 200:
                raise SystemExit(f"PUT {path}: {answer.status} {answer.read()}")
            answer.read()
    # Started anew, it knows none of them.
    with server.running() as running:
        parts = [stems[part :: options.connections] for part in range(options.connections)]
        asked = [(part, running.ready) for part in parts]
        return {name: measured(running, connects, asked) for name in ("cold", "warm")}


def attach_headers(client, path, principal):
    """Signed headers with the one that AttachThingPrincipal has beside them; it is not signed."""
    return client.headers_of("PUT", path, b"") | {"x-amzn-principal": principal}


# A large registry.


def filled(worker, workers, things, ready):
    client = Signer(ready)
    for number in range(worker, things, workers):
        client.ask("POST", f"/things/device-{number:08}", thing(number) | {"thingTypeName": "sensor"})


def measure_registry(options, server, folder):
    figures = {"things": options.things}
    with server.running() as running:
        empty = running.memory()
        Signer(running.ready).ask("POST", "/thing-types/sensor", {})
        note(f"creating {options.things} things")
        begun = time.monotonic()
        with multiprocessing.get_context("fork").Pool(options.connections, initializer=step_aside) as pool:
            asked = [(number, options.connections, options.things, running.ready) for number in range(options.connections)]
            pool.starmap(filled, asked, chunksize=1)
        figures["filled_per_second"] = options.things / (time.monotonic() - begun)
        figures["memory_empty_mib"] = empty / (1 << 20)
        figures["memory_filled_mib"] = running.memory() / (1 << 20)
        running.child.send_signal(signal.SIGKILL)
        running.child.wait()
    figures["disk_mib"] = server.disk() / (1 << 20)
    with server.running() as running:
        figures["start_after_sigkill_s"] = running.start_seconds
        figures["memory_started_mib"] = running.memory() / (1 << 20)
        client = Signer(running.ready)
        count = 200 if options.quick else 2000
        paths = {
            "describe": lambda: f"/things/device-{random.randrange(options.things):08}",
            "list_first_page": lambda: "/things?maxResults=100",
            "list_by_type": lambda: "/things?maxResults=100&thingTypeName=sensor",
            "list_by_attribute": lambda: f"/things?maxResults=100&attributeName=serial&attributeValue=s{random.randrange(options.things):09}",
        }
        for name, path in paths.items():
            took = sorted(timed(lambda path=path: client.ask("GET", path())) for _ in range(count))
            figures[f"{name}_p50_ms"], figures[f"{name}_p99_ms"] = took[count // 2] * 1000, took[count * 99 // 100] * 1000
        figures["all_pages_s"], figures["listed"] = walked(client)
        figures["memory_after_reads_mib"] = running.memory() / (1 << 20)
    with server.running() as running:
        figures["start_after_sigterm_s"] = running.start_seconds
    return figures


def walked(client):
    """Every page of ListThings, one after the other: how long, and how many things."""
    begun, count, token = time.monotonic(), 0, None
    while True:
        more = f"&nextToken={urllib.parse.quote(token, safe='')}" if token else ""
        page = json.loads(client.ask("GET", f"/things?maxResults=250{more}"))
        count += len(page["things"])
        token = page.get("nextToken")
        if not token:
            return time.monotonic() - begun, count


def timed(operation):
    begun = time.monotonic()
    operation()
    return time.monotonic() - begun


MEASURES = {
    "api": measure_api,
    "shadow-mqtt": measure_shadow_mqtt,
    "connects": measure_connects,
    "registry": measure_registry,
}


def markdown(options, figures):
    lines = [f"{options.connections} connections, {options.duration:g} s each."]
    rows = [
        (f"{row}: {name}", values) for row, part in figures.items() if row != "registry" for name, values in part.items()
    ]
    if rows:
        lines += ["", "| | per second | p50 ms | p99 ms | server CPU µs each |", "|---|---|---|---|---|"]
    for name, f in rows:
        lines.append(
            f"| {name} | {f['per_second']:,.0f} | {f['p50_ms']:.2f} | {f['p99_ms']:.2f} | {f['server_cpu_us']:,.0f} |"
        )
    if "registry" in figures:
        lines += ["", "| registry | |", "|---|---|"]
        lines += [f"| {name} | {value:,.2f} |" for name, value in figures["registry"].items()]
    return lines


def note(message):
    print(message, flush=True)


if __name__ == "__main__":
    main()
