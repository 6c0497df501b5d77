//! QoS 2, step by step, in both directions: repeats, resumes, refusals, what is out of step.

use fleethaven_mqtt::{Ack, Connect, Packet, QoS, ReasonCode, Version};
use fleethaven_types::Profile::Standard;
use fleethaven_types::{EntryId, Message, Timestamp};

use super::pair::{
    Pair, START, connect, id, message, puback, pubcomp, publish, publish2, pubrec, pubrel, settings,
    subscribe,
};
use super::store::{AT_LEAST_ONCE, Store};
use crate::{AckTicket, Action, Delivery};

const V3: Version = Version::V311;
const V5: Version = Version::V5;
const EXACTLY_ONCE: Delivery<'static> = Delivery { qos: QoS::ExactlyOnce, ..AT_LEAST_ONCE };
const NOT_FOUND: ReasonCode = ReasonCode::PacketIdentifierNotFound;
const IN_USE: ReasonCode = ReasonCode::PacketIdentifierInUse;

/// A client with a session in the store, or one whose session ends with the connection.
fn connected(version: Version, persistent: bool) -> Pair {
    let store = Store::default();
    if persistent {
        let mut pair = Pair::resumed(settings(Standard, |_, _| {}), connect(version), store, EntryId::NONE);
        assert!(matches!(pair.received()[..], [Packet::Connack(_)]));
        return pair;
    }
    Pair::connected(Standard, version)
}

/// Every kind of session.
fn each(test: impl Fn(&mut Pair, Version)) {
    for version in [V3, V5] {
        for persistent in [false, true] {
            test(&mut connected(version, persistent), version);
        }
    }
}

/// The connection is over, with this code where the version has one.
fn ended(pair: &mut Pair, version: Version) -> Option<ReasonCode> {
    match (pair.received().pop(), version) {
        (Some(Packet::Disconnect(told)), V5) => Some(told.reason),
        (None, V3) => Some(pair.ended()?.close.code?),
        other => panic!("{other:?}"),
    }
}

fn message2(topic: &str) -> Message {
    Message { qos: QoS::ExactlyOnce, ..message(topic, "x") }
}

/// The connection breaks; the client comes back to what the store holds.
fn reconnect(pair: Pair, version: Version) -> Pair {
    let mut next = Pair::new(settings(Standard, |_, _| {}), version);
    next.queue = Some(pair.store.state(pair.store.tail()));
    (next.store, next.recorded) = (pair.store, pair.recorded);
    next.send(Packet::Connect(Box::new(Connect { clean_start: false, ..connect(version) })));
    next
}

#[test]
fn a_message_is_published_once_until_its_release() {
    each(|pair, _| {
        assert_eq!(pair.ask(publish2(3, "a")), [pubrec(3)]);
        for _ in 0..3 {
            assert_eq!(pair.ask(publish2(3, "a")), [pubrec(3)], "[MQTT-4.3.3-10]");
        }
        assert_eq!(pair.published.len(), 1);
        assert_eq!(pair.ask(pubrel(3)), [pubcomp(3)]);
        assert_eq!(pair.ask(publish2(3, "a")), [pubrec(3)]);
        assert_eq!(pair.published.len(), 2, "a new message [MQTT-4.3.3-12]");
    });
}

#[test]
fn only_a_lasting_session_records_identifiers() {
    for persistent in [false, true] {
        let mut pair = connected(V5, persistent);
        pair.send(publish2(9, "a"));
        assert_eq!(pair.recorded.len(), usize::from(persistent));
        pair.send(pubrel(9));
        assert!(pair.recorded.is_empty());
    }
}

#[test]
fn a_resumed_exchange_is_known() {
    for version in [V3, V5] {
        let mut pair = connected(version, true);
        pair.send(publish2(3, "a"));
        let mut pair = reconnect(pair, version);
        pair.received();
        assert_eq!(pair.ask(publish2(3, "a")), [pubrec(3)]);
        assert_eq!(pair.published.len(), 0, "it was published on the last connection");
        assert_eq!(pair.ask(pubrel(3)), [pubcomp(3)]);
        let mut pair = reconnect(pair, version);
        pair.received();
        pair.send(publish2(3, "a"));
        assert_eq!(pair.published.len(), 1, "the exchange had ended");
    }
}

#[test]
fn a_release_of_nothing_is_answered() {
    each(|pair, version| {
        let expected = match version {
            V3 => pubcomp(4),
            V5 => Packet::Pubcomp(Ack::new(id(4), NOT_FOUND)),
        };
        assert_eq!(pair.ask(pubrel(4)), [expected]);
        assert!(pair.session.is_connected());
    });
}

#[test]
fn pubcomp_waits_for_the_store() {
    let mut pair = connected(V5, true);
    assert_eq!(pair.ask(publish2(1, "a")), [pubrec(1)]);
    pair.serving = false;
    assert_eq!(pair.ask(pubrel(1)), []);
    assert_eq!(pair.ask(pubrel(1)), [], "a repeat is not told twice");
    assert_eq!(pair.ask(publish2(1, "a")), [Packet::Pubrec(Ack::new(id(1), IN_USE))]);
    let [Action::Forget { packet_id }] = pair.held[..] else { panic!("{:?}", pair.held) };
    pair.session.forgotten(&[packet_id, packet_id]);
    assert_eq!(pair.received(), [pubcomp(1)]);
}

#[test]
fn acknowledgements_leave_in_the_order_of_receipt() {
    let mut pair = connected(V5, false);
    pair.serving = false;
    for packet in [publish2(1, "a"), publish(2, "a"), publish2(1, "a"), publish2(3, "a")] {
        assert_eq!(pair.ask(packet), []);
    }
    let tickets: Vec<AckTicket> = pair.held.iter().map(ticket).collect();
    assert_eq!(tickets.len(), 3, "the repeat is no message");
    pair.session.publish_done(tickets[2], ReasonCode::Success);
    pair.session.publish_done(tickets[1], ReasonCode::Success);
    assert_eq!(pair.received(), [], "[MQTT-4.6.0-2, MQTT-4.6.0-3]");
    pair.session.publish_done(tickets[0], ReasonCode::Success);
    assert_eq!(pair.received(), [pubrec(1), puback(2), pubrec(1), pubrec(3)]);
}

fn ticket(action: &Action) -> AckTicket {
    match action {
        Action::Publish { ack, .. } => ack.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_ends_the_exchange() {
    let mut pair = connected(V5, true);
    pair.serving = false;
    pair.send(publish2(1, "a"));
    pair.send(publish2(1, "a"));
    pair.session.publish_done(ticket(&pair.held[0]), ReasonCode::QuotaExceeded);
    let refused = Packet::Pubrec(Ack::new(id(1), ReasonCode::QuotaExceeded));
    assert_eq!(pair.received(), [refused], "one answer for both");
    pair.send(publish2(1, "a"));
    assert_eq!(pair.held.len(), 2, "nothing was recorded: this is a new message");
    let invalid = Packet::Pubrec(Ack::new(id(2), ReasonCode::TopicNameInvalid));
    pair.send(publish2(2, "a/#"));
    pair.session.publish_done(ticket(&pair.held[1]), ReasonCode::Success);
    assert_eq!(pair.received(), [pubrec(1), invalid]);
    assert_eq!(pair.ask(pubrel(2)), [Packet::Pubcomp(Ack::new(id(2), NOT_FOUND))]);
}

#[test]
fn a_denied_message_is_told_with_pubrec() {
    let mut pair = connected(V5, true);
    pair.serving = false;
    pair.send(publish2(1, "a"));
    let denied = ticket(&pair.held[0]);
    pair.session.publish_denied(Some(denied), "no");
    assert_eq!(pair.received(), [Packet::Pubrec(Ack::new(id(1), ReasonCode::NotAuthorized))]);
}

#[test]
fn identifiers_in_use_are_refused() {
    let mut pair = connected(V5, false);
    pair.send(publish2(1, "a"));
    pair.received();
    assert_eq!(pair.ask(publish(1, "a")), [Packet::Puback(Ack::new(id(1), IN_USE))], "[MQTT-2.2.1-3]");
    let Some(Packet::Suback(suback)) = pair.ask(subscribe(1, &["a"])).pop() else { panic!() };
    assert_eq!(suback.reason_codes, [IN_USE]);
}

#[test]
fn an_exchange_counts_against_the_receive_maximum_until_pubcomp() {
    let settings = settings(Standard, |_, limits| limits.inflight_in = 2);
    let mut pair = Pair::connected_with(settings.clone(), connect(V5));
    for packet in [publish2(1, "a"), publish2(2, "a"), pubrel(1), publish2(3, "a"), pubrel(3), pubrel(2)] {
        pair.send(packet);
    }
    assert!(pair.session.is_connected());
    for number in 4..7 {
        pair.send(publish2(number, "a"));
    }
    assert_eq!(ended(&mut pair, V5), Some(ReasonCode::ReceiveMaximumExceeded), "[MQTT-3.3.4-7]");
    // 3.1.1 has no such maximum, and must be read for its PUBREL to come.
    let mut pair = Pair::connected_with(settings, connect(V3));
    for number in 1..7 {
        pair.send(publish2(number, "a"));
    }
    pair.received();
    assert_eq!(pair.ask(pubrel(1)), [pubcomp(1)]);
}

#[test]
fn a_delivery_takes_four_packets() {
    for (version, persistent) in [(V3, false), (V5, false), (V3, true), (V5, true)] {
        let mut pair = connected(version, persistent);
        if persistent {
            pair.push2(message2("a"));
        } else {
            pair.deliver(message2("a"), &EXACTLY_ONCE);
        }
        let got = pair.delivered().pop().unwrap();
        assert_eq!((got.qos, got.dup, got.packet_id), (QoS::ExactlyOnce, false, Some(id(1))));
        assert_eq!(pair.ask(pubrec(1)), [pubrel(1)]);
        assert_eq!(pair.ask(pubrec(1)), [pubrel(1)], "a repeat");
        assert_eq!((pair.session.in_flight(), pair.store.len()), (1, usize::from(persistent)));
        assert_eq!(pair.ask(pubcomp(1)), []);
        assert_eq!((pair.session.in_flight(), pair.store.len()), (0, 0));
        assert_eq!(pair.ask(pubcomp(1)), [], "of no exchange");
    }
}

#[test]
fn pubrel_waits_for_the_store() {
    let mut pair = connected(V5, true);
    pair.push2(message2("a"));
    pair.push2(message2("b"));
    pair.delivered();
    pair.serving = false;
    for number in [2, 1, 1] {
        assert_eq!(pair.ask(pubrec(number)), []);
    }
    let [Action::Release { entry: second }, Action::Release { entry: first }] = pair.held[..] else {
        panic!("{:?}", pair.held)
    };
    pair.session.released(&[second, first]);
    assert_eq!(pair.received(), [pubrel(2), pubrel(1)], "in the order of PUBREC [MQTT-4.6.0-4]");
}

#[test]
fn each_state_is_resumed() {
    for version in [V3, V5] {
        let mut pair = connected(version, true);
        for topic in ["1", "2", "3", "4"] {
            pair.push2(message2(topic));
        }
        pair.delivered();
        for packet in [pubrec(4), pubrec(2), pubrec(3), pubcomp(3)] {
            pair.send(packet);
        }
        for _ in 0..2 {
            pair = reconnect(pair, version);
            let got = pair.received();
            let [Packet::Connack(_), released @ .., Packet::Publish(again)] = &got[..] else {
                panic!("{got:?}")
            };
            assert_eq!(released, [pubrel(2), pubrel(4)], "[MQTT-4.4.0-1]");
            assert_eq!((again.packet_id, again.dup, again.topic.as_str()), (Some(id(1)), true, "1"));
            assert_eq!(pair.session.in_flight(), 3);
        }
        assert_eq!(pair.ask(pubcomp(4)), []);
        assert_eq!(pair.ask(pubrec(1)), [pubrel(1)]);
        assert_eq!(pair.ask(pubcomp(2)), []);
        assert_eq!(pair.ask(pubcomp(1)), []);
        assert_eq!((pair.session.in_flight(), pair.store.len()), (0, 0));
        pair.push2(message2("5"));
        assert_eq!(pair.delivered().pop().unwrap().packet_id, Some(id(5)));
    }
}

#[test]
fn a_clients_refusal_ends_the_delivery() {
    for persistent in [false, true] {
        let mut pair = connected(V5, persistent);
        if persistent {
            pair.push2(message2("a"));
        } else {
            pair.deliver(message2("a"), &EXACTLY_ONCE);
        }
        pair.delivered();
        let refusal = Packet::Pubrec(Ack::new(id(1), ReasonCode::QuotaExceeded));
        assert_eq!(pair.ask(refusal), [], "[MQTT-4.3.3-4]");
        assert_eq!((pair.session.in_flight(), pair.store.len()), (0, 0));
    }
}

#[test]
fn a_pubrec_for_nothing_is_answered() {
    each(|pair, version| {
        let expected = match version {
            V3 => pubrel(4),
            V5 => Packet::Pubrel(Ack::new(id(4), NOT_FOUND)),
        };
        assert_eq!(pair.ask(pubrec(4)), [expected]);
        assert!(pair.session.is_connected());
    });
}

#[test]
fn answers_out_of_step_end_the_connection() {
    let table: [(&str, QoS, &[Packet]); 5] = [
        ("PUBACK at QoS 2", QoS::ExactlyOnce, &[puback(1)]),
        ("PUBACK for PUBREL", QoS::ExactlyOnce, &[pubrec(1), puback(1)]),
        ("PUBCOMP for PUBLISH", QoS::ExactlyOnce, &[pubcomp(1)]),
        ("PUBREC at QoS 1", QoS::AtLeastOnce, &[pubrec(1)]),
        ("PUBCOMP at QoS 1", QoS::AtLeastOnce, &[pubcomp(1)]),
    ];
    for (name, qos, packets) in &table {
        for version in [V3, V5] {
            let mut pair = connected(version, false);
            pair.deliver(message2("a"), &Delivery { qos: *qos, ..AT_LEAST_ONCE });
            for packet in *packets {
                pair.send(packet.clone());
            }
            assert!(pair.closed, "{name}");
            assert_eq!(pair.ended().unwrap().close.code, Some(ReasonCode::ProtocolError), "{name}");
        }
    }
    let mut pair = connected(V5, false);
    pair.serving = false;
    pair.send(publish2(1, "a"));
    pair.send(pubrel(1));
    assert_eq!(ended(&mut pair, V5), Some(ReasonCode::ProtocolError), "PUBREL before PUBREC");
}

#[test]
fn a_delivery_counts_against_the_window_until_pubcomp() {
    let mut connect = connect(V5);
    connect.properties.receive_maximum = Some(id(1));
    let mut pair = Pair::connected_with(settings(Standard, |_, _| {}), connect);
    pair.deliver(message2("a"), &EXACTLY_ONCE);
    pair.deliver(message2("b"), &EXACTLY_ONCE);
    assert_eq!(pair.delivered().len(), 1);
    assert_eq!(pair.ask(pubrec(1)), [pubrel(1)]);
    pair.send(pubcomp(1));
    assert_eq!(pair.delivered().len(), 1, "[MQTT-3.3.4-9]");
}

#[test]
fn a_begun_exchange_does_not_expire_and_another_does() {
    let mut pair = connected(V5, true);
    pair.push2(Message { expires_at: Some(Timestamp(START.0 + 1000)), ..message2("begun") });
    pair.delivered();
    let mut pair = reconnect(pair, V5);
    pair.received();
    pair.elapse(std::time::Duration::from_secs(5));
    let expired = Message { expires_at: Some(Timestamp(START.0 + 1000)), ..message2("expired") };
    pair.push2(expired);
    assert_eq!((pair.delivered(), pair.store.len()), (vec![], 1));
    let now = pair.now;
    let mut pair = reconnect(pair, V5);
    pair.now = now;
    let got = pair.received();
    assert!(
        matches!(&got[..], [Packet::Connack(_), Packet::Publish(p)] if p.topic.as_str() == "begun"),
        "{got:?}"
    );
}
