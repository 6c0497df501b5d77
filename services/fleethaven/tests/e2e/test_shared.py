"""Shared subscriptions (`$share/{name}/{filter}`) with real clients (spec/broker.md sections 7 and 17, cases 26 to 28)."""

import collections
import time
import urllib.request

import pytest

from device import allow, make_device, policy
from instance import Fleethaven, eventually
from mqtt_client import BOTH_VERSIONS, V5, Client

QUOTA_EXCEEDED, NOT_AUTHORIZED, PROTOCOL_ERROR = 0x97, 0x87, 0x82


def persistent(version: int) -> dict:
    return {"version": version, "clean": False, **({"expiry": 3600} if version == V5 else {})}


def metrics(fleet: Fleethaven) -> str:
    with urllib.request.urlopen(f"http://{fleet.ready['admin']}/metrics", timeout=10) as answer:
        return answer.read().decode()


def all_payloads(members: list[Client]) -> list[bytes]:
    return [payload for member in members for payload in member.payloads()]


def expect_all(members: list[Client], sent: list[bytes], seconds: float = 30):
    """Waits until the members have every message; each must have come once."""
    eventually(lambda: len(set(all_payloads(members))) >= len(set(sent)), "all messages", seconds)
    got = collections.Counter(all_payloads(members))
    assert got == collections.Counter(sent), [p for p, n in got.items() if n > 1][:10]


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_members_share_fairly_and_nothing_comes_twice(connect, name, version, qos):
    members = [connect(f"{name}-{n}", version=version) for n in range(3)]
    for member in members:
        assert member.subscribe(f"$share/g/{name}", qos=2) == [2]
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(3000)]
    for payload in sent:
        publisher.publish_later(name, payload, qos=qos)
    expect_all(members, sent)
    counts = [len(member.received) for member in members]
    assert all(abs(count - 1000) <= 100 for count in counts), counts


def test_each_group_and_each_plain_subscription_gets_a_copy(connect, name):
    filters = [f"$share/a/{name}", f"$share/a/{name}/#", f"$share/b/{name}", name]
    clients = [connect(f"{name}-{n}") for n in range(len(filters))]
    for client, topic_filter in zip(clients, filters):
        client.subscribe(topic_filter)
    publisher = connect(f"{name}-publisher")
    for n in range(20):
        publisher.publish(name, b"%d" % n)
    for client in clients:
        assert client.expect(20) == [b"%d" % n for n in range(20)]
    # One client in all of them: one copy a group, and one more.
    alone = connect(f"{name}-alone")
    for client in clients:
        client.unsubscribe(filters[clients.index(client)])
    alone.subscribe(*filters)
    publisher.publish(name, b"x")
    publisher.publish(name, b"end")
    eventually(lambda: alone.payloads().count(b"end") == 4, "four copies")
    assert alone.payloads().count(b"x") == 4


def test_a_group_of_persistent_members_queues_while_all_are_away_and_a_new_member_drains_it(connect, name):
    old = connect(f"{name}-old", **persistent(V5))
    old.subscribe(f"$share/g/{name}")
    old.disconnect()
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(200)]
    for payload in sent:
        assert publisher.publish(name, payload) == 0
    publisher.publish(name, b"qos 0 is not queued", qos=0)
    new = connect(f"{name}-new")
    new.subscribe(f"$share/g/{name}")
    expect_all([new], sent)
    assert new.payloads() == sent, "with one member the order holds"
    # Nothing is left for the old one, which is a member still.
    again = connect(f"{name}-old", **persistent(V5))
    assert again.session_present
    publisher.publish(name, b"live")
    publisher.publish(name, b"live")
    eventually(lambda: all_payloads([new, again]).count(b"live") == 2, "both")
    assert again.payloads() == [b"live"]


@pytest.mark.parametrize("kind", ["clean", "persistent"])
def test_what_a_lost_member_left_goes_to_another(connect, fleet, device, name, kind):
    options = persistent(V5) if kind == "persistent" else {}
    silent = Client(fleet, device(), f"{name}-silent", ReceiveMaximum=10, **options)
    silent.paho.manual_ack_set(True)
    silent.connect()
    silent.subscribe(f"$share/g/{name}")
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(100)]
    for payload in sent:
        publisher.publish_later(name, payload)
    silent.expect(10)
    other = connect(f"{name}-other", **options)
    other.subscribe(f"$share/g/{name}")
    silent.abort()
    # Those in flight come again, to the other one; the rest once.
    expect_all([other], sent)


@pytest.mark.parametrize("kind", ["clean", "persistent", "mixed"])
def test_at_qos_2_what_a_lost_member_has_goes_to_nobody_else(connect, fleet, device, name, kind):
    queued = persistent(V5)
    first, second = {"clean": ({}, {}), "persistent": (queued, queued), "mixed": ({}, queued)}[kind]
    silent = Client(fleet, device(), f"{name}-silent", ReceiveMaximum=10, **first)
    silent.paho.manual_ack_set(True)  # at QoS 2 it then sends PUBREC, and no PUBCOMP
    silent.connect()
    silent.subscribe(f"$share/g/{name}", qos=2)
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(100)]
    for payload in sent:
        publisher.publish_later(name, payload, qos=2)
    silent.expect(10)
    other = connect(f"{name}-other", **second)
    other.subscribe(f"$share/g/{name}", qos=2)
    silent.abort()
    # Each comes to one of them [MQTT-4.8.2-5].
    expect_all([silent, other], sent)


def test_at_qos_2_what_members_have_is_not_given_out_again_after_a_crash(tmp_path):
    fleet = Fleethaven(tmp_path / "data").start()
    try:
        device = make_device(fleet, tmp_path)
        members = [
            Client(fleet, device, "durable", **persistent(V5)).connect(),
            Client(fleet, device, "clean").connect(),
        ]
        for member in members:
            assert member.subscribe("$share/g/t", qos=2) == [2]
        publisher = Client(fleet, device, "publisher").connect()
        sent = [b"%d" % n for n in range(200)]
        mids = [publisher.publish_later("t", payload, qos=2) for payload in sent]
        eventually(lambda: all(publisher.acknowledged(mid) == 0 for mid in mids), "all PUBCOMPs")
        expect_all(members, sent)
        assert all(member.received for member in members)
        # What follows in each connection is written after what the members told.
        for member in members:
            assert member.publish("own", qos=1) is not None
        fleet.kill()
        for client in (*members, publisher):
            client.closed()
        fleet.start()
        newcomer = Client(fleet, device, "newcomer").connect()
        newcomer.subscribe("$share/g/t", qos=2)
        newcomer.publish("t", b"end", qos=2)
        assert newcomer.expect_until(b"end") == [b"end"]
        newcomer.disconnect()
    finally:
        fleet.close()


def test_a_member_that_does_not_acknowledge_is_passed_over(fleet, device, connect, name):
    silent = Client(fleet, device(), f"{name}-silent", ReceiveMaximum=5)
    silent.paho.manual_ack_set(True)
    silent.connect()
    silent.subscribe(f"$share/g/{name}")
    other = connect(f"{name}-other")
    other.subscribe(f"$share/g/{name}")
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(500)]
    for payload in sent:
        publisher.publish_later(name, payload)
    expect_all([silent, other], sent)
    assert len(silent.received) == 5
    silent.close()


def test_the_broker_is_killed_with_a_filled_group(tmp_path):
    fleet = Fleethaven(tmp_path / "data").start()
    try:
        device = make_device(fleet, tmp_path)
        first = Client(fleet, device, "first", ReceiveMaximum=20, **persistent(V5))
        first.paho.manual_ack_set(True)
        first.connect()
        first.subscribe("$share/g/t")
        second = Client(fleet, device, "second", ReceiveMaximum=20)
        second.paho.manual_ack_set(True)
        second.connect()
        second.subscribe("$share/g/t")
        publisher = Client(fleet, device, "publisher").connect()
        sent = [b"%d" % n for n in range(300)]
        mids = [publisher.publish_later("t", payload) for payload in sent]
        eventually(lambda: all(publisher.acknowledged(mid) == 0 for mid in mids), "all PUBACKs")
        fleet.kill()
        for client in (first, second, publisher):
            client.closed()
        fleet.start()
        newcomer = Client(fleet, device, "newcomer").connect()
        newcomer.subscribe("$share/g/t")
        expect_all([newcomer], sent)
        newcomer.disconnect()
    finally:
        fleet.close()


def test_qos_is_the_lower_of_publish_and_each_members(connect, name):
    members = [connect(f"{name}-{qos}") for qos in (0, 1)]
    for qos, member in enumerate(members):
        assert member.subscribe(f"$share/g/{name}", qos=qos) == [qos]
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(100)]
    for n, payload in enumerate(sent):
        publisher.publish_later(name, payload, qos=n // 2 % 2)
    expect_all(members, sent)
    assert {message.qos for message in members[0].received} == {0}
    assert {message.qos for message in members[1].received} == {0, 1}


def test_a_member_that_may_not_receive_leaves_it_to_another(fleet, tmp_path, connect, name):
    may_not = policy(
        allow("Connect", "*"), allow("Subscribe", "*"), allow("Receive", f"topic/{name}/allowed")
    )
    for options in ({}, persistent(V5)):
        part = f"{name}/{'queued' if options else 'plain'}"
        deaf = Client(fleet, make_device(fleet, tmp_path, may_not), f"{part}-deaf", **options).connect()
        assert deaf.subscribe(f"$share/g/{part}/#") == [1]
        hears = connect(f"{part}-hears", **options)
        hears.subscribe(f"$share/g/{part}/#")
        publisher = connect(f"{part}-publisher")
        sent = [b"%d" % n for n in range(50)]
        for payload in sent:
            publisher.publish(f"{part}/forbidden", payload)
        expect_all([hears], sent)
        assert deaf.received == []
        hears.disconnect()
        # Nobody is left who may: publishing goes on.
        assert publisher.publish(f"{part}/forbidden", b"nobody") == 0
        deaf.close()


def test_no_retained_messages_and_no_retain_flag(connect, name):
    publisher = connect(f"{name}-publisher")
    publisher.paho.publish(name, b"kept", 1, retain=True)
    member = connect(f"{name}-member")
    member.subscribe(f"$share/g/{name}")
    publisher.paho.publish(name, b"live", 1, retain=True)
    publisher.publish(name, b"end")
    assert member.expect_until(b"end") == [b"live", b"end"]
    assert not any(message.retain for message in member.received)


def test_unsubscribing_leaves_the_group(connect, name):
    stays, goes = connect(f"{name}-stays"), connect(f"{name}-goes")
    for member in (stays, goes):
        member.subscribe(f"$share/g/{name}")
    goes.unsubscribe(f"$share/g/{name}")
    publisher = connect(f"{name}-publisher")
    sent = [b"%d" % n for n in range(20)]
    for payload in sent:
        publisher.publish(name, payload)
    assert stays.expect(20) == sent
    assert goes.received == []


def test_what_is_refused(fleet, device, connect, tmp_path, name):
    client = connect(f"{name}-client")
    assert client.connack_properties.SharedSubscriptionAvailable == 1
    for bad in ("$share/g", "$share//t", "$share/g/", f"$share/{'n' * 129}/t"):
        assert client.subscribe(bad) == [0x8F], bad
    assert client.subscribe(f"$share/{'n' * 128}/t") == [1]
    # Policies see the whole filter.
    narrow = policy(allow("Connect", "*"), allow("Subscribe", f"topicfilter/$share/mine/{name}"))
    member = Client(fleet, make_device(fleet, tmp_path, narrow), f"{name}-narrow").connect()
    assert member.subscribe(f"$share/mine/{name}", f"$share/other/{name}", name) == [
        1,
        NOT_AUTHORIZED,
        NOT_AUTHORIZED,
    ]
    member.close()


def test_no_local_is_a_protocol_error(connect, name):
    from paho.mqtt.subscribeoptions import SubscribeOptions

    client = connect(f"{name}-local")
    client.paho.subscribe(f"$share/g/{name}", options=SubscribeOptions(qos=1, noLocal=True))
    assert client.closed() == PROTOCOL_ERROR


def test_the_limits_are_settings(fleethaven, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[limits]\nshare-groups-account = 2\nshare-subs-group = 1\nshare-queued-messages = 5\n")
    fleet = fleethaven("--config", str(path))
    device = make_device(fleet, tmp_path)
    one = Client(fleet, device, "one", **persistent(V5)).connect()
    assert one.subscribe("$share/a/t", "$share/b/t", "$share/c/t") == [1, 1, QUOTA_EXCEEDED]
    two = Client(fleet, device, "two", **persistent(V5)).connect()
    assert two.subscribe("$share/a/t", "t/own") == [QUOTA_EXCEEDED, 1]
    one.unsubscribe("$share/b/t")
    assert one.subscribe("$share/c/t") == [1], "a group that is empty is gone"
    one.unsubscribe("$share/c/t")
    one.disconnect()
    # A full group drops the newest, and counts them.
    for n in range(8):
        assert two.publish("t", b"%d" % n) == 0
    one = Client(fleet, device, "one", **persistent(V5)).connect()
    assert one.expect(5) == [b"%d" % n for n in range(5)]
    assert "fleethaven_mqtt_shared_queue_overflow_total 3" in metrics(fleet)
    for client in (one, two):
        client.close()


def test_aws_drains_twenty_queued_messages_a_second(fleethaven, tmp_path):
    fleet = fleethaven("--profile", "aws")
    device = make_device(fleet, tmp_path)
    old = Client(fleet, device, "old", **persistent(V5)).connect()
    old.subscribe("$share/g/t")
    old.disconnect()
    publisher = Client(fleet, device, "publisher").connect()
    sent = [b"%d" % n for n in range(50)]
    for payload in sent:
        publisher.publish("t", payload)
    new = Client(fleet, device, "new").connect()
    start = time.monotonic()
    new.subscribe("$share/g/t")
    expect_all([new], sent)
    assert time.monotonic() - start >= 0.9, "50 queued messages came in less than 0.9 s"
    new.close()
    publisher.close()
