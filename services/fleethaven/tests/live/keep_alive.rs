//! A client that is silent for one and a half times its keep-alive is cut off; one that pings is not.

use crate::support::{Broker, VERSIONS, clean, now, will};
use fleethaven_mqtt::{Connect, QoS, ReasonCode, Version};
use tempfile::TempDir;

#[test]
fn silence_ends_the_connection_and_sends_the_will() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(clean(Version::V5, "watcher"));
    watcher.subscribe("will/#", QoS::AtMostOnce);
    let begin = now();
    let with_keep_alive = |version, id: &str| Connect { keep_alive: 1, ..clean(version, id) };
    let mut pinging = broker.connect(with_keep_alive(Version::V311, "pinging"));
    let mut silent: Vec<_> = VERSIONS
        .map(|version| {
            let topic = format!("will/{version:?}");
            broker.connect(Connect { will: will(&topic), ..with_keep_alive(version, &topic) })
        })
        .into();
    let timeouts = "fleethaven_mqtt_disconnect_total{reason=\"MQTT_KEEP_ALIVE_TIMEOUT\"";
    crate::support::until("both are cut off", || {
        pinging.ping();
        broker.metric(timeouts) == 2.0
    });
    assert!(begin.elapsed().as_millis() >= 1500);
    for client in &mut silent {
        client.expect_end(Some(ReasonCode::KeepAliveTimeout));
        assert!(watcher.receive_publish().topic.starts_with("will/"));
    }
    pinging.disconnect();
}
