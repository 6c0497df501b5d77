"""MQTT 3.1.1 and 5 as a client sees it: sessions, takeover, keep-alive, wills, order, properties, limits."""

import struct
import threading
import time

import pytest
from awscrt import mqtt5

import wire
from device import allow, make_device, policy
from instance import eventually
from mqtt_client import BOTH_VERSIONS, V3, V5, Client, Refused
from sdk_client import Sdk5

# What takes time by its nature (an expiry) is waited for on this, which nothing sets.
WAITED = threading.Event()

both = pytest.mark.parametrize("version", **BOTH_VERSIONS)


def persistent(version: int) -> dict:
    """The options of a session that outlives its connection."""
    return {"version": version, "clean": False} | ({"expiry": 600} if version == V5 else {})


# Sessions


@both
def test_a_clean_session_ends_with_its_connection(connect, version):
    first = connect("clean", version=version)
    first.subscribe("clean/a")
    first.disconnect()
    again = connect("clean", version=version, clean=False)
    assert not again.session_present


@both
def test_a_persistent_session_comes_back_with_what_was_queued_in_order(connect, version):
    first = connect("kept", **persistent(version))
    first.subscribe("kept/#")
    first.disconnect()
    publisher = connect("kept-publisher")
    sent = [b"%d" % n for n in range(50)]
    for payload in sent:
        assert publisher.publish("kept/a", payload) == 0
    again = connect("kept", **persistent(version))
    assert again.session_present
    assert again.expect(50) == sent
    publisher.publish("kept/b", b"live")
    assert again.expect_until(b"live")[50:] == [b"live"]


@both
def test_qos_0_is_not_queued(connect, version):
    first = connect("no-qos-0", **persistent(version))
    first.subscribe("no-qos-0")
    first.disconnect()
    publisher = connect("no-qos-0-publisher")
    publisher.publish("no-qos-0", b"lost", qos=0)
    publisher.publish("no-qos-0", b"kept", qos=1)
    again = connect("no-qos-0", **persistent(version))
    assert again.expect_until(b"kept") == [b"kept"]


@both
def test_a_clean_connect_wipes_the_session(connect, version):
    first = connect("wiped", **persistent(version))
    first.subscribe("wiped")
    first.disconnect()
    connect("wiped-publisher").publish("wiped", b"old")
    connect("wiped", version=version, clean=True).disconnect()
    again = connect("wiped", **persistent(version))
    assert not again.session_present
    assert again.received == []


def test_a_session_expires(connect):
    first = connect("expiring", clean=False, expiry=1)
    first.subscribe("expiring")
    first.disconnect()

    WAITED.wait(1.5)
    assert not connect("expiring", clean=False, expiry=1).session_present


def test_disconnect_may_end_the_session_now(connect):
    first = connect("ended", clean=False, expiry=600)
    first.disconnect(SessionExpiryInterval=0)
    assert not connect("ended", clean=False, expiry=600).session_present


def test_disconnect_may_not_revive_a_session_that_was_to_end(fleet, device):
    one = device()
    talk = wire.Wire(fleet.mqtt_tls, one.tls(fleet.ca_file)).send(wire.connect("revived"))
    assert talk.read()[0] == wire.CONNACK
    expiry = bytes([0x11]) + struct.pack(">I", 60)
    talk.send(bytes([0xE0, 2 + len(expiry), 0x00, len(expiry)]) + expiry)
    first, body = talk.read()
    assert first == wire.DISCONNECT and body[0] == 0x82
    talk.close()


def test_a_session_expiry_above_the_maximum_is_answered_with_the_maximum(connect):
    client = connect("too-long", clean=False, expiry=0xFFFFFFFF)
    assert client.connack_properties.SessionExpiryInterval == 30 * 24 * 3600


def test_an_mqtt_3_session_may_be_resumed_by_mqtt_5(connect):
    first = connect("crossing", **persistent(V3))
    first.subscribe("crossing")
    first.disconnect()
    connect("crossing-publisher").publish("crossing", b"over")
    again = connect("crossing", **persistent(V5))
    assert again.session_present
    assert again.expect(1) == [b"over"]


def test_an_unacknowledged_message_comes_again_after_the_connection_broke(fleet, device, connect):
    one = device()
    talk = wire.Wire(fleet.mqtt_tls, one.tls(fleet.ca_file))
    talk.send(
        wire.connect("unacknowledged", level=4, clean=False) + wire.subscribe(1, "unacknowledged", level=4)
    )
    assert talk.read()[0] == wire.CONNACK and talk.read()[0] == wire.SUBACK
    connect("its-publisher").publish("unacknowledged", b"again")
    first, body = talk.read()
    assert first & 0xF0 == wire.PUBLISH and body.endswith(b"again")
    talk.close()  # no PUBACK
    talk = wire.Wire(fleet.mqtt_tls, one.tls(fleet.ca_file)).send(
        wire.connect("unacknowledged", level=4, clean=False)
    )
    assert talk.read() == (wire.CONNACK, b"\x01\x00")
    first, repeated = talk.read()
    assert first == wire.PUBLISH | 0x08 | 0x02, "DUP is not set on the second delivery"
    assert repeated == body, "the packet id or the message changed"
    talk.close()


# Takeover


@both
def test_a_newcomer_takes_the_client_id_over(connect, version):
    old = connect("taken", version=version)
    new = connect("taken", version=version)
    code = old.closed()
    if version == V5:
        assert code == 0x8E
    assert new.publish("taken/a", b"x") in (0, 0x10)


def test_the_will_of_the_one_taken_over_is_published(connect):
    watcher = connect("takeover-watcher")
    watcher.subscribe("takeover/will")
    connect("takeover", will=("takeover/will", b"taken over", 1))
    connect("takeover")
    assert watcher.expect(1) == [b"taken over"]


def test_a_refused_newcomer_disturbs_no_one(connect, device):
    old = connect("undisturbed")
    stranger = device(policy(allow("Connect", "client/other")))
    with pytest.raises(Refused):
        connect("undisturbed", stranger)
    assert old.publish("undisturbed/a", b"x") in (0, 0x10) and old.alive


def test_a_session_is_taken_over_with_what_it_had(connect):
    old = connect("moved", **persistent(V5))
    old.subscribe("moved")
    new = connect("moved", **persistent(V5))
    assert new.session_present
    connect("moved-publisher").publish("moved", b"here")
    assert new.expect(1) == [b"here"]
    assert old.received == []


# Keep-alive and wills


@pytest.mark.parametrize("level", [4, 5], ids=["3.1.1", "5"])
def test_silence_beyond_the_keep_alive_ends_the_connection_with_its_will(fleet, device, connect, level):
    watcher = connect("silence-watcher")
    watcher.subscribe("silence/will")
    packet = wire.connect(f"silent-{level}", level=level, keep_alive=1, will=("silence/will", b"silent"))
    talk = wire.Wire(fleet.mqtt_tls, device().tls(fleet.ca_file)).send(packet)
    assert talk.read()[0] == wire.CONNACK
    last = talk.read()
    if level == 5:
        assert last == (wire.DISCONNECT, b"\x8d") or (last[0] == wire.DISCONNECT and last[1][0] == 0x8D), last
        last = talk.read()
    assert last is None
    assert watcher.expect(1) == [b"silent"]
    talk.close()


@both
def test_a_lost_connection_publishes_the_will(connect, version):
    watcher = connect("will-watcher")
    watcher.subscribe("will/lost")
    connect("mortal", version=version, will=("will/lost", b"gone", 1)).abort()
    assert watcher.expect(1) == [b"gone"]


@both
def test_a_disconnect_publishes_no_will(connect, version):
    watcher = connect("no-will-watcher")
    watcher.subscribe("will/none", "will/after")
    connect("polite", version=version, will=("will/none", b"gone", 1)).disconnect()
    connect("after", version=version, will=("will/after", b"after", 1)).abort()
    assert watcher.expect_until(b"after") == [b"after"]


def test_a_will_that_may_not_be_published_refuses_the_connection(connect, device):
    quiet = device(policy(allow("Connect", "client/quiet"), allow("Publish", "topic/own/*")))
    connect("quiet", quiet, will=("own/will", b"x", 1)).disconnect()
    with pytest.raises(Refused) as refused:
        connect("quiet", quiet, will=("foreign/will", b"x", 1))
    assert refused.value.value == 0x87


# Delivery


def test_v3_and_v5_reach_each_other(connect):
    old, new = connect("old", version=V3), connect("new", version=V5)
    old.subscribe("between/+")
    new.subscribe("between/+")
    new.publish(
        "between/5",
        b"from 5",
        ContentType="text/plain",
        ResponseTopic="reply",
        CorrelationData=b"c",
        UserProperty=[("k", "1"), ("k", "2")],
        PayloadFormatIndicator=1,
    )
    assert old.expect(1) == [b"from 5"]
    new.expect(1)
    sent = new.received[0].properties
    assert (sent.ContentType, sent.ResponseTopic, sent.CorrelationData) == ("text/plain", "reply", b"c")
    assert sent.UserProperty == [("k", "1"), ("k", "2")] and sent.PayloadFormatIndicator == 1
    old.publish("between/3", b"from 3")
    assert new.expect(2)[1] == b"from 3"
    assert old.expect(2)[1] == b"from 3"


@pytest.mark.parametrize("published, subscribed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_lower_of_both_qos_is_delivered(connect, published, subscribed):
    client = connect("lower-qos")
    assert client.subscribe("lower/qos", qos=subscribed) == [subscribed]
    client.publish("lower/qos", b"x", qos=published)
    client.expect(1)
    assert client.received[0].qos == min(published, subscribed)


def test_order_is_kept_through_a_burst(connect):
    subscriber, publisher = connect("burst-subscriber"), connect("burst-publisher")
    subscriber.subscribe("burst/#")
    sent = [b"%04d" % n for n in range(1000)]
    mids = [publisher.publish_later("burst/a", payload) for payload in sent]
    assert subscriber.expect(1000, seconds=30) == sent
    eventually(lambda: all(publisher.acknowledged(mid) == 0 for mid in mids), "every PUBACK")


def test_overlapping_subscriptions_of_one_client_are_one_copy(connect):
    client = connect("overlapping")
    client.subscribe("overlap/#", qos=0)
    client.subscribe("overlap/+", qos=1)
    client.publish("overlap/a", b"one")
    client.publish("overlap/a", b"end")
    assert client.expect_until(b"end") == [b"one", b"end"]
    assert client.received[0].qos == 1


def test_no_delivery_after_unsubscribe(connect):
    client = connect("unsubscribing")
    client.subscribe("un/a", "un/b")
    client.unsubscribe("un/a")
    client.publish("un/a", b"a")
    client.publish("un/b", b"b")
    assert client.expect_until(b"b") == [b"b"]


@both
def test_a_message_expires_in_the_queue(connect, version):
    first = connect("late", **persistent(version))
    first.subscribe("late")
    first.disconnect()
    publisher = connect("late-publisher")
    publisher.publish("late", b"short", MessageExpiryInterval=1)
    publisher.publish("late", b"long", MessageExpiryInterval=600)
    WAITED.wait(1.6)
    again = connect("late", **persistent(version))
    assert again.expect_until(b"long") == [b"long"]
    if version == V5:
        assert 590 <= again.received[0].properties.MessageExpiryInterval <= 599


def test_a_topic_alias_stands_for_its_topic(connect):
    subscriber, publisher = connect("alias-subscriber"), connect("alias-publisher")
    assert publisher.connack_properties.TopicAliasMaximum >= 8
    subscriber.subscribe("alias/a")
    publisher.publish("alias/a", b"1", TopicAlias=3)
    publisher.publish("", b"2", TopicAlias=3)
    assert subscriber.expect(2) == [b"1", b"2"]
    assert [m.topic for m in subscriber.received] == ["alias/a", "alias/a"]


def test_the_broker_sends_aliases_to_those_that_take_them(connect):
    taker = connect("taker", TopicAliasMaximum=4)
    other = connect("other")
    for client in (taker, other):
        client.subscribe("aliased/#")
    for payload in (b"1", b"2"):
        other.publish("aliased/topic", payload)
    assert taker.expect(2) == other.expect(2) == [b"1", b"2"]
    # paho hands on what came: the alias stands in the properties, and the second topic is empty.
    assert [(m.topic, m.properties.TopicAlias) for m in taker.received] == [("aliased/topic", 1), ("", 1)]
    assert [m.topic for m in other.received] == ["aliased/topic"] * 2


def test_the_aws_sdk_resolves_the_broker_s_aliases(fleet, device):
    options = mqtt5.TopicAliasingOptions(
        inbound_behavior=mqtt5.InboundTopicAliasBehaviorType.ENABLED, inbound_cache_max_size=2
    )
    own = mqtt5.ClientOptions(host_name=fleet.mqtt_tls[0], topic_aliasing_options=options)
    client = Sdk5(fleet, device(), "sdk-aliases", client_options=own).connect()
    client.subscribe("sdk/#")
    topics = ["sdk/first", "sdk/second", "sdk/third"] * 2
    for number, topic in enumerate(topics):
        client.publish(topic, b"%d" % number)
    client.expect(len(topics))
    assert client.received == [(topic, b"%d" % number) for number, topic in enumerate(topics)]
    client.disconnect()


def test_an_empty_client_id_is_given_a_name(connect):
    client = connect("")
    assert client.connack_properties.AssignedClientIdentifier


def test_hash_matches_its_parent(connect):
    client = connect("parent")
    client.subscribe("parent/#")
    client.publish("parent", b"parent")
    assert client.expect(1) == [b"parent"]


def test_an_mqtt_3_client_sees_aws_s_return_codes(fleet, device):
    stranger = device(policy(allow("Connect", "client/other")))
    talk = wire.Wire(fleet.mqtt_tls, stranger.tls(fleet.ca_file)).send(wire.connect("stranger", level=4))
    assert talk.read() == (wire.CONNACK, b"\x00\x05")
    assert talk.read() is None
    talk.close()


@pytest.mark.parametrize("level, answer", [(3, 0x01), (6, 0x84)])
def test_another_protocol_level_is_refused(fleet, device, level, answer):
    talk = wire.Wire(fleet.mqtt_tls, device().tls(fleet.ca_file)).send(wire.connect("level", level=level))
    last = talk.read()
    assert last is None or (last[0] == wire.CONNACK and last[1][1] in (0x01, 0x84)), last
    talk.close()


def test_a_second_connect_is_a_protocol_error(fleet, device):
    talk = wire.Wire(fleet.mqtt_tls, device().tls(fleet.ca_file)).send(wire.connect("twice"))
    assert talk.read()[0] == wire.CONNACK
    talk.send(wire.connect("twice"))
    first, body = talk.read()
    assert (first, body[0]) == (wire.DISCONNECT, 0x82)
    talk.close()


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 32, b"\x10\xff\xff\xff\xff\xff", b"\x30\x02\x00\x00"],
    ids=["http", "zeros", "length", "publish first"],
)
def test_junk_ends_its_own_connection_only(fleet, device, connect, junk):
    other = connect("bystander")
    talk = wire.Wire(fleet.mqtt_tls, device().tls(fleet.ca_file)).send(junk)
    answer = talk.read()
    assert answer is None or answer[0] in (wire.CONNACK, wire.DISCONNECT)
    talk.close()
    assert other.publish("bystander/a", b"x") in (0, 0x10)


def test_the_plain_listener_serves_local_tools(fleethaven, connect):
    fleet = fleethaven("--mqtt", "127.0.0.1:0")
    plain = Client(fleet, None, "plain", listener="mqtt").connect()
    secure = connect("secure", to=fleet)
    secure.subscribe("plain/a")
    plain.publish("plain/a", b"from plain")
    assert secure.expect(1) == [b"from plain"]
    plain.close()


@both
def test_messages_carry_what_the_thing_type_propagates(connect, device, iot, name, version):
    propagated = [
        {"userPropertyKey": "site", "thingAttribute": "site"},
        {"userPropertyKey": "absent", "thingAttribute": "absent"},
        {"userPropertyKey": "by", "connectionAttribute": "iot:ClientId"},
        {"userPropertyKey": "of", "connectionAttribute": "iot:Thing.ThingName"},
    ]
    properties = {"mqtt5Configuration": {"propagatingAttributes": propagated}}
    iot.create_thing_type(thingTypeName=name, thingTypeProperties=properties)
    iot.create_thing(
        thingName=name, thingTypeName=name, attributePayload={"attributes": {"site": "oslo"}}
    )
    sensor = device()
    iot.attach_thing_principal(thingName=name, principal=sensor.arn)
    application = connect(f"{name}-app")
    application.subscribe(f"of/{name}")
    client = connect(name, sensor, version=version)
    own = {"UserProperty": [("mine", "1")]} if version == V5 else {}
    client.publish(f"of/{name}", b"first", **own)
    application.expect(1)
    added = [("site", "oslo"), ("by", name), ("of", name)]
    assert application.received[0].properties.UserProperty == own.get("UserProperty", []) + added
    properties["mqtt5Configuration"]["propagatingAttributes"] = propagated[:1]
    iot.update_thing_type(thingTypeName=name, thingTypeProperties=properties)
    iot.update_thing(thingName=name, attributePayload={"attributes": {"site": "bergen"}})
    client.publish(f"of/{name}", b"second")
    application.expect(2)
    assert application.received[1].properties.UserProperty == [("site", "bergen")]


# The aws profile


@pytest.fixture(scope="module")
def aws(fleethaven):
    return fleethaven("--profile", "aws")


@pytest.fixture
def aws_device(aws, tmp_path):
    return make_device(aws, tmp_path)


@pytest.mark.parametrize(
    "client_id, accepted",
    [("c" * 128, True), ("c" * 129, False), ("$abc", False)],
    ids=["128", "129", "dollar"],
)
def test_aws_limits_the_client_id(aws, aws_device, connect, client_id, accepted):
    if accepted:
        connect(client_id, aws_device, to=aws)
        return
    with pytest.raises(Refused) as refused:
        connect(client_id, aws_device, to=aws)
    assert refused.value.value == 0x85


def test_aws_takes_eight_filters_in_a_subscribe(aws, aws_device, connect):
    client = connect("filters", aws_device, to=aws)
    assert client.subscribe(*(f"f/{n}" for n in range(8))) == [1] * 8
    assert client.subscribe(*(f"g/{n}" for n in range(9))) == []
    assert client.closed() == 0x97


def test_aws_does_not_match_the_parent(aws, aws_device, connect):
    client = connect("no-parent", aws_device, to=aws)
    client.subscribe("sensor/#")
    client.publish("sensor", b"parent")
    client.publish("sensor/a", b"child")
    assert client.expect_until(b"child") == [b"child"]


def test_aws_grants_qos_1_for_qos_2(aws, aws_device, connect):
    client = connect("qos-2", aws_device, to=aws)
    assert client.connack_properties.MaximumQoS == 1
    assert client.subscribe("qos/2", qos=2) == [1]


def test_aws_clamps_the_keep_alive(aws, aws_device, connect):
    assert connect("eager", aws_device, to=aws, keep_alive=5).connack_properties.ServerKeepAlive == 30


def test_aws_closes_on_a_foreign_subscription_of_mqtt_3(aws, tmp_path, connect):
    limited = make_device(aws, tmp_path, policy(allow("Connect", "client/limited")))
    client = connect("limited", limited, to=aws, version=V3)
    client.subscribe("foreign")
    client.closed()


def test_aws_refuses_seven_slashes_and_more(aws, aws_device, connect):
    client = connect("slashes", aws_device, to=aws)
    assert client.publish("/".join("abcdefgh"), b"x") == 0
    assert client.publish("/".join("abcdefghi"), b"x") == 0x90


def test_aws_keeps_v3_and_v5_sessions_apart(aws, aws_device, connect):
    first = connect("apart", aws_device, to=aws, **persistent(V3))
    first.subscribe("apart")
    first.disconnect()
    assert not connect("apart", aws_device, to=aws, **persistent(V5)).session_present


def test_aws_drains_ten_stored_messages_a_second(aws, aws_device, connect):
    first = connect("slow-drain", aws_device, to=aws, **persistent(V5))
    first.subscribe("drain")
    first.disconnect()
    publisher = connect("drain-publisher", aws_device, to=aws)
    sent = [b"%d" % n for n in range(25)]
    for payload in sent:
        publisher.publish("drain", payload)
    start = time.monotonic()
    again = connect("slow-drain", aws_device, to=aws, **persistent(V5))
    assert again.expect(25) == sent
    assert time.monotonic() - start >= 1.4, "25 stored messages came in less than 1.4 s"
