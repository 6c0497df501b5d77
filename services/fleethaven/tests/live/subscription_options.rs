//! The subscription options of MQTT 5 (section 3.8.3.1), on the wire: each statement with its number.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use crate::support::{Broker, Client, clean, persistent, publish};
use fleethaven_mqtt::{
    Packet, Publish, QoS, ReasonCode, RetainHandling, Subscribe, Subscription, SubscriptionId,
    SubscriptionOptions, Unsubscribe, Version,
};
use tempfile::TempDir;

/// SUBSCRIBE at QoS 1 with these options. What came before SUBACK is returned, too.
fn subscribe(
    client: &mut Client,
    wanted: &[(&str, SubscriptionOptions)],
    identifier: Option<u32>,
) -> Vec<Publish> {
    let filter = |(filter, options): &(&str, SubscriptionOptions)| Subscription {
        filter: (*filter).to_owned().into(),
        options: *options,
    };
    client.send(&Packet::Subscribe(Subscribe {
        packet_id: 1.try_into().unwrap(),
        subscription_id: identifier.and_then(SubscriptionId::new),
        user_properties: Vec::new(),
        filters: wanted.iter().map(filter).collect(),
    }));
    let mut before = Vec::new();
    loop {
        match client.receive() {
            Packet::Suback(suback) => {
                assert!(suback.reason_codes.iter().all(|code| !code.is_error()), "{suback:?}");
                return before;
            }
            Packet::Publish(publish) => before.push(publish),
            other => panic!("{other:?}"),
        }
    }
}

fn options(change: impl FnOnce(&mut SubscriptionOptions)) -> SubscriptionOptions {
    let mut options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    change(&mut options);
    options
}

fn retain(client: &mut Client, topic: &str) {
    client.send(&Packet::Publish(Publish { retain: true, ..publish(topic, "kept", 1) }));
    assert!(matches!(client.receive(), Packet::Puback(_)));
}

#[test]
fn retained_messages_come_as_retain_handling_says() {
    use RetainHandling::{DoNotSend, SendAtSubscribe, SendIfNew};
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    ["kept/a", "fence"].iter().for_each(|topic| retain(&mut publisher, topic));
    let table = [
        (SendAtSubscribe, false, true, "MQTT-3.3.1-9"),
        (SendAtSubscribe, true, true, "MQTT-3.3.1-9"),
        (SendIfNew, false, true, "MQTT-3.3.1-10"),
        (SendIfNew, true, false, "MQTT-3.3.1-10"),
        (DoNotSend, false, false, "MQTT-3.3.1-11"),
        (DoNotSend, true, false, "MQTT-3.3.1-11"),
    ];
    for (retain_handling, existing, sent, statement) in table {
        for retain_as_published in [false, true] {
            let case = format!("{statement}: {retain_handling:?}, existing {existing}");
            let mut client = broker.connect(clean(Version::V5, "subscriber"));
            if existing {
                let first = options(|o| o.retain_handling = DoNotSend);
                assert_eq!(subscribe(&mut client, &[("kept/#", first)], None), [], "{case}");
            }
            let wanted = options(|o| {
                (o.retain_handling, o.retain_as_published) = (retain_handling, retain_as_published);
            });
            let fence = options(|_| {});
            let mut got = subscribe(&mut client, &[("kept/#", wanted), ("fence", fence)], None);
            while got.len() < 1 + usize::from(sent) {
                got.push(client.receive_publish());
            }
            got.extend(client.ping().into_iter().filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish),
                _ => None,
            }));
            // Whatever Retain As Published says, they have RETAIN 1 (section 3.8.3.1).
            assert!(got.iter().all(|publish| publish.retain), "{case}");
            let kept = got.iter().filter(|publish| publish.topic.as_str() == "kept/a").count();
            assert_eq!((kept, got.len()), (usize::from(sent), 1 + usize::from(sent)), "{case}");
            client.disconnect();
        }
    }
}

#[test]
fn live_messages_keep_retain_only_as_published() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for retain_as_published in [false, true] {
        let mut client = broker.connect(clean(Version::V5, "subscriber"));
        let wanted = options(|o| {
            (o.retain_handling, o.retain_as_published) = (RetainHandling::DoNotSend, retain_as_published);
        });
        subscribe(&mut client, &[("live", wanted)], None);
        retain(&mut publisher, "live");
        // [MQTT-3.3.1-12, MQTT-3.3.1-13]
        assert_eq!(client.receive_publish().retain, retain_as_published);
        client.disconnect();
    }
}

#[test]
fn no_local_counts_for_each_subscription() {
    // [MQTT-3.8.3-3]; one copy at the highest QoS with the identifiers of those that match [MQTT-3.3.4-2, MQTT-3.3.4-3].
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut client = broker.connect(clean(Version::V5, "both"));
    let foreign = options(|o| o.no_local = true);
    subscribe(&mut client, &[("room/#", foreign)], Some(1));
    client.publish("room/a", "only foreign");
    assert_eq!(client.ping(), [], "its own");
    subscribe(&mut client, &[("room/+", options(|o| o.qos = QoS::AtMostOnce))], Some(2));
    let identifiers = |publish: &Publish| {
        let properties = publish.properties.as_ref().unwrap();
        let mut identifiers: Vec<_> = properties.subscription_ids.iter().map(|id| id.get()).collect();
        identifiers.sort_unstable();
        (publish.qos, identifiers)
    };
    client.send(&Packet::Publish(Publish::new("room/a", "own")));
    assert_eq!(identifiers(&client.receive_publish()), (QoS::AtMostOnce, vec![2]));
    let mut other = broker.connect(clean(Version::V5, "other"));
    other.publish("room/a", "foreign");
    assert_eq!(identifiers(&client.receive_publish()), (QoS::AtLeastOnce, vec![1, 2]));
}

#[test]
fn a_subscribe_of_many_filters_has_one_suback_and_comes_before_what_follows_it() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    for connect in [clean(Version::V5, "clean"), persistent(Version::V5, "persistent")] {
        let mut client = broker.connect(connect);
        let names: Vec<String> = (0..500).map(|number| format!("many/{number}")).collect();
        client.send(&Packet::Subscribe(Subscribe {
            packet_id: 1.try_into().unwrap(),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: names.iter().map(|name| Subscription::new(name.clone(), QoS::AtLeastOnce)).collect(),
        }));
        client.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id: 2.try_into().unwrap(),
            user_properties: Vec::new(),
            filters: [&names[0], &names[499]].map(|name| name.clone().into()).to_vec(),
        }));
        let Packet::Suback(suback) = client.receive() else { panic!("not SUBACK") };
        assert_eq!(suback.reason_codes, vec![ReasonCode::granted(QoS::AtLeastOnce); 500]);
        let Packet::Unsuback(unsuback) = client.receive() else { panic!("not UNSUBACK") };
        assert_eq!(unsuback.reason_codes, [ReasonCode::Success; 2]);
        let mut publisher = broker.connect(clean(Version::V5, "publisher"));
        for (name, payload) in [(&names[499], "gone"), (&names[498], "there")] {
            publisher.send(&Packet::Publish(publish(name, payload, 1)));
            assert!(matches!(publisher.receive(), Packet::Puback(_)));
        }
        assert_eq!(client.receive_publish().payload, "there");
    }
}

/// Large ones are looked at and installed in parts, which the client does not see.
#[test]
fn a_large_subscribe_is_one_and_what_follows_it_waits() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    retain(&mut publisher, "large/777");
    let mut client = broker.connect(persistent(Version::V5, "subscriber"));
    let mut filters: Vec<_> =
        (0..1000).map(|number| Subscription::new(format!("large/{number}"), QoS::AtMostOnce)).collect();
    filters[500] = Subscription::new("large/#/500", QoS::AtMostOnce);
    // Twice in one packet: the last one counts.
    filters[999] = Subscription::new("large/0", QoS::AtLeastOnce);
    client.send(&Packet::Subscribe(Subscribe {
        packet_id: 1.try_into().unwrap(),
        subscription_id: None,
        user_properties: Vec::new(),
        filters,
    }));
    client.send(&Packet::Unsubscribe(Unsubscribe {
        packet_id: 2.try_into().unwrap(),
        user_properties: Vec::new(),
        filters: vec!["large/1".to_owned().into(), "large/998".to_owned().into()],
    }));
    let (mut kept, mut acknowledged) = (Vec::new(), Vec::new());
    while kept.is_empty() || acknowledged.len() < 2 {
        match client.receive() {
            Packet::Publish(publish) => kept.push(publish.topic.to_string()),
            Packet::Suback(suback) => acknowledged.push((suback.packet_id.get(), suback.reason_codes)),
            Packet::Unsuback(unsuback) => {
                acknowledged.push((unsuback.packet_id.get(), unsuback.reason_codes))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kept, ["large/777"]);
    let expected = |place| match place {
        500 => ReasonCode::TopicFilterInvalid,
        999 => ReasonCode::GrantedQos1,
        _ => ReasonCode::Success,
    };
    assert_eq!(acknowledged[0], (1, (0..1000).map(expected).collect()));
    assert_eq!(acknowledged[1], (2, vec![ReasonCode::Success; 2]));
    for topic in ["large/0", "large/1", "large/500", "large/998", "large/500", "large/2"] {
        publisher.send(&Packet::Publish(publish(topic, "", 1)));
        assert!(matches!(publisher.receive(), Packet::Puback(_)));
    }
    for (topic, qos) in [("large/0", QoS::AtLeastOnce), ("large/2", QoS::AtMostOnce)] {
        match client.receive() {
            Packet::Publish(publish) => assert_eq!((&*publish.topic, publish.qos), (topic, qos)),
            other => panic!("{other:?}"),
        }
    }
}
