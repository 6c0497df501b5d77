"""Request and response in MQTT 5: Response Information, and the policy that makes its topics a client's own."""

import pytest

from device import allow, policy
from mqtt_client import V5

NOT_AUTHORIZED = 0x87


@pytest.fixture
def parties(device):
    """A requester that may use its own response topics, and a responder that may answer on any."""
    own = "response/${iot:ClientId}/*"
    requester = policy(
        allow("Connect", "client/*"),
        allow("Publish", "topic/requests/*"),
        allow("Subscribe", f"topicfilter/{own}"),
        allow("Receive", f"topic/{own}"),
    )
    responder = policy(
        allow("Connect", "client/*"),
        allow("Publish", "topic/response/*"),
        allow("Subscribe", "topicfilter/requests/*"),
        allow("Receive", "topic/requests/*"),
    )
    return device(requester), device(responder)


def test_a_request_is_answered_where_the_broker_said(connect, parties, name):
    asking, answering = parties
    responder = connect(f"{name}-responder", device=answering)
    responder.subscribe(f"requests/{name}")
    requester = connect(name, device=asking, RequestResponseInformation=1)
    own = requester.connack_properties.ResponseInformation
    assert own == f"response/{name}/"
    assert requester.subscribe(f"{own}#") == [1]
    requester.publish(f"requests/{name}", b"how warm?", ResponseTopic=f"{own}1", CorrelationData=b"\x00\x07")
    responder.expect(1)
    request = responder.received[0].properties
    responder.publish(request.ResponseTopic, b"21", CorrelationData=request.CorrelationData)
    assert requester.expect(1) == [b"21"]
    assert requester.received[0].topic == f"{own}1"
    assert requester.received[0].properties.CorrelationData == b"\x00\x07"


def test_the_responses_of_others_are_not_for_a_client(connect, parties, name):
    asking, _ = parties
    other = connect(f"{name}-other", device=asking, RequestResponseInformation=1)
    assert other.subscribe(f"response/{name}/#", "response/#", "response/+/1") == [NOT_AUTHORIZED] * 3
    assert other.publish(f"response/{name}/1", b"forged") == NOT_AUTHORIZED


@pytest.mark.parametrize("options", [{}, {"RequestResponseInformation": 0}], ids=["silent", "no"])
def test_who_does_not_ask_is_not_told(connect, name, options):
    client = connect(name, version=V5, **options)
    assert not hasattr(client.connack_properties, "ResponseInformation")


def test_a_client_id_stays_one_level(connect, name):
    client = connect(f"{name}/a%", RequestResponseInformation=1)
    assert client.connack_properties.ResponseInformation == f"response/{name}%2Fa%25/"
