//! What measuring other brokers showed to go wrong elsewhere. The third of them, TLS resumption with client certificates, is in
//! `e2e/test_resumption.py`.

use crate::support::{Broker, clean, persistent, publish};
use fleethaven_mqtt::{Packet, Publish, QoS, Version};
use tempfile::TempDir;

#[test]
fn a_receive_window_loses_no_message_of_a_connected_subscriber() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let narrow = |mut connect: fleethaven_mqtt::Connect| {
        connect.properties.receive_maximum = Some(7.try_into().unwrap());
        connect
    };
    let mut subscribers = [
        broker.connect(narrow(clean(Version::V5, "clean"))),
        broker.connect(narrow(persistent(Version::V5, "persistent"))),
    ];
    for subscriber in &mut subscribers {
        subscriber.subscribe("t", QoS::AtLeastOnce);
    }
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    // Far more than the window, while nobody acknowledges.
    for number in 0..1000_u16 {
        publisher.send(&Packet::Publish(publish("t", number.to_string(), number + 1)));
    }
    for _ in 0..1000 {
        assert!(matches!(publisher.receive(), Packet::Puback(_)));
    }
    for subscriber in &mut subscribers {
        for number in 0..1000 {
            let received = subscriber.receive_publish();
            assert_eq!(received.payload, number.to_string());
            subscriber.acknowledge(&received);
        }
        assert_eq!(subscriber.ping(), [], "and none twice");
    }
}

#[test]
fn a_wildcard_subscriber_gets_every_retained_message() {
    const COUNT: usize = 20_000;
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for number in 0..COUNT {
        let topic = format!("retained/{number:05}");
        let last = number + 1 == COUNT;
        // The last one's PUBACK says that all are stored.
        let message = if last { publish(&topic, "x", 1) } else { Publish::new(topic, "x") };
        publisher.send(&Packet::Publish(Publish { retain: true, ..message }));
    }
    publisher.receive();
    for (qos, connect) in [
        (QoS::AtMostOnce, clean(Version::V5, "clean")),
        (QoS::AtLeastOnce, clean(Version::V311, "clean, 3.1.1")),
        (QoS::AtLeastOnce, persistent(Version::V5, "persistent")),
    ] {
        let mut subscriber = broker.connect(connect);
        subscriber.subscribe("#", qos);
        for number in 0..COUNT {
            let received = subscriber.receive_publish();
            assert_eq!(received.topic.as_str(), format!("retained/{number:05}"), "in the order of topics");
            assert!(received.retain);
            if received.packet_id.is_some() {
                subscriber.acknowledge(&received);
            }
        }
    }
}
