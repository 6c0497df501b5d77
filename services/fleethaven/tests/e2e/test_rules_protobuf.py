"""`decode(…, 'proto', …)`: payloads in protobuf, by descriptor sets in a folder."""

import json

import pytest

ROLE = "arn:aws:iam::123456789012:role/r"


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of a protobuf message; numbers stay below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    value = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(value)]) + value


def descriptor_set() -> bytes:
    """`message Reading { sint32 celsius = 1; string note = 2; }` of package `plant`, in `plant.proto`."""
    celsius = field(1, "celsius") + field(3, 1) + field(4, 1) + field(5, 17) + field(10, "celsius")
    note = field(1, "note") + field(3, 2) + field(4, 1) + field(5, 9) + field(10, "note")
    reading = field(1, "Reading") + field(2, celsius) + field(2, note)
    file = field(1, "plant.proto") + field(2, "plant") + field(4, reading) + field(12, "proto3")
    return field(1, file)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    (folder / "descriptors" / "v1").mkdir(parents=True)
    (folder / "descriptors" / "v1" / "plant.desc").write_bytes(descriptor_set())
    return folder


@pytest.fixture(scope="module")
def fleet(fleethaven, objects):
    return fleethaven("--objects", str(objects))


def decoded(key: str) -> str:
    return f"decode(encode(*, 'base64'), 'proto', 'descriptors', '{key}', 'plant.proto', 'Reading')"


def rule(iot, name: str, sql: str):
    action = {"republish": {"topic": f"out/{name}", "roleArn": ROLE, "qos": 1}}
    payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
    iot.create_topic_rule(ruleName=name, topicRulePayload=payload)


def test_a_payload_is_decoded(fleet, iot, connect, objects, name):
    reading = decoded("v1/plant.desc")
    rule(iot, name, f"SELECT {reading} AS reading, topic() AS topic FROM 'in/{name}' WHERE {reading}.celsius < 0")
    client = connect(name)
    client.subscribe(f"out/{name}")
    client.publish(f"in/{name}", field(1, 4) + field(2, "warm"))  # 2 degrees, as sint32 is written
    client.publish(f"in/{name}", field(1, 5) + field(2, "cold"))
    expected = {"reading": {"celsius": -3, "note": "cold"}, "topic": f"in/{name}"}
    assert json.loads(client.expect(1)[0]) == expected

    # What is no such message ends the rule, and the log says why.
    client.publish(f"in/{name}", b"\x0a")
    fleet.log.having("FunctionExecution", name, "not a message of this type")


def test_objects_are_those_of_the_folder(fleet, iot, connect, objects, name):
    (objects / "secret").write_bytes(descriptor_set())
    for number, key in enumerate(("v2/plant.desc", "../secret", str(objects / "secret"))):
        rule(iot, f"{name}_{number}", f"SELECT {decoded(key)} AS reading FROM 'in/{name}/{number}'")
        connect(f"{name}{number}").publish(f"in/{name}/{number}", field(1, 5))
        fleet.log.having("FunctionExecution", f"{name}_{number}", "object")
