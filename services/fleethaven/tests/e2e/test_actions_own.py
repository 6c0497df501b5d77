"""Actions that AWS has not: each against the real system, in the clear and by TLS."""

from __future__ import annotations

import base64
import json
import threading

import paho.mqtt.client as paho
import pytest

from control_plane import invalid
from instance import eventually
from receiving import HttpServer, Request
from systems import (
    PASSWORD,
    USER,
    Authority,
    Mosquitto,
    Nats,
    NatsServer,
    PostgresServer,
    Prometheus,
    RabbitMq,
    RedisServer,
)
from test_actions_aws import connection


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def fleet(fleethaven, authority):
    return fleethaven("--allow-outbound", "127.0.0.0/8,::1/128", "--outbound-ca", str(authority.ca))


@pytest.fixture
def put(fleet, tmp_path):
    """Makes connections: `put("cache", "redis", endpoint)`."""

    def make(name: str, kind: str, endpoint: str, *more: str, credentials: bool = True, rule: str = "*"):
        secret = tmp_path / "secret"
        secret.write_text(PASSWORD)
        key = ("--credentials-id", USER, "--secret-file", secret) if credentials else ()
        where = ("--kind", kind, "--endpoint", endpoint, "--rule", rule, "--admin", fleet.ready["admin"])
        connection("put", name, *where, *key, *more)

    return make


@pytest.fixture
def send(rules):
    """With an action of ours."""

    def make(url: str, *payloads, **fields):
        headers = [{"key": key, "value": value} for key, value in fields.items()]
        return rules.send({"http": {"url": f"x-action://{url}", "headers": headers}}, *payloads)

    make.client, make.failure = rules.client, rules.failure
    return make


@pytest.fixture
def system(tmp_path_factory):
    """Starts servers, which end with the test."""
    started = []

    def start(kind, authority=None):
        started.append(kind(tmp_path_factory.mktemp(kind.__name__.lower()), authority))
        return started[-1].start()

    yield start
    for one in started:
        one.close()


both = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def test_what_cannot_be_is_refused_when_the_rule_is_created(iot, name):
    def create(url, **fields):
        headers = [{"key": key, "value": value} for key, value in fields.items()]
        payload = {"sql": "SELECT * FROM 'a'", "actions": [{"http": {"url": url, "headers": headers}}]}
        invalid(iot.create_topic_rule, ruleName=name, topicRulePayload=payload)

    create("x-action://smoke/a")
    create("x-action://redisSet/a")
    create("x-action://redisSet/", key="k")
    create("x-action://redisStream/a?maxLen=many", key="k")
    create("x-action://redisSet/a", key="k", nonsense="n")


def test_a_connection_lets_in_only_whom_it_names(put, send, name):
    put(name, "redis", "redis://localhost:1", rule="other_rule")
    send(f"redisSet/{name}", "{}", key="k")
    failure = send.failure()
    assert failure["failedAction"] == "RedisSetAction" and failure["failedResource"] == "k"
    assert failure["errorMessage"].startswith("AccessDenied")


@both
def test_redis(put, send, system, authority, name, tls):
    redis = system(RedisServer, authority if tls else None)
    put(name, "redis", redis.endpoint)
    send(f"redisSet/{name}", '{"t": 1}', key="last/${topic(1)}", ttl="60")
    eventually(lambda: redis.cli("GET", f"last/{name}") == '{"t": 1}', "the value")
    assert 0 < int(redis.cli("TTL", f"last/{name}")) <= 60
    send(f"redisStream/{name}", '{"t": 1}', '{"t": 2}', key="s", **{"field.t": "${t}", "field.of": "${topic(1)}"})
    eventually(lambda: redis.cli("XLEN", "s") == "2", "two entries of the stream")
    assert redis.cli("XRANGE", "s", "-", "+").split("\n")[1:5] == ["t", "1", "of", name]
    send(f"redisStream/{name}?maxLen=10", b"\xff\x00", key="raw")
    eventually(lambda: redis.cli("XLEN", "raw") == "1", "the binary entry")
    assert "payload" in redis.cli("XRANGE", "raw", "-", "+")
    # Nobody listens: what counts is that the server took it.
    send(f"redisPublish/{name}", "{}", channel="c")
    eventually(lambda: "calls=1" in redis.cli("INFO", "commandstats").split("cmdstat_publish:")[-1], "the publish")
    # The key holds no stream: refused, and not tried again.
    send(f"redisStream/{name}", "{}", key=f"last/{name}")
    assert "WRONGTYPE" in send.failure()["errorMessage"]


def test_redis_that_comes_back(put, send, system, name):
    redis = system(RedisServer)
    put(name, "redis", redis.endpoint)
    topic = send(f"redisSet/{name}", "1", key="k")
    eventually(lambda: redis.cli("GET", "k") == "1", "the value")
    redis.close()
    redis.start()
    # The connection is gone: a try notices it, the next one opens another.
    send.client.publish(topic, "2", qos=1)
    eventually(lambda: redis.cli("GET", "k") == "2", "the value after the restart")
    assert send.client.received == []


@both
def test_postgres(put, send, system, authority, name, tls):
    postgres = system(PostgresServer, authority if tls else None)
    postgres.psql("CREATE TABLE r (device text, t double precision, at timestamptz, tags jsonb, whole jsonb)")
    put(name, "postgres", postgres.endpoint)
    sql = "INSERT INTO r VALUES (:device, :t, to_timestamp(:at::bigint / 1000.0), :tags, :payload)"
    parameters = {"param.device": "${d}", "param.t": "${t}", "param.at": "${timestamp()}", "param.tags": "${tags}"}
    message = {"d": "Robert'); DROP TABLE r;--", "t": 21.5, "tags": ["a"]}
    send(f"postgres/{name}", json.dumps(message), '{"d": "d2"}', sql=sql, **parameters)
    eventually(lambda: postgres.psql("SELECT count(*) FROM r") == [["2"]], "two rows")
    rows = postgres.psql("SELECT device, t, tags ->> 0, whole ->> 'd', at > now() - interval '1 min' FROM r ORDER BY t")
    assert rows == [[message["d"], "21.5", "a", message["d"], "t"], ["d2", "", "", "d2", "t"]]
    # A batch with one row that does not fit: the others are written.
    topic = send(f"postgres/{name}", sql="INSERT INTO r (t) VALUES (:t)", **{"param.t": "${v}"})
    for value in ["1", '"cold"', "2", "3"]:
        send.client.publish_later(topic, f'{{"v": {value}}}')
    failure = send.failure()
    assert failure["failedAction"] == "PostgresAction" and "22P02" in failure["errorMessage"]
    eventually(lambda: postgres.psql("SELECT count(*) FROM r WHERE t IN (1, 2, 3)") == [["3"]], "the other rows")


def test_many_rows_are_few_transactions(put, send, system, name):
    postgres = system(PostgresServer)
    postgres.psql("CREATE TABLE r (n int, tx bigint DEFAULT txid_current())")
    put(name, "postgres", postgres.endpoint)
    topic = send(f"postgres/{name}", sql="INSERT INTO r (n) VALUES (:n)", **{"param.n": "${n}"})
    for n in range(500):
        send.client.publish_later(topic, f'{{"n": {n}}}')
    eventually(lambda: postgres.psql("SELECT count(DISTINCT n) FROM r") == [["500"]], "all rows")
    [[transactions]] = postgres.psql("SELECT count(DISTINCT tx) FROM r")
    assert int(transactions) < 500
    assert send.client.received == []


@both
def test_another_broker(put, send, system, authority, name, tls):
    mosquitto = system(Mosquitto, authority if tls else None)
    put(name, "mqtt", mosquitto.endpoint)
    seen = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(USER, PASSWORD)
    if tls:
        client.tls_set(str(authority.ca))
    subscribed = threading.Event()
    client.on_message = lambda _, __, message: seen.append((message.topic, message.payload, message.qos, message.retain))
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("localhost", mosquitto.port)
    client.loop_start()
    try:
        client.subscribe("allowed/#", qos=1)
        assert subscribed.wait(10)
        send(f"mqttBridge/{name}", '{"t": 1}', topic="allowed/${topic(1)}/x")
        eventually(lambda: seen == [(f"allowed/{name}/x", b'{"t": 1}', 1, False)], "the message")
        send(f"mqttBridge/{name}?qos=0&retain=true", b"\x00\xff", topic="allowed/raw")
        eventually(lambda: seen[1:] == [("allowed/raw", b"\x00\xff", 0, False)], "the second message")
        send(f"mqttBridge/{name}", "{}", topic="forbidden/x")
        failure = send.failure()
        assert failure["failedAction"] == "MqttBridgeAction" and "NotAuthorized" in failure["errorMessage"]
        topic = send(f"mqttBridge/{name}", topic="allowed/many")
        for n in range(300):
            send.client.publish_later(topic, str(n))
        eventually(lambda: len(seen) >= 302, "all messages")
        assert sorted(int(payload) for where, payload, _, _ in seen if where == "allowed/many") == list(range(300))
    finally:
        client.disconnect()
        client.loop_stop()


def test_another_broker_that_does_not_know_us(put, send, system, name):
    mosquitto = system(Mosquitto)
    put(name, "mqtt", mosquitto.endpoint, credentials=False)
    send(f"mqttBridge/{name}", "{}", topic="allowed/x")
    assert "refused the connection" in send.failure()["errorMessage"]


@both
def test_nats(put, send, system, authority, name, tls):
    nats = system(NatsServer, authority if tls else None)
    put(name, "nats", nats.endpoint)
    if tls:
        # The server speaks TLS only: that it takes what it is sent is told by JetStream's answer.
        send(f"nats/{name}?jetstream=true", "{}", subject="nowhere")
        assert "no stream takes this subject" in send.failure()["errorMessage"]
        return
    client = Nats(nats)
    try:
        made = client.ask("$JS.API.STREAM.CREATE.readings", {"name": "readings", "subjects": ["readings.>"]})
        assert "error" not in made, made
        client.subscribe("fleet.>")
        send(f"nats/{name}", '{"t": 1}', subject="fleet.${topic(1)}", **{"header.Of": "${topic(2)}"})
        subject, headers, payload = client.next()
        assert (subject, payload) == (f"fleet.{name}", b'{"t": 1}') and b"Of: 0\r\n" in headers
        send(f"nats/{name}?jetstream=true", '{"t": 2}', subject="readings.x")

        def kept():
            return client.ask("$JS.API.STREAM.INFO.readings", {})["state"]["messages"]

        eventually(lambda: kept() == 1, "the message in the stream")
        stored = client.ask("$JS.API.STREAM.MSG.GET.readings", {"seq": 1})["message"]
        assert b"Nats-Msg-Id: " in base64.b64decode(stored["hdrs"])
        send(f"nats/{name}?jetstream=true", "{}", subject="nowhere")
        assert "no stream takes this subject" in send.failure()["errorMessage"]
        send(f"nats/{name}", '{"s": "a b"}', subject="fleet.${s}")
        assert "no subject" in send.failure(2)["errorMessage"]
    finally:
        client.close()


@both
def test_amqp(put, send, system, authority, name, tls):
    rabbit = system(RabbitMq, authority if tls else None)
    put(name, "amqp", rabbit.endpoint)
    client = rabbit.client()
    channel = client.channel()
    channel.exchange_declare("readings", "topic")
    for queue in ("all", "own"):
        channel.queue_declare(queue)
    channel.queue_bind("all", "readings", "fleet.#")

    def message(queue: str):
        """The next message of a queue: its routing key, properties and payload."""
        client.process_data_events()
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return method and (method.routing_key, properties, body)

    try:
        where = {"exchange": "readings", "routingKey": "fleet.${topic(1)}", "header.site": "${site}", "header.n": "1"}
        send(f"amqp/{name}", '{"site": "a"}', **where)
        key, properties, body = eventually(lambda: message("all"), "the message")
        assert (key, body) == (f"fleet.{name}", b'{"site": "a"}')
        assert properties.headers == {"site": "a", "n": "1"} and properties.content_type == "application/json"
        assert properties.delivery_mode == 2 and properties.message_id and properties.timestamp
        # Larger than a frame, and no text; to a queue by its name.
        large = bytes(range(256)) * 500
        send(f"amqp/{name}?persistent=false", large, routingKey="own")
        _, properties, body = eventually(lambda: message("own"), "the large message")
        assert body == large and (properties.content_type, properties.delivery_mode) == ("application/octet-stream", 1)
        # What nobody takes is lost, unless the rule wants to know.
        send(f"amqp/{name}", "{}", exchange="readings", routingKey="elsewhere")
        send(f"amqp/{name}?mandatory=true", "{}", exchange="readings", routingKey="elsewhere")
        failure = send.failure()
        assert failure["failedAction"] == "AmqpAction" and failure["failedResource"] == "readings"
        assert "NO_ROUTE" in failure["errorMessage"]
        send(f"amqp/{name}", "{}", routingKey="nowhere")
        assert "NO_ROUTE" in send.failure(2)["errorMessage"]
        # An exchange that is not there costs nobody but who names it.
        topic = send(f"amqp/{name}", exchange="readings", routingKey="fleet.many")
        missing = send(f"amqp/{name}", exchange="missing", routingKey="k")
        for n in range(200):
            send.client.publish_later(topic, str(n))
            if n % 50 == 0:
                send.client.publish_later(missing, "{}")
        assert "NOT_FOUND" in send.failure(6)["errorMessage"]
        many = set()

        def all_there():
            if found := message("all"):
                many.add(int(found[2]))
            return many == set(range(200))

        eventually(all_there, "all messages", 60, 0)
    finally:
        client.close()


def test_amqp_that_does_not_know_us(put, send, system, name):
    rabbit = system(RabbitMq)
    put(name, "amqp", rabbit.endpoint, credentials=False)
    send(f"amqp/{name}", "{}", routingKey="q")
    assert "wants a user and a password" in send.failure()["errorMessage"]
    put(name, "amqp", rabbit.endpoint + "/nowhere")
    send(f"amqp/{name}", "{}", routingKey="q")
    assert "530 NOT_ALLOWED" in send.failure(2)["errorMessage"]


def test_prometheus(put, send, system, name):
    prometheus = system(Prometheus)
    put(name, "prometheus", prometheus.endpoint, credentials=False)
    fields = {"metric": "fleet_temperature", "value": "${t}", "label.site": "${site}"}
    topic = send(f"prometheusRemoteWrite/{name}", **fields)
    for site in ("a", "b"):
        send.client.publish(topic, json.dumps({"t": 21.5, "site": site}), qos=1)

    def series():
        found = prometheus.samples("fleet_temperature")
        return {json.loads(labels)["site"]: [value for _, value in samples] for labels, samples in found.items()}

    eventually(lambda: series() == {"a": [21.5], "b": [21.5]}, "both series")
    send.client.publish(topic, json.dumps({"t": "cold", "site": "a"}), qos=1)
    assert "value is no number" in send.failure()["errorMessage"]


class Loki(HttpServer):
    """Records what is pushed."""

    def __init__(self):
        self.seen: list[Request] = []
        super().__init__()

    def answer(self, request):
        self.seen.append(request)
        return 204, b""


def test_loki(put, send, name):
    """Against a recording server: Debian has no Loki."""
    loki = Loki()
    try:
        put(name, "loki", loki.origin + "/", "--option", "tenant=fleet")
        send(f"lokiPush/{name}", '{"t": 1}', **{"label.site": "${topic(2)}"})
        [(_, path, headers, body)] = eventually(lambda: loki.seen, "the push")
        assert path == "/loki/api/v1/push" and headers["x-scope-orgid"] == "fleet"
        assert headers["authorization"].startswith("Basic ")
        [stream] = json.loads(body)["streams"]
        assert stream["stream"] == {"rule": f"{name}_0", "site": "0"}
        [[at, line]] = stream["values"]
        assert line == '{"t": 1}' and len(at) == 19
    finally:
        loki.close()
