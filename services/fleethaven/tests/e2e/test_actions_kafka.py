"""The kafka action against brokers of two makes: Tansu, also behind a gate that asks for TLS and SASL, and librdkafka's cluster of three.
What arrived is read by librdkafka."""

from __future__ import annotations

import base64
import json

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from instance import eventually
from kafka import Gate, Kafka
from lab import ROLE
from systems import PASSWORD, USER, Authority
from test_actions_aws import cloud, connection

__all__ = ["cloud"]

DESTINATION = "arn:aws:iot:us-east-1:123456789012:ruledestination/vpc/7b4c9f0e-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def fleet(fleethaven, cloud, tmp_path_factory):
    fleet = fleethaven("--allow-outbound", "127.0.0.1/32,::1/128")
    secret = tmp_path_factory.mktemp("secrets") / "secret"
    secret.write_text("hush\n")
    where = ("--rule", "*", "--admin", fleet.ready["admin"])
    connection("put", "kafka", "--kind", "kafka", "--role", DESTINATION, *where)
    vault = ("put", "vault", "--kind", "secretsManager", "--endpoint", cloud.url, "--role", ROLE)
    connection(*vault, "--credentials-id", "AKIATEST", "--secret-file", secret, *where)
    return fleet


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    broker = Kafka(tmp_path_factory.mktemp("kafka")).start()
    yield broker
    broker.close()


@pytest.fixture
def gated(tmp_path):
    """Brokers that are reached by a gate alone."""
    made = []

    def make(gate: Gate) -> Gate:
        gate.broker = Kafka(tmp_path / str(len(made)), gate.address).start()
        made.append(gate)
        return gate

    yield make
    for gate in made:
        gate.broker.close()
        gate.close()


@pytest.fixture
def send(rules):
    """With a kafka action."""

    def make(topic: str, servers: str, *payloads, properties=None, **settings):
        properties = {"bootstrap.servers": servers, "security.protocol": "PLAINTEXT"} | (properties or {})
        action = {"destinationArn": DESTINATION, "topic": topic, "clientProperties": properties} | settings
        return rules.send({"kafka": action}, *payloads)

    make.client, make.failure = rules.client, rules.failure
    return make


def test_a_record_has_what_the_rule_says(send, kafka, name):
    kafka.create(name)
    headers = [{"key": "site", "value": "${topic(1)}"}, {"key": "t-${t}", "value": "${t}"}]
    send(name, kafka.advertised, '{"t": 1}', key="${topic(1)}-${t}", headers=headers)
    [record] = kafka.read(name, 1)
    assert (record.key(), record.value()) == (f"{name}-1".encode(), b'{"t": 1}')
    assert record.headers() == [("site", name.encode()), ("t-1", b"1")]
    binary = bytes(range(256))
    send(name, kafka.advertised, binary)
    assert [(record.key(), record.value(), record.headers()) for record in kafka.read(name, 2)[1:]] == [(None, binary, None)]


@pytest.mark.parametrize("acks", ["0", "1", "all"])
@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_is_read(send, kafka, name, compression, acks):
    kafka.create(name)
    properties = {"acks": acks, "compression.type": compression}
    source = send(name, kafka.advertised, properties=properties)
    payloads = [json.dumps({"n": n, "text": "so much of it " * 200}).encode() for n in range(40)]
    for payload in payloads:
        send.client.publish_later(source, payload)
    assert sorted(record.value() for record in kafka.read(name, len(payloads))) == sorted(payloads)
    assert send.client.received == []


def test_keys_go_to_the_partitions_of_java(send, kafka, name):
    """librdkafka's `murmur2_random` is Java's partitioner too."""
    kafka.create(name, partitions=7)
    source = send(name, kafka.advertised, key="${k}")
    keys = [f"key-{n}" for n in range(30)]
    producer = Producer(kafka.client(partitioner="murmur2_random"))
    for key in keys:
        producer.produce(name, "theirs", key=key)
        send.client.publish_later(source, json.dumps({"k": key}))
    assert producer.flush(20) == 0
    chosen = {}
    for record in kafka.read(name, 2 * len(keys), partitions=7):
        chosen.setdefault(record.key(), []).append(record.partition())
    assert len(chosen) == len(keys) and all(len(set(partitions)) == 1 for partitions in chosen.values()), chosen
    assert len({partition for [partition, _] in chosen.values()}) > 3


def test_a_partition_is_named_or_refused(send, kafka, name):
    kafka.create(name, partitions=3)
    send(name, kafka.advertised, '{"p": 2}', '{"p": 9}', '{"p": "x"}', key="k", partition="${p}")
    [record] = kafka.read(name, 1, partitions=3)
    assert record.partition() == 2
    errors = sorted(send.failure(n)["errorMessage"] for n in (1, 2))
    assert "3 partitions, and no 9" in errors[0] and "no whole number" in errors[1]


def test_tls_and_scram_with_what_a_secret_store_keeps(send, gated, authority, cloud, name):
    """Password and trust store come from a secret; librdkafka comes in by the same door."""
    gate = gated(Gate(authority))
    options = {"security.protocol": "SASL_SSL", "ssl.ca.location": str(authority.ca)}
    options |= {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": USER, "sasl.password": PASSWORD}
    gate.broker.options = options
    gate.broker.create(name)
    gate.mechanisms.clear()
    trust = base64.b64encode(authority.ca.read_bytes())
    cloud("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"user": USER, "password": PASSWORD}))
    cloud("secretsmanager").create_secret(Name=f"{name}-trust", SecretBinary=authority.ca.read_bytes())
    secret = "${get_secret('%s', 'SecretString', '%s', '%s')}"
    properties = {
        "security.protocol": "SASL_SSL",
        "ssl.truststore": "${get_secret('%s-trust', 'SecretBinary', '%s')}" % (name, ROLE),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.scram.username": secret % (name, "user", ROLE),
        "sasl.scram.password": secret % (name, "password", ROLE),
    }
    send(name, gate.address, '{"t": 1}', properties=properties)
    eventually(lambda: gate.mechanisms == {"SCRAM-SHA-512"}, "somebody comes in")
    assert [record.value() for record in gate.broker.read(name, 1)] == [b'{"t": 1}']
    plain = {"sasl.mechanism": "PLAIN", "sasl.plain.username": USER, "sasl.plain.password": PASSWORD}
    plain |= {"security.protocol": "SASL_SSL", "ssl.truststore": trust.decode()}
    send(name, gate.address, '{"t": 2}', properties=plain)
    assert [record.value() for record in gate.broker.read(name, 2)] == [b'{"t": 1}', b'{"t": 2}']
    assert "PLAIN" in gate.mechanisms
    # Wrong, and nobody that is trusted: refused, without the password in the reason.
    send(name, gate.address, "{}", properties=plain | {"sasl.plain.password": "not-it"})
    failure = send.failure()
    assert failure["failedAction"] == "KafkaAction" and failure["failedResource"] == name
    assert "SASL_AUTHENTICATION_FAILED" in failure["errorMessage"] and "not-it" not in failure["errorMessage"]
    send(name, gate.address, "{}", properties={name: value for name, value in plain.items() if name != "ssl.truststore"})
    assert "certificate" in send.failure(2)["errorMessage"]


def test_a_batch_whose_answer_is_lost_is_there_once(send, gated, name):
    """With `acks=all`, a batch that is tried again has the numbers that it had."""
    gate = gated(Gate(login=False))
    gate.broker.create(name)
    gate.lose = 1
    source = send(name, gate.address, "1", properties={"acks": "all"})
    assert [record.value() for record in gate.broker.read(name, 1)] == [b"1"]
    eventually(lambda: gate.lose == 0, "the answer is lost")
    send.client.publish(source, "2", qos=1)
    assert [record.value() for record in gate.broker.read(name, 2)] == [b"1", b"2"]
    assert send.client.received == []


def test_brokers_that_a_cluster_names_are_held_to_the_rules_of_the_operator(send, tmp_path, name):
    """The address of the rule may be called; the one that the broker names for itself may not."""
    broker = Kafka(tmp_path / "kafka")
    broker.advertised = f"127.0.0.2:{broker.port}"
    broker.start()
    try:
        send(name, f"127.0.0.1:{broker.port}", "{}")
        assert "127.0.0.2 is loopback" in send.failure()["errorMessage"]
    finally:
        broker.close()


def test_leaders_on_several_brokers(send, name):
    """A cluster of three whose topics are made when they are asked for."""
    admin = AdminClient({"bootstrap.servers": "none", "test.mock.num.brokers": 3})
    brokers = [f"{broker.host}:{broker.port}" for broker in admin.list_topics(timeout=20).brokers.values()]
    source = send(name, ",".join(brokers), properties={"acks": "all"}, key="${n}")
    for n in range(60):
        send.client.publish_later(source, json.dumps({"n": n}))
    consumer = Consumer({"bootstrap.servers": ",".join(brokers), "group.id": name, "auto.offset.reset": "earliest"})
    try:
        eventually(lambda: name in admin.list_topics(timeout=20).topics, "the topic")
        partitions = admin.list_topics(name, timeout=20).topics[name].partitions
        assert len({partition.leader for partition in partitions.values()}) > 1
        consumer.assign([TopicPartition(name, index, 0) for index in partitions])
        records = consumer.consume(60, timeout=30)
        assert sorted(json.loads(record.value())["n"] for record in records) == list(range(60))
    finally:
        consumer.close()
    assert send.client.received == []


def test_what_kafka_does_not_take_fails_with_its_reason(send, kafka, name, iot):
    send(f"{name}/x", kafka.advertised, "{}")
    assert "no name of a topic" in send.failure()["errorMessage"]
    send(name, kafka.advertised, "{}", properties={"linger.ms": "5"})
    assert "'linger.ms' is not known" in send.failure(2)["errorMessage"]
    send(name, "127.0.0.1:1", "{}")
    assert "127.0.0.1:1" in send.failure(3)["errorMessage"]
    send(name, kafka.advertised, "{}", destinationArn=DESTINATION + "1")
    assert "AccessDenied" in send.failure(4)["errorMessage"]
