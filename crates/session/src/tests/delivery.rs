//! PUBLISH to the client: form, expiry, packet sizes, the window.

use std::time::Duration;

use fleethaven_mqtt::{Connect, ConnectProperties, PayloadFormat, QoS, Version};
use fleethaven_types::Profile::{Aws, Standard};
use fleethaven_types::{Message, MessageProperties, Timestamp};

use super::pair::{Pair, START, connect, id, message, puback, settings};
use super::store::AT_LEAST_ONCE;
use crate::Delivery;

const V3: Version = Version::V311;
const V5: Version = Version::V5;
const AT_MOST_ONCE: Delivery<'static> = Delivery { qos: QoS::AtMostOnce, retain: false, identifiers: &[] };

fn expiring(after_ms: u64) -> Message {
    Message { expires_at: Some(Timestamp(START.0 + after_ms)), ..message("a", "x") }
}

fn with(change: impl FnOnce(&mut ConnectProperties)) -> Connect {
    let mut connect = connect(V5);
    change(&mut connect.properties);
    connect
}

#[test]
fn what_each_version_gets() {
    let properties = MessageProperties {
        payload_is_utf8: Some(true),
        content_type: Some("text".into()),
        user_properties: vec![("k".into(), "v".into())],
        ..MessageProperties::default()
    };
    let message = Message { properties: Some(Box::new(properties)), ..message("a/b", "x") };
    let delivery = Delivery { qos: QoS::AtLeastOnce, retain: true, identifiers: &[3, 9] };
    let mut pair = Pair::connected(Standard, V5);
    pair.deliver(message.clone(), &delivery);
    let got = pair.delivered().pop().unwrap();
    assert_eq!((got.qos, got.retain, got.dup, got.packet_id), (QoS::AtLeastOnce, true, false, Some(id(1))));
    let properties = got.properties.unwrap();
    assert_eq!(properties.payload_format_indicator, Some(PayloadFormat::Utf8));
    assert_eq!(properties.subscription_ids.iter().map(|id| id.get()).collect::<Vec<_>>(), [3, 9]);
    let mut pair = Pair::connected(Standard, V3);
    pair.deliver(message, &delivery);
    let got = pair.delivered().pop().unwrap();
    assert_eq!((got.topic.as_str(), &got.payload[..], got.retain), ("a/b", &b"x"[..], true));
    assert_eq!(got.properties, None);
}

#[test]
fn the_remaining_expiry_is_told() {
    for (waited_ms, told) in [(0, 30), (20_500, 9), (29_500, 0)] {
        let mut pair = Pair::connected(Aws, V5);
        pair.elapse(Duration::from_millis(waited_ms));
        pair.deliver(expiring(30_000), &AT_LEAST_ONCE);
        let properties = pair.delivered().pop().unwrap().properties.unwrap();
        assert_eq!(properties.message_expiry_interval, Some(told), "case 23");
    }
}

#[test]
fn the_expired_is_not_delivered() {
    for version in [V3, V5] {
        let mut pair = Pair::connected(Aws, version);
        pair.elapse(Duration::from_secs(30));
        pair.deliver(expiring(30_000), &AT_LEAST_ONCE);
        assert_eq!(pair.delivered(), []);
        assert_eq!(pair.session.in_flight(), 0);
    }
}

#[test]
fn what_waits_expires_too() {
    let mut pair =
        Pair::connected_with(settings(Aws, |_, _| {}), with(|p| p.receive_maximum = 1.try_into().ok()));
    for message in [message("1", "x"), expiring(10_000), message("3", "x")] {
        pair.deliver(message, &AT_LEAST_ONCE);
    }
    assert_eq!(pair.delivered().len(), 1);
    pair.elapse(Duration::from_secs(10));
    pair.send(puback(1));
    let got = pair.delivered();
    assert_eq!(got.iter().map(|publish| publish.topic.as_str()).collect::<Vec<_>>(), ["3"]);
    assert_eq!(got[0].packet_id, Some(id(2)));
}

#[test]
fn the_window_is_the_lower_of_both() {
    for (asked, window) in [(None, 100), (Some(3), 3), (Some(1000), 100)] {
        let connect = with(|p| p.receive_maximum = asked.and_then(|n: u16| n.try_into().ok()));
        let mut pair = Pair::connected_with(settings(Aws, |_, _| {}), connect);
        for _ in 0..=window {
            pair.deliver(message("a", "x"), &AT_LEAST_ONCE);
        }
        pair.deliver(message("zero", "x"), &AT_MOST_ONCE);
        let got = pair.delivered();
        assert_eq!(got.len(), window + 1, "QoS 0 does not count");
        assert_eq!(got.last().unwrap().topic, *"zero");
        pair.send(puback(2));
        assert_eq!(pair.delivered()[0].packet_id, Some(id(window as u16 + 1)));
    }
}

#[test]
fn unknown_and_repeated_pubacks_are_passed_over() {
    let mut pair = Pair::connected(Aws, V5);
    for _ in 0..3 {
        pair.deliver(message("a", "x"), &AT_LEAST_ONCE);
    }
    assert_eq!(pair.delivered().len(), 3);
    for number in [9, 2, 2, 65_535, 1, 1] {
        assert_eq!(pair.ask(puback(number)), []);
    }
    assert!(pair.session.is_connected());
    assert_eq!(pair.session.in_flight(), 1);
    pair.send(puback(3));
    pair.send(puback(3));
    assert_eq!(pair.session.in_flight(), 0);
}

#[test]
fn identifiers_go_round_without_a_clash() {
    let mut pair = Pair::connected(Aws, V5);
    pair.deliver(message("a", "x"), &AT_LEAST_ONCE);
    for number in 2..=65_535_u32 {
        pair.deliver(message("a", "x"), &AT_LEAST_ONCE);
        pair.send(puback(number as u16));
    }
    assert_eq!(pair.delivered().len(), 65_535);
    pair.deliver(message("a", "late"), &AT_LEAST_ONCE);
    assert_eq!(pair.delivered(), [], "identifier 1 is still in use");
    pair.send(puback(1));
    assert_eq!(pair.delivered()[0].packet_id, Some(id(1)));
}

#[test]
fn messages_above_the_clients_packet_size_are_left_out() {
    for delivery in [AT_MOST_ONCE, AT_LEAST_ONCE, Delivery { identifiers: &[1], ..AT_LEAST_ONCE }] {
        let connect = with(|p| {
            p.maximum_packet_size = 100.try_into().ok();
            p.receive_maximum = 1.try_into().ok();
        });
        let mut pair = Pair::connected_with(settings(Standard, |_, _| {}), connect);
        pair.deliver(message("large", vec![b'x'; 100]), &delivery);
        pair.deliver(message("small", "x"), &delivery);
        let got = pair.delivered();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].topic, *"small");
        assert_eq!(pair.session.dropped(), 1);
    }
}

#[test]
fn large_payloads_arrive_whole_between_small_ones() {
    let mut pair = Pair::connected(Standard, V3);
    for size in [1, 5000, 2, 4096, 3] {
        pair.deliver(message("a", vec![size as u8; size]), &AT_MOST_ONCE);
    }
    let sizes: Vec<_> = pair.delivered().iter().map(|publish| publish.payload.len()).collect();
    assert_eq!(sizes, [1, 5000, 2, 4096, 3]);
}

#[test]
fn outside_its_queue_a_persistent_session_gets_qos_0() {
    let mut pair = Pair::new(settings(Standard, |_, _| {}), V5);
    pair.queue = Some(pair.store.state(fleethaven_types::EntryId::NONE));
    pair.connect(connect(V5));
    pair.deliver(message("a", "x"), &AT_LEAST_ONCE);
    assert_eq!(pair.delivered()[0].qos, QoS::AtMostOnce);
    pair.push(message("b", "x"));
    assert_eq!(pair.delivered()[0].packet_id, Some(id(1)), "the queue's numbers are untouched");
}
