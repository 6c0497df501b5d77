"""Rules in a cluster: workers that die in the middle of an action, messages that kill every worker, and rules that change while messages
come."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections import Counter

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cluster import Process
from clustered import anyone, connect, running
from instance import binary, eventually
from lab import ROLE
from mqtt_client import Client
from receiving import HttpServer
from test_actions_aws import REGION

__all__ = ["anyone", "connect"]

#: A worker that died is found out by its lease, which is six seconds; machines of CI are slow.
TAKEN_OVER = 60
BURST = 200
#: After so many starts a message is not tried any more.
DELIVERIES = 5


class Target(HttpServer):
    """Where actions go. A call is answered after `hold` seconds, or at once when the target is let go: whoever calls is in the middle of
    an action until then."""

    #: less than the three seconds that an `http` action has
    hold = 1

    def __init__(self):
        self.bodies: list[bytes] = []
        self.tokens: list[str] = []
        self.answering = threading.Event()
        super().__init__()

    def answer(self, request):
        if "x-amz-rules-engine-message-type" in request.headers:
            self.tokens.append(json.loads(request.body)["confirmationToken"])
            return 200, b""
        self.bodies.append(request.body)
        self.answering.wait(self.hold)
        return 200, b"ok"

    def close(self):
        self.answering.set()
        super().close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory, outbound="127.0.0.0/8")


@pytest.fixture
def target():
    target = Target()
    yield target
    target.close()


@pytest.fixture(scope="module")
def cloud():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def put(cluster, tmp_path):
    def make(kind: str, endpoint: str):
        secret = tmp_path / "secret"
        secret.write_text("hush")
        where = ("--kind", kind, "--endpoint", endpoint, "--role", ROLE, "--rule", "*")
        operator = cluster.nodes.issue("operator", "operator")
        reach = ("--metastore", cluster.metastore, "--cluster-tls", operator)
        command = [binary(), "connection", "put", kind, *where, "--credentials-id", "AKIATEST", "--secret-file", secret, *reach]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    return make


def rule(cluster, name: str, sql: str, *actions: dict):
    payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": list(actions)}
    cluster.iot.create_topic_rule(ruleName=name, topicRulePayload=payload)


def at_work(workers: list[Process], kind: str) -> Process | None:
    """One of them that is in the middle of an action."""

    def calls(worker: Process) -> bool:
        sample = f'fleethaven_rule_target_calls{{action="{kind}"}} '
        return any(line.startswith(sample) and float(line.split()[-1]) > 0 for line in worker.admin("/metrics")[1].splitlines())

    return next((worker for worker in workers if worker.is_alive() and calls(worker)), None)


@pytest.mark.timeout(240)
def test_a_worker_that_dies_in_the_middle_of_an_action(cluster, connect, target, cloud, put):
    """Another one takes over what it had claimed: every message of the burst arrives at least once."""
    put("sqs", cloud)
    key = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "hush"}
    sqs = boto3.client("sqs", endpoint_url=cloud, region_name=REGION, **key)
    queue = sqs.create_queue(QueueName="burst")["QueueUrl"]
    url = {"url": f"{target.origin}/burst"}
    rule(cluster, "burst", "SELECT * FROM 'burst/+'", {"http": url}, {"sqs": {"roleArn": ROLE, "queueUrl": queue}})
    [token] = eventually(lambda: target.tokens, "the challenge")
    cluster.iot.confirm_topic_rule_destination(confirmationToken=token)
    sensor = connect("sensor")

    def let_through():
        sensor.publish("burst/first", b"-1")
        return b"-1" in target.bodies

    eventually(let_through, "the rule is at work", TAKEN_OVER, 0.5)
    sent = [sensor.publish_later(f"burst/{n % 20}", str(n)) for n in range(BURST)]
    busy = eventually(lambda: at_work(cluster.workers, "http"), "a worker in the middle of an action")
    busy.kill()
    target.answering.set()
    eventually(lambda: all(sensor.acknowledged(mid) == 0 for mid in sent), "all are acknowledged", TAKEN_OVER)
    numbers = {str(n).encode() for n in range(BURST)}
    eventually(lambda: numbers <= set(target.bodies), "every message at the HTTP target", TAKEN_OVER)
    queued = set()

    def all_queued():
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        queued.update(message["Body"].encode() for message in messages)
        return numbers <= queued

    eventually(all_queued, "every message in the queue", TAKEN_OVER)
    busy.start()
    eventually(busy.is_ready, "the worker is back", TAKEN_OVER)
    cluster.iot.delete_topic_rule(ruleName="burst")


@pytest.mark.timeout(240)
def test_a_worker_that_is_told_to_stop_finishes_what_it_has_begun(cluster, connect, target):
    """A rolling update under load: workers are stopped in turn, each in the middle of actions. Nothing is lost, and nothing comes twice."""
    target.hold = 0.5
    rule(cluster, "rolling", "SELECT * FROM 'rolling/+'", {"http": {"url": f"{target.origin}/rolling"}})
    [token] = eventually(lambda: target.tokens, "the challenge")
    cluster.iot.confirm_topic_rule_destination(confirmationToken=token)
    sensor = connect("rolling")

    def let_through():
        sensor.publish("rolling/first", b"-1")
        return b"-1" in target.bodies

    eventually(let_through, "the rule is at work", TAKEN_OVER, 0.5)
    sent, enough = [], threading.Event()

    def keep_publishing():
        # Some twenty actions at a time.
        while not enough.wait(0.025):
            sent.append(sensor.publish_later(f"rolling/{len(sent) % 20}", str(len(sent))))

    publishing = threading.Thread(target=keep_publishing)
    publishing.start()
    try:
        for worker in cluster.workers:
            eventually(lambda: at_work([worker], "http"), f"{worker.name} in the middle of an action", TAKEN_OVER)  # noqa: B023
            assert worker.stop() == 0
            worker.start()
            eventually(worker.is_ready, f"{worker.name} is back", TAKEN_OVER)
    finally:
        enough.set()
        publishing.join()
    eventually(lambda: all(sensor.acknowledged(mid) == 0 for mid in sent), "all are acknowledged", TAKEN_OVER)
    arrived = lambda: Counter(int(body) for body in target.bodies if body != b"-1")  # noqa: E731
    eventually(lambda: set(arrived()) == set(range(len(sent))), "none is lost", TAKEN_OVER)
    eventually(lambda: at_work(cluster.workers, "http") is None, "no action is under way", TAKEN_OVER)
    assert set(arrived().values()) == {1}, "none came twice"
    cluster.iot.delete_topic_rule(ruleName="rolling")


@pytest.mark.timeout(420)
def test_a_message_that_kills_every_worker_is_a_dead_letter(cluster, connect, target, put):
    put("iotEvents", target.origin)
    rule(cluster, "poison", "SELECT * FROM 'poison'", {"iotEvents": {"roleArn": ROLE, "inputName": "in"}})
    sensor = connect("sensor")
    listed = None

    def dead_letters(*command: object) -> list[dict]:
        command = [binary(), "dead-letter", *command, "--admin", cluster.workers[0].ready["admin"], "--json"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    published = 0

    def first():
        # What is published before the workers know the rule is no work for them.
        nonlocal published
        sensor.publish("poison", b'{"n": 1}')
        published += 1
        return at_work(cluster.workers, "iotEvents")

    # Longer than an action may take: nobody who is called so finishes.
    target.hold = 30
    worker = eventually(first, "a worker in the middle of the action", TAKEN_OVER, 1)

    def next_victim():
        nonlocal worker, listed
        worker, listed = at_work(cluster.workers, "iotEvents"), dead_letters("list")
        return worker or listed

    # A worker may hold any of the messages, and its death counts for those that it holds.
    for _ in range(DELIVERIES * published):
        worker.kill()
        worker.start()
        eventually(next_victim, "another worker takes it over, or it is given up", TAKEN_OVER)
        if listed:
            break
    else:
        pytest.fail("no dead letter")
    letter = listed[0]
    assert letter["topic"] == "poison" and letter["rules"] == ["poison"] and letter["deliveries"] >= DELIVERIES
    assert base64.b64decode(letter["payload_base64"]) == b'{"n": 1}' and "without being finished" in letter["reason"]
    target.answering.set()
    before = len(target.bodies)
    dead_letters("redrive", letter["id"])
    eventually(lambda: len(target.bodies) > before, "the message once more", TAKEN_OVER)
    cluster.iot.delete_topic_rule(ruleName="poison")


class Numbers:
    """Publishes numbers, each when the one before is acknowledged, until it is ended."""

    def __init__(self, client: Client, topic: str):
        self.client, self.topic, self.count = client, topic, 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending.is_set():
            assert self.client.publish(self.topic, str(self.count)) == 0
            self.count += 1

    def end(self):
        self.ending.set()
        self.thread.join()


@pytest.mark.timeout(240)
def test_rules_change_while_messages_come(cluster, connect):
    """Replaced, disabled, enabled and deleted: no number is missed or doubled at a switch. A second rule, which does not change, tells which
    messages have been through the workers."""
    watching = connect("watching")
    watching.subscribe("seen/#")

    def to(topic: str) -> dict:
        return {"republish": {"roleArn": ROLE, "topic": f"seen/{topic}", "qos": 1}}

    def replace(topic: str, **more):
        payload = {"sql": "SELECT * FROM 'numbers'", "awsIotSqlVersion": "2016-03-23", "actions": [to(topic)]}
        cluster.iot.replace_topic_rule(ruleName="switched", topicRulePayload=payload | more)

    rule(cluster, "always", "SELECT * FROM 'numbers'", to("always"))
    rule(cluster, "switched", "SELECT * FROM 'numbers'", to("old"))

    def seen(topic: str) -> Counter:
        return Counter(int(message.payload) for message in list(watching.received) if message.topic == f"seen/{topic}")

    def either() -> Counter:
        return seen("old") + seen("new")

    numbers = Numbers(connect("counting"), "numbers")
    try:

        def goes_through(topics) -> int:
            """Waits until a number that is published from now on has come by one of the topics; which one it is."""
            since = numbers.count + 1
            newer = lambda: [n for topic in topics for n in seen(topic) if n >= since]  # noqa: E731
            return min(eventually(newer, f"a number by {topics}", TAKEN_OVER))

        def stopped() -> int:
            """Waits until a number has been through the workers without the rule; which one it is."""
            since = numbers.count + 1

            def without():
                executed, always = either(), sorted(n for n in seen("always") if n >= since)
                # What was published long before the last one would have come by now.
                gone = [n for n in always if n not in executed]
                return len(gone) > 20 and gone[0]

            return eventually(without, "the rule does not run", TAKEN_OVER)

        first = goes_through(["old"])
        for topic in ("new", "old", "new"):
            replace(topic)
            goes_through([topic])
        before = max(either())
        cluster.iot.disable_topic_rule(ruleName="switched")
        stopped()
        cluster.iot.enable_topic_rule(ruleName="switched")
        again = goes_through(["new"])
        replace("old")
        after = goes_through(["old"])
        cluster.iot.delete_topic_rule(ruleName="switched")
        stopped()
    finally:
        numbers.end()
    last = numbers.count - 1
    eventually(lambda: last in seen("always"), "the last number", TAKEN_OVER)
    executed = either()
    assert set(executed.values()) == {1} and set(seen("always").values()) == {1}, "none twice"
    assert sorted(seen("always"))[-1] == last
    missed = set(range(first, before)) - set(executed)
    assert not missed, f"missed while the rule was replaced: {sorted(missed)}"
    missed = set(range(again, after)) - set(executed)
    assert not missed, f"missed after the rule was enabled: {sorted(missed)}"
    cluster.iot.delete_topic_rule(ruleName="always")
