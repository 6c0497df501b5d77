//! Statements of the MQTT texts that are best seen on the wire of a whole broker; `crates/testkit/normative` says which test
//! shows which statement.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use crate::support::{Broker, Client, VERSIONS, clean, persistent, publish, will};
use fleethaven_mqtt::{
    Ack, Connect, Packet, PayloadFormat, Publish, PublishProperties, QoS, ReasonCode, Subscribe,
    Subscription, Unsubscribe, UserProperty, Version, Will, WillProperties,
};
use tempfile::TempDir;

fn start() -> (TempDir, Broker) {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    (dir, broker)
}

fn subscribe_all(packet_id: u16, filters: &[(&str, QoS)]) -> Packet {
    let filters = filters.iter().map(|(filter, qos)| Subscription::new(*filter, *qos)).collect();
    let packet_id = packet_id.try_into().unwrap();
    Packet::Subscribe(Subscribe { packet_id, subscription_id: None, user_properties: Vec::new(), filters })
}

fn unsubscribe(filter: &str) -> Packet {
    let (packet_id, filters) = (9.try_into().unwrap(), vec![filter.into()]);
    Packet::Unsubscribe(Unsubscribe { packet_id, user_properties: Vec::new(), filters })
}

fn at_qos_2(topic: &str, id: u16) -> Packet {
    Packet::Publish(Publish { qos: QoS::ExactlyOnce, ..publish(topic, "x", id) })
}

/// Publishes at QoS 2 to the end.
fn publish_2(client: &mut Client, topic: &str) {
    client.send(&at_qos_2(topic, 7));
    assert!(matches!(client.receive(), Packet::Pubrec(ack) if !ack.reason.is_error()));
    client.send(&Packet::Pubrel(Ack::new(7.try_into().unwrap(), ReasonCode::Success)));
    assert!(matches!(client.receive(), Packet::Pubcomp(_)));
}

fn user_properties() -> Vec<UserProperty> {
    [("b", "1"), ("a", "2"), ("b", "1"), ("", "\u{feff}")]
        .map(|(name, value)| UserProperty::new(name, value))
        .into()
}

#[test]
fn a_will_is_retained_only_if_it_says_so() {
    for version in VERSIONS {
        let (_dir, broker) = start();
        let mut watcher = broker.connect(clean(version, "watcher"));
        watcher.subscribe("will/#", QoS::AtLeastOnce);
        for (topic, retain) in [("will/no", false), ("will/yes", true)] {
            let will = Will { retain, ..*will(topic).unwrap() };
            drop(broker.connect(Connect { will: Some(Box::new(will)), ..clean(version, topic) }));
            let received = watcher.receive_publish();
            assert_eq!((received.topic.as_str(), received.retain), (topic, false));
            watcher.acknowledge(&received);
        }
        // Retained messages come in the order of their topics: the last one shows that no other was before it.
        watcher.send(&Packet::Publish(Publish { retain: true, ..publish("will/z", "fence", 1) }));
        let mut late = broker.connect(clean(version, "late"));
        crate::support::until("the fence is retained", || matches!(watcher.receive(), Packet::Puback(_)));
        late.subscribe("will/#", QoS::AtMostOnce);
        for topic in ["will/yes", "will/z"] {
            let received = late.receive_publish();
            assert_eq!((received.topic.as_str(), received.retain), (topic, true));
        }
    }
}

#[test]
fn retained_messages_outlive_the_session() {
    for version in VERSIONS {
        let (_dir, broker) = start();
        let mut publisher = broker.connect(clean(version, "publisher"));
        publisher.send(&Packet::Publish(Publish { retain: true, ..publish("kept", "x", 1) }));
        publisher.receive();
        publisher.disconnect();
        // The same client id with another session.
        let mut again = broker.connect(clean(version, "publisher"));
        again.subscribe("kept", QoS::AtMostOnce);
        assert!(again.receive_publish().retain);
    }
}

#[test]
fn properties_arrive_as_they_were_sent() {
    let (_dir, broker) = start();
    let properties = PublishProperties {
        payload_format_indicator: Some(PayloadFormat::Utf8),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers/here".into()),
        correlation_data: Some(bytes::Bytes::from_static(&[0, 1, 0xFF])),
        user_properties: user_properties(),
        ..PublishProperties::default()
    };
    let mut away = broker.connect(persistent(Version::V5, "away"));
    away.subscribe("p", QoS::AtLeastOnce);
    away.disconnect();
    let mut live = broker.connect(clean(Version::V5, "live"));
    live.subscribe("p", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    let sent =
        Publish { retain: true, properties: Some(Box::new(properties.clone())), ..publish("p", "x", 1) };
    publisher.send(&Packet::Publish(sent));
    publisher.receive();
    let mut late = broker.connect(clean(Version::V5, "late"));
    late.subscribe("p", QoS::AtLeastOnce);
    let mut back = broker.connect(persistent(Version::V5, "away"));
    for client in [&mut live, &mut late, &mut back] {
        assert_eq!(client.receive_publish().properties.as_deref(), Some(&properties));
    }
}

#[test]
fn a_will_keeps_its_properties() {
    let (_dir, broker) = start();
    let mut watcher = broker.connect(clean(Version::V5, "watcher"));
    watcher.subscribe("will", QoS::AtLeastOnce);
    let properties = WillProperties {
        content_type: Some("text/plain".into()),
        user_properties: user_properties(),
        ..WillProperties::default()
    };
    let will = Will { properties, ..*will("will").unwrap() };
    drop(broker.connect(Connect { will: Some(Box::new(will)), ..clean(Version::V5, "doomed") }));
    let received = watcher.receive_publish().properties.unwrap();
    assert_eq!(received.user_properties, user_properties());
    assert_eq!(received.content_type.as_deref(), Some("text/plain"));
}

#[test]
fn dup_of_a_publisher_is_not_passed_on() {
    for version in VERSIONS {
        let (_dir, broker) = start();
        let mut client = broker.connect(clean(version, "both"));
        client.subscribe("t", QoS::AtLeastOnce);
        client.send(&Packet::Publish(Publish { dup: true, ..publish("t", "x", 1) }));
        let mut received = None;
        crate::support::until("the message is back", || {
            if let Packet::Publish(publish) = client.receive() {
                received = Some(publish);
            }
            received.is_some()
        });
        assert!(!received.unwrap().dup);
    }
}

#[test]
fn a_full_window_holds_nothing_else_back() {
    let (_dir, broker) = start();
    let mut connect = clean(Version::V5, "narrow");
    connect.properties.receive_maximum = Some(1.try_into().unwrap());
    let mut narrow = broker.connect(connect);
    narrow.subscribe("one", QoS::AtLeastOnce);
    narrow.subscribe("none", QoS::AtMostOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    publisher.publish("one", "1");
    let first = narrow.receive_publish();
    publisher.publish("one", "2");
    publisher.publish("none", "at QoS 0");
    assert_eq!(narrow.receive_publish().payload, "at QoS 0");
    assert_eq!(narrow.ping(), []);
    narrow.subscribe("other", QoS::AtMostOnce);
    narrow.publish("own", "x");
    assert_eq!(narrow.ping(), [], "the second waits for PUBACK");
    narrow.acknowledge(&first);
    assert_eq!(narrow.receive_publish().payload, "2");
}

#[test]
fn subscribing_again_loses_nothing() {
    for version in VERSIONS {
        let (_dir, broker) = start();
        let mut subscriber = broker.connect(clean(version, "subscriber"));
        subscriber.subscribe("t/+", QoS::AtLeastOnce);
        let mut publisher = broker.connect(clean(version, "publisher"));
        for number in 0..200 {
            subscriber.send(&subscribe_all(1, &[("t/+", QoS::AtLeastOnce)]));
            publisher.publish("t/a", number.to_string());
        }
        let mut expected = 0;
        while expected < 200 {
            match subscriber.receive() {
                Packet::Publish(received) => {
                    assert_eq!(received.payload, expected.to_string());
                    subscriber.acknowledge(&received);
                    expected += 1;
                }
                Packet::Suback(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_was_begun_before_unsubscribe_is_completed() {
    for version in VERSIONS {
        let (_dir, broker) = start();
        let mut subscriber = broker.connect(persistent(version, "subscriber"));
        subscriber.subscribe("t", QoS::AtLeastOnce);
        let mut publisher = broker.connect(clean(version, "publisher"));
        publisher.publish("t", "begun");
        let begun = subscriber.receive_publish();
        subscriber.send(&unsubscribe("t"));
        assert!(matches!(subscriber.receive(), Packet::Unsuback(_)));
        publisher.publish("t", "later");
        drop(subscriber);
        let mut back = broker.connect(persistent(version, "subscriber"));
        let again = back.receive_publish();
        assert_eq!((again.dup, again.packet_id, again.payload), (true, begun.packet_id, begun.payload));
        assert_eq!(back.ping(), [], "nothing that came later");
    }
}

#[test]
fn acknowledgements_have_no_properties() {
    let (_dir, broker) = start();
    let mut client = broker.connect(clean(Version::V5, "client"));
    let subscribe = subscribe_all(1, &[("own", QoS::ExactlyOnce), ("a/#/b", QoS::AtMostOnce)]);
    let id = |id: u16| id.try_into().unwrap();
    let good = |id| Ack { packet_id: id, reason: ReasonCode::Success, properties: None };
    let requests = [
        (subscribe, "SUBACK"),
        (Packet::Publish(publish("nobody", "x", 1)), "PUBACK"),
        (Packet::Publish(publish("a/#", "x", 1)), "PUBACK"),
        (at_qos_2("a/#", 2), "PUBREC"),
        (at_qos_2("own", 2), "PUBREC"),
        (Packet::Pubrel(good(id(2))), "PUBCOMP"),
        (Packet::Pubrel(good(id(3))), "PUBCOMP"),
        (Packet::Pubrec(good(id(99))), "PUBREL"),
        (unsubscribe("none"), "UNSUBACK"),
    ];
    for (request, expected) in requests {
        client.send(&request);
        let mut answer = client.receive();
        // What it published for itself; its delivery is not gone on with.
        while matches!(answer, Packet::Publish(_)) {
            answer = client.receive();
        }
        let (name, properties) = match answer {
            Packet::Puback(ack) => ("PUBACK", ack.properties),
            Packet::Pubrec(ack) => ("PUBREC", ack.properties),
            Packet::Pubrel(ack) => ("PUBREL", ack.properties),
            Packet::Pubcomp(ack) => ("PUBCOMP", ack.properties),
            Packet::Suback(suback) => ("SUBACK", suback.properties),
            Packet::Unsuback(unsuback) => ("UNSUBACK", unsuback.properties),
            other => panic!("{other:?}"),
        };
        assert_eq!((name, properties), (expected, None));
    }
}

#[test]
fn every_disconnect_of_the_server_has_a_reason_and_no_expiry() {
    let (_dir, broker) = start();
    let again = || Packet::Connect(Box::new(persistent(Version::V5, "client")));
    let no_alias = PublishProperties { topic_alias: 65_535.try_into().ok(), ..PublishProperties::default() };
    let aliased = Publish { properties: Some(Box::new(no_alias)), ..publish("t", "x", 1) };
    for (provoke, reason) in
        [(again(), ReasonCode::ProtocolError), (Packet::Publish(aliased), ReasonCode::TopicAliasInvalid)]
    {
        let mut client = broker.connect(persistent(Version::V5, "client"));
        client.send(&provoke);
        match client.receive() {
            Packet::Disconnect(told) => {
                assert_eq!(told.reason, reason);
                let expiry = told.properties.and_then(|properties| properties.session_expiry_interval);
                assert_eq!(expiry, None);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(client.next(), None);
    }
}

/// The client refuses a delivery: PUBACK or PUBREC with an error.
fn refuse(client: &mut Client, received: &Publish) {
    let ack = Ack::new(received.packet_id.unwrap(), ReasonCode::ImplementationSpecificError);
    client.send(&match received.qos {
        QoS::ExactlyOnce => Packet::Pubrec(ack),
        _ => Packet::Puback(ack),
    });
    // It is taken before what follows.
    assert_eq!(client.ping(), []);
}

#[test]
fn what_a_client_refuses_does_not_come_again() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (_dir, broker) = start();
        let mut subscriber = broker.connect(persistent(Version::V5, "subscriber"));
        subscriber.subscribe("t", qos);
        let mut publisher = broker.connect(clean(Version::V5, "publisher"));
        publish_2(&mut publisher, "t");
        let received = subscriber.receive_publish();
        assert_eq!(received.qos, qos);
        refuse(&mut subscriber, &received);
        drop(subscriber);
        let mut back = broker.connect(persistent(Version::V5, "subscriber"));
        publisher.publish("t", "next");
        let next = back.receive_publish();
        assert_eq!((next.payload, next.dup), ("next".into(), false));
    }
}

#[test]
fn what_a_member_refuses_goes_to_no_other() {
    let kinds: [fn(Version, &str) -> Connect; 2] = [clean, persistent];
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for connect in kinds {
            let (_dir, broker) = start();
            let mut first = broker.connect(connect(Version::V5, "first"));
            first.subscribe("$share/g/t", qos);
            let mut publisher = broker.connect(clean(Version::V5, "publisher"));
            publish_2(&mut publisher, "t");
            let received = first.receive_publish();
            let mut second = broker.connect(connect(Version::V5, "second"));
            second.subscribe("$share/g/t", qos);
            second.subscribe("fence", QoS::AtMostOnce);
            refuse(&mut first, &received);
            first.disconnect();
            publisher.publish("fence", "");
            assert_eq!(second.receive_publish().topic.as_str(), "fence");
            assert_eq!(second.ping(), []);
        }
    }
}

#[test]
fn publishes_are_answered_with_their_codes() {
    let (_dir, broker) = start();
    let mut client = broker.connect(clean(Version::V5, "client"));
    client.subscribe("wanted", QoS::AtMostOnce);
    for (topic, code) in [
        ("wanted", ReasonCode::Success),
        ("nobody", ReasonCode::NoMatchingSubscribers),
        ("a/#", ReasonCode::TopicNameInvalid),
        ("$aws/events/presence/connected/client", ReasonCode::TopicNameInvalid),
    ] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            client.send(&Packet::Publish(Publish { qos, ..publish(topic, "x", 5) }));
            let mut answer = client.receive();
            while matches!(answer, Packet::Publish(_)) {
                answer = client.receive();
            }
            match answer {
                Packet::Puback(ack) | Packet::Pubrec(ack) => assert_eq!(ack.reason, code, "{topic} {qos:?}"),
                other => panic!("{other:?}"),
            }
            if qos == QoS::ExactlyOnce && !code.is_error() {
                client.send(&Packet::Pubrel(Ack::new(5.try_into().unwrap(), ReasonCode::Success)));
                let is_answer = |packet: &Packet| matches!(packet, Packet::Pubcomp(_));
                crate::support::until("PUBCOMP", || is_answer(&client.receive()));
            }
        }
    }
}

#[test]
fn subscriptions_are_answered_with_their_codes() {
    let (_dir, broker) = start();
    let mut client = broker.connect(clean(Version::V5, "client"));
    let filters = [
        ("0", QoS::AtMostOnce),
        ("1", QoS::AtLeastOnce),
        ("2", QoS::ExactlyOnce),
        ("a/#/b", QoS::AtMostOnce),
        ("$share/g", QoS::AtMostOnce),
    ];
    client.send(&subscribe_all(1, &filters));
    let Packet::Suback(suback) = client.receive() else { panic!() };
    let invalid = ReasonCode::TopicFilterInvalid;
    let granted = [ReasonCode::GRANTED_QOS_0, ReasonCode::GrantedQos1, ReasonCode::GrantedQos2];
    assert_eq!(suback.reason_codes, [&granted[..], &[invalid, invalid]].concat());
}
