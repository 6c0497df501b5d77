//! Direct messages: past subscriptions and queue, beside what is in flight.

use fleethaven_mqtt::{ConnectProperties, QoS, Version};
use fleethaven_types::Profile::Standard;
use fleethaven_types::{EntryId, Message, MessageProperties};

use super::pair::{Pair, connect, message, puback, settings};
use super::store::{AT_LEAST_ONCE, Store};
use crate::{DirectRefused, DirectTicket, Encoded};

const V5: Version = Version::V5;

fn send(pair: &mut Pair, message: Message, ticket: Option<u64>) -> Result<(), DirectRefused> {
    let mut encoded = Encoded::new(message.into(), pair.now.wall);
    let sent = pair.session.deliver_direct(&mut encoded, ticket.map(DirectTicket), pair.now);
    pair.run();
    sent
}

#[test]
fn a_ticket_makes_it_qos_1_and_comes_back_with_the_acknowledgement() {
    for version in [Version::V311, V5] {
        let mut pair = Pair::connected(Standard, version);
        send(&mut pair, message("d", "0"), None).unwrap();
        send(&mut pair, message("d", "1"), Some(7)).unwrap();
        let got = pair.delivered();
        assert_eq!(got.iter().map(|p| p.qos).collect::<Vec<_>>(), [QoS::AtMostOnce, QoS::AtLeastOnce]);
        assert!(pair.directs.is_empty());
        let id = got[1].packet_id.unwrap();
        pair.send(puback(id.get()));
        pair.send(puback(id.get()));
        assert_eq!(pair.directs, [DirectTicket(7)], "once");
    }
}

#[test]
fn properties_reach_mqtt_5_only() {
    let properties =
        MessageProperties { user_properties: vec![("k".into(), "v".into())], ..Default::default() };
    let message = Message { properties: Some(Box::new(properties)), ..message("d", "x") };
    for (version, expected) in [(Version::V311, 0), (V5, 1)] {
        let mut pair = Pair::connected(Standard, version);
        send(&mut pair, message.clone(), None).unwrap();
        let got = pair.delivered().pop().unwrap();
        assert_eq!(got.properties.map_or(0, |properties| properties.user_properties.len()), expected);
    }
}

#[test]
fn it_takes_its_place_in_the_window_and_no_identifier_of_the_queue() {
    let mut store = Store::default();
    let two = connect(V5);
    let window = ConnectProperties { receive_maximum: std::num::NonZeroU16::new(2), ..Default::default() };
    let two = fleethaven_mqtt::Connect { clean_start: false, properties: window, ..two };
    store.append(message("q", "1").into());
    let mut pair = Pair::resumed(settings(Standard, |_, _| {}), two, store, EntryId::NONE);
    let queued = pair.received();
    assert_eq!(queued.len(), 2, "CONNACK and the stored message: {queued:?}");
    send(&mut pair, message("d", "1"), Some(1)).unwrap();
    assert_eq!(send(&mut pair, message("d", "2"), Some(2)), Err(DirectRefused::Busy));
    let direct = pair.delivered().pop().unwrap().packet_id.unwrap();
    assert_ne!(direct.get(), 1);
    pair.push(message("q", "2"));
    assert!(pair.delivered().is_empty(), "the window is full");
    pair.send(puback(direct.get()));
    assert_eq!(pair.delivered().pop().unwrap().packet_id.unwrap().get(), 2);
    assert_eq!(pair.directs, [DirectTicket(1)]);
}

#[test]
fn what_is_too_large_is_refused() {
    let mut small = connect(V5);
    small.properties.maximum_packet_size = std::num::NonZeroU32::new(64);
    let mut pair = Pair::connected_with(settings(Standard, |_, _| {}), small);
    assert_eq!(send(&mut pair, message("d", vec![0; 100]), Some(1)), Err(DirectRefused::TooLarge));
    assert_eq!(pair.session.window_left(), 1000, "it holds no place");
    send(&mut pair, message("d", "x"), Some(2)).unwrap();
}

#[test]
fn what_is_held_waits_and_qos_0_does_not() {
    let mut pair = Pair::connected(Standard, V5);
    pair.session.hold();
    pair.deliver(message("a", "1"), &AT_LEAST_ONCE);
    assert!(pair.delivered().is_empty());
    send(&mut pair, message("d", "0"), None).unwrap();
    assert_eq!(pair.delivered().len(), 1);
    pair.session.release(pair.now);
    assert_eq!(pair.delivered().len(), 1);
    assert_eq!(pair.session.delivered(), 2);
}
