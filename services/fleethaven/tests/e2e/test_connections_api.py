"""The connections API: who is connected, ending a connection, what it subscribes to, direct messages."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from control_plane import flat, invalid, missing, pages, refused
from device import allow, policy
from instance import address, eventually
from mqtt_client import V3, V5
from signed import https


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--https-mtls", "127.0.0.1:0")


@pytest.fixture(scope="module")
def data(fleet):
    return fleet.client("iot-data")


def test_a_connection_is_described(fleet, iot, data, connect, device, name):
    cert = device()
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=cert.arn)
    before = int(time.time() * 1000)
    client = connect(name, cert, expiry=120, keep_alive=90)
    found = data.get_connection(clientId=name)
    del found["ResponseMetadata"]
    assert before <= found.pop("connectedSince") <= int(time.time() * 1000)
    assert found == {
        "connected": True,
        "clientId": name,
        "thingName": name,
        "cleanSession": False,
        "keepAliveDuration": 90,
        "sessionExpiry": 120,
    }
    found = data.get_connection(clientId=name, includeSocketInformation=True)
    own_ip, own_port = client.paho.socket().getsockname()[:2]
    assert (found["sourceIp"], found["sourcePort"]) == (own_ip, own_port)
    assert (found["targetIp"], found["targetPort"]) == ("127.0.0.1", fleet.mqtt_tls[1])


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "clean"])
def test_how_a_client_left_is_told(data, connect, name, persistent):
    client = connect(name, expiry=300 if persistent else 0)
    client.disconnect()
    left = eventually(lambda: gone(data, name), "the client being gone")
    assert left["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT" and left["disconnectedSince"] > 0
    assert left["cleanSession"] is not persistent and "connectedSince" not in left
    lost = connect(name)
    lost.abort()
    eventually(lambda: (gone(data, name) or {}).get("disconnectReason") == "CONNECTION_LOST", "the loss")


def gone(data, client_id) -> dict | None:
    found = data.get_connection(clientId=client_id)
    return None if found["connected"] else found


def test_unknown_clients_and_wrong_ids(data, name):
    for operation in (data.get_connection, data.delete_connection, data.list_subscriptions):
        missing(operation, clientId=name)
        invalid(operation, clientId="$" + name)
    missing(data.send_direct_message, clientId=name, topic="t")


@pytest.mark.parametrize("version", [V3, V5], ids=["3.1.1", "5"])
def test_a_connection_is_deleted(data, connect, name, version):
    watcher = connect(name + "-w")
    watcher.subscribe(f"wills/{name}")
    client = connect(name, version=version, will=(f"wills/{name}", b"gone", 1))
    data.delete_connection(clientId=name)
    code = client.closed()
    if version == V5:
        assert code == 0x98
    assert watcher.expect(1) == [b"gone"]
    assert data.get_connection(clientId=name)["disconnectReason"] == "API_INITIATED_DISCONNECT"
    connect(name).close()


def test_a_will_is_prevented(data, connect, name):
    watcher = connect(name + "-w")
    watcher.subscribe(f"wills/{name}")
    client = connect(name, will=(f"wills/{name}", b"gone", 1))
    data.delete_connection(clientId=name, preventWillMessage=True)
    client.closed()
    watcher.publish(f"wills/{name}", b"end")
    assert watcher.expect_until(b"end") == [b"end"]


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
@pytest.mark.parametrize("clean_session", [True, False], ids=["with its session", "alone"])
def test_a_persistent_session_is_deleted_or_not(data, connect, name, online, clean_session):
    client = connect(name, expiry=300)
    client.subscribe("a")
    if not online:
        client.disconnect()
        eventually(lambda: gone(data, name), "the client being gone")
    data.delete_connection(clientId=name, cleanSession=clean_session)
    if online:
        client.closed()
    again = connect(name, clean=False, expiry=300)
    assert again.session_present is not clean_session


def test_subscriptions_are_listed(data, connect, name):
    filters = [f"{name}/{letter}" for letter in "abcd"] + [f"{name}/#"]
    client = connect(name, expiry=300)
    for index, one in enumerate(filters):
        client.subscribe(one, qos=index % 2)
    expected = sorted((one, index % 2) for index, one in enumerate(filters))

    def listed():
        found = pages(data.list_subscriptions, "subscriptions", "maxResults", "nextToken", clientId=name)
        assert flat(found, "topicFilter") == sorted(filters)
        return [(item["topicFilter"], item["qos"]) for page in found for item in page]

    assert listed() == expected
    client.unsubscribe(filters[0])
    client.subscribe(filters[0], qos=0)
    assert listed() == expected
    client.disconnect()
    eventually(lambda: gone(data, name), "the client being gone")
    assert listed() == expected
    clean = connect(name + "-clean")
    assert data.list_subscriptions(clientId=name + "-clean")["subscriptions"] == []
    clean.subscribe("x", qos=1)
    assert data.list_subscriptions(clientId=name + "-clean")["subscriptions"] == [{"topicFilter": "x", "qos": 1}]
    invalid(data.list_subscriptions, clientId=name, nextToken="?")


@pytest.mark.parametrize("confirmation", [True, False], ids=["confirmed", "not confirmed"])
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "clean"])
def test_a_direct_message_reaches_its_client_alone(data, connect, name, confirmation, persistent):
    other = connect(name + "-other")
    other.subscribe("#")
    client = connect(name, expiry=300 if persistent else 0)
    answer = data.send_direct_message(
        clientId=name,
        topic="to/you",
        payload=b"\x00now",
        confirmation=confirmation,
        contentType="text/plain",
        responseTopic="reply/here",
        correlationData="YzE=",
        payloadFormatIndicator="UTF8_DATA",
        userProperties=json.dumps([{"k": "v"}]),
    )
    assert answer["message"] and answer["traceId"]
    client.expect(1)
    got = client.received[0]
    assert (got.topic, bytes(got.payload), got.qos, got.retain) == ("to/you", b"\x00now", int(confirmation), False)
    sent = got.properties
    assert (sent.ContentType, sent.ResponseTopic, sent.CorrelationData) == ("text/plain", "reply/here", b"c1")
    assert sent.UserProperty == [("k", "v")]
    other.publish("end", b"end")
    assert other.expect_until(b"end") == [b"end"]
    if persistent:
        client.subscribe("later")
        other.publish("later", b"queued")
        assert client.expect(2)[1] == b"queued"


def test_properties_are_dropped_for_3_1_1(data, connect, name):
    client = connect(name, version=V3)
    properties = json.dumps([{"k": "v"}])
    data.send_direct_message(clientId=name, topic="t", payload=b"x", confirmation=True, userProperties=properties)
    assert client.expect(1) == [b"x"]


def test_a_client_that_does_not_acknowledge_is_504(data, connect, name):
    client = connect(name, expiry=300)
    client.paho.manual_ack_set(True)
    started = time.monotonic()
    refused("GatewayTimeoutException", 504, data.send_direct_message, clientId=name, topic="t", payload=b"1",
            confirmation=True, timeout=1)
    assert time.monotonic() - started >= 1
    assert client.expect(1) == [b"1"]
    client.disconnect()
    again = connect(name, clean=False, expiry=300)
    assert again.session_present
    again.subscribe("end")
    again.publish("end", b"end")
    assert again.expect_until(b"end") == [b"end"], "nothing was queued"


def test_direct_messages_to_clients_that_are_not_connected(data, connect, name):
    nobody = missing(data.send_direct_message, clientId=name, topic="t", payload=b"x")
    connect(name, expiry=300).disconnect()
    eventually(lambda: gone(data, name), "the client being gone")
    offline = missing(data.send_direct_message, clientId=name, topic="t", payload=b"x")
    assert "persistent session" in offline["Error"]["Message"]
    assert nobody["Error"]["Message"] != offline["Error"]["Message"]


def test_parameters_of_direct_messages_are_checked(data, connect, name):
    connect(name)
    for bad in (
        {"topic": "a/#"},
        {"topic": "$aws/x"},
        {"topic": "t", "confirmation": True, "timeout": 16},
        {"topic": "t", "confirmation": True, "timeout": 0},
        {"topic": "t", "responseTopic": "+"},
    ):
        invalid(data.send_direct_message, clientId=name, **bad)


def test_a_direct_message_that_is_too_large_is_413(fleethaven, connect, tmp_path, name):
    settings = tmp_path / "settings.toml"
    settings.write_text("[limits]\npayload-bytes = 100\n")
    fleet = fleethaven("--config", str(settings))
    small = connect(name, to=fleet, MaximumPacketSize=80)
    send = fleet.client("iot-data").send_direct_message
    send(clientId=name, topic="t", payload=b"x" * 50)
    small.expect(1)
    for size in (100, 101):  # more than this client takes; more than anybody may send
        refused("RequestEntityTooLargeException", 413, send, clientId=name, topic="t", payload=b"x" * size)


def test_the_receiver_must_be_allowed_to_receive(data, connect, device, name):
    connect(name, device(policy(allow("Connect", "*"), allow("Receive", "topic/open"))))
    data.send_direct_message(clientId=name, topic="open", payload=b"x")
    refused("ForbiddenException", 403, data.send_direct_message, clientId=name, topic="closed", payload=b"x")


def test_a_full_receive_window_is_429(data, connect, name):
    client = connect(name, ReceiveMaximum=1)
    client.paho.manual_ack_set(True)
    client.subscribe("t", qos=1)
    data.publish(topic="t", qos=1, payload=b"unacknowledged")
    client.expect(1)
    refused("ThrottlingException", 429, data.send_direct_message, clientId=name, topic="d", payload=b"x", confirmation=True)


def ask(fleet, device, method, path, body=b""):
    return https(address(fleet.ready["https_mtls"]), device.tls(fleet.ca_file), method, path, body=body)


def test_devices_use_it_as_their_policies_say(fleet, connect, device, name):
    client = connect(name)
    topic = {"StringEquals": {"iot:Topic": "allowed"}}
    addresses = {"Bool": {"iot:IncludeSocketInformation": "false"}}
    sender = device(
        policy(
            allow("SendDirectMessage", f"client/{name}") | {"Condition": topic},
            allow("GetConnection", f"client/{name}") | {"Condition": addresses},
        )
    )
    path = f"/connections/{name}"
    assert ask(fleet, sender, "POST", f"{path}/messages?topic=allowed", b"hi").json["message"]
    assert client.expect(1) == [b"hi"]
    assert ask(fleet, sender, "GET", path).json["connected"] is True
    for method, target in (
        ("POST", f"{path}/messages?topic=other"),
        ("POST", "/connections/another/messages?topic=allowed"),
        ("GET", f"{path}?includeSocketInformation=true"),
        ("GET", f"{path}/subscriptions"),
        ("DELETE", path),
    ):
        answer = ask(fleet, sender, method, target)
        assert (answer.status, answer.error) == (403, "ForbiddenException"), (method, target, answer)
    owner = device(policy(allow("DeleteConnection", f"client/{name}"), allow("ListSubscriptions", f"client/{name}")))
    assert ask(fleet, owner, "GET", f"{path}/subscriptions").json == {"subscriptions": []}
    assert ask(fleet, owner, "DELETE", path).status == 200
    client.closed()


def test_the_aws_cli_knows_the_operations(fleet, connect, name):
    connect(name)
    aws = Path(sys.executable).with_name("aws")
    environment = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
    environment |= {"AWS_CONFIG_FILE": fleet.ready["aws_config_file"], "AWS_PROFILE": "fleethaven"}

    def cli(*words):
        command = [str(aws if aws.exists() else shutil.which("aws")), "iot-data", *words, "--client-id", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "{}")

    assert cli("get-connection")["connected"] is True
    assert cli("send-direct-message", "--topic", "t", "--payload", "aGk=")["traceId"]
