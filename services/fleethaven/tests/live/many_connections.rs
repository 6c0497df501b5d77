//! Connections that come and go leave nothing behind.

use crate::support::{Broker, VERSIONS, clean, until, will};
use fleethaven_mqtt::{Connect, QoS, Version};
use tempfile::TempDir;

#[test]
fn five_hundred_connections_leave_the_gauges_at_zero() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    for round in 0..250 {
        for version in VERSIONS {
            let id = format!("{version:?}-{round}");
            let mut client = broker.connect(Connect { will: will("will"), ..clean(version, &id) });
            client.subscribe("nothing/comes/here", QoS::AtMostOnce);
            match round % 3 {
                0 => client.disconnect(),
                // Gone without a word, with a reset where something was unread.
                1 => drop(client),
                _ => client.stream.shutdown(std::net::Shutdown::Write).unwrap(),
            }
        }
    }
    assert_eq!(broker.metric("fleethaven_mqtt_connect_total{result=\"success\""), 500.0);
    until("all are gone", || broker.metric("fleethaven_mqtt_connections") == 0.0);
    assert_eq!(broker.metric("fleethaven_mqtt_disconnect_total"), 500.0, "each ended once");
    until("nothing is left of them", || broker.metric("fleethaven_gateway_sockets") == 0.0);
}

#[test]
fn all_at_once() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut clients: Vec<_> =
        (0..500).map(|number| broker.connect(clean(Version::V311, &format!("client-{number}")))).collect();
    assert_eq!(broker.metric("fleethaven_mqtt_connections"), 500.0);
    for client in &mut clients {
        assert_eq!(client.ping(), []);
    }
    drop(clients);
    until("all are gone", || broker.metric("fleethaven_mqtt_connections") == 0.0);
}
