//! SIGTERM: clients are told, wills are kept, and the process ends in time whatever clients do.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::Write;

use crate::support::{Broker, Client, VERSIONS, clean, persistent, publish, will};
use fleethaven_mqtt::{Connack, Connect, Packet, Publish, QoS, ReasonCode, Version};
use tempfile::TempDir;

#[test]
fn clients_are_told_and_their_wills_are_kept() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start(&dir);
    let mut watcher = broker.connect(persistent(Version::V5, "watcher"));
    watcher.subscribe("will/#", QoS::AtLeastOnce);
    watcher.disconnect();
    let mut clients: Vec<_> = VERSIONS
        .map(|version| {
            let topic = format!("will/{version:?}");
            broker.connect(Connect { will: will(&topic), ..clean(version, &topic) })
        })
        .into();
    broker.terminate();
    for client in &mut clients {
        client.expect_end(Some(ReasonCode::ServerShuttingDown));
    }
    assert!(broker.wait().success());
    let broker = Broker::start(&dir);
    let (mut watcher, connack) = broker.try_connect(persistent(Version::V5, "watcher"));
    assert!(connack.session_present);
    for _ in VERSIONS {
        let received = watcher.receive_publish();
        assert_eq!(received.payload, "gone");
        watcher.acknowledge(&received);
    }
    assert_eq!(watcher.ping(), [], "each will once");
}

#[test]
fn a_server_reference_sends_clients_on_and_wills_can_be_left_out() {
    let dir = TempDir::new().unwrap();
    let settings = "[behaviour]\ndrain-server-reference = \"other.example:8883\"\ndrain-will = false\n";
    let mut broker = Broker::start_with(&dir, settings);
    let mut watcher = broker.connect(persistent(Version::V5, "watcher"));
    watcher.subscribe("will/#", QoS::AtLeastOnce);
    watcher.disconnect();
    let connect = |version, id| Connect { will: will("will/drained"), ..clean(version, id) };
    let mut new = broker.connect(connect(Version::V5, "new"));
    let mut old = broker.connect(connect(Version::V311, "old"));
    broker.terminate();
    match new.receive() {
        Packet::Disconnect(disconnect) => {
            assert_eq!(disconnect.reason, ReasonCode::UseAnotherServer);
            let reference = disconnect.properties.and_then(|properties| properties.server_reference);
            assert_eq!(reference.as_deref(), Some("other.example:8883"));
        }
        other => panic!("not DISCONNECT: {other:?}"),
    }
    assert_eq!((new.next(), old.next()), (None, None));
    assert!(broker.wait().success());
    let broker = Broker::start(&dir);
    let mut watcher = broker.connect(persistent(Version::V5, "watcher"));
    assert_eq!(watcher.ping(), [], "no will");
}

/// Connects until the broker says that it drains; returns its answer.
fn refused(broker: &Broker, version: Version) -> Connack {
    let mut answer = None;
    crate::support::until("new clients are refused", || {
        let (_, connack) = broker.try_connect(clean(version, "late"));
        answer = Some(connack);
        answer.as_ref().is_some_and(|connack| connack.reason != ReasonCode::Success)
    });
    answer.unwrap()
}

#[test]
fn while_a_drain_is_spread_clients_are_served_and_new_ones_sent_elsewhere() {
    let settings = "[behaviour]\ndrain-spread-secs = 5\n";
    let reference = "drain-server-reference = \"other.example\"\ndrain-server-moved = true\n";
    for (more, code) in [("", ReasonCode::ServerUnavailable), (reference, ReasonCode::ServerMoved)] {
        let dir = TempDir::new().unwrap();
        let mut broker = Broker::start_with(&dir, &format!("{settings}{more}"));
        let mut early = broker.connect(clean(Version::V5, "early"));
        broker.terminate();
        let connack = refused(&broker, Version::V5);
        assert_eq!(connack.reason, code);
        let told = connack.properties.server_reference.is_some_and(|text| text.as_str() == "other.example");
        assert_eq!(told, !more.is_empty());
        assert_eq!(refused(&broker, Version::V311).reason, ReasonCode::ServerUnavailable);
        // The only client of its core is the last to go.
        early.publish("still/served", "");
        early.expect_end(Some(if more.is_empty() { ReasonCode::ServerShuttingDown } else { code }));
        assert!(broker.wait().success());
    }
}

#[test]
fn a_connect_on_its_way_is_answered() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start_with(&dir, "[behaviour]\ndrain-spread-secs = 2\n");
    let mut half = broker.socket();
    half.write_all(&[0x10, 13]).unwrap();
    let kept = broker.connect(clean(Version::V5, "kept"));
    broker.terminate();
    refused(&broker, Version::V5);
    half.write_all(b"\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00").unwrap();
    let mut half = Client::new(half, Version::V5);
    match half.receive() {
        Packet::Connack(connack) => assert_eq!(connack.reason, ReasonCode::ServerUnavailable),
        other => panic!("not CONNACK: {other:?}"),
    }
    assert_eq!(half.next(), None);
    drop(kept);
    assert!(broker.wait().success());
}

#[test]
fn the_process_ends_though_clients_do_not_read_or_have_not_said_anything() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start_with(&dir, "grace-period = 10\n");
    let mut stuck = broker.connect(clean(Version::V5, "stuck"));
    stuck.subscribe("flood", QoS::AtMostOnce);
    let silent = broker.socket();
    let mut half = broker.socket();
    half.write_all(&[0x10, 13, 0]).unwrap();
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    let payload = vec![7; 256 << 10];
    for _ in 0..512 {
        publisher.send(&Packet::Publish(Publish::new("flood", payload.clone())));
    }
    publisher.publish("fence", "");
    broker.terminate();
    publisher.expect_end(Some(ReasonCode::ServerShuttingDown));
    assert!(broker.wait().success());
    drop((stuck, silent, half));
}

#[test]
fn what_was_acknowledged_before_the_end_is_there_after_it() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start(&dir);
    let mut subscriber = broker.connect(persistent(Version::V5, "subscriber"));
    subscriber.subscribe("kept", QoS::AtLeastOnce);
    subscriber.disconnect();
    let mut publisher = broker.connect(clean(Version::V5, "publisher"));
    for id in 1..=200 {
        publisher.send(&Packet::Publish(publish("kept", id.to_string(), id)));
    }
    publisher.receive();
    broker.terminate();
    let mut acknowledged = 1;
    while let Some(packet) = publisher.next() {
        match packet {
            Packet::Puback(_) => acknowledged += 1,
            Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, ReasonCode::ServerShuttingDown),
            other => panic!("{other:?}"),
        }
    }
    assert!(broker.wait().success());
    let broker = Broker::start(&dir);
    let mut subscriber = broker.connect(persistent(Version::V5, "subscriber"));
    for id in 1..=acknowledged {
        let received = subscriber.receive_publish();
        assert_eq!(received.payload, id.to_string());
        subscriber.acknowledge(&received);
    }
}
