//! PUBACKs leave in the order of the PUBLISHes [MQTT-4.6.0-2], though some messages wait for the disk and others for nothing.

use crate::support::{Broker, VERSIONS, clean, persistent, publish};
use fleethaven_mqtt::{Packet, QoS, Version};
use tempfile::TempDir;

#[test]
fn acknowledgements_keep_the_order_of_receipt() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut durable = broker.connect(persistent(Version::V5, "durable"));
    durable.subscribe("durable", QoS::AtLeastOnce);
    durable.disconnect();
    for version in VERSIONS {
        let mut publisher = broker.connect(clean(version, "publisher"));
        // 3.1.1 has no Receive Maximum: twice as many as may be unacknowledged are held back, not refused.
        let count = if version == Version::V5 { 900 } else { 2000 };
        for id in 1..=count {
            let topic = if id % 3 == 0 { "durable" } else { "nobody" };
            publisher.send(&Packet::Publish(publish(topic, "", id)));
        }
        for id in 1..=count {
            match publisher.receive() {
                Packet::Puback(ack) => assert_eq!(ack.packet_id.get(), id),
                other => panic!("not PUBACK: {other:?}"),
            }
        }
        publisher.disconnect();
    }
}

#[test]
fn a_topic_keeps_its_order_from_publisher_to_subscriber() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut live = broker.connect(clean(Version::V5, "live"));
    live.subscribe("order", QoS::AtLeastOnce);
    let mut stored = broker.connect(persistent(Version::V5, "stored"));
    stored.subscribe("order", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for id in 1..=500 {
        publisher.send(&Packet::Publish(publish("order", id.to_string(), id)));
    }
    for subscriber in [&mut live, &mut stored] {
        for id in 1..=500 {
            let received = subscriber.receive_publish();
            assert_eq!(received.payload, id.to_string());
            subscriber.acknowledge(&received);
        }
        assert_eq!(subscriber.ping(), []);
    }
}
