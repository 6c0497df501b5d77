//! Messages for a persistent session while its client is away, and what is sent again.

use crate::support::{Broker, Client, VERSIONS, clean, persistent, will};
use fleethaven_mqtt::{Packet, Publish, QoS, ReasonCode, Version};
use tempfile::TempDir;

/// A session that is subscribed and offline, with `count` messages in its queue.
fn offline(broker: &Broker, version: Version, id: &str, count: usize) {
    let mut client = broker.connect(persistent(version, id));
    client.subscribe("queue/#", QoS::AtLeastOnce);
    client.disconnect();
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for number in 0..count {
        publisher.publish(&format!("queue/{number}"), number.to_string());
    }
    publisher.disconnect();
}

fn receive(client: &mut Client, count: usize) -> Vec<Publish> {
    (0..count).map(|_| client.receive_publish()).collect()
}

#[test]
fn messages_come_in_order_and_again_with_dup_and_the_same_packet_id() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    for version in VERSIONS {
        let id = format!("order-{version:?}");
        offline(&broker, version, &id, 300);
        let (mut client, connack) = broker.try_connect(persistent(version, &id));
        assert!(connack.session_present);
        let first = receive(&mut client, 300);
        assert!(
            first.iter().enumerate().all(|(n, publish)| publish.payload == n.to_string() && !publish.dup)
        );
        // Every third message is acknowledged, then the socket closes without DISCONNECT.
        for publish in first.iter().step_by(3) {
            client.acknowledge(publish);
        }
        client.ping();
        drop(client);
        let mut client = broker.connect(persistent(version, &id));
        let kept: Vec<_> =
            first.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, publish)| publish).collect();
        for (publish, again) in kept.iter().zip(receive(&mut client, kept.len())) {
            assert!(again.dup);
            assert_eq!((again.packet_id, &again.payload), (publish.packet_id, &publish.payload));
            client.acknowledge(&again);
        }
        assert_eq!(client.ping(), []);
        client.disconnect();
        let mut client = broker.connect(persistent(version, &id));
        assert_eq!(client.ping(), [], "everything was acknowledged");
        broker.connect(clean(version, &id)).disconnect();
    }
}

#[test]
fn queued_messages_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    offline(&broker, Version::V5, "restart", 10);
    drop(broker);
    let broker = Broker::start(&dir);
    let (mut client, connack) = broker.try_connect(persistent(Version::V5, "restart"));
    assert!(connack.session_present);
    assert!(receive(&mut client, 10).iter().enumerate().all(|(n, publish)| publish.payload == n.to_string()));
}

#[test]
fn a_receive_maximum_of_one_lets_one_message_be_in_flight() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    offline(&broker, Version::V5, "window", 20);
    let mut connect = persistent(Version::V5, "window");
    connect.properties.receive_maximum = Some(1.try_into().unwrap());
    let mut client = broker.connect(connect);
    for number in 0..20 {
        let publish = client.receive_publish();
        assert_eq!(publish.payload, number.to_string());
        assert_eq!(client.ping(), [], "nothing while one is in flight");
        client.acknowledge(&publish);
    }
    // The same live, for a session without a queue.
    let mut connect = clean(Version::V5, "live");
    connect.properties.receive_maximum = Some(1.try_into().unwrap());
    let mut live = broker.connect(connect);
    live.subscribe("live", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V311, "publisher"));
    for number in 0..5 {
        publisher.publish("live", number.to_string());
    }
    for number in 0..5 {
        let publish = live.receive_publish();
        assert_eq!(publish.payload, number.to_string());
        assert_eq!(live.ping(), []);
        live.acknowledge(&publish);
    }
}

#[test]
fn a_session_is_gone_when_it_has_expired() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(clean(Version::V5, "watcher"));
    watcher.subscribe("will", QoS::AtMostOnce);
    let mut connect = persistent(Version::V5, "short");
    connect.properties.session_expiry_interval = Some(1);
    // The end of the session ends the delay of its will, which tells when it is.
    connect.will = will("will");
    connect.will.as_mut().unwrap().properties.will_delay_interval = Some(60);
    let client = broker.connect(connect.clone());
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(watcher.receive_publish().topic.as_str(), "will");
    let (client, connack) = broker.try_connect(connect);
    assert!(!connack.session_present);
    client.disconnect();
    assert_eq!(watcher.ping(), [], "no will after DISCONNECT");
}

#[test]
fn a_delayed_will_is_not_sent_when_the_session_goes_on_and_is_sent_when_it_ends() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(clean(Version::V5, "watcher"));
    watcher.subscribe("will", QoS::AtMostOnce);
    let mut connect = persistent(Version::V5, "back");
    connect.will = will("will");
    connect.will.as_mut().unwrap().properties.will_delay_interval = Some(3600);
    let client = broker.connect(connect.clone());
    drop(client);
    let ended = "fleethaven_mqtt_disconnect_total{reason=\"CONNECTION_LOST\"";
    crate::support::until("the end is noticed", || broker.metric(ended) == 1.0);
    let mut client = broker.connect(connect.clone());
    client.ping();
    assert_eq!(watcher.ping(), [], "resumed");
    drop(client);
    crate::support::until("the end is noticed", || broker.metric(ended) == 2.0);
    let client = broker.connect(clean(Version::V5, "back"));
    assert_eq!(watcher.receive_publish().topic.as_str(), "will", "the session ended");
    client.disconnect();
    assert_eq!(watcher.ping(), []);
}

#[test]
fn disconnect_with_expiry_zero_ends_the_session() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut client = broker.connect(persistent(Version::V5, "ends"));
    client.subscribe("ends", QoS::AtLeastOnce);
    let mut disconnect = fleethaven_mqtt::Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    disconnect.properties = Some(Box::new(fleethaven_mqtt::DisconnectProperties {
        session_expiry_interval: Some(0),
        ..Default::default()
    }));
    client.send(&Packet::Disconnect(disconnect));
    assert_eq!(client.next(), None);
    let (client, connack) = broker.try_connect(persistent(Version::V5, "ends"));
    assert!(!connack.session_present);
    client.disconnect();
}
