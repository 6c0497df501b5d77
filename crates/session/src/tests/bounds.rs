//! Memory that a client can make the session hold.

use fleethaven_mqtt::{Packet, QoS, ReasonCode, Version};
use fleethaven_types::Profile::Standard;

use super::pair::{Pair, connect, message, puback, settings, subscribe};
use super::store::AT_LEAST_ONCE;
use crate::Delivery;

const AT_MOST_ONCE: Delivery<'static> = Delivery { qos: QoS::AtMostOnce, retain: false, identifiers: &[] };

#[test]
fn qos_0_is_dropped_while_the_client_does_not_read() {
    let mut pair = Pair::connected(Standard, Version::V5);
    pair.reading = false;
    for _ in 0..20 {
        pair.deliver(message("a", vec![b'x'; 100_000]), &AT_MOST_ONCE);
    }
    assert_eq!(pair.session.dropped(), 9);
    assert!(pair.session.output().len() < 1_200_000);
    pair.reading = true;
    assert_eq!(pair.delivered().len(), 11);
    pair.deliver(message("a", "x"), &AT_MOST_ONCE);
    assert_eq!(pair.delivered().len(), 1);
}

#[test]
fn qos_1_waits_while_the_client_does_not_read() {
    let mut pair = Pair::connected(Standard, Version::V5);
    pair.reading = false;
    for _ in 0..20 {
        pair.deliver(message("a", vec![b'x'; 100_000]), &AT_LEAST_ONCE);
    }
    assert_eq!(pair.session.in_flight(), 11);
    pair.reading = true;
    assert_eq!(pair.delivered().len(), 20);
    assert_eq!(pair.session.dropped(), 0);
}

/// How many of 10 messages of 100 bytes arrive when one may be in flight.
fn arrive(messages: u64, bytes: u64) -> usize {
    let settings = settings(Standard, |_, limits| {
        limits.inflight_out = 1;
        limits.session_queued_messages = messages;
        limits.session_queued_bytes = bytes;
    });
    let mut pair = Pair::connected_with(settings, connect(Version::V5));
    for number in 0..10_u8 {
        pair.deliver(message("a", vec![number; 99]), &AT_LEAST_ONCE);
    }
    let mut arrived = Vec::new();
    while let Some(publish) = pair.delivered().pop() {
        arrived.push(publish.payload[0]);
        pair.send(puback(publish.packet_id.unwrap().get()));
    }
    assert!(arrived.iter().copied().eq(0..arrived.len() as u8), "the newest are dropped: {arrived:?}");
    assert_eq!(pair.session.dropped() as usize, 10 - arrived.len());
    arrived.len()
}

#[test]
fn what_waits_for_the_window_is_bounded() {
    assert_eq!(arrive(4, 1 << 20), 5);
    assert_eq!(arrive(100, 300), 4);
    assert_eq!(arrive(100, 1 << 20), 10);
}

#[test]
fn a_client_that_leaves_answers_unread_is_not_read() {
    let mut pair = Pair::connected(Standard, Version::V5);
    pair.reading = false;
    for _ in 0..100_000 {
        pair.send(Packet::Pingreq);
    }
    assert!(!pair.session.wants_input());
    assert!(pair.session.output().len() <= (64 << 10) + 2);
    pair.reading = true;
    assert_eq!(pair.received().len(), 100_000, "none is lost");
}

#[test]
fn unread_messages_do_not_stop_input() {
    let mut pair = Pair::connected(Standard, Version::V5);
    pair.reading = false;
    pair.deliver(message("a", vec![b'x'; 2 << 20]), &AT_MOST_ONCE);
    pair.send(Packet::Pingreq);
    assert!(pair.session.wants_input());
}

#[test]
fn an_answer_above_the_clients_packet_size_ends_the_connection() {
    let mut connect = connect(Version::V5);
    connect.properties.maximum_packet_size = 40.try_into().ok();
    let mut pair = Pair::connected_with(settings(Standard, |_, _| {}), connect);
    assert_eq!(pair.ask(subscribe(1, &["a"; 35])).len(), 1);
    let Some(Packet::Disconnect(told)) = pair.ask(subscribe(2, &["a"; 36])).pop() else { panic!() };
    assert_eq!(told.reason, ReasonCode::PacketTooLarge);
}

#[test]
fn filters_are_bounded_by_their_bytes() {
    let settings = settings(Standard, |_, limits| limits.subscription_bytes_per_connection = 10);
    let mut pair = Pair::connected_with(settings, connect(Version::V5));
    let mut ask = |packet| match pair.ask(packet).pop() {
        Some(Packet::Suback(suback)) => suback.reason_codes,
        other => panic!("{other:?}"),
    };
    let (granted, full) = (ReasonCode::GrantedQos1, ReasonCode::QuotaExceeded);
    assert_eq!(ask(subscribe(1, &["12345", "1234/6", "1234"])), [granted, full, granted]);
    assert_eq!(ask(subscribe(2, &["12345"])), [granted], "it is held already");
    assert_eq!(ask(subscribe(3, &["ab"])), [full]);
    pair.ask(super::pair::unsubscribe(4, &["1234"]));
    let again = pair.ask(subscribe(5, &["ab"]));
    assert!(matches!(&again[..], [Packet::Suback(suback)] if suback.reason_codes == [granted]), "{again:?}");
}
