//! CONNECT by the steps of `spec/broker.md`, section 2, and CONNACK.

use fleethaven_mqtt::{
    Connack, ConnackProperties, Connect, ConnectProperties, Packet, QoS, ReasonCode, Version, Will,
    WillProperties, encode,
};
use fleethaven_types::Profile::{Aws, Standard};
use fleethaven_types::{Profile, Timestamp};

use super::pair::{Pair, START, connect, publish, settings, will};
use crate::{Action, published_will};

const V3: Version = Version::V311;
const V5: Version = Version::V5;

/// The CONNACK that answers `connect`, if one does, and what the shell is told of a refusal.
fn answer(profile: Profile, connect: Connect) -> (Option<Connack>, Option<ReasonCode>) {
    let mut pair = Pair::new(settings(profile, |_, _| {}), connect.version);
    let mut packets = pair.ask(Packet::Connect(Box::new(connect)));
    assert!(packets.len() < 2, "{packets:?}");
    let connack = packets.pop().map(|packet| match packet {
        Packet::Connack(connack) => *connack,
        other => panic!("{other:?}"),
    });
    assert_eq!(pair.session.is_connected(), pair.refused.is_none());
    (connack, pair.refused)
}

fn accepted(profile: Profile, connect: Connect) -> ConnackProperties {
    let (connack, refused) = answer(profile, connect);
    let connack = connack.unwrap();
    assert_eq!((connack.session_present, connack.reason, refused), (false, ReasonCode::Success, None));
    connack.properties
}

/// That `connect` is refused with `code`; `told` is what CONNACK says, `None` when there is none.
fn refused(profile: Profile, connect: Connect, code: ReasonCode, told: Option<ReasonCode>) {
    let (connack, refused) = answer(profile, connect.clone());
    assert_eq!(refused, Some(code), "{connect:?}");
    assert_eq!(connack.map(|connack| connack.reason), told, "{connect:?}");
}

fn with_id(version: Version, client_id: &str) -> Connect {
    Connect { client_id: client_id.to_owned().into(), ..connect(version) }
}

fn with_properties(change: impl FnOnce(&mut ConnectProperties)) -> Connect {
    let mut connect = connect(V5);
    change(&mut connect.properties);
    connect
}

#[test]
fn a_3_1_1_connack_says_nothing_else() {
    for profile in [Aws, Standard] {
        assert_eq!(accepted(profile, connect(V3)), ConnackProperties::default());
    }
}

#[test]
fn connack_announces_what_differs_from_the_defaults() {
    let standard = ConnackProperties {
        receive_maximum: 1000_u16.try_into().ok(),
        maximum_packet_size: (8_u32 << 20).try_into().ok(),
        topic_alias_maximum: Some(64),
        subscription_identifiers_available: Some(true),
        shared_subscription_available: Some(true),
        ..ConnackProperties::default()
    };
    assert_eq!(accepted(Standard, connect(V5)), standard);
    let aws = ConnackProperties {
        receive_maximum: 100_u16.try_into().ok(),
        maximum_qos: Some(QoS::AtLeastOnce),
        maximum_packet_size: 149_504_u32.try_into().ok(),
        topic_alias_maximum: Some(8),
        subscription_identifiers_available: Some(false),
        ..standard
    };
    assert_eq!(accepted(Aws, connect(V5)), aws);
}

#[test]
fn response_information_is_given_to_those_that_ask_in_the_standard_profile() {
    let asked = |client_id: &str| {
        let connect = with_properties(|p| p.request_response_information = Some(true));
        Connect { client_id: client_id.into(), ..connect }
    };
    let told =
        |profile, connect| accepted(profile, connect).response_information.map(|text| text.to_string());
    // The last one is the broker's choice; the two before it must not get each other's topics.
    let table = [("dev", "response/dev/"), ("a/b", "response/a%2Fb/"), ("a%2Fb", "response/a%252Fb/")];
    for (client_id, expected) in
        table.into_iter().chain([("+#", "response/%2B%23/"), ("", "response/$GEN%2F1/")])
    {
        assert_eq!(told(Standard, asked(client_id)).as_deref(), Some(expected));
        assert_eq!(told(Aws, asked(client_id)), None);
    }
    // [MQTT-3.1.2-28]
    let refused = with_properties(|p| p.request_response_information = Some(false));
    assert_eq!(told(Standard, refused), None);
    assert_eq!(told(Standard, asked(&"x".repeat(1024))).map(|text| text.len()), Some(1034));
}

#[test]
fn server_keep_alive_is_announced_when_it_differs() {
    let table = [(Aws, 0, Some(1200)), (Aws, 5, Some(30)), (Aws, 60, None), (Aws, 1201, Some(1200))];
    for (profile, keep_alive, announced) in
        table.into_iter().chain([(Standard, 0, None), (Standard, 5, None)])
    {
        let properties = accepted(profile, Connect { keep_alive, ..connect(V5) });
        assert_eq!(properties.server_keep_alive, announced, "{keep_alive}");
    }
}

#[test]
fn session_expiry_is_announced_when_it_was_lowered() {
    const TEN_DAYS: u32 = 864_000;
    let asked = |seconds| with_properties(|p| p.session_expiry_interval = seconds);
    assert_eq!(accepted(Aws, asked(Some(TEN_DAYS))).session_expiry_interval, Some(3600), "case 8");
    assert_eq!(accepted(Aws, asked(Some(3600))).session_expiry_interval, None);
    assert_eq!(accepted(Standard, asked(Some(TEN_DAYS))).session_expiry_interval, None);
    assert_eq!(accepted(Standard, asked(Some(u32::MAX))).session_expiry_interval, Some(30 * 86_400));
    assert_eq!(accepted(Standard, asked(None)).session_expiry_interval, None);
}

#[test]
fn session_expiry_that_the_shell_is_told() {
    let clean = |clean_start| Connect { clean_start, ..connect(V3) };
    let v5 = |seconds| with_properties(|p| p.session_expiry_interval = Some(seconds));
    for (connect, expected) in [(clean(true), 0), (clean(false), 3600), (v5(0), 0), (v5(7200), 3600)] {
        let pair = Pair::connected_with(settings(Aws, |_, _| {}), connect);
        assert_eq!(pair.session.session_expiry(), expected);
    }
}

#[test]
fn client_ids() {
    let code = ReasonCode::ClientIdentifierNotValid;
    for version in [V3, V5] {
        accepted(Aws, with_id(version, &"x".repeat(128)));
        refused(Aws, with_id(version, &"x".repeat(129)), code, Some(code));
        accepted(Standard, with_id(version, &"x".repeat(1024)));
        refused(Standard, with_id(version, &"x".repeat(1025)), code, Some(code));
        for profile in [Aws, Standard] {
            refused(profile, with_id(version, "$abc"), code, Some(code));
            accepted(profile, with_id(version, "dev+1"));
        }
    }
}

#[test]
fn an_empty_client_id_is_assigned_where_the_version_can_tell_it() {
    let code = ReasonCode::ClientIdentifierNotValid;
    for clean_start in [true, false] {
        let properties = accepted(Aws, Connect { clean_start, ..with_id(V5, "") });
        assert_eq!(properties.assigned_client_identifier, Some("$GEN/1".into()));
    }
    accepted(Aws, with_id(V3, ""));
    refused(Aws, Connect { clean_start: false, ..with_id(V3, "") }, code, Some(code));
}

#[test]
fn enhanced_authentication_is_refused() {
    let code = ReasonCode::BadAuthenticationMethod;
    let connect = with_properties(|p| p.authentication_method = Some("SCRAM-SHA-1".into()));
    refused(Standard, connect, code, Some(code));
}

#[test]
fn wills_are_checked() {
    let with_will = |version, topic: &str| Connect { will: will(topic), ..connect(version) };
    let invalid = ReasonCode::TopicNameInvalid;
    for profile in [Aws, Standard] {
        for topic in ["", "a/+", "a/#", "$aws/events/presence/connected/t", "$aws"] {
            refused(profile, with_will(V5, topic), invalid, Some(invalid));
            refused(profile, with_will(V3, topic), invalid, None);
        }
        accepted(profile, with_will(V5, "a/b"));
        accepted(profile, with_will(V5, "$aws/things/t/shadow/update"));
    }
    refused(Aws, with_will(V5, "$else/x"), invalid, Some(invalid));
    accepted(Standard, with_will(V5, "$else/x"));
    refused(Aws, with_will(V5, "1/2/3/4/5/6/7/8/9"), invalid, Some(invalid));
    refused(Aws, with_will(V5, "$SYS/x"), invalid, Some(invalid));
    let denied = ReasonCode::NotAuthorized;
    refused(Standard, with_will(V5, "$SYS/x"), denied, Some(denied));
    refused(Standard, with_will(V3, "$SYS/x"), denied, Some(denied));
}

#[test]
fn a_will_above_the_highest_qos_is_refused() {
    let code = ReasonCode::QosNotSupported;
    let two = |version| {
        let will = Will { qos: QoS::ExactlyOnce, ..*will("a").unwrap() };
        Connect { will: Some(Box::new(will)), ..connect(version) }
    };
    refused(Aws, two(V5), code, Some(code));
    refused(Aws, two(V3), code, None);
    Pair::connected_with(settings(Standard, |_, _| {}), two(V5));
}

#[test]
fn a_will_waits_no_longer_than_the_session_lives() {
    for (expiry, delay) in [(None, 0), (Some(5), 5), (Some(100), 10)] {
        let properties = WillProperties { will_delay_interval: Some(10), ..WillProperties::default() };
        let mut connect = with_properties(|p| p.session_expiry_interval = expiry);
        connect.will = Some(Box::new(Will { properties, ..*will("a").unwrap() }));
        let mut pair = Pair::new(settings(Standard, |_, _| {}), V5);
        pair.serving = false;
        pair.send(Packet::Connect(Box::new(connect)));
        let Some(Action::Connect(request)) = pair.held.pop() else { panic!() };
        assert_eq!(request.will.unwrap().delay, delay);
    }
}

#[test]
fn a_will_expires_counting_from_its_publication() {
    let mut message = super::pair::message("a", "x");
    message.expires_at = Some(Timestamp(30_000));
    let pair = Pair::new(settings(Standard, |_, _| {}), V5);
    let published = published_will(&message.into(), pair.now);
    assert_eq!(published.expires_at, Some(Timestamp(START.0 + 30_000)));
}

#[test]
fn a_refusal_by_the_shell() {
    let table = [
        (ReasonCode::NotAuthorized, Some(ReasonCode::NotAuthorized)),
        (ReasonCode::BadUserNameOrPassword, Some(ReasonCode::BadUserNameOrPassword)),
        (ReasonCode::QuotaExceeded, Some(ReasonCode::ServerUnavailable)),
        (ReasonCode::ServerUnavailable, Some(ReasonCode::ServerUnavailable)),
        (ReasonCode::ImplementationSpecificError, None),
    ];
    for (code, told_v3) in table {
        for (version, told) in [(V3, told_v3), (V5, Some(code))] {
            let mut pair = Pair::new(settings(Aws, |_, _| {}), version);
            pair.serving = false;
            pair.send(Packet::Connect(Box::new(connect(version))));
            pair.session.refuse(code, "because");
            let answers = pair.received();
            assert_eq!(pair.refused, Some(code));
            assert_eq!(answers.is_empty(), told.is_none(), "{answers:?}");
            for answer in answers {
                let Packet::Connack(connack) = answer else { panic!("{answer:?}") };
                assert_eq!(Some(connack.reason), told);
                assert_eq!(connack.properties.reason_string.is_some(), version == V5);
            }
            assert!(pair.session.ended(pair.now).is_none(), "nothing was accepted");
        }
    }
}

#[test]
fn a_refusal_keeps_to_what_the_client_can_take() {
    let silent = with_properties(|p| p.request_problem_information = Some(false));
    let small = with_properties(|p| p.maximum_packet_size = 8.try_into().ok());
    for connect in [silent, small] {
        let connect = Connect { client_id: "$abc".into(), ..connect };
        let (connack, _) = answer(Aws, connect);
        assert_eq!(connack.unwrap(), Connack::new(false, ReasonCode::ClientIdentifierNotValid));
    }
}

#[test]
fn a_connect_during_a_drain_is_sent_elsewhere() {
    let unavailable = ReasonCode::ServerUnavailable;
    for (reference, moved, told) in [
        ("", false, unavailable),
        ("b.example", false, ReasonCode::UseAnotherServer),
        ("b.example", true, ReasonCode::ServerMoved),
    ] {
        for (version, told) in [(V5, told), (V3, unavailable)] {
            let settings = settings(Standard, |behaviour, _| {
                behaviour.drain_server_reference = reference.to_owned();
                behaviour.drain_server_moved = moved;
            });
            let mut pair = Pair::new(settings, version);
            pair.serving = false;
            pair.send(Packet::Connect(Box::new(connect(version))));
            pair.session.drain();
            let Some(Packet::Connack(connack)) = pair.received().pop() else { panic!() };
            assert_eq!(connack.reason, told);
            let expected = Some(reference).filter(|reference| version == V5 && !reference.is_empty());
            assert_eq!(connack.properties.server_reference.as_deref(), expected);
        }
    }
}

#[test]
fn a_client_that_cannot_take_connack_is_closed() {
    let mut pair = Pair::new(settings(Standard, |_, _| {}), V5);
    let answers =
        pair.ask(Packet::Connect(Box::new(with_properties(|p| p.maximum_packet_size = 8.try_into().ok()))));
    assert_eq!(answers, []);
    assert!(pair.ended().is_some(), "what was claimed for it is to be released");
}

#[test]
fn nothing_is_handled_before_connack() {
    let mut pair = Pair::new(settings(Standard, |_, _| {}), V5);
    pair.serving = false;
    pair.send(Packet::Connect(Box::new(connect(V5))));
    assert!(!pair.session.wants_input());
    // The shell keeps what the client sends early.
    pair.send(publish(0, "early"));
    assert!(pair.published.is_empty());
    pair.serving = true;
    let Some(request) = pair.held.pop() else { panic!() };
    pair.carry_out(request);
    pair.run();
    assert_eq!(pair.published.len(), 1);
    // A shell that hands it over all the same is not obeyed.
    let mut pair = Pair::new(settings(Standard, |_, _| {}), V5);
    pair.serving = false;
    pair.send(Packet::Connect(Box::new(connect(V5))));
    pair.session.handle_packet(publish(0, "early"), pair.now);
    assert!(pair.ended().is_none());
    let Some(request) = pair.held.pop() else { panic!() };
    pair.carry_out(request);
    assert!(!pair.session.is_connected(), "accepted too late");
    pair.session.refuse(ReasonCode::ServerBusy, "too late");
    assert_eq!(pair.received(), []);
}

#[test]
fn a_malformed_first_packet() {
    let connack = |reason| Some(Connack::new(false, reason));
    let table: [(&[u8], Version, Option<Connack>); 7] = [
        (b"\x30\x03\0\x01a", V3, None),
        (b"\xc0\0", V3, None),
        (b"\x10\x0c\0\x04MQTT\x04\x01\0\0\0\0", V3, None),
        (b"\x10\x0d\0\x04MQTT\x05\x01\0\0\0\0\0", V5, connack(ReasonCode::MalformedPacket)),
        (b"\x10\x0e\0\x06MQIsdp\x03\x02\0\0\0\0", V3, connack(ReasonCode::UnsupportedProtocolVersion)),
        (b"\x10\x0c\0\x04MQTT\x06\x02\0\0\0\0", V5, connack(ReasonCode::UnsupportedProtocolVersion)),
        (b"\x10\xff\xff\xff\x7f", V3, None),
    ];
    for (bytes, version, expected) in table {
        let mut pair = Pair::new(settings(Aws, |_, _| {}), version);
        pair.send_bytes(bytes);
        let got = pair.received().pop().map(|packet| match packet {
            Packet::Connack(connack) => Connack::new(connack.session_present, connack.reason),
            other => panic!("{other:?}"),
        });
        assert_eq!(got, expected, "{bytes:?}");
        assert!(pair.refused.is_some() && !pair.session.wants_input());
    }
}

#[test]
fn a_packet_above_the_limit_is_told_to_version_5() {
    let mut pair = Pair::connected(Aws, V5);
    pair.send_bytes(b"\x30\xff\xff\xff\x7f");
    let Some(Packet::Disconnect(disconnect)) = pair.received().pop() else { panic!() };
    assert_eq!(disconnect.reason, ReasonCode::PacketTooLarge);
}

#[test]
fn a_second_connect_ends_the_connection() {
    for version in [V3, V5] {
        let mut pair = Pair::connected(Standard, version);
        let mut bytes = bytes::BytesMut::new();
        encode(&Packet::Connect(Box::new(connect(version))), version, &mut bytes).unwrap();
        pair.send_bytes(&bytes);
        match (version, pair.received().pop()) {
            (V5, Some(Packet::Disconnect(told))) => assert_eq!(told.reason, ReasonCode::ProtocolError),
            (V3, None) => {}
            other => panic!("{other:?}"),
        }
        let ending = pair.ended().unwrap();
        assert_eq!(ending.close.reason.as_str(), "CLIENT_ERROR");
    }
}

#[test]
fn a_client_that_takes_too_small_packets_is_refused() {
    for (size, expected) in
        [(1023, ReasonCode::ProtocolError), (1024, ReasonCode::Success), (1025, ReasonCode::Success)]
    {
        let connect = with_properties(|p| p.maximum_packet_size = std::num::NonZeroU32::new(size));
        assert_eq!(answer(Aws, connect).0.unwrap().reason, expected, "{size}");
    }
}
