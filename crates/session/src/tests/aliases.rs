//! Topic aliases towards the client: who gets them, and that every packet still names its topic.

use std::collections::HashMap;
use std::num::NonZeroU16;

use fleethaven_mqtt::{Connect, Packet, Publish, QoS, Version};
use fleethaven_types::EntryId;
use fleethaven_types::Profile::{Aws, Standard};
use proptest::prelude::*;

use super::pair::{Pair, connect, disconnect, message, puback, settings};
use super::store::AT_LEAST_ONCE;
use crate::Delivery;

const AT_MOST_ONCE: Delivery<'static> = Delivery { qos: QoS::AtMostOnce, retain: false, identifiers: &[] };

/// CONNECT of a client that takes so many.
fn takes(aliases: u16) -> Connect {
    let mut connect = connect(Version::V5);
    connect.properties.topic_alias_maximum = Some(aliases);
    connect
}

fn connected(aliases: u16) -> Pair {
    Pair::connected_with(settings(Standard, |_, _| {}), takes(aliases))
}

/// The topic as written, and the alias.
fn named(publish: &Publish) -> (&str, Option<u16>) {
    let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
    (publish.topic.as_str(), alias.map(NonZeroU16::get))
}

/// What became of messages to `topics`.
fn told<'a>(pair: &mut Pair, topics: impl IntoIterator<Item = &'a str>) -> Vec<(String, Option<u16>)> {
    topics.into_iter().for_each(|topic| pair.deliver(message(topic, "x"), &AT_MOST_ONCE));
    let delivered = pair.delivered();
    delivered.iter().map(named).map(|(topic, alias)| (topic.to_owned(), alias)).collect()
}

fn written(expected: &[(&str, Option<u16>)]) -> Vec<(String, Option<u16>)> {
    expected.iter().map(|(topic, alias)| (topic.to_string(), *alias)).collect()
}

#[test]
fn the_first_topics_are_written_once() {
    let topics = ["topic/1", "topic/2", "topic/1", "topic/3", "topic/2", "topic/3"];
    let expected = [
        ("topic/1", Some(1)),
        ("topic/2", Some(2)),
        ("", Some(1)),
        ("topic/3", None),
        ("", Some(2)),
        ("topic/3", None),
    ];
    assert_eq!(told(&mut connected(2), topics), written(&expected));
}

#[test]
fn a_client_that_did_not_ask_gets_none() {
    // [MQTT-3.1.2-26, MQTT-3.1.2-27]
    let twice = ["topic/1", "topic/1"];
    let plain = written(&[("topic/1", None), ("topic/1", None)]);
    assert_eq!(told(&mut connected(0), twice), plain);
    for version in [Version::V311, Version::V5] {
        assert_eq!(told(&mut Pair::connected(Standard, version), twice), plain);
    }
}

#[test]
fn there_are_no_more_than_the_setting_allows() {
    for (profile, bound) in [(Standard, 64), (Aws, 8)] {
        let mut pair = Pair::connected_with(settings(profile, |_, _| {}), takes(u16::MAX));
        let topics: Vec<_> = (0..100).map(|number| format!("topic/{number}")).collect();
        let aliases: Vec<_> = told(&mut pair, topics.iter().map(String::as_str));
        assert_eq!(aliases.iter().filter_map(|(_, alias)| *alias).max(), Some(bound));
    }
    let mut pair = Pair::connected_with(settings(Standard, |_, l| l.topic_alias_out_max = 0), takes(5));
    assert_eq!(told(&mut pair, ["topic/1"]), written(&[("topic/1", None)]));
}

#[test]
fn subscription_identifiers_go_along() {
    let mut pair = connected(5);
    for identifiers in [&[3][..], &[], &[7, 8]] {
        pair.deliver(message("topic/1", "x"), &Delivery { identifiers, ..AT_LEAST_ONCE });
    }
    let got = pair.delivered();
    let named: Vec<_> = got.iter().map(named).collect();
    assert_eq!(named, [("topic/1", Some(1)), ("", Some(1)), ("", Some(1))]);
    let identifiers = got.iter().map(|publish| publish.properties.as_ref().unwrap().subscription_ids.len());
    assert_eq!(identifiers.collect::<Vec<_>>(), [1, 0, 2]);
}

#[test]
fn the_maximum_packet_size_counts() {
    // A PUBLISH at QoS 0 without an alias: 2 bytes of fixed header, 2 + 7 of topic, 1 of properties.
    let bound = |bytes: u32| {
        let mut connect = takes(5);
        connect.properties.maximum_packet_size = bytes.try_into().ok();
        Pair::connected_with(settings(Standard, |_, _| {}), connect)
    };
    let sent = |pair: &mut Pair, payload: usize| {
        pair.deliver(message("topic/1", vec![0; payload]), &AT_MOST_ONCE);
        pair.delivered().first().map(|publish| named(publish).1)
    };
    let mut pair = bound(50);
    assert_eq!(sent(&mut pair, 39), None, "above the maximum in any form");
    assert_eq!(sent(&mut pair, 38), Some(None), "it fits without an alias only");
    assert_eq!(sent(&mut pair, 36), Some(None));
    assert_eq!(sent(&mut pair, 35), Some(Some(1)));
    assert_eq!(sent(&mut pair, 42), Some(Some(1)), "shorter by the topic now");
    assert_eq!(sent(&mut pair, 43), None);
    assert_eq!(pair.session.dropped(), 2);
}

#[test]
fn another_connection_begins_anew() {
    // [MQTT-3.3.2-7]: aliases end with the connection; what is sent again has its topic.
    let settings = settings(Standard, |_, _| {});
    let mut pair = Pair::resumed(settings.clone(), takes(5), Default::default(), EntryId::NONE);
    pair.received();
    let sent: Vec<_> = (0..3).map(|_| pair.push(message("topic/1", "x"))).collect();
    let first = pair.delivered();
    assert_eq!(
        first.iter().map(named).collect::<Vec<_>>(),
        [("topic/1", Some(1)), ("", Some(1)), ("", Some(1))]
    );
    pair.send(puback(first[0].packet_id.unwrap().get()));
    pair.send(disconnect(fleethaven_mqtt::ReasonCode::NORMAL_DISCONNECTION));
    let mut pair = Pair::resumed(settings, takes(5), pair.store, sent[2]);
    let publish = |packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    };
    let again: Vec<_> = pair.received().into_iter().filter_map(publish).collect();
    let named: Vec<_> = again.iter().map(|publish| (named(publish), publish.dup)).collect();
    assert_eq!(named, [(("topic/1", Some(1)), true), (("", Some(1)), true)]);
}

#[derive(Debug, Clone)]
struct Sent {
    topic: usize,
    payload: usize,
    acknowledged: bool,
    identifiers: Vec<u32>,
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..8_usize, 0..60_usize, any::<bool>(), proptest::collection::vec(1..300_u32, 0..3)).prop_map(
        |(topic, payload, acknowledged, identifiers)| Sent { topic, payload, acknowledged, identifiers },
    )
}

proptest! {
    /// A client that keeps the table of section 3.3.2.3.4 gets every message that one without aliases gets, under the
    /// same topic, and nothing above its maximum.
    #[test]
    fn every_packet_names_its_topic(
        messages in proptest::collection::vec(sent(), 1..60),
        aliases in 1..6_u16,
        maximum in 30..90_u32,
    ) {
        let with_maximum = |mut connect: Connect| {
            connect.properties.maximum_packet_size = maximum.try_into().ok();
            connect
        };
        let settings = settings(Standard, |_, _| {});
        let mut aliased = Pair::connected_with(settings.clone(), with_maximum(takes(aliases)));
        let mut plain = Pair::connected_with(settings, with_maximum(connect(Version::V5)));
        let mut table: HashMap<u16, String> = HashMap::new();
        for (number, sent) in messages.into_iter().enumerate() {
            let topic = "t/".repeat(sent.topic + 1);
            let mut message = message(&topic, vec![0; sent.payload]);
            message.sequence = number as u64;
            let qos = if sent.acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let delivery = Delivery { qos, retain: false, identifiers: &sent.identifiers };
            aliased.deliver(message.clone(), &delivery);
            plain.deliver(message, &delivery);
            let expected = plain.delivered().pop();
            let Some(mut got) = aliased.delivered().pop() else {
                prop_assert_eq!(expected, None);
                continue;
            };
            let length = fleethaven_mqtt::publish_len(Version::V5, &got);
            prop_assert!(length <= maximum as usize);
            if let Some(alias) = got.properties.as_mut().and_then(|properties| properties.topic_alias.take()) {
                prop_assert!(alias.get() <= aliases);
                let known = table.entry(alias.get()).or_default();
                if !got.topic.is_empty() {
                    *known = got.topic.to_string();
                }
                got.topic = known.as_str().to_owned().into();
            }
            prop_assert_eq!(got.topic.as_str(), &topic);
            got.properties = got.properties.filter(|properties| **properties != Default::default());
            if let Some(expected) = expected {
                let got = Publish { packet_id: expected.packet_id, ..got };
                prop_assert_eq!(got, expected);
            }
        }
    }
}
