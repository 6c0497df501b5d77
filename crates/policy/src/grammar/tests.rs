use proptest::prelude::*;

use crate::{Effect, Error, Limits, PolicyDocument, Services, Version};

fn parse(text: &str) -> Result<PolicyDocument, Error> {
    PolicyDocument::parse(text, &Limits::default())
}

/// A document with a statement's keys put in.
fn with(keys: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{{{keys}}}]}}"#)
}

const GOOD: &str = r#""Effect":"Allow","Action":"iot:Connect","Resource":"*""#;

#[test]
fn whole_documents_that_are_no_policies() {
    let cases: &[(&str, &str)] = &[
        ("", "empty"),
        ("  \n\t ", "empty"),
        ("{", "JSON"),
        ("{} x", "JSON"),
        ("not json", "JSON"),
        ("{\"Statement\":", "JSON"),
        ("null", "document: an object is expected, not null"),
        ("[]", "document: an object is expected, not an array"),
        ("\"text\"", "document: an object is expected, not a string"),
        ("3", "document: an object is expected, not a number"),
        ("true", "document: an object is expected, not a boolean"),
        ("{}", "Statement is missing"),
        (r#"{"Version":"2012-10-17"}"#, "Statement is missing"),
        (r#"{"Version":"2012-10-17","Statement":[]}"#, "no statement"),
        (r#"{"Version":"2012-10-17","Statement":"x"}"#, "Statement: an object"),
        (r#"{"Version":"2012-10-17","Statement":null}"#, "Statement: an object"),
        (r#"{"Version":"2012-10-17","Statement":[1]}"#, "Statement[0]: an object"),
        (r#"{"Version":"2012-10-17","Statement":[[]]}"#, "Statement[0]: an object"),
    ];
    for (text, expected) in cases {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn wrong_keys_of_the_document() {
    let cases: &[(&str, &str)] = &[
        (r#""Version":"2012-10-18""#, "Version: \"2012-10-18\""),
        (r#""Version":"""#, "Version"),
        (r#""Version":2012"#, "Version: a string is expected, not a number"),
        (r#""Version":null"#, "Version: a string"),
        (r#""Id":7"#, "Id: a string"),
        (r#""Id":["x"]"#, "Id: a string is expected, not an array"),
        (r#""version":"2012-10-17""#, "\"version\" is unknown"),
        (r#""Principal":"*""#, "\"Principal\" is unknown"),
        (r#""Version":"2012-10-17","Version":"2012-10-17""#, "occurs twice"),
    ];
    for (keys, expected) in cases {
        let text = format!(r#"{{{keys},"Statement":{{{GOOD}}}}}"#);
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn wrong_statements() {
    let cases: &[(&str, &str)] = &[
        (r#""Action":"iot:Connect","Resource":"*""#, "Statement[0]: Effect is missing"),
        (r#""Effect":"allow","Action":"iot:Connect","Resource":"*""#, "Statement[0].Effect: \"allow\""),
        (r#""Effect":"","Action":"iot:Connect","Resource":"*""#, "Effect"),
        (r#""Effect":true,"Action":"iot:Connect","Resource":"*""#, "Effect: a string"),
        (r#""Effect":["Allow"],"Action":"iot:Connect","Resource":"*""#, "Effect: a string"),
        (r#""Effect":"Allow","Resource":"*""#, "Action or NotAction is missing"),
        (r#""Effect":"Allow","Action":"iot:A","NotAction":"iot:B","Resource":"*""#, "exclude each other"),
        (r#""Effect":"Allow","Action":[],"Resource":"*""#, "Action: the array is empty"),
        (r#""Effect":"Allow","Action":"","Resource":"*""#, "\"\" is no action"),
        (r#""Effect":"Allow","Action":"Connect","Resource":"*""#, "no action"),
        (r#""Effect":"Allow","Action":"iot:","Resource":"*""#, "no action"),
        (r#""Effect":"Allow","Action":"io*:Connect","Resource":"*""#, "no action"),
        (r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*""#, "no action"),
        (r#""Effect":"Allow","Action":"iot: Connect","Resource":"*""#, "no action"),
        (r#""Effect":"Allow","Action":"iot:${x}","Resource":"*""#, "no action"),
        (r#""Effect":"Allow","Action":7,"Resource":"*""#, "Action: a string"),
        (r#""Effect":"Allow","Action":["iot:Connect",7],"Resource":"*""#, "Action[1]: a string"),
        (r#""Effect":"Allow","Action":{"a":"b"},"Resource":"*""#, "Action: a string"),
        (r#""Effect":"Allow","NotAction":"sqs:x","Resource":"*""#, "NotAction: \"sqs:x\""),
        (r#""Effect":"Allow","Action":"iot:Connect""#, "Resource or NotResource is missing"),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":[]"#, "Resource: the array is empty"),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":"""#, "Resource: \"\" is neither"),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":"topic/a""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":["*","x"]"#, "Resource: \"x\""),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":null"#, "Resource: a string"),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":"*","NotResource":"*""#, "exclude each other"),
        (r#""Effect":"Allow","Action":"iot:Connect","Resource":"*","Sid":1"#, "Statement[0].Sid: a string"),
        (
            r#""Effect":"Allow","Action":"iot:Connect","Resource":"*","Principal":"*""#,
            "\"Principal\" is unknown",
        ),
        (
            r#""Effect":"Allow","Action":"iot:Connect","Resource":"*","condition":{}"#,
            "\"condition\" is unknown",
        ),
        (r#""Effect":"Allow","Effect":"Deny","Action":"iot:Connect","Resource":"*""#, "occurs twice"),
    ];
    for (keys, expected) in cases {
        let message = parse(&with(keys)).unwrap_err().to_string();
        assert!(message.contains(expected), "{keys}: {message}");
    }
}

#[test]
fn wrong_conditions() {
    let cases: &[(&str, &str)] = &[
        (r#""x""#, "Statement[0].Condition: an object"),
        ("[]", "Condition: an object"),
        (r#"{"StringEqual":{"k":"v"}}"#, "Condition.StringEqual: there is no such condition operator"),
        (r#"{"stringequals":{"k":"v"}}"#, "no such condition operator"),
        (r#"{"ForSomeValues:StringEquals":{"k":"v"}}"#, "no such condition operator"),
        (r#"{"ForAllValues:":{"k":"v"}}"#, "no such condition operator"),
        (r#"{"NullIfExists":{"k":"true"}}"#, "no such condition operator"),
        (r#"{"NumericLike":{"k":"1"}}"#, "no such condition operator"),
        (r#"{"StringEquals":"v"}"#, "Condition.StringEquals: an object"),
        (r#"{"StringEquals":{"k":null}}"#, "Condition.StringEquals.k: a string"),
        (r#"{"StringEquals":{"k":{"v":1}}}"#, "StringEquals.k: a string"),
        (r#"{"StringEquals":{"k":[["v"]]}}"#, "StringEquals.k: a string"),
        (r#"{"StringEquals":{"":"v"}}"#, "key is empty"),
        (r#"{"StringEquals":{"k":"v","k":"w"}}"#, "occurs twice"),
        (r#"{"NumericEquals":{"k":"one"}}"#, "\"one\" is no value for NumericEquals"),
        (r#"{"NumericEquals":{"k":"inf"}}"#, "no value"),
        (r#"{"DateLessThan":{"k":"yesterday"}}"#, "no value"),
        (r#"{"Bool":{"k":"yes"}}"#, "no value"),
        (r#"{"Null":{"k":"${iot:ClientId}"}}"#, "no value"),
        (r#"{"BinaryEquals":{"k":"%"}}"#, "no value"),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#, "no value"),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0"}}"#, "no value"),
    ];
    for (condition, expected) in cases {
        let message = parse(&with(&format!(r#"{GOOD},"Condition":{condition}"#))).unwrap_err().to_string();
        assert!(message.contains(expected), "{condition}: {message}");
    }
}

#[test]
fn what_is_accepted() {
    let cases = [
        GOOD.to_owned(),
        format!(r#"{GOOD},"Sid":"first""#),
        format!(r#"{GOOD},"Condition":{{}}"#),
        format!(r#"{GOOD},"Condition":{{"Bool":{{"k":true}},"NumericEquals":{{"k":[1,2.5]}}}}"#),
        format!(r#"{GOOD},"Condition":{{"ForAllValues:StringEquals":{{"iot:ConnectAttributes":[]}}}}"#),
        format!(
            r#"{GOOD},"Condition":{{"DateLessThanIfExists":{{"k":["2024-01-01","2024-01-01T00:00:00Z"]}}}}"#
        ),
        r#""Effect":"Deny","NotAction":["IOT:Pub*"],"NotResource":["arn:aws:iot:*","*"]"#.to_owned(),
    ];
    for keys in cases {
        assert!(parse(&with(&keys)).is_ok(), "{keys}");
    }
}

#[test]
fn text_version_id_and_statements_are_kept() {
    let text = format!("{{ \"Statement\" : {{{GOOD}, \"Sid\": \"s\"}},\n \"Id\":\"x\"}}");
    let document = parse(&text).unwrap();
    assert_eq!(document.text(), text);
    assert_eq!(document.version(), Version::V2008);
    assert_eq!(document.id(), Some("x"));
    let [statement] = document.statements() else { panic!("one statement") };
    assert_eq!((statement.sid(), statement.effect()), (Some("s"), Effect::Allow));
}

#[test]
fn characters_are_counted_without_white_space() {
    let filled = |count: usize| {
        let empty = with(&format!(r#"{GOOD},"Sid":"""#));
        let sid = "é".repeat(count - empty.chars().filter(|c| !c.is_whitespace()).count());
        with(&format!("{}{GOOD},\"Sid\":\"{sid}\"", " ".repeat(10_240)))
    };
    assert!(parse(&filled(2048)).is_ok());
    let error = parse(&filled(2049)).unwrap_err();
    assert_eq!(error, Error::TooLong { characters: 2049, limit: 2048, counting: "excluded" });
    let roomy = Limits { characters: 2049, ..Limits::default() };
    assert!(PolicyDocument::parse(&filled(2049), &roomy).is_ok());
    let spaces = " ".repeat(404_600);
    assert!(matches!(
        parse(&format!("{spaces}{}", with(GOOD))),
        Err(Error::TooLong { counting: "included", .. })
    ));
}

#[test]
fn the_actions_of_published_device_policies_are_taken() {
    for action in [r#""*""#, r#"["iot:Connect","greengrass:*"]"#, r#""Greengrass:Discover""#] {
        let text = with(&format!(r#""Effect":"Allow","Action":{action},"Resource":"*""#));
        assert!(parse(&text).is_ok(), "{action}");
    }
}

#[test]
fn identity_policies_name_other_services() {
    let text = with(
        r#""Effect":"Allow","Action":["iam:PassRole","iot-jobs:x*","*"],"Resource":"arn:aws:iam::1:role/r""#,
    );
    assert!(parse(&text).is_err());
    assert!(PolicyDocument::parse(&text, &Limits { services: Services::Any, ..Limits::default() }).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_mangled_document_panics(at in 0_usize..200, with in "[\\[\\]{}\":,$*?a-z]{0,4}") {
        let good = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect",
            "Resource":"arn:aws:iot:eu:1:client/${iot:ClientId}",
            "Condition":{"StringLike":{"aws:x":["${a}","b*"]}}}]}"#;
        let (start, end) = good.split_at(at.min(good.len()));
        let _ = parse(&format!("{start}{with}{end}"));
        let _ = parse(&format!("{start}{with}{}", end.get(with.len()..).unwrap_or_default()));
    }
}
