"""What the broker tells when clients come, go and subscribe (AWS page "Lifecycle events")."""

import json
import re
import time

import pytest

from device import allow, policy
from instance import eventually
from mqtt_client import BOTH_VERSIONS, V3, Refused

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def events(connect, name):
    """The events of clients named after the test, as (family, event), in order of arrival."""
    watcher = connect(name + "-watcher")
    assert watcher.subscribe("$aws/events/presence/#", "$aws/events/subscriptions/#") == [1, 1]

    def read(count: int, client_id: str = name):
        def found():
            mine = [message for message in watcher.received if message.topic.split("/", 4)[4] == client_id]
            return [("/".join(m.topic.split("/")[2:4]), json.loads(m.payload)) for m in mine]

        return eventually(lambda: len(found()) >= count and found(), f"{count} events of {client_id}")

    read.watcher = watcher
    return read


def described(event: dict) -> dict:
    """The event without what differs each time, which is checked."""
    assert UUID.fullmatch(event["sessionIdentifier"])
    assert abs(event["timestamp"] - time.time() * 1000) < 120_000
    return {k: v for k, v in event.items() if k not in ("sessionIdentifier", "timestamp", "versionNumber")}


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_client_comes_subscribes_and_goes(connect, device, events, name, version):
    cert = device()
    client = connect(name, cert, version=version)
    client.subscribe("a/+", "b")
    client.unsubscribe("b")
    client.disconnect()
    found = events(4)
    families = [family for family, _ in found]
    assert families == [
        "presence/connected",
        "subscriptions/subscribed",
        "subscriptions/unsubscribed",
        "presence/disconnected",
    ]
    base = {"clientId": name, "principalIdentifier": cert.id}
    connected, subscribed, unsubscribed, disconnected = (event for _, event in found)
    assert described(connected) == base | {"eventType": "connected", "ipAddress": "127.0.0.1"}
    assert described(subscribed) == base | {"eventType": "subscribed", "topics": ["a/+", "b"]}
    assert described(unsubscribed) == base | {"eventType": "unsubscribed", "topics": ["b"]}
    assert described(disconnected) == base | {
        "eventType": "disconnected",
        "clientInitiatedDisconnect": True,
        "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
    }
    assert connected["versionNumber"] == disconnected["versionNumber"]
    assert len({event["sessionIdentifier"] for _, event in found}) == 1


def test_a_takeover_tells_of_both_connections(connect, events, name):
    connect(name)
    connect(name)
    found = events(3)
    connected = [event for family, event in found if family == "presence/connected"]
    [gone] = [event for family, event in found if family == "presence/disconnected"]
    first, second = sorted(connected, key=lambda event: event["versionNumber"])
    assert gone["disconnectReason"] == "DUPLICATE_CLIENTID" and not gone["clientInitiatedDisconnect"]
    assert (gone["versionNumber"], gone["sessionIdentifier"]) == (first["versionNumber"], first["sessionIdentifier"])
    assert second["versionNumber"] > first["versionNumber"]


def ended_by_the_socket(client, **_):
    client.abort()


def ended_by_the_api(client, fleet, name):
    fleet.client("iot-data").delete_connection(clientId=name)


def ended_by_misuse(client, **_):
    client.paho.publish("x", b"y" * (8 << 20), 0)


def ended_by_revocation(client, fleet, cert, **_):
    fleet.iot.update_certificate(certificateId=cert.id, newStatus="REVOKED")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (ended_by_the_socket, "CONNECTION_LOST"),
        (ended_by_the_api, "API_INITIATED_DISCONNECT"),
        (ended_by_misuse, "CLIENT_ERROR"),
        (ended_by_revocation, "SERVER_INITIATED_DISCONNECT"),
    ],
)
def test_reasons(fleet, connect, device, events, name, how, reason):
    cert = device()
    client = connect(name, cert)
    how(client, fleet=fleet, name=name, **({"cert": cert} if how is ended_by_revocation else {}))
    _, (family, event) = events(2)
    assert (family, event["disconnectReason"]) == ("presence/disconnected", reason)
    assert event["clientInitiatedDisconnect"] is False


def test_a_denied_publish_ends_with_auth_error(connect, device, events, name):
    client = connect(name, device(policy(allow("Connect", "*"))), version=V3)
    client.publish_later("secret", b"x", qos=1)
    client.closed()
    _, (_, event) = events(2)
    assert event["disconnectReason"] == "AUTH_ERROR"


def test_a_silent_client_is_told_of(connect, events, name):
    client = connect(name, keep_alive=1)
    client.paho.loop_stop()
    _, (_, event) = events(2)
    assert event["disconnectReason"] == "MQTT_KEEP_ALIVE_TIMEOUT"
    client.paho.loop_start()
    client.closed()


def test_only_refused_authorization_is_a_failed_connect(connect, device, events, name):
    stranger = device(policy(allow("Connect", "client/other")))
    with pytest.raises(Refused):
        connect(name, stranger)
    [(family, event)] = events(1)
    assert family == "presence/connect_failed"
    assert described(event) == {
        "clientId": name,
        "eventType": "connect_failed",
        "principalIdentifier": stranger.id,
        "ipAddress": "127.0.0.1",
        "connectFailureReason": "AUTHORIZATION_FAILED",
    }
    live = connect(name)
    with pytest.raises(Refused):
        connect(name, stranger)
    assert [family for family, _ in events(3)] == [
        "presence/connect_failed",
        "presence/connected",
        "presence/connect_failed",
    ]
    assert live.alive


def test_a_will_that_is_not_allowed_is_a_failed_connect(connect, device, events, name):
    with pytest.raises(Refused):
        connect(name, device(policy(allow("Connect", "*"))), will=("secret", b"x", 0))
    [(family, _)] = events(1)
    assert family == "presence/connect_failed"


def test_client_ids_with_wildcards_have_no_events(connect, events, name):
    connect(f"{name}+1").disconnect()
    connect(f"{name}#").disconnect()
    connect(f"{name}/a").disconnect()
    assert len(events(2, f"{name}/a")) == 2
    assert not [m for m in events.watcher.received if m.topic.endswith(("+1", "#"))]


def test_the_exclusive_thing_is_named(iot, connect, device, events, name):
    shared, exclusive = device(), device()
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=shared.arn)
    connect(name, shared).disconnect()
    assert all("thingName" not in event for _, event in events(2))
    iot.detach_thing_principal(thingName=name, principal=shared.arn)
    iot.attach_thing_principal(thingName=name, principal=exclusive.arn, thingPrincipalType="EXCLUSIVE_THING")
    connect(name + "-2", exclusive).disconnect()
    assert all(event["thingName"] == name for _, event in events(2, name + "-2"))


def test_rules_see_events(iot, connect, name):
    listener = connect(name + "-listener")
    listener.subscribe(f"{name}/seen")
    republish = {"republish": {"topic": f"{name}/seen", "roleArn": "arn:aws:iam::123456789012:role/r", "qos": 1}}
    sql = f"SELECT clientId, eventType FROM '$aws/events/presence/connected/{name}'"
    iot.create_topic_rule(ruleName=name, topicRulePayload={"sql": sql, "actions": [republish]})
    connect(name)
    assert json.loads(listener.expect(1)[0]) == {"clientId": name, "eventType": "connected"}


def test_events_need_a_policy(connect, device, name):
    limited = connect(name + "-l", device(policy(allow("Connect", "*"), allow("Subscribe", "*"))))
    limited.subscribe("$aws/events/presence/#")
    open_to_all = connect(name + "-o")
    open_to_all.subscribe("$aws/events/presence/#")
    connect(name)
    open_to_all.expect(1)
    assert limited.received == []


def test_events_wait_for_a_persistent_session(connect, name):
    watcher = connect(name + "-w", expiry=300)
    watcher.subscribe(f"$aws/events/presence/+/{name}")
    watcher.disconnect()
    connect(name).disconnect()
    again = connect(name + "-w", clean=False, expiry=300)
    types = [json.loads(payload)["eventType"] for payload in again.expect(2)]
    assert types == ["connected", "disconnected"]


def test_connections_that_a_crash_ended_are_told_of_once(fleethaven, connect, tmp_path, name):
    fleet = fleethaven()
    watcher = connect(name + "-w", to=fleet, expiry=300)
    watcher.subscribe("$aws/events/presence/disconnected/+")
    connect("clean", to=fleet)
    connect("lasting", to=fleet, expiry=300)
    connect("willed", to=fleet, will=("w", b"x", 0))
    for _ in range(2):
        fleet.restart_after_kill()
    again = connect(name + "-w", to=fleet, clean=False, expiry=300)
    again.subscribe("end")
    again.publish("end", b"end")
    told = [json.loads(payload) for payload in again.expect_until(b"end")[:-1]]
    assert sorted(event["clientId"] for event in told) == ["clean", "lasting", name + "-w", "willed"]
    assert {event["disconnectReason"] for event in told} == {"SERVER_ERROR"}
    assert all(UUID.fullmatch(event["sessionIdentifier"]) and event["principalIdentifier"] for event in told)
