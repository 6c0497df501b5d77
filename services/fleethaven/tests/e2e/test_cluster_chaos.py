"""Processes of a cluster are killed, one after the other, while messages flow: nothing acknowledged is lost."""

import json
import threading

import pytest

from cluster import Cluster, Process
from clustered import anyone, running
from instance import eventually
from lab import ROLE
from mqtt_client import Client, Refused

__all__ = ["anyone"]

# What a fault may take until messages are acknowledged again, and how many must be after each.
SECONDS, MORE = 60, 25


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory, "--auth-max-staleness", "5")


class Reconnecting(threading.Thread):
    """A client that comes back, at another gateway, as often as it is thrown out."""

    def __init__(self, cluster: Cluster, device, client_id: str):
        super().__init__(daemon=True)
        self.cluster, self.device, self.client_id = cluster, device, client_id
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.client: Client | None = None

    def connected(self) -> Client | None:
        """The client, connected; `None` when it is time to stop."""
        while not self.stopping.is_set():
            if self.client and self.client.alive:
                return self.client
            try:
                client = Client(self.cluster, self.device, self.client_id, clean=False, expiry=3600)
                self.client = client.connect()
                self.arrived(self.client)
            except (Refused, AssertionError, OSError):
                self.stopping.wait(0.05)
        return None

    def arrived(self, client: Client):
        """Connected, again."""

    def run(self):
        try:
            self.work()
        except BaseException as failure:
            self.failure = failure

    def end(self):
        self.stopping.set()
        self.join(SECONDS)
        if self.client:
            self.client.close()
        if self.failure:
            raise self.failure


class Publisher(Reconnecting):
    """Publishes numbers at QoS 1, each until it is acknowledged."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.acknowledged: list[int] = []

    def work(self):
        number = 0
        while client := self.connected():
            payload = json.dumps({"number": number})
            try:
                done = client.publish("chaos/numbers", payload) == 0
            except AssertionError:
                client.close()
                done = False
            if done:
                self.acknowledged.append(number)
                number += 1

    def goes_on(self, fault: str):
        """Waits for more acknowledgements."""
        wanted = len(self.acknowledged) + MORE

        def more():
            assert self.failure is None, self.failure
            return len(self.acknowledged) >= wanted

        eventually(more, f"{MORE} acknowledgements after {fault}", SECONDS)


class Subscriber(Reconnecting):
    """Collects what a persistent session gets."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.clients: list[Client] = []
        self.subscribed = threading.Event()

    def arrived(self, client: Client):
        if not client.session_present:
            assert not self.clients, "the session was lost"
            client.subscribe("chaos/numbers", "chaos/copies")
        self.clients.append(client)
        self.subscribed.set()

    def work(self):
        while self.connected():
            self.stopping.wait(0.05)

    def numbers(self, topic: str) -> list[int]:
        """In the order in which they came, repetitions included."""
        received = [message for client in list(self.clients) for message in list(client.received)]
        return [json.loads(message.payload)["number"] for message in received if message.topic == topic]


def kill(process: Process, publisher: Publisher):
    publisher.goes_on(f"before {process.name} is killed")
    process.kill()
    publisher.goes_on(f"{process.name} was killed")
    process.start()
    eventually(process.is_ready, f"{process.name} is ready again", SECONDS)
    publisher.goes_on(f"{process.name} came back")


def test_nothing_acknowledged_is_lost_whoever_is_killed(cluster, anyone):
    payload = {
        "sql": "SELECT * FROM 'chaos/numbers'",
        "actions": [{"republish": {"roleArn": ROLE, "topic": "chaos/copies", "qos": 1}}],
    }
    cluster.iot.create_topic_rule(ruleName="copies", topicRulePayload=payload)
    subscriber = Subscriber(cluster, anyone, "subscriber")
    subscriber.start()
    assert subscriber.subscribed.wait(SECONDS), subscriber.failure
    publisher = Publisher(cluster, anyone, "publisher")
    publisher.start()
    for process in (
        cluster.routers[0],
        cluster.gateways[0],
        cluster.leader(),
        cluster.workers[0],
        cluster.routers[1],
        cluster.gateways[1],
    ):
        kill(process, publisher)
    publisher.end()
    acknowledged = set(publisher.acknowledged)
    for topic in ("chaos/numbers", "chaos/copies"):

        def missing(topic=topic):
            return acknowledged - set(subscriber.numbers(topic))

        eventually(lambda: not missing(), f"all of {topic}", SECONDS)
    subscriber.end()
    first_seen = list(dict.fromkeys(subscriber.numbers("chaos/numbers")))
    assert first_seen == sorted(first_seen), "in order, by first occurrence"


def test_api_writes_are_readable_after_the_leader_was_killed(cluster):
    names = [f"written-{number}" for number in range(5)]
    for name in names:
        cluster.client("iot").create_thing(thingName=name)
    leader = cluster.leader()
    leader.kill()
    try:

        def readable():
            for name in names:
                cluster.client("iot").describe_thing(thingName=name)
            return True

        assert readable()
    finally:
        leader.start()
    eventually(leader.is_ready, "the node is back", SECONDS)


def test_without_a_metastore_messages_flow_until_the_gateways_know_too_little(cluster, anyone):
    client = Client(cluster, anyone, "staying").connect()
    client.subscribe("staying/a")
    for node in cluster.nodes.metastores:
        node.kill()
    assert client.publish("staying/a", b"on") == 0, "nothing moves, and publishes go on"
    client.expect_until(b"on")
    late = Client(cluster, anyone, "late").connect()
    assert late.publish("staying/a", b"late") == 0, "who is known is let in"
    client.closed(seconds=SECONDS)

    def refused():
        try:
            Client(cluster, anyone, "too-late").connect().close()
        except Refused as refusal:
            return refusal.value == 0x88 or refusal.value is None
        return False

    eventually(refused, "new clients are refused", SECONDS)
    for gateway in cluster.gateways:
        eventually(lambda g=gateway: not g.is_ready(), f"{gateway.name} says so", SECONDS)
    for node in cluster.nodes.metastores:
        node.launch()
    cluster.nodes.until_ready(cluster.nodes.metastores)

    def admitted():
        try:
            Client(cluster, anyone, "again").connect().close()
        except (Refused, AssertionError):
            return False
        return True

    eventually(admitted, "clients are let in again", SECONDS)


def test_an_orderly_end_of_all(cluster):
    assert cluster.stop() == 0
