"""What was acknowledged survives: SIGKILL at any moment, a restart, and an orderly drain."""

import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from device import make_device
from instance import Fleethaven, eventually
from lab import ROLE
from mqtt_client import BOTH_VERSIONS, V3, V5, Client, Refused

KILLS = 6


@pytest.fixture
def fleet(tmp_path):
    """An instance of the test's own, for it will be killed."""
    instance = Fleethaven(tmp_path / "data").start()
    yield instance
    instance.close()


def kill_when(fleet: Fleethaven, enough, seconds: float = 20):
    """Kills the instance at the moment that `enough()` turns true, while others still write."""
    eventually(enough, "the writers' progress", seconds, pause=0.001)
    fleet.kill()


def test_no_acknowledged_message_is_lost_by_sigkill(fleet, tmp_path):
    """QoS 1 publishing to an offline persistent subscriber, killed again and again at other moments."""
    device = make_device(fleet, tmp_path)

    def subscriber(clean: bool) -> Client:
        return Client(fleet, device, "subscriber", clean=clean, expiry=3600).connect()

    first = subscriber(clean=True)
    first.subscribe("durable/#")
    first.disconnect()
    acknowledged: list[bytes] = []
    for round_number in range(KILLS):
        publisher = Client(fleet, device, f"publisher-{round_number}").connect()
        sent: dict[int, bytes] = {}
        for n in range(400):
            payload = b"%d-%d" % (round_number, n)
            sent[publisher.publish_later("durable/a", payload)] = payload
        threshold = 20 + 60 * round_number
        kill_when(
            fleet, lambda p=publisher, s=sent, t=threshold: sum(p.acknowledged(mid) == 0 for mid in s) >= t
        )
        publisher.closed()
        acknowledged += [payload for mid, payload in sent.items() if publisher.acknowledged(mid) == 0]
        fleet.start()
    again = subscriber(clean=False)
    assert again.session_present, "the session was lost"
    publisher = Client(fleet, device, "last").connect()
    publisher.publish("durable/a", b"end")
    got = again.expect_until(b"end", seconds=30)
    lost = set(acknowledged) - set(got)
    assert not lost, (
        f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost, such as {sorted(lost)[:5]}"
    )
    firsts = list(dict.fromkeys(got))
    assert firsts == sorted(firsts[:-1], key=lambda p: [int(x) for x in p.split(b"-")]) + [b"end"], (
        "out of order"
    )
    again.close()
    publisher.close()


def things_made_until_killed(fleet: Fleethaven, prefix: str, least: int) -> list[str]:
    """Two writers create things; the process is killed under them after `least` answers. What was answered."""
    answered: list[str] = []

    def write(writer: int):
        iot = fleet.client("iot")
        for n in range(10_000):
            name = f"{prefix}-w{writer}-{n}"
            try:
                iot.create_thing(thingName=name, attributePayload={"attributes": {"n": str(n)}})
            except (BotoCoreError, ClientError, OSError):
                return
            answered.append(name)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for writer in writers:
        writer.start()
    kill_when(fleet, lambda: len(answered) >= least)
    for writer in writers:
        writer.join(30)
    return answered


def test_no_acknowledged_api_write_is_lost_by_sigkill(fleet):
    """Two writers create things until the process is killed; each answered one is there after the restart."""
    answered: list[str] = []
    for round_number in range(KILLS):
        answered += things_made_until_killed(fleet, f"r{round_number}", least=5 + 7 * round_number)
        fleet.start()
    present = set()
    for page in fleet.iot.get_paginator("list_things").paginate():
        present |= {thing["thingName"] for thing in page["things"]}
    lost = set(answered) - present
    assert not lost, f"{len(lost)} of {len(answered)} answered things are lost, such as {sorted(lost)[:5]}"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_keeps_everything(fleet, tmp_path, how):
    iot = fleet.iot
    device = make_device(fleet, tmp_path)
    iot.create_thing_type(thingTypeName="type")
    iot.create_thing(thingName="thing", thingTypeName="type", attributePayload={"attributes": {"a": "1"}})
    iot.attach_thing_principal(thingName="thing", principal=device.arn)
    republish = {"republish": {"roleArn": ROLE, "topic": "out/${topic(2)}", "qos": 1}}
    iot.create_topic_rule(
        ruleName="rule", topicRulePayload={"sql": "SELECT * FROM 'in/+'", "actions": [republish]}
    )
    iot.tag_resource(resourceArn=fleet.arn("rule/rule"), tags=[{"Key": "k", "Value": "v"}])
    for version, client_id in ((V3, "three"), (V5, "five")):
        client = Client(
            fleet, device, client_id, version=version, clean=False, expiry=3600 if version == V5 else None
        )
        client.connect().subscribe("out/+")
        client.disconnect()
    publisher = Client(fleet, device, "before").connect()
    publisher.publish("in/x", b"before")
    publisher.publish("out/y", b"direct")
    publisher.disconnect()

    if how == "stop":
        assert fleet.stop() == 0
    else:
        fleet.kill()
    fleet.start()

    iot = fleet.iot
    thing = iot.describe_thing(thingName="thing")
    assert (thing["attributes"], thing["thingTypeName"], thing["version"]) == ({"a": "1"}, "type", 1)
    assert iot.list_thing_principals(thingName="thing")["principals"] == [device.arn]
    assert iot.list_attached_policies(target=device.arn)["policies"][0]["policyName"] == device.policy_name
    assert iot.get_topic_rule(ruleName="rule")["rule"]["sql"] == "SELECT * FROM 'in/+'"
    assert iot.list_tags_for_resource(resourceArn=fleet.arn("rule/rule"))["tags"] == [
        {"Key": "k", "Value": "v"}
    ]
    for version, client_id in ((V3, "three"), (V5, "five")):
        client = Client(
            fleet, device, client_id, version=version, clean=False, expiry=3600 if version == V5 else None
        )
        client.connect()
        assert client.session_present, f"the session of {client_id} was lost"
        assert sorted(set(client.expect(2))) == [b"before", b"direct"]
        client.close()
    publisher = Client(fleet, device, "after").connect()
    watcher = Client(fleet, device, "watcher").connect()
    watcher.subscribe("out/+")
    publisher.publish("in/x", b"after")
    assert watcher.expect_until(b"after")[-1] == b"after"
    publisher.close()
    watcher.close()


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_sigterm_drains(fleet, tmp_path, version):
    device = make_device(fleet, tmp_path)
    clients = [Client(fleet, device, f"drained-{n}", version=version).connect() for n in range(5)]
    started = time.monotonic()
    code = fleet.stop()
    assert code == 0, f"exit code {code}"
    assert time.monotonic() - started < 10, "the drain took longer than the grace period"
    for client in clients:
        reason = client.closed()
        if version == V5:
            assert reason == 0x8B, f"DISCONNECT {reason:#x}"


def test_sigterm_under_load_loses_nothing_acknowledged(fleet, tmp_path):
    device = make_device(fleet, tmp_path)
    first = Client(fleet, device, "subscriber", clean=False, expiry=3600).connect()
    first.subscribe("drain/#")
    first.disconnect()
    publisher = Client(fleet, device, "publisher").connect()
    sent = {}
    for n in range(2000):
        sent[publisher.publish_later("drain/a", b"%d" % n)] = b"%d" % n
    assert fleet.stop() == 0
    publisher.closed()
    acknowledged = {payload for mid, payload in sent.items() if publisher.acknowledged(mid) == 0}
    fleet.start()
    again = Client(fleet, device, "subscriber", clean=False, expiry=3600).connect()
    last = Client(fleet, device, "last").connect()
    last.publish("drain/a", b"end")
    lost = acknowledged - set(again.expect_until(b"end"))
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost"
    again.close()
    last.close()


def test_a_revoked_certificate_stays_revoked_after_sigkill(fleet, tmp_path):
    device = make_device(fleet, tmp_path)
    fleet.iot.update_certificate(certificateId=device.id, newStatus="REVOKED")
    fleet.restart_after_kill()
    with pytest.raises(Refused):
        Client(fleet, device, "revoked").connect()


def test_how_a_client_left_is_known_after_sigkill(fleet, tmp_path):
    device = make_device(fleet, tmp_path)
    data = fleet.client("iot-data")
    fleet.iot.create_thing(thingName="left")
    fleet.iot.attach_thing_principal(thingName="left", principal=device.arn)
    Client(fleet, device, "left", keep_alive=90).connect().disconnect()
    Client(fleet, device, "lost", clean=False, expiry=300).connect().abort()
    for client_id in ("left", "lost"):
        eventually(lambda c=client_id: not data.get_connection(clientId=c)["connected"], f"{client_id}'s end")
    before = {client_id: described(data, client_id) for client_id in ("left", "lost")}
    assert before["left"]["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT"
    assert (before["left"]["cleanSession"], before["left"]["keepAliveDuration"]) == (True, 90)
    assert (before["lost"]["disconnectReason"], before["lost"]["sessionExpiry"]) == ("CONNECTION_LOST", 300)
    Client(fleet, device, "live").connect()
    fleet.restart_after_kill()

    data = fleet.client("iot-data")
    assert {client_id: described(data, client_id) for client_id in before} == before
    live = described(data, "live")
    assert (live["connected"], live["disconnectReason"]) == (False, "SERVER_ERROR")


def described(data, client_id: str) -> dict:
    found = data.get_connection(clientId=client_id)
    del found["ResponseMetadata"]
    return found
