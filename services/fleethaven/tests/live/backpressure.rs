//! A client that stops reading costs bounded memory and disturbs no other.

use std::time::Duration;

use crate::support::{Broker, clean, persistent, publish};
use fleethaven_mqtt::{Packet, Publish, QoS, Version};
use tempfile::TempDir;

#[test]
fn a_client_that_does_not_read_disturbs_no_other() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut stuck = broker.connect(clean(Version::V5, "stuck"));
    stuck.subscribe("flood", QoS::AtMostOnce);
    let mut reader = broker.connect(clean(Version::V5, "reader"));
    reader.subscribe("other", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    let payload = vec![7; 256 << 10];
    let before = broker.resident();
    for number in 0..512 {
        publisher.send(&Packet::Publish(Publish::new("flood", payload.clone())));
        publisher.publish("other", number.to_string());
        let received = reader.receive_publish();
        assert_eq!(received.payload, number.to_string());
        reader.acknowledge(&received);
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "128 MiB were sent past a client that does not read; memory grew by {grown} bytes"
    );
    drop(stuck);
    let dropped = "fleethaven_mqtt_publish_out_dropped_total";
    crate::support::until("what was dropped is counted", || broker.metric(dropped) > 0.0);
}

#[test]
fn a_persistent_session_gets_everything_once_its_client_reads() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut slow = broker.connect(persistent(Version::V5, "slow"));
    slow.subscribe("slow", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    let payload = vec![7; 32 << 10];
    for _ in 0..400 {
        publisher.publish("slow", payload.clone());
    }
    for _ in 0..400 {
        let received = slow.receive_publish();
        assert_eq!(received.payload.len(), payload.len());
        slow.acknowledge(&received);
    }
    assert_eq!(slow.ping(), []);
}

#[test]
fn retained_messages_wait_for_the_reader() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    let payload = vec![7; 64 << 10];
    for number in 0..300 {
        let topic = format!("retained/{number}");
        let retained = Publish { retain: true, ..publish(&topic, payload.clone(), 1) };
        publisher.send(&Packet::Publish(retained));
        publisher.receive();
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut subscriber = broker.connect(clean(Version::V5, "subscriber"));
        subscriber.subscribe("retained/#", qos);
        // 18 MiB: far above what may be unwritten at a time.
        for _ in 0..300 {
            let received = subscriber.receive_publish();
            assert!(received.retain);
            if qos == QoS::AtLeastOnce {
                subscriber.acknowledge(&received);
            }
        }
        assert_eq!(subscriber.ping(), []);
    }
}

#[test]
fn a_client_that_reads_nothing_for_long_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut stuck = broker.connect(clean(Version::V5, "stuck"));
    stuck.subscribe("flood", QoS::AtMostOnce);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    let payload = vec![7; 256 << 10];
    // Far more than the kernel keeps for the two ends.
    for _ in 0..512 {
        publisher.send(&Packet::Publish(Publish::new("flood", payload.clone())));
    }
    let cut_off = "fleethaven_mqtt_disconnect_total{reason=\"THROTTLED\"";
    crate::support::within(Duration::from_secs(50), "it is cut off", || broker.metric(cut_off) == 1.0);
    crate::support::until("its socket is closed", || broker.metric("fleethaven_gateway_sockets") == 1.0);
    publisher.disconnect();
}
