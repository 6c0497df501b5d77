//! A second connection with a client id: the first one ends, its will is sent once, and the session goes over.

use crate::support::{Broker, VERSIONS, clean, persistent, will};
use fleethaven_mqtt::{Connect, Disconnect, Packet, QoS, ReasonCode, Version};
use tempfile::TempDir;

#[test]
fn the_first_connection_is_told_and_closed() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    for old in VERSIONS {
        for new in VERSIONS {
            let mut first = broker.connect(clean(old, "taken"));
            let second = broker.connect(clean(new, "taken"));
            first.expect_end(Some(ReasonCode::SessionTakenOver));
            second.disconnect();
        }
    }
}

#[test]
fn the_session_goes_over_unless_it_starts_clean() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for version in VERSIONS {
        let id = format!("session-{version:?}");
        let mut first = broker.connect(persistent(version, &id));
        first.subscribe("kept", QoS::AtLeastOnce);
        let (mut second, connack) = broker.try_connect(persistent(version, &id));
        assert!(connack.session_present);
        first.expect_end(Some(ReasonCode::SessionTakenOver));
        publisher.publish("kept", "1");
        let received = second.receive_publish();
        assert_eq!(received.payload, "1");
        second.acknowledge(&received);
        let (mut third, connack) = broker.try_connect(clean(version, &id));
        assert!(!connack.session_present);
        second.expect_end(Some(ReasonCode::SessionTakenOver));
        publisher.publish("kept", "2");
        assert_eq!(third.ping(), []);
        third.disconnect();
    }
}

#[test]
fn the_will_is_sent_once() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(clean(Version::V5, "watcher"));
    watcher.subscribe("will/#", QoS::AtLeastOnce);
    let mut clients = Vec::new();
    for round in 0..20 {
        for version in VERSIONS {
            let topic = format!("will/{round}/{version:?}");
            let connect = Connect { will: will(&topic), ..clean(version, "doomed") };
            clients.push(broker.connect(connect));
            if clients.len() > 1 {
                // The will of the connection before, and no other.
                let received = watcher.receive_publish();
                watcher.acknowledge(&received);
                assert!(!received.topic.starts_with(&topic));
            }
        }
    }
    clients.pop().unwrap().disconnect();
    for mut client in clients {
        client.expect_end(Some(ReasonCode::SessionTakenOver));
    }
    broker.connect(clean(Version::V5, "fence")).publish("will/fence", "");
    assert_eq!(watcher.receive_publish().topic.as_str(), "will/fence", "one will for each takeover");
}

#[test]
fn a_disconnect_before_the_takeover_withdraws_the_will() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(clean(Version::V5, "watcher"));
    watcher.subscribe("will/#", QoS::AtLeastOnce);
    for _ in 0..100 {
        let connect = Connect { will: will("will/never"), ..clean(Version::V5, "polite") };
        let mut client = broker.connect(connect);
        // The next connection is opened without waiting for this one's end.
        client.send(&Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)));
    }
    broker.connect(clean(Version::V5, "polite")).publish("will/fence", "");
    assert_eq!(watcher.receive_publish().topic.as_str(), "will/fence");
}

#[test]
fn a_crash_right_after_the_takeover_neither_loses_nor_repeats_the_will() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(persistent(Version::V5, "watcher"));
    watcher.subscribe("will/#", QoS::AtLeastOnce);
    watcher.disconnect();
    for version in VERSIONS {
        for (id, connect) in [("clean", clean(version, "clean")), ("kept", persistent(version, "kept"))] {
            let id = format!("{id}-{version:?}");
            let connect = Connect { client_id: id.as_str().into(), ..connect };
            let _first = broker.connect(Connect { will: will(&format!("will/{id}")), ..connect.clone() });
            let _second = broker.connect(connect);
        }
    }
    // SIGKILL; the first connections' wills may be on their way still.
    drop(broker);
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(persistent(Version::V5, "watcher"));
    let mut topics = Vec::new();
    for _ in 0..4 {
        let received = watcher.receive_publish();
        watcher.acknowledge(&received);
        topics.push(received.topic.to_string());
    }
    topics.sort();
    let expected = ["will/clean-V311", "will/clean-V5", "will/kept-V311", "will/kept-V5"];
    assert_eq!(topics, expected);
    broker.connect(clean(Version::V5, "fence")).publish("will/fence", "");
    assert_eq!(watcher.receive_publish().topic.as_str(), "will/fence", "each will once");
}

#[test]
fn a_storm_of_takeovers_leaves_one_connection() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let sockets: Vec<_> = (0..4)
        .map(|_| {
            let sockets: Vec<_> = (0..25).map(|_| broker.socket()).collect();
            std::thread::spawn(move || {
                let send = |stream| {
                    let mut client = crate::support::Client::new(stream, Version::V5);
                    client.send(&Packet::Connect(Box::new(persistent(Version::V5, "storm"))));
                    client
                };
                sockets.into_iter().map(send).collect::<Vec<_>>()
            })
        })
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let connected = || broker.metric("fleethaven_mqtt_connections");
    crate::support::until("one is left", || connected() == 1.0);
    drop(sockets);
    crate::support::until("none is left", || connected() == 0.0);
}
