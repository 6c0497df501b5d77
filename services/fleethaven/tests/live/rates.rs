//! The rates of the `aws` profile: CONNECTs per client id, PUBLISHes per connection.

use crate::support::{Broker, clean, publish};
use fleethaven_mqtt::{Packet, Publish, QoS, ReasonCode, Version};
use tempfile::TempDir;

#[test]
fn a_client_id_that_connects_too_often_is_refused() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "profile = \"aws\"\n");
    for (version, refusal) in
        [(Version::V5, ReasonCode::QuotaExceeded), (Version::V311, ReasonCode::ServerUnavailable)]
    {
        let id = format!("often-{version:?}");
        let outcomes: Vec<_> = (0..5).map(|_| broker.try_connect(clean(version, &id)).1.reason).collect();
        assert_eq!(outcomes.first(), Some(&ReasonCode::Success));
        assert!(outcomes.contains(&refusal), "{outcomes:?}");
        assert!(outcomes.iter().all(|code| [ReasonCode::Success, refusal].contains(code)), "{outcomes:?}");
        broker.connect(clean(version, "another")).disconnect();
    }
}

#[test]
fn publishes_over_the_rate_are_refused_and_the_connection_stays() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "profile = \"aws\"\n");
    let mut client = broker.connect(clean(Version::V5, "five"));
    let mut refused = 0;
    for _ in 0..300 {
        client.send(&Packet::Publish(publish("rate", "", 1)));
        match client.receive() {
            Packet::Puback(ack) if ack.reason == ReasonCode::QuotaExceeded => refused += 1,
            Packet::Puback(ack) => assert_eq!(ack.reason, ReasonCode::Success),
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=200).contains(&refused), "{refused} of 300 refused, and at least the first 100 are not");
    // 3.1.1 has no such answer: what is over the rate is not taken.
    let mut client = broker.connect(clean(Version::V311, "three"));
    for _ in 0..300 {
        client.send(&Packet::Publish(Publish { qos: QoS::AtMostOnce, ..Publish::new("rate", "") }));
    }
    assert_eq!(client.ping(), []);
    assert!(broker.metric("fleethaven_mqtt_publish_in_total{result=\"throttle\"") > f64::from(refused));
}
