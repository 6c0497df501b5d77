"""GetRetainedMessage and ListRetainedMessages: boto3, the AWS CLI, and client certificates under IoT policies."""

import base64
import json
import time

import pytest

import wire
from control_plane import flat, invalid, missing, pages
from device import allow, make_device, policy
from instance import address
from signed import call, https


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--https-mtls", "127.0.0.1:0")


@pytest.fixture(scope="module")
def data(fleet):
    return fleet.client("iot-data")


def test_what_is_retained_is_read_back(data, connect, name):
    publisher = connect(name)
    before = int(time.time() * 1000)
    publisher.paho.publish(f"{name}/mqtt", b"\x00hot", 1, retain=True).wait_for_publish(5)
    kept = data.get_retained_message(topic=f"{name}/mqtt")
    assert (kept["topic"], kept["payload"], kept["qos"]) == (f"{name}/mqtt", b"\x00hot", 1)
    assert before <= kept["lastModifiedTime"] <= int(time.time() * 1000)
    assert "userProperties" not in kept
    properties = [{"deviceName": "alpha"}, {"deviceCnt": "45"}]
    data.publish(topic=f"{name}/http", retain=True, payload=b"x", userProperties=json.dumps(properties))
    kept = data.get_retained_message(topic=f"{name}/http")
    assert (kept["qos"], json.loads(kept["userProperties"])) == (0, properties)
    data.publish(topic=f"{name}/http", retain=True, payload=b"")
    missing(data.get_retained_message, topic=f"{name}/http")


def test_nothing_old_comes_behind_what_went_live(fleet, connect, tmp_path, name):
    publisher, last, large = connect(name), f"{name}/9", bytes(3 << 20)
    for number in range(10):
        publisher.paho.publish(f"{name}/{number}", b"old" + large, 1, retain=True).wait_for_publish(10)
    slow = wire.Wire(fleet.mqtt_tls, make_device(fleet, tmp_path).tls(fleet.ca_file), 30)
    assert slow.send(wire.connect(f"{name}-slow")).read()[0] == wire.CONNACK
    assert slow.send(wire.subscribe(1, f"{name}/#")).read()[0] == wire.SUBACK
    # All were read from the store when the first one comes; most wait for the client.
    bodies = [slow.read()[1]]
    publisher.paho.publish(last, b"new", 1, retain=True).wait_for_publish(10)
    while len(bodies) < 11:
        bodies.append(slow.read()[1])
    at_last = [body for body in bodies if body[2:].startswith(last.encode())]
    assert len(at_last) == 2 and all(body.endswith(b"new") for body in at_last), "as it was published, and as it is retained"
    slow.close()


def test_topics_are_listed_in_order_and_in_pages(fleethaven):
    data = fleethaven().client("iot-data")
    assert data.list_retained_messages()["retainedTopics"] == []
    topics = [f"t/{number}" for number in range(5)]
    for topic in reversed(topics):
        data.publish(topic=topic, qos=1, retain=True, payload=topic.encode() * 2)
    found = pages(data.list_retained_messages, "retainedTopics", "maxResults", "nextToken")
    assert flat(found, "topic") == topics and [len(page) for page in found] == [2, 2, 1]
    first = found[0][0]
    assert (first["payloadSize"], first["qos"]) == (6, 1) and first["lastModifiedTime"] > 0
    assert "nextToken" not in data.list_retained_messages(maxResults=5)


def test_parameters_are_checked(fleet, data, name):
    for bad in ("maxResults=0", "maxResults=201", "nextToken=%3F"):
        answer = call(fleet, "GET", f"/retainedMessage?{bad}", service="iotdata")
        assert (answer.status, answer.error) == (400, "InvalidRequestException"), bad
        assert answer.json["message"] and answer.json["traceId"]
    invalid(data.get_retained_message, topic="a/#")
    missing(data.get_retained_message, topic=name)


def get(fleet, device, path):
    return https(address(fleet.ready["https_mtls"]), device.tls(fleet.ca_file), "GET", path)


def test_certificates_read_what_their_policies_allow(fleet, data, device, name):
    data.publish(topic=f"{name}/a", qos=1, retain=True, payload=b"kept")
    reader = device(policy(allow("GetRetainedMessage", f"topic/{name}/*")))
    answer = get(fleet, reader, f"/retainedMessage/{name}%2Fa")
    assert base64.b64decode(answer.json["payload"]) == b"kept"
    for path in ("/retainedMessage/other", "/retainedMessage"):
        refused = get(fleet, reader, path)
        assert (refused.status, refused.error) == (403, "ForbiddenException")
        assert refused.json["message"] and refused.json["traceId"]
    lister = device(policy(allow("ListRetainedMessages", "*")))
    assert get(fleet, lister, "/retainedMessage?maxResults=1").status == 200
