use std::net::IpAddr;

use super::*;
use crate::action::Action;
use crate::context::{ConnectAttributes, Context, CustomKeys};
use crate::fixture::{allows, set};
use crate::settings::Settings;

const ALL_OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
];

fn a_value(operator: &str) -> &'static str {
    match operator {
        _ if operator.contains("Numeric") => "1",
        _ if operator.contains("Date") => "2024-01-01",
        _ if operator.contains("Ip") => "10.0.0.0/8",
        "Bool" => "true",
        _ => "YQ==",
    }
}

/// Whether `operator` holds between the values of a key and those of a policy.
fn holds(operator: &str, has: &[&str], wants: &[&str]) -> bool {
    let mut custom = CustomKeys::new();
    has.iter().for_each(|value| custom.insert("aws:Key", *value));
    let context = Context { custom: Some(&custom), client_id: Some("c1"), ..Context::default() };
    let scope = Scope { action: Action::Connect.into(), context: &context, settings: Settings::default() };
    let wants = wants.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let operator = Operator::read(operator).unwrap_or_else(|| panic!("{operator}"));
    Condition::new(operator, "AWS:key", &wants, true).unwrap().holds(&scope, false)
}

#[test]
fn every_operator_on_one_value() {
    let cases: &[(&str, &str, &str, bool)] = &[
        ("StringEquals", "a", "a", true),
        ("StringEquals", "a", "A", false),
        ("StringEquals", "ab", "a*", false),
        ("StringEquals", "c1", "${iot:ClientId}", true),
        ("StringEquals", "a*", "a${*}", true),
        ("StringEquals", "x", "${iot:CertificateId}", false),
        ("StringNotEquals", "a", "b", true),
        ("StringNotEquals", "a", "a", false),
        ("StringEqualsIgnoreCase", "É", "é", true),
        ("StringNotEqualsIgnoreCase", "A", "a", false),
        ("StringLike", "a/b", "a*", true),
        ("StringLike", "a/b", "a?c", false),
        ("StringLike", "ax", "a${*}", false),
        ("StringNotLike", "a/b", "a*", false),
        ("NumericEquals", "2.50", "2.5", true),
        ("NumericEquals", "x", "2", false),
        ("NumericNotEquals", "3", "2", true),
        ("NumericLessThan", "1", "2", true),
        ("NumericLessThan", "2", "2", false),
        ("NumericLessThanEquals", "2", "2", true),
        ("NumericGreaterThan", "-1", "-2", true),
        ("NumericGreaterThan", "-2", "-2", false),
        ("NumericGreaterThanEquals", "-2", "-2", true),
        ("DateEquals", "2024-01-01T01:00:00+01:00", "2024-01-01", true),
        ("DateEquals", "1704067200", "2024-01-01T00:00:00Z", true),
        ("DateEquals", "2024", "2024-01", true),
        ("DateNotEquals", "2024-01-01", "2024-01-02", true),
        ("DateLessThan", "2024-01-01", "2024-01-01T00:00:00.5Z", true),
        ("DateLessThanEquals", "2024-01-01", "2024-01-01", true),
        ("DateGreaterThan", "2024-01-01", "2024-01-01", false),
        ("DateGreaterThanEquals", "2024-01-01T00:00:00", "2024-01-01", true),
        ("Bool", "True", "true", true),
        ("Bool", "false", "true", false),
        ("BinaryEquals", "YQ==", "YQ==", true),
        ("BinaryEquals", "Yg==", "YQ==", false),
        ("IpAddress", "10.1.2.3", "10.0.0.0/8", true),
        ("IpAddress", "11.1.2.3", "10.0.0.0/8", false),
        ("IpAddress", "::ffff:10.1.2.3", "10.0.0.0/8", true),
        ("IpAddress", "2001:db8::1", "2001:db8::/32", true),
        ("IpAddress", "10.1.2.3", "10.1.2.3", true),
        ("NotIpAddress", "10.1.2.3", "10.0.0.0/8", false),
        ("ArnEquals", "arn:aws:iot:eu:1:topic/a/b", "arn:aws:iot:*:1:topic/a*", true),
        ("ArnEquals", "arn:aws:iot:eu:1:topic/a", "arn:aws:iot:eu:1:topic/b", false),
        ("ArnLike", "arn:aws:iot:eu:1:topic/a", "arn:aws:iot:eu:?:topic/a", true),
        ("ArnLike", "arn:aws:iot:eu:1:x:topic/a", "arn:aws:iot:*:1:topic/a", false),
        ("ArnLike", "arn:aws:iot:eu:1:topic/a", "arn:*", true),
        ("ArnNotEquals", "arn:aws:iot:eu:1:topic/a", "arn:aws:iot:eu:1:topic/b", true),
        ("ArnNotLike", "arn:aws:iot:eu:1:topic/a", "arn:aws:iot:eu:1:topic/*", false),
        ("Null", "x", "false", true),
        ("Null", "x", "true", false),
    ];
    for (operator, has, wants, expected) in cases {
        assert_eq!(holds(operator, &[has], &[wants]), *expected, "{operator} {has} {wants}");
    }
}

#[test]
fn a_missing_key_makes_positive_operators_false_and_negated_ones_true() {
    for operator in ALL_OPERATORS {
        let value = a_value(operator);
        assert_eq!(holds(operator, &[], &[value]), operator.contains("Not"), "{operator}");
        assert!(holds(&format!("{operator}IfExists"), &[], &[value]), "{operator}");
        assert!(holds(&format!("ForAllValues:{operator}"), &[], &[value]), "{operator}");
        assert!(!holds(&format!("ForAnyValue:{operator}"), &[], &[value]), "{operator}");
        assert!(holds(&format!("ForAnyValue:{operator}IfExists"), &[], &[value]), "{operator}");
    }
    assert!(holds("Null", &[], &["true"]));
    assert!(!holds("Null", &[], &["false"]));
}

#[test]
fn if_exists_tests_a_key_that_is_there() {
    assert!(holds("StringEqualsIfExists", &["a"], &["a"]));
    assert!(!holds("StringEqualsIfExists", &["b"], &["a"]));
    assert!(!holds("StringNotEqualsIfExists", &["a"], &["a"]));
    assert!(!holds("BoolIfExists", &["false"], &["true"]));
}

#[test]
fn several_policy_values_are_alternatives() {
    assert!(holds("StringEquals", &["b"], &["a", "b"]));
    assert!(!holds("StringNotEquals", &["b"], &["a", "b"]));
    assert!(holds("StringNotEquals", &["c"], &["a", "b"]));
    assert!(!holds("StringEquals", &["a"], &[]));
    assert!(holds("StringNotEquals", &["a"], &[]));
}

#[test]
fn quantifiers_on_several_values() {
    let cases: &[(&str, &[&str], &[&str], bool)] = &[
        ("ForAllValues:StringEquals", &["a", "b"], &["a", "b", "c"], true),
        ("ForAllValues:StringEquals", &["a", "d"], &["a", "b", "c"], false),
        ("ForAnyValue:StringEquals", &["a", "d"], &["a", "b"], true),
        ("ForAnyValue:StringEquals", &["d"], &["a", "b"], false),
        ("ForAllValues:StringNotEquals", &["c", "d"], &["a", "b"], true),
        ("ForAllValues:StringNotEquals", &["a", "d"], &["a", "b"], false),
        ("ForAnyValue:StringNotEquals", &["a", "d"], &["a", "b"], true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], &["a", "b"], false),
        ("ForAnyValue:StringLike", &["x/1"], &["x/*"], true),
        ("ForAllValues:NumericLessThan", &["1", "5"], &["4"], false),
        ("ForAllValues:StringEquals", &["a"], &[], false),
        ("StringEquals", &["a", "b"], &["b"], true),
        ("StringNotEquals", &["a", "b"], &["b"], false),
    ];
    for (operator, has, wants, expected) in cases {
        assert_eq!(holds(operator, has, wants), *expected, "{operator} {has:?} {wants:?}");
    }
}

/// Whether a CONNECT is allowed by a statement with a condition.
fn connects(condition: &str, persistent_connect: bool, last_will: bool) -> bool {
    let set =
        set(&format!(r#"{{"Effect":"Allow","Action":"iot:Connect","Resource":"~client/c"{condition}}}"#));
    let context = Context {
        connect: Some(ConnectAttributes { persistent_connect, last_will }),
        last_will_topic: last_will.then_some("arn:aws:iot:eu-west-1:123456789012:topic/will/c"),
        ..Context::default()
    };
    allows(&set, Action::Connect, "c", &context)
}

/// AWS page "Connect policy examples": rows are idioms, columns clean, persistent, clean with a will, both.
#[test]
fn connect_attributes_idioms() {
    let attributes = |operator: &str, values: &str| {
        format!(r#","Condition":{{"{operator}":{{"iot:ConnectAttributes":{values}}}}}"#)
    };
    let will = |operator: &str, topic: &str| {
        format!(r#","Condition":{{"{operator}":{{"iot:LastWillTopic":["~topic/{topic}"]}}}}"#)
    };
    let (all, any) = ("ForAllValues:StringEquals", "ForAnyValue:StringEquals");
    let (none, not_all) = ("ForAllValues:StringNotEquals", "ForAnyValue:StringNotEquals");
    let cases = [
        (String::new(), [true, true, true, true]),
        (attributes(all, r#"["PersistentConnect"]"#), [true, true, false, false]),
        (attributes(all, r#"["LastWill"]"#), [true, false, true, false]),
        (attributes(all, r#"["PersistentConnect","LastWill"]"#), [true, true, true, true]),
        (attributes(all, "[]"), [true, false, false, false]),
        (attributes(any, r#"["PersistentConnect"]"#), [false, true, false, true]),
        (attributes(any, r#"["LastWill"]"#), [false, false, true, true]),
        (attributes(none, r#"["PersistentConnect"]"#), [true, false, true, false]),
        (attributes(none, r#"["LastWill"]"#), [true, true, false, false]),
        (attributes(not_all, r#"["LastWill"]"#), [false, true, false, true]),
        (will("ArnEquals", "will/*"), [false, false, true, true]),
        (will("ArnEquals", "other"), [false, false, false, false]),
        (will("ArnEqualsIfExists", "other"), [true, true, false, false]),
        (will("ArnNotEquals", "will/*"), [true, true, false, false]),
    ];
    for (condition, expected) in cases {
        let found = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(persistent, last_will)| connects(&condition, persistent, last_will));
        assert_eq!(found, expected, "{condition}");
    }
}

/// A context kept for the whole connection must not make its CONNECT's attributes count for publishes.
#[test]
fn connect_keys_are_absent_elsewhere() {
    let set = set(r#"{"Effect":"Allow","Action":"iot:*","Resource":"*",
            "Condition":{"ForAllValues:StringEquals":{"iot:ConnectAttributes":[]}}},
           {"Effect":"Deny","Action":"iot:Publish","Resource":"*",
            "Condition":{"Null":{"iot:Topic":"false"}}}"#);
    let connect = Some(ConnectAttributes { persistent_connect: true, last_will: false });
    let context = Context { connect, topic: Some("t"), ..Context::default() };
    assert!(!allows(&set, Action::Connect, "c", &context));
    assert!(allows(&set, Action::Publish, "t", &context));
}

#[test]
fn keys_of_a_connection() {
    let cases = [
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, true),
        (r#"{"StringEquals":{"aws:SourceIp":"10.1.2.3"}}"#, true),
        (r#"{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","192.168.0.0/16"]}}"#, false),
        (r#"{"StringEquals":{"iot:DomainName":"mqtt.example.com"}}"#, true),
        (r#"{"StringEquals":{"iot:CertificateId":"0af"}}"#, true),
        (r#"{"StringEquals":{"aws:SourceVpc":"vpc-1","aws:SourceVpce":"vpce-2"}}"#, true),
        (r#"{"StringEquals":{"aws:SourceVpc":"vpc-1","aws:SourceVpce":"vpce-3"}}"#, false),
        (r#"{"StringEquals":{"aws:SourceVpc":"vpc-1"},"StringLike":{"iot:ClientId":"x*"}}"#, false),
        (r#"{"IpAddress":{"aws:VpcSourceIp":"172.16.0.0/12"}}"#, true),
        (r#"{"Null":{"iot:Connection.Thing.ThingName":"true"}}"#, true),
    ];
    let context = Context {
        client_id: Some("c"),
        source_ip: Some(IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a01, 0x0203])),
        domain_name: Some("mqtt.example.com"),
        certificate_id: Some("0af"),
        source_vpc: Some("vpc-1"),
        source_vpce: Some("vpce-2"),
        vpc_source_ip: Some(IpAddr::from([172, 16, 0, 9])),
        ..Context::default()
    };
    for (condition, expected) in cases {
        let set = set(&format!(
            r#"{{"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{condition}}}"#
        ));
        assert_eq!(allows(&set, Action::Publish, "t", &context), expected, "{condition}");
    }
}

#[test]
fn the_topic_of_a_direct_message() {
    let set = set(r#"{"Effect":"Allow","Action":"iot:SendDirectMessage","Resource":"~client/lamp*",
            "Condition":{"StringLike":{"iot:Topic":"commands/*"}}}"#);
    let sends = |to, topic| {
        let context = Context { topic: Some(topic), ..Context::default() };
        allows(&set, Action::SendDirectMessage, to, &context)
    };
    assert!(sends("lamp1", "commands/on"));
    assert!(!sends("lamp1", "telemetry"));
    assert!(!sends("pump1", "commands/on"));
}
