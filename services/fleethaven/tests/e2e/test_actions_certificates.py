"""Client certificates and certificate authorities of connections: against systems that let nobody in without."""

from __future__ import annotations

import json

import pytest

from instance import eventually
from kafka import Gate, Kafka
from lab import ROLE
from receiving import HttpServer, Request
from systems import PASSWORD, USER, Authority, Mosquitto, NatsServer, PostgresServer, RabbitMq, RedisServer
from test_actions_aws import connection

INFLUX = "arn:aws:iot:us-east-1:123456789012:ruledestination/influxdb/1"
VPC = "arn:aws:iot:us-east-1:123456789012:ruledestination/vpc/7b4c9f0e-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def fleet(fleethaven):
    """Knows the authority from its connections alone."""
    return fleethaven("--allow-outbound", "127.0.0.0/8,::1/128")


@pytest.fixture
def put(fleet, authority, tmp_path, name):
    """Makes the test's connection: it trusts the authority, and has the client's certificate where asked."""

    def make(kind: str, endpoint: str | None, *more: str, certificate=True, user=True, secret=True, ca=None, key=None):
        file = tmp_path / "secret"
        file.write_text(PASSWORD)
        where = ["--kind", kind, "--rule", f"{name}*", "--ca-file", ca or authority.ca, "--admin", fleet.ready["admin"]]
        where += ["--endpoint", endpoint] if endpoint else []
        where += ["--certificate-file", authority.client, "--key-file", key or authority.client_key] if certificate else []
        where += ["--credentials-id", USER] if user else []
        where += ["--secret-file", file] if user and secret else []
        connection("put", name, *where, *more)

    return make


@pytest.fixture
def send(rules):
    """With an action of ours."""

    def make(url: str, *payloads, **fields):
        headers = [{"key": key, "value": value} for key, value in fields.items()]
        return rules.send({"http": {"url": f"x-action://{url}", "headers": headers}}, *payloads)

    make.failure = rules.failure
    return make


@pytest.fixture
def system(tmp_path_factory, authority):
    """Starts servers that ask for certificates, which end with the test."""
    started = []

    def start(kind):
        started.append(kind(tmp_path_factory.mktemp(kind.__name__.lower()), authority, mutual=True))
        return started[-1].start()

    yield start
    for one in started:
        one.close()


class Recorder(HttpServer):
    """Records requests, from whoever shows a certificate of the authority."""

    def __init__(self, authority: Authority):
        self.seen: list[Request] = []
        super().__init__(authority.context(mutual=True))

    def answer(self, request):
        self.seen.append(request)
        return 200, b"{}"


@pytest.fixture
def recorder(authority):
    recorder = Recorder(authority)
    yield recorder
    recorder.close()


def test_redis(put, send, system, name):
    redis = system(RedisServer)
    put("redis", redis.endpoint, certificate=False)
    send(f"redisSet/{name}", "1", key="k")
    assert send.failure()["failedAction"] == "RedisSetAction"
    put("redis", redis.endpoint)
    send(f"redisSet/{name}", "2", key="k")
    eventually(lambda: redis.cli("GET", "k") == "2", "the value")


def test_postgres_knows_the_user_by_the_certificate(put, send, system, name):
    postgres = system(PostgresServer)
    postgres.psql("CREATE TABLE r (t int)")
    put("postgres", postgres.endpoint, certificate=False)
    send(f"postgres/{name}", "1", sql="INSERT INTO r VALUES (:payload)")
    assert "certificate" in send.failure()["errorMessage"]
    put("postgres", postgres.endpoint, secret=False)
    send(f"postgres/{name}", "2", sql="INSERT INTO r VALUES (:payload)")
    eventually(lambda: postgres.psql("SELECT t FROM r") == [["2"]], "the row")


def test_another_broker_knows_the_user_by_the_certificate(put, send, system, name):
    mosquitto = system(Mosquitto)
    put("mqtt", mosquitto.endpoint, certificate=False, user=False)
    send(f"mqttBridge/{name}", "1", topic="allowed/x")
    assert send.failure()["failedAction"] == "MqttBridgeAction"
    put("mqtt", mosquitto.endpoint, user=False)
    send(f"mqttBridge/{name}", "2", topic="allowed/x")
    # That it was acknowledged is told by the next one: this topic is not for the user of the certificate.
    send(f"mqttBridge/{name}", "3", topic="forbidden/x")
    assert "NotAuthorized" in send.failure(2)["errorMessage"]


def test_nats(put, send, system, name):
    nats = system(NatsServer)
    put("nats", nats.endpoint, certificate=False)
    send(f"nats/{name}?jetstream=true", "{}", subject="nowhere")
    assert "no stream" not in send.failure()["errorMessage"]
    put("nats", nats.endpoint)
    send(f"nats/{name}?jetstream=true", "{}", subject="nowhere")
    assert "no stream takes this subject" in send.failure(2)["errorMessage"]


def test_amqp_knows_the_user_by_the_certificate(put, send, system, name):
    rabbit = system(RabbitMq)
    client = rabbit.client()
    try:
        channel = client.channel()
        channel.queue_declare("q")
        put("amqp", rabbit.endpoint, certificate=False)
        send(f"amqp/{name}", "1", routingKey="q")
        assert send.failure()["failedAction"] == "AmqpAction"
        put("amqp", rabbit.endpoint, user=False)
        send(f"amqp/{name}", "2", routingKey="q")

        def message():
            client.process_data_events()
            return channel.basic_get("q", auto_ack=True)[2]

        assert eventually(message, "the message") == b"2"
    finally:
        client.close()


def test_kafka(put, rules, authority, tmp_path, name):
    gate = Gate(authority, login=False, mutual=True)
    gate.broker = Kafka(tmp_path / "kafka", gate.address).start()
    try:
        gate.broker.options = {
            "security.protocol": "SSL",
            "ssl.ca.location": str(authority.ca),
            "ssl.certificate.location": str(authority.client),
            "ssl.key.location": str(authority.client_key),
        }
        gate.broker.create(name)
        action = {"destinationArn": VPC, "topic": name, "clientProperties": {"bootstrap.servers": gate.address}}
        put("kafka", None, "--role", VPC, certificate=False, user=False)
        rules.send({"kafka": action}, "1")
        assert rules.failure()["failedAction"] == "KafkaAction"
        put("kafka", None, "--role", VPC, user=False)
        rules.send({"kafka": action}, "2")
        assert [record.value() for record in gate.broker.read(name, 1)] == [b"2"]
    finally:
        gate.broker.close()
        gate.close()


def test_influxdb(put, rules, recorder):
    settings = {"destinationArn": INFLUX, "roleArn": ROLE, "databaseName": "metrics", "tableName": "t"}
    version = ("--option", "version=V3", "--role", INFLUX)
    put("influxDB", recorder.origin, *version, certificate=False)
    rules.send({"influxDB": settings}, '{"t": 1, "timestamp": 1}')
    assert rules.failure()["failedAction"] == "InfluxDBAction" and recorder.seen == []
    put("influxDB", recorder.origin, *version)
    rules.send({"influxDB": settings}, '{"t": 2, "timestamp": 1}')
    [request] = eventually(lambda: recorder.seen, "the points")
    assert request.path.startswith("/api/v3/write_lp?") and request.body == b"t t=2i 1"


def test_documents(put, rules, recorder):
    where = {"endpoint": "https://x.example", "index": "i", "type": "_doc", "id": "1", "roleArn": ROLE}
    put("openSearch", recorder.origin, "--role", ROLE, certificate=False)
    rules.send({"openSearch": where}, "{}")
    assert rules.failure()["failedAction"] == "OpenSearchAction" and recorder.seen == []
    put("openSearch", recorder.origin, "--role", ROLE)
    rules.send({"openSearch": where}, "{}")
    [request] = eventually(lambda: recorder.seen, "the document")
    assert request.path == "/i/_doc/1"


def test_an_address_and_its_confirmation(put, rules, iot, recorder, name):
    """The connection that an address is below has the certificate for it, for the challenge, too."""
    put("http", f"{recorder.origin}/hook", user=False)
    configuration = {"httpUrlConfiguration": {"confirmationUrl": f"{recorder.origin}/hook/a"}}
    made = iot.create_topic_rule_destination(destinationConfiguration=configuration)["topicRuleDestination"]
    [challenge] = eventually(lambda: recorder.seen, "the challenge")
    iot.confirm_topic_rule_destination(confirmationToken=json.loads(challenge.body)["confirmationToken"])
    try:
        hook = {"confirmationUrl": f"{recorder.origin}/hook/a"}
        rules.send({"http": {"url": f"{recorder.origin}/hook/a/b"} | hook}, '{"t": 1}')
        [request] = eventually(lambda: recorder.seen[1:], "the message")
        assert (request.path, request.body) == ("/hook/a/b", b'{"t": 1}')
        put("http", f"{recorder.origin}/hook", certificate=False, user=False)
        rules.send({"http": {"url": f"{recorder.origin}/hook/a/c"} | hook}, "{}")
        assert rules.failure()["failedAction"] == "HttpAction"
    finally:
        iot.delete_topic_rule_destination(arn=made["arn"])


def test_what_cannot_be_used_is_refused_by_the_command(put, tmp_path):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for files, reason in [({"ca": nonsense}, "no certificate"), ({"key": nonsense}, "no PEM key")]:
        with pytest.raises(AssertionError, match=reason):
            put("redis", "rediss://localhost:1", **files)
    with pytest.raises(AssertionError, match="in the clear"):
        put("redis", "redis://localhost:1")


def test_certificates_are_listed_and_their_keys_are_not(put, fleet, name):
    put("redis", "rediss://localhost:1")
    listed = {one["name"]: one for one in connection("list", "--admin", fleet.ready["admin"])}
    assert listed[name]["certificates"] == ["authorities", "client"]
    assert "PRIVATE" not in json.dumps(listed)
