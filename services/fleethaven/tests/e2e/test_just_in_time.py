"""Just-in-time registration and provisioning: a device's first connection with a certificate of a registered CA."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from control_plane import invalid, missing
from device import ALLOW_ALL, Device, allow, certificate, key_pem, new_key, pem
from enrolment import ROLE
from instance import eventually
from mqtt_client import BOTH_VERSIONS, Refused
from test_logging import entries, logging, of


class Authority:
    """A CA of the fleet owner's."""

    def __init__(self, common_name: str):
        self.common_name, self.key = common_name, new_key()
        self.certificate = certificate(common_name, self.key, ca=True)

    def register(self, iot, **options) -> str:
        arguments = {"certificateMode": "SNI_ONLY", "setAsActive": True, "allowAutoRegistration": True}
        registered = iot.register_ca_certificate(caCertificate=pem(self.certificate), **arguments | options)
        return registered["certificateId"]

    def device(self, folder, common_name: str, **options) -> Device:
        key = new_key()
        made = certificate(common_name, key, self.common_name, self.key, **options)
        return store(folder, made, key)


def store(folder, made: x509.Certificate, key) -> Device:
    return Device.store(folder, "", made.fingerprint(hashes.SHA256()).hex(), pem(made), key_pem(key))


@pytest.fixture
def authority(name) -> Authority:
    return Authority(f"{name} CA")


def status(iot, device: Device) -> str:
    return iot.describe_certificate(certificateId=device.id)["certificateDescription"]["status"]


def refuse(connect, client_id: str, device: Device, **options):
    with pytest.raises(Refused):
        connect(client_id, device, **options)


def template(*declared: str, **properties) -> str:
    """Makes a thing with the name that the certificate has."""
    parameters = {f"AWS::IoT::Certificate::{name}": {"Type": "String"} for name in declared}
    common_name = {"Ref": "AWS::IoT::Certificate::CommonName"}
    id = {"Ref": "AWS::IoT::Certificate::Id"}
    document = {
        "Version": "2012-10-17",
        "Statement": [allow("Connect", "client/${iot:Connection.Thing.ThingName}")],
    }
    resources = {
        "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": common_name, **properties}},
        "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": id, "Status": "ACTIVE"}},
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": json.dumps(document)}},
    }
    return json.dumps({"Parameters": parameters, "Resources": resources})


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_device_registers_itself(fleet, iot, connect, tmp_path, authority, name, version):
    ca_id = authority.register(iot)
    follower = connect(f"{name}-follower")
    follower.subscribe(f"$aws/events/certificates/registered/{ca_id}")
    device = authority.device(tmp_path, name)
    refuse(connect, name, device, version=version)
    [first] = (json.loads(payload) for payload in follower.expect(1))
    assert first.pop("timestamp") > 1_600_000_000_000
    assert int(first.pop("certificateRegistrationTimestamp")) > 1_600_000_000_000
    assert first == {
        "certificateId": device.id,
        "caCertificateId": ca_id,
        "certificateStatus": "PENDING_ACTIVATION",
        "awsAccountId": fleet.account,
    }
    assert status(iot, device) == "PENDING_ACTIVATION"
    # Each attempt is told of, until somebody decides.
    refuse(connect, name, device, version=version)
    assert {json.loads(payload)["certificateId"] for payload in follower.expect(2)} == {device.id}
    listed = iot.list_certificates_by_ca(caCertificateId=ca_id)["certificates"]
    assert [each["certificateId"] for each in listed] == [device.id]
    iot.create_policy(policyName=name, policyDocument=json.dumps(ALLOW_ALL))
    iot.attach_policy(policyName=name, target=fleet.arn(f"cert/{device.id}"))
    iot.update_certificate(certificateId=device.id, newStatus="ACTIVE")
    connect(name, device, version=version)


def test_on_the_other_listener_too(iot, connect, tmp_path, authority, name):
    authority.register(iot)
    device = authority.device(tmp_path, name)
    refuse(connect, name, device, listener="https", alpn="x-amzn-mqtt-ca")
    assert status(iot, device) == "PENDING_ACTIVATION"


def test_who_is_not_registered(iot, connect, tmp_path, authority, name):
    ca_id = authority.register(iot, allowAutoRegistration=False)
    devices = [authority.device(tmp_path, name)]
    refuse(connect, name, devices[0])
    iot.update_ca_certificate(certificateId=ca_id, newStatus="INACTIVE", newAutoRegistrationStatus="ENABLE")
    refuse(connect, name, devices[0])
    iot.update_ca_certificate(certificateId=ca_id, newStatus="ACTIVE")
    # The CA's name with another key; not valid any more, and not yet; signed by a device.
    impostor = Authority(authority.common_name)
    devices.append(impostor.device(tmp_path, name))
    devices.append(authority.device(tmp_path, name, valid=(-7200, -3600)))
    devices.append(authority.device(tmp_path, name, valid=(3600, 7200)))
    for device in devices[1:]:
        refuse(connect, name, device)
    for device in devices:
        missing(iot.describe_certificate, certificateId=device.id)
    refuse(connect, name, devices[0])
    assert status(iot, devices[0]) == "PENDING_ACTIVATION"


@pytest.mark.parametrize("by_name", [False, True], ids=["body", "name"])
def test_a_device_is_provisioned(fleet, iot, connect, tmp_path, authority, name, by_name):
    config = {"templateBody": template("CommonName", "Id"), "roleArn": ROLE}
    if by_name:
        iot.create_provisioning_template(
            templateName=name,
            templateBody=config["templateBody"],
            provisioningRoleArn=ROLE,
            enabled=True,
            type="JITP",
        )
        config = {"templateName": name}
    authority.register(iot, registrationConfig=config)
    device = authority.device(tmp_path, name)
    with logging(iot, "INFO"):
        refuse(connect, name, device)
        told = lambda: of(entries(fleet, "--principal", device.id), "ProvisionDevice")  # noqa: E731
        [entry] = eventually(told, "the entry")
    assert (entry["status"], entry["deviceCertificateId"]) == ("Success", device.id)
    assert status(iot, device) == "ACTIVE"
    assert iot.list_thing_principals(thingName=name)["principals"] == [fleet.arn(f"cert/{device.id}")]
    connect(name, device)
    refuse(connect, f"{name}-2", device)


def test_what_the_certificate_lacks_can_be_mended(iot, connect, tmp_path, authority, name):
    config = {"templateBody": template("CommonName", "Country"), "roleArn": ROLE}
    ca_id = authority.register(iot, registrationConfig=config)
    device = authority.device(tmp_path, name)
    refuse(connect, name, device)
    assert status(iot, device) == "PENDING_ACTIVATION"
    missing(iot.describe_thing, thingName=name)
    config["templateBody"] = template("CommonName")
    iot.update_ca_certificate(certificateId=ca_id, registrationConfig=config)
    refuse(connect, name, device)
    eventually(lambda: status(iot, device) == "ACTIVE", "the certificate to be active")
    connect(name, device)


def test_everything_that_a_subject_tells(iot, connect, tmp_path, authority, name):
    attributes = {
        "Country": (NameOID.COUNTRY_NAME, "NL"),
        "Organization": (NameOID.ORGANIZATION_NAME, "Acme"),
        "OrganizationalUnit": (NameOID.ORGANIZATIONAL_UNIT_NAME, "Lamps"),
        "DistinguishedNameQualifier": (NameOID.DN_QUALIFIER, "q"),
        "StateName": (NameOID.STATE_OR_PROVINCE_NAME, "Utrecht"),
        "CommonName": (NameOID.COMMON_NAME, name),
        "SerialNumber": (NameOID.SERIAL_NUMBER, "4711"),
    }
    references = {each: {"Ref": f"AWS::IoT::Certificate::{each}"} for each in ("Country", "StateName", "SerialNumber")}
    body = template(*attributes, AttributePayload=references)
    authority.register(iot, registrationConfig={"templateBody": body, "roleArn": ROLE})
    key = new_key()
    plain = certificate(name, key, authority.common_name, authority.key)
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes.values()])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(authority.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(plain.serial_number)
    builder = builder.not_valid_before(plain.not_valid_before_utc).not_valid_after(plain.not_valid_after_utc)
    refuse(connect, name, store(tmp_path, builder.sign(authority.key, hashes.SHA256()), key))
    told = iot.describe_thing(thingName=name)["attributes"]
    assert told == {"Country": "NL", "StateName": "Utrecht", "SerialNumber": "4711"}


def test_configurations_that_make_no_sense(iot, authority, name):
    both = {"templateBody": template(), "roleArn": ROLE, "templateName": name}
    for config in (both, {"templateBody": template()}, {"templateBody": "{}", "roleArn": ROLE}):
        ca = pem(authority.certificate)
        invalid(
            iot.register_ca_certificate, caCertificate=ca, certificateMode="SNI_ONLY", registrationConfig=config
        )
    missing(
        iot.register_ca_certificate,
        caCertificate=pem(authority.certificate),
        certificateMode="SNI_ONLY",
        registrationConfig={"templateName": "unknown"},
    )
