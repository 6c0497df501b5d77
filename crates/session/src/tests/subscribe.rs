//! SUBSCRIBE and UNSUBSCRIBE: limits and codes.

use fleethaven_mqtt::{Packet, QoS, ReasonCode, Suback, SubscriptionId, Unsuback, Version};
use fleethaven_types::Profile;
use fleethaven_types::Profile::{Aws, Standard};

use super::pair::{Pair, id, subscribe, unsubscribe};
use crate::Action;

const V3: Version = Version::V311;
const V5: Version = Version::V5;

fn codes(pair: &mut Pair, packet: Packet) -> Vec<ReasonCode> {
    match pair.ask(packet).pop() {
        Some(
            Packet::Suback(Suback { reason_codes, .. }) | Packet::Unsuback(Unsuback { reason_codes, .. }),
        ) => reason_codes,
        other => panic!("{other:?}"),
    }
}

fn code(profile: Profile, version: Version, filter: &str) -> ReasonCode {
    codes(&mut Pair::connected(profile, version), subscribe(1, &[filter]))[0]
}

#[test]
fn filters_are_answered_one_by_one() {
    let filters =
        ["a", "a/#/b", "$share/g/a", "$share/g", "$aws/things/t/shadow/get/accepted", "$aws/rules/r/a"];
    let invalid = ReasonCode::TopicFilterInvalid;
    let granted = ReasonCode::GrantedQos1;
    for profile in [Aws, Standard] {
        let v5 = codes(&mut Pair::connected(profile, V5), subscribe(1, &filters));
        assert_eq!(v5, [granted, invalid, granted, invalid, granted, invalid]);
        let v3 = codes(&mut Pair::connected(profile, V3), subscribe(1, &filters));
        let failed = ReasonCode::UnspecifiedError;
        assert_eq!(v3, [granted, failed, granted, failed, granted, failed]);
    }
}

#[test]
fn no_local_does_not_go_with_a_shared_subscription() {
    for (filter, closes) in [("$share/g/a", true), ("a", false)] {
        let mut pair = Pair::connected(Standard, V5);
        let Packet::Subscribe(mut request) = subscribe(1, &["b", filter]) else { panic!() };
        request.filters[1].options.no_local = true;
        pair.send(Packet::Subscribe(request));
        assert_eq!(pair.closed, closes);
    }
}

#[test]
fn filters_have_bounds_in_aws() {
    let invalid = ReasonCode::TopicFilterInvalid;
    let granted = ReasonCode::GrantedQos1;
    for (filter, aws) in [("x".repeat(256), granted), ("x".repeat(257), invalid)] {
        assert_eq!(code(Aws, V5, &filter), aws);
        assert_eq!(code(Standard, V5, &filter), granted);
    }
    assert_eq!(code(Aws, V5, "1/2/3/4/5/6/7/8/9"), invalid);
    assert_eq!(code(Aws, V5, "$SYS/x"), invalid);
    assert_eq!(code(Standard, V5, "$SYS/#"), granted);
}

#[test]
fn qos_2_is_granted_as_1_in_the_aws_profile() {
    let (one, two) = (ReasonCode::GrantedQos1, ReasonCode::GrantedQos2);
    for (profile, version, expected) in
        [(Aws, V3, one), (Aws, V5, one), (Standard, V3, two), (Standard, V5, two)]
    {
        let Packet::Subscribe(mut request) = subscribe(1, &["a"]) else { panic!() };
        request.filters[0].options.qos = QoS::ExactlyOnce;
        let granted = codes(&mut Pair::connected(profile, version), Packet::Subscribe(request));
        assert_eq!(granted, [expected]);
    }
}

#[test]
fn too_many_filters_in_one_packet() {
    for version in [V3, V5] {
        let mut pair = Pair::connected(Aws, version);
        pair.send(subscribe(1, &["a"; 8]));
        assert!(pair.session.is_connected());
        pair.send(subscribe(2, &["a"; 9]));
        let ending = pair.ended().unwrap();
        assert_eq!(ending.close.reason.as_str(), "CLIENT_ERROR", "case 18");
        assert_eq!(ending.close.code, Some(ReasonCode::QuotaExceeded));
    }
}

/// Subscribes to `n` different filters, eight to a packet.
fn fill(pair: &mut Pair, n: usize) {
    let filters: Vec<_> = (0..n).map(|number| format!("held/{number}")).collect();
    for chunk in filters.chunks(8) {
        let chunk: Vec<_> = chunk.iter().map(String::as_str).collect();
        assert!(codes(pair, subscribe(1, &chunk)).iter().all(|code| !code.is_error()));
    }
}

#[test]
fn the_51st_subscription_fails_alone() {
    let mut pair = Pair::connected(Aws, V5);
    fill(&mut pair, 50);
    let quota = ReasonCode::QuotaExceeded;
    let granted = ReasonCode::GrantedQos1;
    assert_eq!(
        codes(&mut pair, subscribe(2, &["new", "held/3", "newer"])),
        [quota, granted, quota],
        "case 19"
    );
    assert_eq!(codes(&mut pair, unsubscribe(3, &["held/3"])), [ReasonCode::Success]);
    assert_eq!(codes(&mut pair, subscribe(4, &["new", "new", "newer"])), [granted, granted, quota]);
    let mut pair = Pair::connected(Aws, V3);
    fill(&mut pair, 50);
    assert_eq!(codes(&mut pair, subscribe(2, &["new"])), [ReasonCode::UnspecifiedError], "case 19");
}

#[test]
fn requests_under_way_count() {
    let mut pair = Pair::connected(Aws, V5);
    fill(&mut pair, 49);
    pair.serving = false;
    pair.send(subscribe(1, &["a"]));
    pair.send(subscribe(2, &["b"]));
    let verdicts = pair.held.iter().map(|action| match action {
        Action::Subscribe(request) => request.filters[0].verdict,
        other => panic!("{other:?}"),
    });
    assert_eq!(verdicts.collect::<Vec<_>>(), [Ok(()), Err(ReasonCode::QuotaExceeded)]);
}

#[test]
fn a_refused_filter_is_not_held_but_an_older_one_stays() {
    let mut pair = Pair::connected(Aws, V5);
    fill(&mut pair, 49);
    pair.serving = false;
    pair.send(subscribe(1, &["new", "held/1"]));
    let denied = ReasonCode::NotAuthorized;
    pair.session.subscribe_done(id(1), vec![("new".into(), denied), ("held/1".into(), denied)]);
    pair.serving = true;
    pair.received();
    let granted = ReasonCode::GrantedQos1;
    let answer = codes(&mut pair, subscribe(2, &["other", "held/1", "another"]));
    assert_eq!(answer, [granted, granted, ReasonCode::QuotaExceeded]);
}

#[test]
fn subscription_identifiers() {
    let with_id = || {
        let Packet::Subscribe(mut request) = subscribe(1, &["a"]) else { panic!() };
        request.subscription_id = SubscriptionId::new(5);
        Packet::Subscribe(request)
    };
    let Some(Packet::Disconnect(told)) = Pair::connected(Aws, V5).ask(with_id()).pop() else { panic!() };
    assert_eq!(told.reason, ReasonCode::SubscriptionIdentifiersNotSupported);
    let mut pair = Pair::connected(Standard, V5);
    pair.serving = false;
    pair.send(with_id());
    let Some(Action::Subscribe(request)) = pair.held.pop() else { panic!() };
    assert_eq!(request.identifier, Some(5));
}

#[test]
fn denied_by_closing() {
    let mut pair = Pair::connected(Aws, V3);
    pair.serving = false;
    pair.send(subscribe(1, &["a"]));
    pair.session.subscribe_denied("no");
    assert_eq!(pair.received(), []);
    assert_eq!(pair.ended().unwrap().close.reason.as_str(), "AUTH_ERROR");
}

#[test]
fn unsuback_codes() {
    let packet = || unsubscribe(1, &["held/1", "other", "a/#/b"]);
    let success = ReasonCode::Success;
    let invalid = ReasonCode::TopicFilterInvalid;
    assert_eq!(codes(&mut Pair::connected(Aws, V5), packet()), [success, success, invalid]);
    let missing = ReasonCode::NoSubscriptionExisted;
    assert_eq!(codes(&mut Pair::connected(Standard, V5), packet()), [success, missing, invalid]);
    assert_eq!(codes(&mut Pair::connected(Standard, V3), packet()), []);
    let mut pair = Pair::connected(Standard, V5);
    pair.serving = false;
    pair.send(unsubscribe(1, &["a"]));
    assert_eq!(codes(&mut pair, unsubscribe(1, &["b"])), [ReasonCode::PacketIdentifierInUse]);
}

#[test]
fn a_client_that_asks_for_much_is_not_read_on() {
    let mut pair = Pair::connected(Standard, V5);
    pair.serving = false;
    for number in 1..=40 {
        pair.send(subscribe(number, &["a"]));
    }
    assert_eq!(pair.held.len(), 32);
    let Action::Subscribe(request) = pair.held.remove(0) else { panic!() };
    pair.grant(request);
    pair.run();
    assert_eq!(pair.held.len(), 32);
}
