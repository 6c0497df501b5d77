//! Deadlines: keep-alive, CONNECT.

use std::time::Duration;

use fleethaven_mqtt::{Connect, Packet, ReasonCode, Version};
use fleethaven_types::Profile::{Aws, Standard};

use super::pair::{Pair, connect, settings};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connected(profile: fleethaven_types::Profile, keep_alive: u16, version: Version) -> Pair {
    Pair::connected_with(settings(profile, |_, _| {}), Connect { keep_alive, ..connect(version) })
}

#[test]
fn a_short_one_is_raised_by_aws() {
    let mut pair = connected(Aws, 5, Version::V5);
    pair.elapse(seconds(44));
    assert!(pair.session.is_connected(), "case 6");
    pair.elapse(seconds(1));
    let Some(Packet::Disconnect(told)) = pair.received().pop() else { panic!() };
    assert_eq!(told.reason, ReasonCode::KeepAliveTimeout);
    assert_eq!(pair.ended().unwrap().close.reason.as_str(), "MQTT_KEEP_ALIVE_TIMEOUT");
    let mut pair = connected(Standard, 5, Version::V311);
    pair.elapse(seconds(8));
    assert_eq!(pair.received(), [], "3.1.1 is not told");
    assert!(pair.ended().is_some());
}

#[test]
fn none_is_1200_seconds_in_aws_and_off_in_standard() {
    let mut pair = connected(Aws, 0, Version::V311);
    pair.elapse(seconds(1799));
    assert!(pair.session.is_connected(), "case 7");
    pair.elapse(seconds(1));
    assert!(!pair.session.is_connected());
    let mut pair = connected(Standard, 0, Version::V311);
    assert_eq!(pair.session.poll_timeout(), None);
    pair.elapse(seconds(1_000_000));
    assert!(pair.session.is_connected());
}

#[test]
fn any_packet_counts() {
    let mut pair = connected(Standard, 10, Version::V5);
    for packet in [Packet::Pingreq, super::pair::publish(0, "a"), super::pair::puback(9)] {
        pair.elapse(seconds(14));
        pair.send(packet);
    }
    assert_eq!(pair.received(), [Packet::Pingresp]);
    pair.elapse(seconds(14));
    assert!(pair.session.is_connected());
    pair.elapse(seconds(1));
    assert!(!pair.session.is_connected());
}

#[test]
fn connect_must_come_in_time() {
    let mut pair = Pair::new(settings(Standard, |_, _| {}), Version::V5);
    pair.elapse(seconds(9));
    assert!(!pair.closed);
    pair.elapse(seconds(1));
    assert!(pair.ended().is_none());
    let mut pair = Pair::new(settings(Standard, |_, _| {}), Version::V5);
    pair.serving = false;
    pair.send(Packet::Connect(Box::new(connect(Version::V5))));
    pair.elapse(seconds(10));
    assert!(pair.ended().is_none(), "nor does the client wait for ever for CONNACK");
}
