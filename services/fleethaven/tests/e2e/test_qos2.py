"""QoS 2 with real clients: paho in both versions and both directions, mosquitto's tools, a broker that is killed."""

import collections
import os
import socket
import subprocess

import paho.mqtt.client as paho
import pytest

from device import Device, make_device
from instance import Fleethaven, Lines, eventually
from mqtt_client import BOTH_VERSIONS, V3, V5, Client

QOS_NOT_SUPPORTED = 0x9B

both = pytest.mark.parametrize("version", **BOTH_VERSIONS)


def persistent(version: int) -> dict:
    """The options of a session that outlives its connection."""
    return {"version": version, "clean": False} | ({"expiry": 600} if version == V5 else {})


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % n for n in range(start, start + count)]


@both
@pytest.mark.parametrize("kind", ["clean", "persistent"])
def test_messages_come_once_and_in_order(connect, name, version, kind):
    options = persistent(version) if kind == "persistent" else {"version": version}
    subscriber, publisher = connect(f"{name}-s", **options), connect(f"{name}-p", **options)
    assert subscriber.subscribe(name, qos=2) == [2]
    sent = numbered(500)
    mids = [publisher.publish_later(name, payload, qos=2) for payload in sent]
    eventually(lambda: all(publisher.acknowledged(mid) == 0 for mid in mids), "every PUBCOMP")
    assert subscriber.expect(500) == sent
    assert {message.qos for message in subscriber.received} == {2}
    assert publisher.publish(name, b"end", qos=1) == 0
    assert subscriber.expect_until(b"end") == [*sent, b"end"], "nothing came twice"
    assert subscriber.alive and publisher.alive


@both
def test_the_lower_qos_counts(connect, name, version):
    subscribers = [connect(f"{name}-{qos}", version=version) for qos in (0, 1, 2)]
    for qos, subscriber in enumerate(subscribers):
        assert subscriber.subscribe(name, qos=qos) == [qos]
    publisher = connect(f"{name}-p", version=version)
    for qos in (0, 1, 2):
        assert publisher.publish(name, b"%d" % qos, qos=qos) == 0
    for most, subscriber in enumerate(subscribers):
        subscriber.expect(3)
        got = {int(message.payload): message.qos for message in subscriber.received}
        assert got == {qos: min(qos, most) for qos in (0, 1, 2)}


@both
def test_a_resumed_session_gets_what_was_queued(connect, name, version):
    first = connect(f"{name}-s", **persistent(version))
    first.subscribe(name, qos=2)
    first.disconnect()
    publisher = connect(f"{name}-p", version=version)
    sent = numbered(200)
    for payload in sent:
        assert publisher.publish(name, payload, qos=2) == 0
    again = connect(f"{name}-s", **persistent(version))
    assert again.session_present
    publisher.publish(name, b"end", qos=2)
    assert again.expect_until(b"end") == [*sent, b"end"]


@both
def test_lost_connections_lose_and_repeat_nothing(fleet, device, connect, name, version):
    """One paho client keeps its state over five lost connections, as paho's own reconnect does."""
    subscriber = Reconnecting(fleet, device(), f"{name}-s", version)
    subscriber.start(fleet)
    subscriber.subscribe(name)
    publisher = connect(f"{name}-p", version=version)
    sent = numbered(1000)
    for n, payload in enumerate(sent):
        publisher.publish_later(name, payload, qos=2)
        if n % 200 == 100:
            subscriber.cut()
    publisher.publish_later(name, b"end", qos=2)
    subscriber.expect_once([*sent, b"end"])
    assert subscriber.connections == 6, "the broker ended none"
    subscriber.stop()


class Reconnecting:
    """A paho client with a session that it resumes by itself, and keeps its half of, whatever happens to the broker."""

    def __init__(self, fleet: Fleethaven, device: Device, client_id: str, version: int):
        self.received: list[bytes] = []
        self.connections = 0
        self.subscribed = False
        self.done: set[int] = set()
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            clean_session=False if version == V3 else None,
        )
        self.paho.tls_set_context(device.tls(fleet.ca_file))
        self.paho.reconnect_delay_set(min_delay=1, max_delay=1)
        self.paho.max_inflight_messages_set(50)
        self.paho.on_connect = self._on_connect
        self.paho.on_message = lambda _c, _u, message: self.received.append(bytes(message.payload))
        self.paho.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self.paho.on_publish = lambda _c, _u, mid, _code, _p: self.done.add(mid)
        self._version = version

    def _on_connect(self, _client, _userdata, _flags, code, _props):
        assert not code.is_failure, code
        self.connections += 1

    def start(self, fleet: Fleethaven):
        more = {}
        if self._version == V5:
            expiry = paho.Properties(paho.PacketTypes.CONNECT)
            expiry.SessionExpiryInterval = 600
            more = {"clean_start": False, "properties": expiry}
        self.paho.connect(*fleet.mqtt_tls, **more)
        self.paho.loop_start()
        eventually(lambda: self.connections == 1, "CONNACK")

    def subscribe(self, topic: str):
        self.paho.subscribe(topic, 2)
        eventually(lambda: self.subscribed, "SUBACK")

    def cut(self):
        """The network breaks; returns when paho has come back."""
        before = self.connections
        # Below TLS: the SSLSocket's own shutdown would have paho read what follows as plain text.
        with socket.socket(fileno=os.dup(self.paho.socket().fileno())) as below:
            below.shutdown(socket.SHUT_RDWR)
        eventually(lambda: self.connections > before, "paho's reconnect")

    def expect_once(self, sent: list[bytes], seconds: float = 30):
        eventually(lambda: sent[-1] in self.received, "the last message", seconds)
        got = collections.Counter(self.received)
        assert not (set(sent) - set(got)), f"lost: {sorted(set(sent) - set(got))[:10]}"
        assert not [p for p, n in got.items() if n > 1], "twice"
        assert self.received == sent, "out of order"

    def stop(self):
        self.paho.disconnect()
        self.paho.loop_stop()


@both
def test_the_broker_is_killed_in_the_middle_of_a_stream(tmp_path, version):
    """Publisher and subscriber are paho clients that reconnect by themselves; the broker dies three times by SIGKILL."""
    fleet = Fleethaven(tmp_path / "data").start()
    # The clients come back to the same port.
    fleet.settings += ["--mqtt-tls", f"127.0.0.1:{fleet.mqtt_tls[1]}"]
    try:
        device = make_device(fleet, tmp_path)
        subscriber = Reconnecting(fleet, device, "subscriber", version)
        publisher = Reconnecting(fleet, device, "publisher", version)
        for client in (subscriber, publisher):
            client.start(fleet)
        subscriber.subscribe("t")
        sent, mids = numbered(1200), []
        for n, payload in enumerate(sent):
            mids.append(publisher.paho.publish("t", payload, 2).mid)
            if n % 400 == 200:
                # Some are acknowledged and some are not.
                eventually(lambda: mids[n - 100] in publisher.done, "progress", 30)
                before = publisher.connections
                fleet.restart_after_kill()
                # What is published between its CONNECT and CONNACK, paho sends before what it has to send again.
                eventually(lambda: publisher.connections > before, "the publisher is back", 30)
        subscriber.expect_once(sent, 60)
        eventually(lambda: len(publisher.done) == len(mids), "every PUBCOMP", 30)
        assert publisher.connections == 4
        for client in (subscriber, publisher):
            client.stop()
    finally:
        fleet.close()


def mosquitto(tool: str, fleet: Fleethaven, device: Device, *arguments: str) -> list[str]:
    host, port = fleet.mqtt_tls
    tls = ["--cafile", fleet.ca_file, "--cert", device.certificate_file, "--key", device.key_file]
    return [tool, "-h", host, "-p", str(port), *tls, *arguments]


@pytest.mark.parametrize("protocol", ["311", "5"])
def test_mosquittos_tools(fleet, device, name, protocol):
    one = device()
    sent = [f"line {n}" for n in range(100)]
    options = ["-V", protocol, "-t", name, "-q", "2", "-C", "100", "-W", "30", "-d", "-F", "%q %p"]
    listen = mosquitto("mosquitto_sub", fleet, one, *options)
    subscriber = subprocess.Popen(
        ["stdbuf", "-oL", *listen], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = Lines(subscriber.stdout)
    try:
        lines.having("Subscribed", seconds=15)
        publish = mosquitto("mosquitto_pub", fleet, one, "-V", protocol, "-t", name, "-q", "2", "-l")
        subprocess.run(publish, input="\n".join(sent) + "\n", text=True, check=True, timeout=30)
        assert subscriber.wait(30) == 0
        got = [line.removeprefix("2 ") for line in lines.rest() if line.startswith("2 ")]
        assert got == sent
    finally:
        subscriber.kill()
        subscriber.wait(5)


@both
def test_a_will_at_qos_2(fleet, device, connect, name, version):
    watcher = connect(f"{name}-w", version=version)
    watcher.subscribe(name, qos=2)
    dying = Client(fleet, device(), f"{name}-d", version=version, will=(name, b"gone", 2)).connect()
    dying.abort()
    assert watcher.expect(1) == [b"gone"]
    assert watcher.received[0].qos == 2
    connect(f"{name}-p").publish(name, b"end", qos=2)
    assert watcher.expect_until(b"end") == [b"gone", b"end"]


@both
def test_a_retained_message_at_qos_2(connect, name, version):
    publisher = connect(f"{name}-p", version=version)
    mid = publisher.paho.publish(name, b"kept", 2, retain=True).mid
    eventually(lambda: publisher.acknowledged(mid) == 0, "PUBCOMP")
    for options in ({"version": version}, persistent(version)):
        subscriber = connect(f"{name}-{len(options)}", **options)
        subscriber.subscribe(name, qos=2)
        assert subscriber.expect(1) == [b"kept"]
        message = subscriber.received[0]
        assert message.retain and message.qos == 2, (options, message.qos)


@pytest.fixture(scope="module")
def aws(fleethaven) -> Fleethaven:
    return fleethaven("--profile", "aws")


def test_the_aws_profile_ends_a_connection_that_publishes_at_qos_2(aws, tmp_path):
    device = make_device(aws, tmp_path)
    five = Client(aws, device, "five").connect()
    assert five.connack_properties.MaximumQoS == 1
    # paho does not look at Maximum QoS.
    five.paho.publish("t", b"x", 2)
    assert five.closed() == QOS_NOT_SUPPORTED
    three = Client(aws, device, "three", version=V3).connect()
    three.paho.publish("t", b"x", 2)
    three.closed()


@both
def test_the_aws_profile_grants_qos_1(aws, tmp_path, version):
    client = Client(aws, make_device(aws, tmp_path), f"grants-{version}", version=version).connect()
    assert client.subscribe("t", "$share/g/t", qos=2) == [1, 1]
    assert client.publish("t", b"x", qos=1) == 0
    client.expect(2)
    assert {message.qos for message in client.received} == {1}
    client.disconnect()
