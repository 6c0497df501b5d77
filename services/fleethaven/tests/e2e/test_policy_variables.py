"""What variables and conditions of policies stand for on a live MQTT connection, and when changes of them take effect."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from device import Device, allow, key_pem, new_key, pem, policy
from mqtt_client import V3, V5, Refused

DENIED = 0x87
THING = "iot:Connection.Thing"
ROOT = "iot:Certificate.Subject"


def when(statement: dict, operator: str, key: str, value) -> dict:
    return statement | {"Condition": {operator: {key: value}}}


def deny(action: str, *resources: str) -> dict:
    return allow(action, *resources) | {"Effect": "Deny"}


def admitted(connect, client_id: str, device, **options) -> bool:
    try:
        connect(client_id, device, **options)
    except Refused:
        return False
    return True


def may_publish(client, topic: str) -> bool:
    code = client.publish(topic)
    assert code in (0, 0x10, DENIED), f"PUBACK {code}"
    return code != DENIED


def attached_thing(iot, name: str, device, **thing):
    iot.create_thing(thingName=name, **thing)
    iot.attach_thing_principal(thingName=name, principal=device.arn)


# Things


def test_a_thing_is_known_once_its_certificate_is_attached(connect, device, iot, name):
    own = "${" + THING + ".ThingName}"
    sensor = device(policy(allow("Connect", f"client/{own}"), allow("Publish", f"topic/of/{own}/*")))
    iot.create_thing(thingName=name)
    assert not admitted(connect, name, sensor)
    iot.attach_thing_principal(thingName=name, principal=sensor.arn)
    assert not admitted(connect, f"{name}-other", sensor)
    client = connect(name, sensor)
    assert may_publish(client, f"of/{name}/a") and not may_publish(client, "of/other/a")
    iot.detach_thing_principal(thingName=name, principal=sensor.arn)
    assert not may_publish(client, f"of/{name}/a")


def test_the_attached_condition(connect, device, iot, name):
    document = policy(when(allow("Connect", "client/*"), "Bool", f"{THING}.IsAttached", "true"))
    sensor, stranger = device(document), device(document)
    attached_thing(iot, name, sensor)
    assert admitted(connect, name, sensor) and not admitted(connect, name, stranger)


def test_an_exclusive_thing_is_known_under_any_client_id(connect, device, iot, name):
    sensor = device(policy(allow("Connect", "*"), allow("Publish", "topic/${" + THING + ".ThingName}")))
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(
        thingName=name, principal=sensor.arn, thingPrincipalType="EXCLUSIVE_THING"
    )
    client = connect(f"other-than-{name}", sensor)
    assert may_publish(client, name)


def test_attributes_and_type_of_the_thing_are_followed(connect, device, iot, name):
    where = "topic/${" + THING + ".ThingTypeName}/${" + THING + ".Attributes[site]}"
    sensor = device(policy(allow("Connect", "*"), allow("Publish", where)))
    iot.create_thing_type(thingTypeName=f"type-{name}")
    attached_thing(
        iot,
        name,
        sensor,
        thingTypeName=f"type-{name}",
        attributePayload={"attributes": {"site": "oslo"}},
    )
    client = connect(name, sensor)
    assert may_publish(client, f"type-{name}/oslo") and not may_publish(client, f"type-{name}/bergen")
    iot.update_thing(thingName=name, attributePayload={"attributes": {"site": "bergen"}})
    assert may_publish(client, f"type-{name}/bergen") and not may_publish(client, f"type-{name}/oslo")


def test_a_certificate_may_be_shared_by_many_things(connect, device, iot, name):
    own = "${" + THING + ".Attributes[site]}"
    shared = device(policy(allow("Connect", "client/${" + THING + ".ThingName}"), allow("Publish", f"topic/{own}")))
    for number in range(252):  # more than one page of the registry
        attached_thing(
            iot, f"{name}-{number:03}", shared, attributePayload={"attributes": {"site": "oslo"}}
        )
    first, last = f"{name}-000", f"{name}-251"
    assert admitted(connect, first, shared) and not admitted(connect, f"{name}-252", shared)
    client = connect(last, shared)
    assert may_publish(client, "oslo")
    iot.update_thing(thingName=last, attributePayload={"attributes": {"site": "bergen"}})
    assert may_publish(client, "bergen") and not may_publish(client, "oslo")
    iot.detach_thing_principal(thingName=last, principal=shared.arn)
    assert not may_publish(client, "bergen")


# Certificates


def test_attributes_of_the_certificate(connect, iot, name, tmp_path):
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "first"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "second"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a*b"),
        ]
    )
    key = new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    made = iot.create_certificate_from_csr(certificateSigningRequest=pem(request), setAsActive=True)
    sensor = Device.store(
        tmp_path, made["certificateArn"], made["certificateId"], made["certificatePem"], key_pem(key)
    )
    document = policy(
        allow("Connect", "client/${" + ROOT + ".CommonName}"),
        allow("Publish", "topic/${" + ROOT + ".OrganizationalUnit}"),
        allow("Publish", "topic/${" + ROOT + ".OrganizationalUnit.1}/one"),
        allow("Publish", "topic/o/${" + ROOT + ".Organization}"),
        allow("Publish", "topic/id/${iot:CertificateId}"),
    )
    iot.create_policy(policyName=name, policyDocument=document)
    iot.attach_policy(policyName=name, target=sensor.arn)
    assert not admitted(connect, f"{name}-other", sensor)
    client = connect(name, sensor)
    for topic in ("first", "second/one", f"id/{sensor.id}"):
        assert may_publish(client, topic), topic
    # A value with a wildcard in it is not put in.
    for topic in ("second", "first/one", "o/a*b", "o/axb"):
        assert not may_publish(client, topic), topic


# What a CONNECT asks for


@pytest.mark.parametrize(
    "operator, values, clean, persistent, with_will",
    [
        ("ForAllValues:StringEquals", ["PersistentConnect"], True, True, False),
        ("ForAllValues:StringEquals", [], True, False, False),
        ("ForAnyValue:StringEquals", ["PersistentConnect"], False, True, False),
        ("ForAllValues:StringNotEquals", ["PersistentConnect"], True, False, True),
    ],
)
def test_connect_attributes(connect, device, name, operator, values, clean, persistent, with_will):
    connecting = when(allow("Connect", "client/*"), operator, "iot:ConnectAttributes", values)
    sensor = device(policy(connecting, allow("Publish", "topic/will")))
    assert admitted(connect, name, sensor, version=V3, clean=True) == clean
    assert admitted(connect, name, sensor, version=V3, clean=False) == persistent
    assert admitted(connect, name, sensor, version=V5, expiry=60) == persistent
    assert admitted(connect, name, sensor, will=("will", b"x", 0)) == with_will


def test_the_topic_of_the_will(connect, device, name):
    connecting = when(allow("Connect", "*"), "ArnLike", "iot:LastWillTopic", "arn:aws:iot:*:*:topic/will/*")
    sensor = device(policy(connecting, allow("Publish", "*")))
    assert admitted(connect, name, sensor, will=("will/a", b"x", 0))
    assert not admitted(connect, name, sensor, will=("other", b"x", 0))
    assert not admitted(connect, name, sensor)


# Statements


def test_deny_goes_before_allow(connect, device, iot, name):
    sensor = device()
    iot.create_policy(
        policyName=name,
        policyDocument=policy(deny("Publish", "topic/secret/*"), deny("Subscribe", "topicfilter/x/?")),
    )
    iot.attach_policy(policyName=name, target=sensor.arn)
    client = connect(name, sensor)
    assert not may_publish(client, "secret/a") and may_publish(client, "secrets")
    assert client.subscribe("x/1", "x/12", "x/+") == [DENIED, 1, DENIED]


def test_wildcards_of_mqtt_are_plain_characters_in_a_policy(connect, device, name):
    sensor = device(policy(allow("Connect", "*"), allow("Subscribe", "topicfilter/a/+/b", "topicfilter/w/*")))
    filters = {"a/+/b": 1, "a/x/b": DENIED, "w/#": 1, "w/a/b": 1, "#": DENIED}
    assert connect(name, sensor).subscribe(*filters) == list(filters.values())


def test_a_client_id_is_no_wildcard(connect, device):
    sensor = device(policy(allow("Connect", "client/*"), allow("Publish", "topic/${iot:ClientId}/*")))
    assert not may_publish(connect("*", sensor), "other/a")


def test_variables_belong_to_the_newer_language(connect, device, name):
    older = json.loads(policy(allow("Connect", "client/${iot:ClientId}"))) | {"Version": "2008-10-17"}
    assert not admitted(connect, name, device(older))


def test_a_new_default_version_decides_the_next_packet(connect, device, iot, name):
    common = allow("Connect", "*"), allow("Subscribe", "*")
    sensor = device(policy(*common, allow("Publish", "topic/a"), allow("Receive", "*")))
    client = connect(name, sensor)
    assert may_publish(client, "a") and not may_publish(client, "b")
    client.subscribe("z/#")
    iot.create_policy_version(
        policyName=sensor.policy_name,
        policyDocument=policy(*common, allow("Publish", "topic/b"), allow("Receive", "topic/z/open")),
        setAsDefault=True,
    )
    assert not may_publish(client, "a") and may_publish(client, "b")
    other = connect(f"{name}-other")
    other.publish("z/shut", b"shut")
    other.publish("z/open", b"open")
    assert client.expect_until(b"open") == [b"open"]
    iot.set_default_policy_version(policyName=sensor.policy_name, policyVersionId="1")
    assert may_publish(client, "a")
