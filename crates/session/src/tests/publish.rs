//! PUBLISH from the client: aliases, Receive Maximum, acknowledgements, what is refused.

use std::num::NonZeroU16;
use std::time::Duration;

use fleethaven_mqtt::{
    Ack, Packet, PayloadFormat, Publish, PublishProperties, QoS, ReasonCode, UserProperty, Version,
};
use fleethaven_types::Profile::{Aws, Standard};
use fleethaven_types::{Profile, Timestamp};

use super::pair::{Pair, START, id, message, puback, publish, publish2, subscribe};
use crate::{AckTicket, Action, Delivery};

const V3: Version = Version::V311;
const V5: Version = Version::V5;

fn with_properties(publish: Packet, change: impl FnOnce(&mut PublishProperties)) -> Packet {
    let Packet::Publish(mut publish) = publish else { panic!() };
    change(publish.properties.get_or_insert_default());
    Packet::Publish(publish)
}

fn aliased(topic: &str, alias: u16) -> Packet {
    with_properties(publish(0, topic), |p| p.topic_alias = NonZeroU16::new(alias))
}

/// How a publish ended: the connection with a code, or PUBACK with one.
fn outcome(profile: Profile, version: Version, packet: Packet) -> Result<Option<ReasonCode>, ReasonCode> {
    let mut pair = Pair::connected(profile, version);
    let answer = pair.ask(packet).pop();
    let closed = pair.closed;
    match answer {
        Some(Packet::Puback(ack) | Packet::Pubrec(ack)) if !closed => Ok(Some(ack.reason)),
        Some(Packet::Disconnect(told)) if closed => Err(told.reason),
        None if closed => Err(pair.ended().unwrap().close.code.unwrap()),
        None => Ok(None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_as_it_is_routed() {
    let mut pair = Pair::connected(Standard, V5);
    pair.elapse(Duration::from_secs(5));
    let packet = with_properties(publish(7, "a/b"), |p| {
        p.payload_format_indicator = Some(PayloadFormat::Utf8);
        p.content_type = Some("text".into());
        p.response_topic = Some("r".into());
        p.correlation_data = Some("c".into());
        p.user_properties = vec![UserProperty::new("k", "v"), UserProperty::new("k", "w")];
    });
    assert_eq!(pair.ask(packet), [puback(7)]);
    let (message, _) = pair.published.pop().unwrap();
    assert_eq!((message.topic.as_str(), message.received_at), ("a/b", Timestamp(START.0 + 5000)));
    assert_eq!((message.sequence, message.publisher.trace, message.qos), (1, 7, QoS::AtLeastOnce));
    let properties = message.properties.as_ref().unwrap();
    assert_eq!(properties.payload_is_utf8, Some(true));
    assert_eq!(properties.user_properties, [("k".into(), "v".into()), ("k".into(), "w".into())]);
}

#[test]
fn aliases_stand_for_topics() {
    let mut pair = Pair::connected(Aws, V5);
    for packet in [aliased("a", 8), aliased("", 8), aliased("b", 8), aliased("", 8), aliased("c", 1)] {
        pair.send(packet);
    }
    pair.send(aliased("", 1));
    let topics: Vec<_> = pair.published.iter().map(|(message, _)| message.topic.to_string()).collect();
    assert_eq!(topics, ["a", "a", "b", "b", "c", "c"]);
}

#[test]
fn aliases_that_stand_for_nothing() {
    let invalid = Err(ReasonCode::TopicAliasInvalid);
    assert_eq!(outcome(Aws, V5, aliased("a", 9)), invalid, "case 21");
    assert_eq!(outcome(Aws, V5, aliased("", 3)), invalid, "case 21");
    assert_eq!(outcome(Standard, V5, aliased("a", 9)), Ok(None));
    assert_eq!(outcome(Standard, V5, aliased("", 3)), Err(ReasonCode::ProtocolError));
    assert_eq!(outcome(Standard, V5, aliased("a", 65)), invalid);
    let mut zero = Pair::connected(Standard, V5);
    zero.send_bytes(b"\x30\x07\0\x01a\x03\x23\0\0");
    let Some(Packet::Disconnect(told)) = zero.received().pop() else { panic!() };
    assert_eq!(told.reason, ReasonCode::TopicAliasInvalid);
}

#[test]
fn an_alias_is_defined_though_its_message_is_refused() {
    let mut pair = Pair::connected(Standard, V5);
    pair.serving = false;
    let both =
        |number, topic| with_properties(publish(number, topic), |p| p.topic_alias = NonZeroU16::new(1));
    pair.send(both(1, "a"));
    pair.send(both(1, "b"));
    pair.send(both(2, ""));
    let topic = |action: &Action| match action {
        Action::Publish { message, .. } => message.topic.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(pair.held.iter().map(topic).collect::<Vec<_>>(), ["a", "b"]);
}

/// Publishes `count` messages at QoS 1 that the shell keeps.
fn unacknowledged(profile: Profile, version: Version, count: u16) -> Pair {
    let mut pair = Pair::connected(profile, version);
    pair.serving = false;
    for number in 1..=count {
        pair.send(publish(number, "a"));
    }
    pair
}

fn tickets(pair: &Pair) -> Vec<AckTicket> {
    let ticket = |action: &Action| match action {
        Action::Publish { ack, .. } => ack.unwrap(),
        other => panic!("{other:?}"),
    };
    pair.held.iter().map(ticket).collect()
}

#[test]
fn more_than_the_receive_maximum() {
    let mut pair = unacknowledged(Aws, V5, 100);
    assert!(pair.session.is_connected());
    pair.send(publish(101, "a"));
    let Some(Packet::Disconnect(told)) = pair.received().pop() else { panic!() };
    assert_eq!(told.reason, ReasonCode::ReceiveMaximumExceeded, "case 22");
    let mut pair = unacknowledged(Aws, V5, 100);
    pair.send(publish(0, "a"));
    assert!(pair.session.is_connected(), "QoS 0 does not count");
}

#[test]
fn a_3_1_1_client_is_held_back_instead() {
    let mut pair = unacknowledged(Aws, V3, 101);
    assert_eq!(pair.held.len(), 100, "case 22");
    assert!(!pair.session.wants_input());
    let ticket = tickets(&pair)[0];
    pair.session.publish_done(ticket, ReasonCode::Success);
    assert_eq!(pair.received(), [puback(1)]);
    assert_eq!(pair.held.len(), 101, "no loss");
}

#[test]
fn acknowledgements_leave_in_the_order_of_receipt() {
    for version in [V3, V5] {
        let mut pair = unacknowledged(Standard, version, 4);
        let tickets = tickets(&pair);
        for index in [2, 1, 2] {
            pair.session.publish_done(tickets[index], ReasonCode::Success);
            assert_eq!(pair.received(), []);
        }
        pair.session.publish_done(tickets[0], ReasonCode::Success);
        assert_eq!(pair.received(), [puback(1), puback(2), puback(3)]);
        pair.session.publish_done(tickets[0], ReasonCode::Success);
        pair.session.publish_done(tickets[3], ReasonCode::Success);
        assert_eq!(pair.received(), [puback(4)]);
    }
}

#[test]
fn an_identifier_in_use() {
    let mut pair = unacknowledged(Standard, V5, 1);
    let first = tickets(&pair)[0];
    pair.send(publish(1, "again"));
    pair.session.publish_done(first, ReasonCode::Success);
    let in_use = Packet::Puback(Ack::new(id(1), ReasonCode::PacketIdentifierInUse));
    assert_eq!(pair.received(), [puback(1), in_use]);
    assert_eq!(pair.ask(publish(1, "later")), []);
    assert_eq!(pair.held.len(), 2, "free again");
    let mut pair = unacknowledged(Standard, V5, 1);
    pair.send(subscribe(1, &["a"]));
    let Some(Packet::Suback(suback)) = pair.received().pop() else { panic!() };
    assert_eq!(suback.reason_codes, [ReasonCode::PacketIdentifierInUse]);
    let mut pair = unacknowledged(Standard, V3, 1);
    pair.send(publish(1, "again"));
    assert_eq!(pair.held.len(), 2, "3.1.1 may repeat itself");
}

#[test]
fn the_aws_profile_has_no_qos_2() {
    for version in [V3, V5] {
        assert_eq!(outcome(Aws, version, publish2(1, "a")), Err(ReasonCode::QosNotSupported));
        assert_eq!(outcome(Standard, version, publish2(1, "a")), Ok(Some(ReasonCode::Success)));
    }
}

#[test]
fn topics_that_are_none() {
    let invalid = ReasonCode::TopicNameInvalid;
    for profile in [Aws, Standard] {
        for topic in ["a/+", "#", "$aws/unknown", "$aws/things/t/shadow/update/accepted"] {
            assert_eq!(outcome(profile, V5, publish(1, topic)), Ok(Some(invalid)), "{topic}");
            assert_eq!(outcome(profile, V5, publish(0, topic)), Err(invalid), "{topic}");
            assert_eq!(outcome(profile, V3, publish(1, topic)), Err(invalid), "{topic}");
            assert_eq!(outcome(profile, V3, publish(0, topic)), Err(invalid), "{topic}");
        }
    }
    let deep = "1/2/3/4/5/6/7/8/9";
    assert_eq!(outcome(Aws, V5, publish(1, deep)), Ok(Some(invalid)), "case 20");
    let success = Ok(Some(ReasonCode::Success));
    assert_eq!(outcome(Standard, V5, publish(1, deep)), success);
    assert_eq!(outcome(Aws, V5, publish(1, "$aws/rules/r/1/2/3/4/5/6/7/8")), success, "case 20");
}

#[test]
fn system_topics_are_not_for_clients() {
    let denied = ReasonCode::NotAuthorized;
    assert_eq!(outcome(Standard, V5, publish(1, "$SYS/x")), Ok(Some(denied)));
    assert_eq!(outcome(Standard, V5, publish(0, "$SYS/x")), Err(denied));
    assert_eq!(outcome(Standard, V3, publish(1, "$SYS/x")), Err(denied));
    assert_eq!(outcome(Aws, V5, publish(1, "$SYS/x")), Ok(Some(ReasonCode::TopicNameInvalid)));
    let mut pair = Pair::connected(Standard, V3);
    pair.send(publish(1, "$SYS/x"));
    assert_eq!(pair.ended().unwrap().close.reason.as_str(), "AUTH_ERROR");
}

#[test]
fn reserved_topics_hold_no_retained_message() {
    let retained = || {
        let Packet::Publish(publish) = publish(1, "$aws/things/t/shadow/update") else { panic!() };
        Packet::Publish(Publish { retain: true, ..publish })
    };
    for profile in [Aws, Standard] {
        let invalid = ReasonCode::TopicNameInvalid;
        assert_eq!(outcome(profile, V5, retained()), Ok(Some(invalid)), "case 16");
        assert_eq!(outcome(profile, V3, retained()), Err(invalid), "case 16");
    }
}

#[test]
fn payloads_and_properties_have_bounds() {
    let large = |bytes| Packet::Publish(Publish::new("a", vec![0; bytes]));
    for version in [V3, V5] {
        assert_eq!(outcome(Aws, version, large(131_072)), Ok(None));
        assert_eq!(outcome(Aws, version, large(131_073)), Err(ReasonCode::QuotaExceeded), "case 17");
    }
    let user = with_properties(publish(1, "a"), |p| {
        p.user_properties = vec![UserProperty::new("k", "v".repeat(8192))];
    });
    assert_eq!(outcome(Aws, V5, user), Ok(Some(ReasonCode::QuotaExceeded)));
}

#[test]
fn expiry_is_brought_within_limits() {
    let table =
        [(Aws, 0, 1), (Aws, 30, 30), (Aws, 700_000, 604_800), (Standard, 0, 1), (Standard, 700_000, 700_000)];
    for (profile, sent, taken) in table {
        let mut pair = Pair::connected(profile, V5);
        pair.send(with_properties(publish(0, "a"), |p| p.message_expiry_interval = Some(sent)));
        let (message, _) = pair.published.pop().unwrap();
        assert_eq!(message.expires_at, Some(Timestamp(START.0 + taken * 1000)), "cases 23, 24");
    }
}

#[test]
fn a_denied_publish() {
    let mut pair = unacknowledged(Aws, V5, 1);
    let ticket = tickets(&pair)[0];
    pair.session.publish_denied(Some(ticket), "no");
    assert_eq!(pair.received(), [Packet::Puback(Ack::new(id(1), ReasonCode::NotAuthorized))]);
    pair.session.publish_denied(None, "no");
    let Some(Packet::Disconnect(told)) = pair.received().pop() else { panic!() };
    assert_eq!(told.reason, ReasonCode::NotAuthorized);
    let mut pair = unacknowledged(Aws, V3, 1);
    let ticket = tickets(&pair)[0];
    pair.session.publish_denied(Some(ticket), "no");
    assert_eq!(pair.received(), []);
    assert_eq!(pair.ended().unwrap().close.reason.as_str(), "AUTH_ERROR");
}

#[test]
fn a_3_1_1_puback_never_answers_what_was_refused() {
    let table = [
        (ReasonCode::UnspecifiedError, "SERVER_ERROR"),
        (ReasonCode::NotAuthorized, "AUTH_ERROR"),
        (ReasonCode::TopicNameInvalid, "CLIENT_ERROR"),
    ];
    for (code, reason) in table {
        let mut pair = unacknowledged(Standard, V3, 2);
        let tickets = tickets(&pair);
        pair.session.publish_done(tickets[0], code);
        pair.session.publish_done(tickets[1], ReasonCode::Success);
        assert_eq!(pair.received(), []);
        assert_eq!(pair.ended().unwrap().close.reason.as_str(), reason);
    }
    let mut pair = unacknowledged(Aws, V3, 2);
    let tickets = tickets(&pair);
    pair.session.publish_done(tickets[0], ReasonCode::QuotaExceeded);
    pair.session.publish_done(tickets[1], ReasonCode::Success);
    assert_eq!(pair.received(), [puback(2)], "over a rate: not acknowledged, and the connection stays");
}

#[test]
fn codes_that_puback_cannot_say() {
    let table = [
        (Standard, ReasonCode::NoMatchingSubscribers, ReasonCode::NoMatchingSubscribers),
        (Aws, ReasonCode::NoMatchingSubscribers, ReasonCode::Success),
        (Aws, ReasonCode::ServerBusy, ReasonCode::UnspecifiedError),
    ];
    for (profile, outcome, told) in table {
        let mut pair = unacknowledged(profile, V5, 1);
        let ticket = tickets(&pair)[0];
        pair.session.publish_done(ticket, outcome);
        assert_eq!(pair.received(), [Packet::Puback(Ack::new(id(1), told))]);
    }
    let mut pair = unacknowledged(Standard, V3, 1);
    let ticket = tickets(&pair)[0];
    pair.session.publish_done(ticket, ReasonCode::NoMatchingSubscribers);
    assert_eq!(pair.received(), [puback(1)]);
}

#[test]
fn nothing_follows_a_disconnect() {
    let mut pair = unacknowledged(Standard, V5, 1);
    let ticket = tickets(&pair)[0];
    pair.session.close(crate::Close::taken_over());
    assert_eq!(pair.received().len(), 1);
    pair.session.publish_done(ticket, ReasonCode::Success);
    let delivery = Delivery { qos: QoS::AtMostOnce, retain: false, identifiers: &[] };
    pair.deliver(message("a", "x"), &delivery);
    pair.session.subscribe_done(id(1), vec![("a".into(), ReasonCode::GrantedQos1)]);
    pair.session.unsubscribe_done(id(1), vec![("a".into(), true)]);
    assert_eq!(pair.received(), []);
}
