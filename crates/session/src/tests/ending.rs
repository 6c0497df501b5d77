//! How connections end: DISCONNECT both ways, wills, session expiry.

use std::time::Duration;

use fleethaven_mqtt::{
    Connect, Disconnect, DisconnectProperties, Packet, ReasonCode, Version, Will, WillProperties,
};
use fleethaven_types::Profile::{Aws, Standard};
use fleethaven_types::Timestamp;

use super::pair::{Pair, START, connect, disconnect, publish, settings, will};
use crate::{Close, Ending};

const V3: Version = Version::V311;
const V5: Version = Version::V5;

fn with_will(version: Version) -> Pair {
    Pair::connected_with(settings(Aws, |_, _| {}), Connect { will: will("w"), ..connect(version) })
}

fn with_expiry(seconds: u32) -> Pair {
    let mut connect = connect(V5);
    connect.properties.session_expiry_interval = Some(seconds);
    Pair::connected_with(settings(Aws, |_, _| {}), connect)
}

/// What ending a connection with a will in this way leaves.
fn ending(version: Version, end: impl FnOnce(&mut Pair)) -> Ending {
    let mut pair = with_will(version);
    end(&mut pair);
    let ending = pair.ended().unwrap();
    assert!(pair.session.ended(pair.now).is_none(), "told once");
    ending
}

#[test]
fn only_a_normal_end_takes_the_will_back() {
    for version in [V3, V5] {
        let normal = ending(version, |pair| pair.send(disconnect(ReasonCode::NORMAL_DISCONNECTION)));
        assert_eq!(normal.close.reason.as_str(), "CLIENT_INITIATED_DISCONNECT");
        assert!(normal.will.is_none());
    }
    for reason in [ReasonCode::DisconnectWithWillMessage, ReasonCode::UnspecifiedError] {
        let with_will = ending(V5, |pair| pair.send(disconnect(reason)));
        assert_eq!(with_will.close.reason.as_str(), "CLIENT_INITIATED_DISCONNECT");
        assert!(with_will.will.is_some(), "{reason}");
    }
}

#[test]
fn any_other_end_publishes_the_will() {
    for version in [V3, V5] {
        let endings = [
            ending(version, |pair| pair.session.close(Close::lost("reset"))),
            ending(version, |pair| pair.session.close(Close::taken_over())),
            ending(version, |pair| pair.elapse(Duration::from_secs(90))),
            ending(version, |pair| pair.send(publish(0, "a/+"))),
            ending(version, |pair| pair.session.close(Close::server_error("lost"))),
        ];
        let expected = [
            "CONNECTION_LOST",
            "DUPLICATE_CLIENTID",
            "MQTT_KEEP_ALIVE_TIMEOUT",
            "CLIENT_ERROR",
            "SERVER_ERROR",
        ];
        for (ending, reason) in endings.into_iter().zip(expected) {
            assert_eq!(ending.close.reason.as_str(), reason);
            let (message, delay) = ending.will.unwrap();
            assert_eq!((message.topic.as_str(), &message.payload[..], delay), ("w", &b"bye"[..], 0));
        }
    }
}

#[test]
fn a_will_counts_from_the_end() {
    let properties = WillProperties {
        will_delay_interval: Some(20),
        message_expiry_interval: Some(30),
        ..WillProperties::default()
    };
    let mut connect =
        Connect { will: Some(Box::new(Will { properties, ..*will("w").unwrap() })), ..connect(V5) };
    connect.properties.session_expiry_interval = Some(60);
    let mut pair = Pair::connected_with(settings(Aws, |_, _| {}), connect);
    pair.elapse(Duration::from_secs(40));
    // A shorter Session Expiry Interval shortens the wait too.
    let shorter = DisconnectProperties { session_expiry_interval: Some(10), ..Default::default() };
    let reason = ReasonCode::DisconnectWithWillMessage;
    pair.send(Packet::Disconnect(Disconnect { reason, properties: Some(Box::new(shorter)) }));
    let (message, delay) = pair.ended().unwrap().will.unwrap();
    assert_eq!(delay, 10);
    assert_eq!(message.received_at, Timestamp(START.0 + 40_000));
    assert_eq!(message.expires_at, Some(Timestamp(START.0 + 70_000)));
}

#[test]
fn a_server_tells_version_5_why() {
    let table = [
        (Close::taken_over(), ReasonCode::SessionTakenOver),
        (Close::server(ReasonCode::ServerShuttingDown, "drain"), ReasonCode::ServerShuttingDown),
        (Close::server_error("the store failed"), ReasonCode::UnspecifiedError),
        (
            Close::server(ReasonCode::ClientIdentifierNotValid, "not for DISCONNECT"),
            ReasonCode::UnspecifiedError,
        ),
    ];
    for (close, code) in table {
        let mut pair = Pair::connected(Standard, V5);
        pair.session.close(close.clone());
        pair.session.close(Close::lost("and again"));
        let Some(Packet::Disconnect(told)) = pair.received().pop() else { panic!() };
        assert_eq!(told.reason, code);
        assert_eq!(pair.ended().unwrap().close, close, "the first reason stands");
        let mut pair = Pair::connected(Standard, V3);
        pair.session.close(close);
        assert_eq!(pair.received(), []);
    }
    let mut pair = Pair::connected(Standard, V5);
    pair.session.close(Close::lost("reset"));
    assert_eq!(pair.received(), []);
}

#[test]
fn a_reason_string_that_is_too_long_for_the_client_is_left_out() {
    let mut connect = connect(V5);
    connect.properties.maximum_packet_size = 40.try_into().ok();
    let mut pair = Pair::connected_with(settings(Standard, |_, _| {}), connect);
    pair.session.close(Close::server(ReasonCode::ServerShuttingDown, "x".repeat(40)));
    assert_eq!(pair.received(), [disconnect(ReasonCode::ServerShuttingDown)]);
}

fn change_expiry(mut pair: Pair, seconds: u32) -> (Vec<Packet>, Ending) {
    let properties = DisconnectProperties { session_expiry_interval: Some(seconds), ..Default::default() };
    let reason = ReasonCode::NORMAL_DISCONNECTION;
    pair.send(Packet::Disconnect(Disconnect { reason, properties: Some(Box::new(properties)) }));
    (pair.received(), pair.ended().unwrap())
}

#[test]
fn disconnect_changes_the_session_expiry() {
    for (before, asked, after) in [(60, 0, 0), (60, 120, 120), (60, 1_000_000, 3600), (0, 0, 0)] {
        let (answers, ending) = change_expiry(with_expiry(before), asked);
        assert_eq!((answers.len(), ending.session_expiry), (0, after));
        assert_eq!(ending.close.reason.as_str(), "CLIENT_INITIATED_DISCONNECT");
    }
    let (answers, ending) = change_expiry(with_expiry(0), 60);
    let Some(Packet::Disconnect(told)) = answers.first() else { panic!() };
    assert_eq!(told.reason, ReasonCode::ProtocolError, "case 9");
    assert_eq!(ending.session_expiry, 0, "case 9");
    assert_eq!(ending.close.reason.as_str(), "CLIENT_ERROR");
}

#[test]
fn a_session_lives_on_without_disconnect() {
    let mut pair = with_expiry(60);
    pair.session.close(Close::lost("reset"));
    assert_eq!(pair.ended().unwrap().session_expiry, 60);
}
