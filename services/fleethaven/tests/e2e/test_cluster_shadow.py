"""Shadows in a cluster: a request reaches the metadata store through any gateway, and what follows reaches everybody."""

import json

import pytest

from clustered import running
from device import make_device
from instance import eventually
from lab import ROLE
from mqtt_client import Client

THING = "$aws/things/lamp/shadow"


@pytest.fixture
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory)


def reported(n: int) -> str:
    return json.dumps({"state": {"reported": {"n": n}}})


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
