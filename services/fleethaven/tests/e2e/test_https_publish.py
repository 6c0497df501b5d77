"""Publishing over HTTPS: SigV4 with boto3, and client certificates on their own port and by ALPN."""

import base64
import json

import pytest
from botocore.exceptions import ClientError

from device import allow, policy
from instance import address
from signed import https, trusting


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--https-mtls", "127.0.0.1:0")


@pytest.fixture
def subscriber(connect):
    client = connect("watcher")
    assert client.subscribe("#", qos=1) == [1]
    return client


@pytest.mark.parametrize("qos", [0, 1])
def test_boto3_publishes(fleet, subscriber, qos):
    fleet.client("iot-data").publish(topic="boto/a", qos=qos, payload=b"\x00binary")
    subscriber.expect(1)
    message = subscriber.received[0]
    assert (message.topic, bytes(message.payload), message.qos) == ("boto/a", b"\x00binary", qos)


def test_boto3_publishes_with_mqtt_5_properties(fleet, subscriber):
    fleet.client("iot-data").publish(
        topic="boto/properties",
        qos=1,
        payload=b"{}",
        contentType="application/json",
        responseTopic="reply/here",
        correlationData=base64.b64encode(b"c-1").decode(),
        payloadFormatIndicator="UTF8_DATA",
        messageExpiry=60,
        userProperties=json.dumps([{"deviceName": "alpha"}, {"deviceName": "beta"}]),
    )
    subscriber.expect(1)
    sent = subscriber.received[0].properties
    assert sent.ContentType == "application/json" and sent.ResponseTopic == "reply/here"
    assert sent.CorrelationData == b"c-1" and sent.PayloadFormatIndicator == 1
    assert sent.UserProperty == [("deviceName", "alpha"), ("deviceName", "beta")]
    assert 58 <= sent.MessageExpiryInterval <= 60


@pytest.mark.parametrize("topic", ["with/+/wildcard", "a/#"])
def test_a_wildcard_in_the_topic_is_400(fleet, topic):
    with pytest.raises(ClientError) as error:
        fleet.client("iot-data").publish(topic=topic, qos=1, payload=b"x")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error.value.response["Error"]["Code"] == "InvalidRequestException"


def test_a_wrong_secret_is_403(fleet):
    with pytest.raises(ClientError) as error:
        fleet.client("iot-data", aws_secret_access_key="wrong").publish(topic="a", qos=1, payload=b"x")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


LISTENERS = pytest.mark.parametrize("listener", ["https_mtls", "alpn"])


def post(fleet, device, listener: str, topic: str, body: bytes = b"payload", query: str = "?qos=1"):
    alpn = "x-amzn-http-ca" if listener == "alpn" else None
    to = fleet.https if listener == "alpn" else address(fleet.ready["https_mtls"])
    return https(to, device.tls(fleet.ca_file, alpn), "POST", f"/topics/{topic}{query}", body=body)


@LISTENERS
def test_a_certificate_publishes(fleet, subscriber, device, listener):
    answer = post(fleet, device(), listener, "cert/a%2Fb")
    assert answer.status == 200, answer
    assert answer.json["message"] == "OK"
    assert "x-amzn-requestid" in answer.headers
    subscriber.expect(1)
    assert (subscriber.received[0].topic, subscriber.payloads()) == ("cert/a/b", [b"payload"])


@LISTENERS
def test_a_certificate_publishes_only_what_its_policy_allows(fleet, device, listener):
    limited = device(policy(allow("Publish", "topic/mine/*")))
    assert post(fleet, limited, listener, "mine/a").status == 200
    refused = post(fleet, limited, listener, "other/a")
    assert refused.status == 403 and refused.error == "ForbiddenException", refused


@LISTENERS
def test_a_deactivated_certificate_publishes_nothing(fleet, device, listener):
    inactive = device(active=False)
    try:
        answer = post(fleet, inactive, listener, "a")
    except OSError:
        return  # refused in the handshake
    assert answer.status in (401, 403), answer


def test_no_certificate_on_the_mutual_tls_port_is_refused(fleet):
    with pytest.raises(OSError):
        answer = https(address(fleet.ready["https_mtls"]), trusting(fleet), "POST", "/topics/a?qos=1")
        assert answer.status not in (401, 403), answer
        raise AssertionError(answer)
