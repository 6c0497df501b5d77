"""What accounts may use: below, at and above each bound, with the answers that AWS gives."""

import re
import threading

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from control_plane import refused
from instance import eventually
from mqtt_client import V3, V5, Refused
from sdk_client import Sdk5
from test_admin import families
from test_websocket import sdk

QUOTA = 0x97
UNAVAILABLE_V3 = 136  # paho's number of return code 3
FAILURE_V3 = 0x80
BOTH = pytest.mark.parametrize("version", [V3, V5], ids=["3.1.1", "5"])


@pytest.fixture
def limited(fleethaven, tmp_path):
    """Starts an instance whose account has these limits: `limited(connections_account=2)`."""

    def start(**limits):
        settings = tmp_path / "settings.toml"
        lines = [f"{name.replace('_', '-')} = {value}" for name, value in limits.items()]
        settings.write_text("\n".join(["[accounts.123456789012.limits]", *lines, ""]))
        return fleethaven("--config", str(settings))

    return start


def counted(fleet, family: str, **labels) -> float:
    samples = families(fleet)[family].samples
    return sum(s.value for s in samples if labels.items() <= s.labels.items() and s.name.endswith("_total"))


@BOTH
def test_connections(limited, connect, version):
    fleet = limited(connections_account=2)
    first = connect("a", to=fleet, version=version)
    connect("b", to=fleet, version=version)
    with pytest.raises(Refused) as refusal:
        connect("c", to=fleet, version=version)
    assert refusal.value.value in (QUOTA, UNAVAILABLE_V3)
    assert counted(fleet, "fleethaven_mqtt_connect", result="throttle") == 1
    assert counted(fleet, "fleethaven_mqtt_connect", result="success") == 2
    first.disconnect()
    data = fleet.client("iot-data")
    eventually(lambda: not data.get_connection(clientId="a")["connected"], "the place being free")
    connect("c", to=fleet, version=version)


def test_another_accounts_limits_do_not_count(fleethaven, connect, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[accounts.210987654321.limits]\nconnections-account = 1\n")
    fleet = fleethaven("--config", str(settings))
    for name in "abc":
        connect(name, to=fleet)


@BOTH
def test_subscriptions(limited, connect, version):
    fleet = limited(subscriptions_account=3)
    refusal = QUOTA if version == V5 else FAILURE_V3
    lasting = {"expiry": 300} if version == V5 else {"clean": False}
    away = connect("a", to=fleet, version=version, **lasting)
    assert away.subscribe("1", "2") == [1, 1]
    away.disconnect()
    client = connect("b", to=fleet, version=version)
    assert client.subscribe("3", "4") == [1, refusal]
    assert client.subscribe("3") == [1], "it is held already"
    assert client.subscribe("4") == [refusal]
    client.unsubscribe("3")
    assert client.subscribe("4") == [1]


def test_filters_a_second(limited, connect):
    fleet = limited(subscribe_per_sec_account=3)
    client = connect("a", to=fleet)
    assert client.subscribe("1", "2", "3", "4", "5") == [1, 1, 1, QUOTA, QUOTA]
    eventually(lambda: client.subscribe("4") == [1], "the rate's next second")


def test_messages_published_a_second(limited, connect):
    fleet = limited(inbound_publish_per_sec_account=3)
    clients = [connect(name, to=fleet) for name in "abc"]
    assert QUOTA not in [client.publish("t", b"x") for client in clients]
    eventually(lambda: any(client.publish("t", b"x") == QUOTA for client in clients), "0x97", pause=0.001)
    data = fleet.client("iot-data")

    def throttled():
        try:
            data.publish(topic="t", payload=b"x")
        except data.exceptions.ThrottlingException as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] == 429

    eventually(throttled, "429", pause=0.001)


def test_messages_delivered_a_second_wait_at_qos_1(limited, connect):
    fleet = limited(outbound_publish_per_sec_account=50)
    clean, lasting = connect("clean", to=fleet), connect("lasting", to=fleet, expiry=300)
    for client in (clean, lasting):
        client.subscribe("t", qos=1)
    publisher = connect("publisher", to=fleet)
    sent = [str(number).encode() for number in range(100)]
    for payload in sent:
        publisher.publish("t", payload)
    assert clean.expect(100, seconds=30) == sent and lasting.expect(100, seconds=30) == sent


def test_messages_delivered_a_second_are_dropped_at_qos_0(limited, connect):
    # So low a rate that even a slow machine publishes faster.
    fleet = limited(outbound_publish_per_sec_account=2)
    client = connect("slow", to=fleet)
    client.subscribe("t", qos=0)
    publisher = connect("publisher", to=fleet)
    for _ in range(100):
        publisher.publish("t", b"x")
    out = lambda result: counted(fleet, "fleethaven_mqtt_publish_out", result=result)
    eventually(lambda: out("throttle") + out("success") == 100, "the counts of all")
    dropped = out("throttle")
    assert dropped > 0
    client.expect(int(100 - dropped))
    fleet.log.having("deliveries dropped", "slow", "the account's outbound rate")


# At QoS 0 so low a rate that even a slow machine publishes faster.
@pytest.mark.parametrize(("qos", "rate"), [(0, 5), (1, 50), (2, 50)])
def test_the_deliveries_of_groups_count_among_the_accounts(limited, connect, qos, rate):
    fleet = limited(outbound_publish_per_sec_account=rate)
    members = [connect(name, to=fleet) for name in ("one", "two")]
    for member in members:
        member.subscribe("$share/g/t", "end", qos=qos)
    publisher = connect("publisher", to=fleet)
    sent = [str(number).encode() for number in range(100)]
    for mid in [publisher.publish_later("t", payload, qos=max(qos, 1)) for payload in sent]:
        eventually(lambda: publisher.acknowledged(mid) is not None, "the acknowledgement")
    got = lambda: [payload for member in members for payload in member.payloads()]
    if qos == 0:
        out = lambda result: counted(fleet, "fleethaven_mqtt_publish_out", result=result)
        eventually(lambda: out("throttle") + out("success") == 100, "the counts of all")
        dropped = out("throttle")
        assert dropped > 0
        eventually(lambda: len(got()) == 100 - dropped, "what was not dropped")
    else:
        eventually(lambda: sorted(got()) == sorted(sent), "each once", seconds=30)
        assert counted(fleet, "fleethaven_mqtt_publish_out", result="success") == 100


def test_requests_of_a_group_a_second(limited, connect):
    fleet = limited(share_requests_per_sec_group=2)
    client = connect("a", to=fleet)
    codes = [code for _ in range(5) for code in client.subscribe("$share/g/t", "plain")]
    assert codes[:4] == [1, 1, 1, 1] and QUOTA in codes[4::2] and QUOTA not in codes[5::2]
    assert client.subscribe("$share/other/t") == [1]


def test_messages_wait_for_so_long(limited, connect):
    fleet = limited(session_queued_secs=1, session_queued_messages=2)
    away = connect("away", to=fleet, expiry=300)
    away.subscribe("t")
    away.disconnect()
    data = fleet.client("iot-data")
    eventually(lambda: not data.get_connection(clientId="away")["connected"], "the client being gone")
    publisher = connect("publisher", to=fleet)
    dropped = lambda: counted(fleet, "fleethaven_store_queue_too_old")
    overflowed = lambda: counted(fleet, "fleethaven_mqtt_queue_overflow")
    numbers = iter(range(100_000))

    def publish():
        publisher.publish("t", str(next(numbers)))
        return dropped() >= 2

    # The queue is full until the first two are too old; then there is room again.
    eventually(publish, "room for newer ones", pause=0.05)
    assert overflowed() > 0
    newest = next(numbers) - 1
    back = connect("away", to=fleet, clean=False, expiry=300)
    assert b"0" not in back.expect_until(str(newest).encode())


def test_bytes_a_second_are_read_later(limited, connect):
    fleet = limited(throughput_connection=100_000)
    client = connect("a", to=fleet)
    pending = [client.publish_later("t", b"x" * 10_000) for _ in range(25)]
    eventually(lambda: all(client.acknowledged(mid) is not None for mid in pending), "all acknowledged", seconds=20)


def test_messages_queued_a_second(limited, connect):
    fleet = limited(queued_per_sec_account=10)
    away = connect("away", to=fleet, expiry=300)
    away.subscribe("t", "end")
    away.disconnect()
    data = fleet.client("iot-data")
    eventually(lambda: not data.get_connection(clientId="away")["connected"], "the client being gone")
    publisher = connect("publisher", to=fleet)
    for number in range(200):
        publisher.publish("t", str(number))
    dropped = counted(fleet, "fleethaven_mqtt_queue_throttled")
    assert 0 < dropped <= 190
    back = connect("away", to=fleet, clean=False, expiry=300)
    publisher.publish("end", b"end")
    got = back.expect_until(b"end")
    assert got[:10] == [str(number).encode() for number in range(10)], "the newest are dropped"
    assert len(got) == 201 - dropped


def test_retained_messages(limited, connect):
    fleet = limited(retained_count=2)
    client, data = connect("a", to=fleet), fleet.client("iot-data")

    def retain(topic, payload=b"x"):
        message = client.paho.publish(topic, payload, 1, retain=True)
        client._wait(lambda: client.acknowledged(message.mid) is not None, "PUBACK")
        return client.acknowledged(message.mid)

    assert [retain(topic) < 0x80 for topic in ("1", "2", "2")] == [True] * 3
    assert retain("3") == QUOTA
    refused("ThrottlingException", 429, data.publish, topic="3", retain=True, payload=b"x")
    data.publish(topic="2", qos=1, retain=True, payload=b"again")
    data.publish(topic="none", qos=1, retain=True, payload=b"")
    assert retain("1", b"") < 0x80
    assert retain("3") < 0x80
    assert [kept["topic"] for kept in data.list_retained_messages()["retainedTopics"]] == ["2", "3"]


def test_messages_retained_a_second_on_a_topic(limited, connect):
    data = limited(retained_per_sec_topic=1).client("iot-data")

    def throttled():
        try:
            data.publish(topic="t", retain=True, payload=b"x")
        except data.exceptions.ThrottlingException:
            return True

    eventually(throttled, "429", pause=0.001)
    data.publish(topic="other", retain=True, payload=b"x")
    data.publish(topic="t", retain=True, payload=b"")


def test_requests_a_second(limited, connect):
    fleet = limited(retained_lists_per_sec=2, connection_requests_per_sec=2, retained_reads_per_sec=2)
    data = fleet.client("iot-data")
    connect("c", to=fleet)

    def throttled(operation, **arguments):
        try:
            operation(**arguments)
        except data.exceptions.ThrottlingException as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        except data.exceptions.ResourceNotFoundException:
            return False

    for operation, arguments in (
        (data.list_retained_messages, {}),
        (data.get_retained_message, {"topic": "t"}),
        (data.get_connection, {"clientId": "c"}),
        (data.list_subscriptions, {"clientId": "c"}),
        (data.send_direct_message, {"clientId": "c", "topic": "t"}),
    ):
        eventually(lambda: throttled(operation, **arguments), str(operation), pause=0.001)


def test_a_websocket_has_an_end(limited):
    fleet = limited(websocket_lifetime_secs=1)
    client = sdk(fleet, Sdk5, "by-websocket").connect()
    data = fleet.client("iot-data")
    gone = eventually(
        lambda: (lambda found: None if found["connected"] else found)(data.get_connection(clientId="by-websocket")),
        "the end of the WebSocket",
    )
    assert gone["disconnectReason"] == "WEBSOCKET_TTL_EXPIRATION"
    client.disconnect()


@pytest.mark.parametrize(("size", "taken"), [(99, False), (100, True), (101, True)])
def test_the_smallest_packet_size_of_clients(limited, connect, size, taken):
    fleet = limited(client_packet_bytes_min=100)
    if taken:
        connect("a", to=fleet, MaximumPacketSize=size)
        return
    with pytest.raises(Refused) as refusal:
        connect("a", to=fleet, MaximumPacketSize=size)
    assert refusal.value.value == 0x82


def test_sizes_of_properties(limited, connect):
    fleet = limited(content_type_bytes=3, response_topic_bytes=3, correlation_data_bytes=3, user_property_bytes=3)
    watcher = connect("w", to=fleet)
    watcher.subscribe("t")
    for name, make in (("ContentType", str), ("ResponseTopic", str), ("CorrelationData", str.encode)):
        client = connect("a", to=fleet)
        for size in (2, 3):
            assert client.publish("t", b"x", **{name: make("r" * size)}) == 0
        client.publish_later("t", b"x", **{name: make("r" * 4)})
        assert client.closed() == 0x82, name
    client = connect("a", to=fleet)
    for value, code in (("v", 0), ("vv", 0), ("vvv", QUOTA)):
        assert client.publish("t", b"x", UserProperty=("n", value)) == code


def test_what_a_client_does_not_read_is_dropped_counted_once_and_logged(fleet, connect, name):
    before = {result: out(fleet, result) for result in ("success", "dropped")}
    stuck, reader = connect(name), connect(name + "-reader")
    for client in (stuck, reader):
        client.subscribe(name, qos=0)
    pause = threading.Event()
    stuck.paho.on_message = lambda *_: pause.wait(60)
    payload = b"x" * (1 << 20)
    publisher = connect(name + "-publisher")
    messages = 40
    for number in range(messages):
        publisher.publish(name, payload)
        reader.expect(number + 1)
    try:
        eventually(lambda: out(fleet, "dropped") > before["dropped"], "a drop")
        line = fleet.log.having("deliveries dropped", f'"client_id":"{name}"')
        assert "the client does not read" in line and re.search(r'"count":\d+', line)
        counts = [out(fleet, result) - before[result] for result in before]
        assert sum(counts) == 2 * messages, counts
    finally:
        pause.set()


def out(fleet, result: str) -> float:
    if result == "dropped":
        return counted(fleet, "fleethaven_mqtt_publish_out_dropped")
    return counted(fleet, "fleethaven_mqtt_publish_out", result=result)


def test_boto3_tries_again_what_the_api_throttles(limited):
    """A rate of one a second to each operation: SDKs wait, and in the end nothing is lost."""
    fleet = limited(api_rate_percent=1)
    once, patient = fleet.client(), fleet.client(config=Config(retries={"mode": "standard", "max_attempts": 10}))

    def throttled():
        try:
            once.list_things()
        except ClientError as error:
            answer = error.response
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
            return answer["Error"]["Code"]

    assert eventually(throttled, "a throttled request", pause=0.001) == "ThrottlingException"
    things = [patient.create_thing(thingName=f"thing-{n}")["thingName"] for n in range(3)]
    assert things == ["thing-0", "thing-1", "thing-2"]
    once.list_policies()
