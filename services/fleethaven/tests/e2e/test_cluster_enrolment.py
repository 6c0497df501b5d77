"""Fleet provisioning in a cluster: tokens and certificates are the metadata store's, whichever gateway a device is at."""

import pytest

from clustered import running
from enrolment import Enrolling, create_template, make_claim
from instance import eventually
from mqtt_client import Client, Refused


@pytest.fixture
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory)


def test_a_token_is_good_at_any_gateway_once(cluster, tmp_path):
    create_template(cluster.iot, "T")
    claim = make_claim(cluster, tmp_path, "T")
    # Connections go to the gateways in turns: these two are at different ones.
    first = Enrolling(Client(cluster, claim, "first").connect(), "T").subscribe()
    second = Enrolling(Client(cluster, claim, "second").connect(), "T", "cbor").subscribe()
    device, token = first.certificate(tmp_path)
    answer = second.accepted(second.provision, second.request(token, "1"))
    assert answer["thingName"] == "lamp-1"
    for gateway in (first, second):
        again = gateway.rejected(gateway.provision, gateway.request(token, "2"))
        assert again == (400, "InvalidCertificateOwnershipToken")
    # The answer came when every gateway knew of it.
    for _ in cluster.gateways:
        Client(cluster, device, "lamp-1").connect().disconnect()
    with pytest.raises(Refused):
        Client(cluster, device, "another").connect()


def test_a_device_is_enrolled_while_the_leader_is_killed(cluster, tmp_path):
    create_template(cluster.iot, "T")
    claim = make_claim(cluster, tmp_path, "T")
    enrolling = Enrolling(Client(cluster, claim, "device").connect(), "T").subscribe()
    device, token = enrolling.certificate(tmp_path)
    cluster.leader().kill()
    client = enrolling.client
    before = len(client.received)
    client.publish_later(enrolling.provision, enrolling.write(enrolling.request(token, "1")))
    eventually(lambda: len(client.received) > before, "an answer once there is a leader", 60)
    answer = client.received[before]
    assert answer.topic == f"{enrolling.provision}/accepted", answer.payload
    Client(cluster, device, "lamp-1").connect().disconnect()
