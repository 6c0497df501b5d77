"""Fleet provisioning over MQTT, by claim and by trusted user: paho, JSON and CBOR, both MQTT versions."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from control_plane import missing, refused
from device import Device, make_device, new_key, signing_request
from enrolment import Enrolling, claim_policy, create_template, make_claim
from instance import eventually
from mqtt_client import BOTH_VERSIONS, V3, V5, Refused
from test_accounts import admin, other  # noqa: F401  (fixtures)


@pytest.fixture
def template(iot, name) -> str:
    create_template(iot, name)
    return name


@pytest.fixture
def enrol(fleet, connect, tmp_path, template):
    """Connects with a claim for the template: `enrol("device-1", format="cbor", version=V3)`."""

    def make(client_id: str, format: str = "json", claim=None, qos: int = 1, **options) -> Enrolling:
        claim = claim or make_claim(fleet, tmp_path, template)
        return Enrolling(connect(client_id, claim, **options), template, format).subscribe(qos)

    return make


def status(iot, device: Device) -> str:
    return iot.describe_certificate(certificateId=device.id)["certificateDescription"]["status"]


@pytest.mark.parametrize("format", ["json", "cbor"])
@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_device_with_a_claim(fleet, iot, enrol, connect, tmp_path, template, name, version, format):
    enrolling = enrol(name, format, version=version)
    device, token = enrolling.certificate(tmp_path)
    assert status(iot, device) == "PENDING_ACTIVATION"
    with pytest.raises(Refused):
        connect(f"lamp-{name}", device)
    answer = enrolling.accepted(enrolling.provision, enrolling.request(token, name))
    configuration = {"FallbackUrl": "https://www.example.com/test-site"}
    assert answer == {"thingName": f"lamp-{name}", "deviceConfiguration": configuration}
    enrolling.client.disconnect()
    assert status(iot, device) == "ACTIVE"
    client = connect(f"lamp-{name}", device, version=version)
    client.subscribe(f"devices/lamp-{name}")
    client.publish(f"devices/lamp-{name}", b"here")
    assert client.expect(1) == [b"here"]
    principals = iot.list_thing_principals(thingName=f"lamp-{name}")["principals"]
    assert principals == [fleet.arn(f"cert/{device.id}")]


@pytest.mark.parametrize("format", ["json", "cbor"])
def test_keys_are_made_for_devices_that_have_none(iot, enrol, connect, tmp_path, name, format):
    enrolling = enrol(name, format)
    empty = b"" if format == "json" else {}
    made = enrolling.accepted(enrolling.create, empty)
    assert made.keys() == {"certificateId", "certificatePem", "privateKey", "certificateOwnershipToken"}
    device = Device.store(tmp_path, "", made["certificateId"], made["certificatePem"], made["privateKey"])
    request = enrolling.request(made["certificateOwnershipToken"], name, Prefix="sensor")
    assert enrolling.accepted(enrolling.provision, request)["thingName"] == f"sensor-{name}"
    connect(f"sensor-{name}", device)


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "persistent"])
@pytest.mark.parametrize("qos", [0, 1])
def test_at_both_levels_and_in_any_session(enrol, name, qos, clean):
    enrolling = enrol(name, qos=qos, version=V3, clean=clean)
    request = {"certificateSigningRequest": signing_request(new_key())}
    for _ in range(3):
        enrolling.accepted(enrolling.from_csr, request, qos)
    assert {message.qos for message in enrolling.client.received} == {qos}


def test_answers_go_to_the_client_that_asked_and_to_nobody_else(fleet, iot, connect, enrol, tmp_path, template, name):
    claim = make_claim(fleet, tmp_path, template)
    first, second = enrol(f"{name}-1", claim=claim), enrol(f"{name}-2", claim=claim)
    # One that may do everything hears nothing either; and one that has not subscribed gets no answer.
    anyone = Enrolling(connect(f"{name}-3"), template).subscribe()
    anyone.client.subscribe("$aws/certificates/#", "$aws/provisioning-templates/#")
    unsubscribed = connect(f"{name}-4", claim)
    request = json.dumps({"certificateSigningRequest": signing_request(new_key())})
    assert unsubscribed.publish(first.from_csr, request) == 0
    device, token = first.certificate(tmp_path)
    first.accepted(first.provision, first.request(token, name))
    # Whatever was on its way to them would have come before this.
    for client in (second.client, anyone.client):
        client.subscribe(f"$aws/provisioning-templates/{template}/provision/json/rejected")
        client.publish(first.provision, b"garbage")
        [payload] = client.expect(1)
        assert json.loads(payload)["errorCode"] == "InvalidPayload"
    assert unsubscribed.alive and not unsubscribed.received


def test_a_token_is_good_once_and_for_one_claim(fleet, iot, enrol, other, connect, tmp_path, template, name):  # noqa: F811
    mine, stranger = enrol(f"{name}-1"), enrol(f"{name}-2")
    device, token = mine.certificate(tmp_path)
    invalid = 400, "InvalidCertificateOwnershipToken"
    assert stranger.rejected(stranger.provision, stranger.request(token, name)) == invalid
    # Another account, with a template of the same name.
    create_template(other.iot, template)
    foreign_claim = make_device(other, tmp_path, claim_policy(template))
    foreign = Enrolling(connect(name, foreign_claim), template).subscribe()
    assert foreign.rejected(foreign.provision, foreign.request(token, name)) == invalid
    missing(other.iot.describe_thing, thingName=f"lamp-{name}")
    assert mine.rejected(mine.provision, mine.request("0" * 64, name)) == invalid
    # What fails leaves the token good: also on another connection with the same claim.
    assert mine.rejected(mine.provision, {"certificateOwnershipToken": token}) == (400, "InvalidParameters")
    assert status(iot, device) == "PENDING_ACTIVATION"
    assert mine.accepted(mine.provision, mine.request(token, name))["thingName"] == f"lamp-{name}"
    assert mine.rejected(mine.provision, mine.request(token, name)) == invalid
    assert mine.rejected(mine.provision, mine.request(token, f"{name}-b")) == invalid
    missing(iot.describe_thing, thingName=f"lamp-{name}-b")


def test_what_is_wrong_is_said(fleet, iot, enrol, tmp_path, template, name):
    json_device, cbor_device = enrol(f"{name}-1"), enrol(f"{name}-2", "cbor")
    for enrolling in (json_device, cbor_device):
        assert enrolling.rejected(enrolling.from_csr, b"\xff\xfe{") == (400, "InvalidPayload")
        assert enrolling.rejected(enrolling.from_csr, {}) == (400, "InvalidPayload")
        bad_request = 400, "InvalidCertificateSigningRequest"
        assert enrolling.rejected(enrolling.from_csr, {"certificateSigningRequest": "no"}) == bad_request
        _, token = enrolling.certificate(tmp_path)
        iot.update_provisioning_template(templateName=template, enabled=False)
        request = enrolling.request(token, name)
        assert enrolling.rejected(enrolling.provision, request) == (403, "AccessDenied")
        iot.update_provisioning_template(templateName=template, enabled=True)
        bad_name = enrolling.request(token, "not a name")
        assert enrolling.rejected(enrolling.provision, bad_name) == (400, "InvalidParameters")
    # A template that says nothing of what exists leaves it; one that forbids a change says so.
    body = json.loads(iot.describe_provisioning_template(templateName=template)["templateBody"])
    body["Resources"]["thing"]["Properties"]["AttributePayload"] = {"a": "2"}
    body["Resources"]["thing"]["OverrideSettings"] = {"AttributePayload": "FAIL"}
    iot.create_provisioning_template_version(
        templateName=template, templateBody=json.dumps(body), setAsDefault=True
    )
    iot.create_thing(thingName=f"lamp-{name}", attributePayload={"attributes": {"a": "1"}})
    device, token = json_device.certificate(tmp_path)
    request = json_device.request(token, name)
    assert json_device.rejected(json_device.provision, request) == (409, "ResourceConflict")
    assert status(iot, device) == "PENDING_ACTIVATION"
    assert not iot.list_thing_principals(thingName=f"lamp-{name}")["principals"]


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_claim_that_tries_something_else(enrol, name, version):
    denied = {
        "data": lambda client: client.publish("data/x", b"1"),
        "another template": lambda client: client.publish("$aws/provisioning-templates/Other/provision/json", b"{}"),
        "shadow": lambda client: client.publish("$aws/things/lamp/shadow/update", b"{}"),
        "retained": lambda client: client.paho.publish("$aws/certificates/create/json", b"", 1, retain=True),
    }
    for number, (what, attempt) in enumerate(denied.items()):
        client = enrol(f"{name}-{number}", version=version).client
        code = attempt(client)
        if version == V3:
            client.closed()
        elif what != "retained":
            assert code == 0x87, what
        assert not client.received
    client = enrol(f"{name}-subscriber", version=version).client
    assert client.subscribe("#") in ([0x80], [0x87])
    assert client.subscribe("$aws/events/#") in ([0x80], [0x87])


def test_a_claim_that_is_deactivated_enrols_nobody(fleet, iot, enrol, connect, tmp_path, template, name):
    claim = make_claim(fleet, tmp_path, template)
    enrolling = enrol(name, claim=claim)
    iot.update_certificate(certificateId=claim.id, newStatus="INACTIVE")
    enrolling.client.closed()
    with pytest.raises(Refused):
        connect(name, claim)


def trusted(iot, folder, template: str) -> tuple[Device, dict]:
    made = iot.create_provisioning_claim(templateName=template)
    keys = made["keyPair"]
    device = Device.store(folder, "", made["certificateId"], made["certificatePem"], keys["PrivateKey"])
    return device, made


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_device_with_a_trusted_user(fleet, iot, connect, tmp_path, template, name, version):
    claim, made = trusted(iot, tmp_path, template)
    assert made["keyPair"]["PublicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    left = made["expiration"].timestamp() - time.time()
    assert 200 < left <= 301
    listed = [each["certificateId"] for each in iot.list_certificates(pageSize=250)["certificates"]]
    assert claim.id not in listed
    enrolling = Enrolling(connect(f"{name}-claim", claim, version=version), template).subscribe()
    device, token = enrolling.certificate(tmp_path)
    assert enrolling.accepted(enrolling.provision, enrolling.request(token, name))["thingName"] == f"lamp-{name}"
    connect(f"lamp-{name}", device)


def test_a_trusted_users_claim_is_for_one_template(fleet, iot, connect, tmp_path, template, name):
    other_template = f"{name}-2"
    create_template(iot, other_template)
    claim, _ = trusted(iot, tmp_path, template)
    # A policy that somebody attaches to it does not count.
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
    iot.create_policy(policyName=name, policyDocument=json.dumps(document))
    iot.attach_policy(policyName=name, target=fleet.arn(f"cert/{claim.id}"))
    client = connect(name, claim, version=V5)
    enrolling = Enrolling(client, template).subscribe()
    _, token = enrolling.certificate(tmp_path)
    payload = json.dumps(enrolling.request(token, name))
    assert client.publish(f"$aws/provisioning-templates/{other_template}/provision/json", payload) == 0x87
    assert client.publish("data/x", b"1") == 0x87
    missing(iot.describe_thing, thingName=f"lamp-{name}")
    missing(iot.create_provisioning_claim, templateName="unknown")
    iot.update_provisioning_template(templateName=template, enabled=False)
    refused("InvalidRequestException", 400, iot.create_provisioning_claim, templateName=template)


def test_nobody_asks_over_https(fleet, name):
    with pytest.raises(ClientError) as error:
        fleet.client("iot-data").publish(topic="$aws/certificates/create/json", qos=1, payload=b"{}")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_many_at_once(fleet, iot, enrol, tmp_path, template, name):
    claim = make_claim(fleet, tmp_path, template)
    devices = [enrol(f"{name}-{n}", claim=claim) for n in range(8)]
    for device in devices:
        request = json.dumps({"certificateSigningRequest": signing_request(new_key())})
        device.client.publish_later(device.from_csr, request)
    for n, device in enumerate(devices):
        [payload] = device.client.expect(1)
        request = device.request(json.loads(payload)["certificateOwnershipToken"], f"{name}-{n}")
        device.client.publish_later(device.provision, json.dumps(request))
    for n, device in enumerate(devices):
        answer = json.loads(device.client.expect(2)[1])
        assert answer["thingName"] == f"lamp-{name}-{n}"


def test_certificates_survive_a_crash_with_their_tokens(fleethaven, connect, tmp_path, name):
    fleet = fleethaven()
    create_template(fleet.iot, name)
    claim = make_claim(fleet, tmp_path, name)
    enrolling = Enrolling(connect(name, claim, fleet), name).subscribe()
    device, token = enrolling.certificate(tmp_path)
    fleet.restart_after_kill()
    enrolling = Enrolling(connect(name, claim, fleet), name).subscribe()
    enrolling.accepted(enrolling.provision, enrolling.request(token, name))
    eventually(lambda: status(fleet.iot, device) == "ACTIVE", "the certificate to be active")
    fleet.restart_after_kill()
    enrolling = Enrolling(connect(name, claim, fleet), name).subscribe()
    again = enrolling.rejected(enrolling.provision, enrolling.request(token, name))
    assert again == (400, "InvalidCertificateOwnershipToken")
