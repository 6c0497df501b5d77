"""Shadows in a cluster: a request reaches the metadata store through any gateway, and what follows reaches everybody."""

import json
import subprocess
import time

import pytest

from clustered import running
from device import make_device
from instance import binary, eventually
from lab import ROLE
from mqtt_client import Client
from test_cluster_operations import leaders

THING = "$aws/things/lamp/shadow"


@pytest.fixture
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory)


def reported(n: int) -> str:
    return json.dumps({"state": {"reported": {"n": n}}})


@pytest.mark.timeout(300)
def test_an_update_by_mqtt_is_one_write_of_the_metadata_store(cluster, tmp_path):
    """Counted are the log entries of the state groups. What was published is noted in batches: every 256 entries, or after five seconds."""
    updates = 300
    writer = Client(cluster, make_device(cluster, tmp_path), "writer").connect()
    operator = cluster.nodes.issue("operator", "operator")
    command = [binary(), "metastore", "status", "--metastore", cluster.metastore, "--cluster-tls", operator]

    def status() -> list[dict]:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def entries() -> tuple[int, list[int]]:
        """Of all state groups together, as their leaders tell, and the terms of these: a change of leaders is an entry, too."""
        led = [group for node in status() for group in node["state_groups"] if group["role"] == "leader"]
        return sum(group["last"] for group in led), sorted(group["term"] for group in led)

    def measured() -> tuple[int, float] | None:
        """How many entries so many updates are, and how long they took, unless leaders changed meanwhile."""
        nonlocal version
        (before, terms), began = entries(), time.monotonic()
        for _ in range(updates):
            version += 1
            assert writer.publish(f"{THING}/update", reported(version)) == 0
        after, then = entries()
        return (after - before, time.monotonic() - began) if terms == then else None

    version = 1
    assert writer.publish(f"{THING}/update", reported(version)) == 0
    eventually(lambda: leaders(status()) == [1, 2, 3, 1], "each group is led by its own node", 120)
    written, took = eventually(measured, "leaders that stay", 120)
    assert updates <= written <= updates + updates // 256 + took // 5 + 2
    kept = cluster.client("iot-data").get_thing_shadow(thingName="lamp")["payload"].read()
    assert json.loads(kept)["version"] == version
    writer.close()


def test_updates_are_told_of_whichever_metastore_node_is_killed(cluster, tmp_path):
    device = make_device(cluster, tmp_path)
    # Connections go to the gateways in turns: these two are at different ones.
    watcher = Client(cluster, device, "watcher").connect()
    writer = Client(cluster, device, "writer").connect()
    watcher.subscribe(f"{THING}/update/documents", f"{THING}/get/accepted")

    def versions() -> list[int]:
        documents = (json.loads(payload) for payload in watcher.payloads())
        return [document["current"]["version"] for document in documents if "current" in document]

    data = cluster.client("iot-data")
    data.update_thing_shadow(thingName="lamp", payload=reported(0))
    for n in range(1, 6):
        assert writer.publish(f"{THING}/update", reported(n)) == 0
    eventually(lambda: list(dict.fromkeys(versions())) == list(range(1, 7)), "the documents of six updates", 30)
    leader = cluster.leader()
    leader.kill()
    for n in range(6, 11):
        # Until there is a leader, there is no acknowledgement.
        mid = writer.publish_later(f"{THING}/update", reported(n))
        eventually(lambda mid=mid: writer.acknowledged(mid) == 0, f"PUBACK of update {n}", 60)
    eventually(lambda: list(dict.fromkeys(versions())) == list(range(1, 12)), "the documents of all updates", 60)
    # A rule's republish is a request, too.
    republish = {"republish": {"roleArn": ROLE, "topic": f"${THING}/update", "qos": 1}}
    cluster.iot.create_topic_rule(
        ruleName="last_words", topicRulePayload={"sql": "SELECT * FROM 'last/words'", "actions": [republish]}
    )
    writer.publish("last/words", reported(11))
    eventually(lambda: 12 in versions(), "the documents of the rule's update", 60)
    writer.publish(f"{THING}/get")

    def answer() -> dict | None:
        return json.loads(watcher.payloads()[-1]).get("state")

    eventually(lambda: answer() == {"reported": {"n": 11}}, "the answer to a get", 30)
    for client in (writer, watcher):
        client.close()
