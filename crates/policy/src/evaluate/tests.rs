use std::collections::BTreeMap;

use super::*;
use crate::action::Action;
use crate::certificate::{CertificateAttributes, CertificateField, NameAttribute};
use crate::context::{CustomKeys, ThingContext};
use crate::fixture::{allows, resource, set, set_with, verdict};
use crate::set::Policy;
use crate::settings::{Limits, Services, Settings};
use crate::{AlternativeName, PolicyDocument};

fn grant(action: &str, resource: &str) -> PolicySet {
    set(&statement("Allow", action, resource))
}

fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"iot:{action}","Resource":"{resource}"}}"#)
}

fn client(client_id: &str) -> Context<'_> {
    Context { client_id: Some(client_id), ..Context::default() }
}

/// Rows 12 and 13 of security.md section 13, and the table of 9.4.
#[test]
fn wildcards_of_policies_and_of_filters() {
    let cases = [
        ("Subscribe", "~topicfilter/a/+/b", "a/+/b", true),
        ("Subscribe", "~topicfilter/a/+/b", "a/x/b", false),
        ("Subscribe", "~topicfilter/a/*", "a/#", true),
        ("Subscribe", "~topicfilter/a/*", "a/b/c", true),
        ("Subscribe", "~topicfilter/a/#", "a/#", true),
        ("Subscribe", "~topicfilter/a/#", "a/b", false),
        ("Subscribe", "~topicfilter/a/${*}", "a/*", true),
        ("Subscribe", "~topicfilter/a/${*}", "a/b", false),
        ("Subscribe", "~topicfilter/a/${?}", "a/?", true),
        ("Subscribe", "~topicfilter/a/${?}", "a/b", false),
        ("Subscribe", "~topicfilter/${$}share/g/*", "$share/g/a", true),
        ("Subscribe", "~topic/a", "a", false),
        ("Publish", "~topicfilter/a", "a", false),
        ("Publish", "~topic/a?c", "a/c", true),
        ("Publish", "~topic/a?c", "aéc", true),
        ("Publish", "~topic/a?c", "abbc", false),
        ("Publish", "~topic/$aws/things/x/shadow/update", "$aws/things/x/shadow/update", true),
        ("Publish", "*", "a/b", true),
        ("Publish", "arn:aws:iot:*:*:topic/a", "a", true),
        ("Publish", "arn:aws:iot:eu-*:1234*:topic/a", "a", true),
        ("Publish", "arn:aws:iot:us-*:*:topic/a", "a", false),
        ("Publish", "arn:aws:iot:*", "a", true),
        ("Publish", "arn:*topic/a", "a", true),
        ("Publish", "~*", "a", true),
        ("Publish", "~client/*", "a", false),
        ("Publish", "~topic/", "", true),
        ("Publish", "~topic/A", "a", false),
        ("P?bl*", "~topic/a", "a", true),
        ("GetThingShadow", "~thing/t/s", "t/s", true),
        ("GetThingShadow", "~thing/t", "t/s", false),
        ("ListRetainedMessages", "*", "", true),
        ("ListRetainedMessages", "~topic/*", "", false),
        ("AssumeRoleWithCertificate", "~rolealias/r", "r", true),
    ];
    for (action, pattern, name, expected) in cases {
        let asked = format!("iot:{action}").parse().unwrap_or(Action::Publish);
        assert_eq!(
            allows(&grant(action, pattern), asked, name, &Context::default()),
            expected,
            "{action} {pattern} on {name}"
        );
    }
}

/// Rows 14 and 36.
#[test]
fn deny_wins() {
    let set = set(&[
        statement("Allow", "Receive", "~topic/a/*"),
        statement("Deny", "Receive", "~topic/a/s/*"),
        statement("Allow", "Receive", "~topic/a/s/1"),
    ]
    .join(","));
    let none = Context::default();
    assert_eq!(verdict(&set, Action::Receive, "a/s/1", &none), Verdict::ExplicitDeny);
    assert_eq!(verdict(&set, Action::Receive, "a/t/1", &none), Verdict::Allow);
    assert_eq!(verdict(&set, Action::Receive, "b", &none), Verdict::ImplicitDeny);
    assert_eq!(verdict(&set, Action::Publish, "a/t/1", &none), Verdict::ImplicitDeny);
}

#[test]
fn no_policy_denies_all() {
    let none = PolicySet::default();
    for action in Action::ALL {
        assert_eq!(verdict(&none, *action, "x", &Context::default()), Verdict::ImplicitDeny);
    }
}

/// Row 15.
#[test]
fn a_client_id_brings_no_wildcard() {
    for settings in
        [true, false].map(|reject| Settings { reject_wildcards_in_variables: reject, ..Settings::default() })
    {
        let set = set_with(&statement("Allow", "Publish", "~topic/${iot:ClientId}/*"), settings);
        assert!(!allows(&set, Action::Publish, "other/x", &client("*")));
        assert!(!allows(&set, Action::Publish, "o/x", &client("?")));
        assert_eq!(
            allows(&set, Action::Publish, "*/x", &client("*")),
            !settings.reject_wildcards_in_variables
        );
        assert!(allows(&set, Action::Publish, "c/x", &client("c")));
        assert!(!allows(&set, Action::Publish, "c/x", &Context::default()));
        assert!(allows(&set, Action::Publish, "${iot:ClientId}/x", &Context::default()));
    }
    let set = grant("Subscribe", "~topicfilter/my/${iot:ClientId}/topic");
    assert!(!allows(&set, Action::Subscribe, "my/+/topic", &client("+")));
    assert!(allows(&set, Action::Subscribe, "my/$x/topic", &client("$x")));
}

#[test]
fn an_unresolved_deny_fires_only_if_set_so() {
    let text = [
        statement("Allow", "Publish", "*"),
        statement("Deny", "Publish", "~topic/${iot:CertificateId}"),
        r#"{"Effect":"Deny","Action":"iot:Receive","Resource":"*",
            "Condition":{"StringEquals":{"iot:ClientId":"${iot:DomainName}"}}}"#
            .to_owned(),
    ]
    .join(",");
    let strict = Settings { unresolved_deny_is_match: true, ..Settings::default() };
    assert_eq!(verdict(&set(&text), Action::Publish, "a", &client("c")), Verdict::Allow);
    assert_eq!(verdict(&set_with(&text, strict), Action::Publish, "a", &client("c")), Verdict::ExplicitDeny);
    assert_eq!(verdict(&set(&text), Action::Receive, "a", &client("c")), Verdict::ImplicitDeny);
    assert_eq!(verdict(&set_with(&text, strict), Action::Receive, "a", &client("c")), Verdict::ExplicitDeny);
    let known = Context { certificate_id: Some("0af"), ..client("c") };
    assert_eq!(verdict(&set_with(&text, strict), Action::Publish, "a", &known), Verdict::Allow);
}

fn thing<'a>(name: &'a str, attributes: &'a BTreeMap<String, String>, is_attached: bool) -> Context<'a> {
    let thing = ThingContext { name, type_name: Some("pump"), attributes: Some(attributes), is_attached };
    Context { thing: Some(thing), ..client("c") }
}

/// Row 16: which thing it is, exclusive or not, is the caller's to find out.
#[test]
fn thing_variables() {
    let attributes = BTreeMap::from([("envType".to_owned(), "prod".to_owned())]);
    let cases = [
        ("${iot:Connection.Thing.ThingName}", "t"),
        ("${iot:Thing.ThingName}", "t"),
        ("${iot:Connection.Thing.ThingTypeName}", "pump"),
        ("${iot:Connection.Thing.Attributes[envType]}", "prod"),
    ];
    for (variable, value) in cases {
        let set = grant("Publish", &format!("~topic/{variable}/x"));
        let name = format!("{value}/x");
        assert!(allows(&set, Action::Publish, &name, &thing("t", &attributes, true)), "{variable}");
        assert!(!allows(&set, Action::Publish, &name, &thing("t", &attributes, false)), "{variable}");
        assert!(!allows(&set, Action::Publish, &name, &client("t")), "{variable}");
    }
    let set = grant("Publish", "~topic/${iot:Connection.Thing.Attributes[ENVTYPE]}");
    assert!(!allows(&set, Action::Publish, "prod", &thing("t", &attributes, true)));
}

#[test]
fn only_attached_things_connect() {
    let set = set(r#"{"Effect":"Allow","Action":"iot:Connect","Resource":"*",
            "Condition":{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}}}"#);
    let attributes = BTreeMap::new();
    assert!(allows(&set, Action::Connect, "t", &thing("t", &attributes, true)));
    assert!(!allows(&set, Action::Connect, "t", &thing("t", &attributes, false)));
    assert!(!allows(&set, Action::Connect, "t", &client("t")));
}

fn certificate() -> CertificateAttributes {
    let mut certificate = CertificateAttributes::new();
    let subject = CertificateField::Subject;
    certificate.insert(subject(NameAttribute::OrganizationalUnit), "first");
    certificate.insert(subject(NameAttribute::OrganizationalUnit), "second");
    certificate.insert(subject(NameAttribute::CommonName), "a*");
    certificate.insert(subject(NameAttribute::Organization), "O=x, Inc.");
    certificate.insert(CertificateField::Issuer(NameAttribute::Title), &"x".repeat(1025));
    certificate.insert(CertificateField::SerialNumber, "0af3");
    certificate.insert(CertificateField::SubjectAlternativeName(AlternativeName::DNSName), "d.example.com");
    certificate
}

/// Rows 18 and 19.
#[test]
fn certificate_variables() {
    let certificate = certificate();
    let context = Context { certificate: Some(&certificate), ..Context::default() };
    let long = "x".repeat(1025);
    let cases = [
        ("Subject.OrganizationalUnit", "first", true),
        ("Subject.OrganizationalUnit.1", "second", true),
        ("Subject.OrganizationalUnit.1", "first", false),
        ("Subject.OrganizationalUnit.2", "first", false),
        ("Subject.OrganizationalUnit.99999999999999999999999", "first", false),
        ("Subject.OrganizationalUnit.List", "first", false),
        ("Subject.CommonName", "a*", false),
        ("Subject.CommonName", "ab", false),
        ("Subject.Organization", r"O\=x\, Inc.", true),
        ("Subject.Organization", "O=x, Inc.", false),
        ("Subject.Country", "x", false),
        ("Issuer.Title", &long, false),
        ("SerialNumber", "0af3", true),
        ("Subject.AlternativeName.DNSName", "d.example.com", true),
        ("Issuer.AlternativeName.DNSName", "d.example.com", false),
    ];
    for (name, value, expected) in cases {
        let set = grant("Publish", &format!("~topic/${{iot:Certificate.{name}}}"));
        assert_eq!(allows(&set, Action::Publish, value, &context), expected, "{name} = {value}");
    }
}

#[test]
fn certificate_keys_of_conditions() {
    let certificate = certificate();
    let context = Context { certificate: Some(&certificate), ..Context::default() };
    let cases = [
        (
            r#""ForAllValues:StringEquals":{"iot:Certificate.Subject.OrganizationalUnit.List":
                ["first","second"]}"#,
            true,
        ),
        (
            r#""ForAllValues:StringEquals":{"iot:Certificate.Subject.OrganizationalUnit.List":["first"]}"#,
            false,
        ),
        (
            r#""ForAnyValue:StringEquals":{"iot:Certificate.Subject.OrganizationalUnit.List":["second"]}"#,
            true,
        ),
        (r#""StringEquals":{"iot:Certificate.Subject.OrganizationalUnit.1":"second"}"#, true),
        (r#""StringEquals":{"iot:Certificate.Subject.OrganizationalUnit.2":"second"}"#, false),
        (r#""StringEquals":{"iot:Certificate.Subject.Organization":"O\\=x\\, Inc."}"#, true),
        (r#""StringEquals":{"iot:Certificate.Subject.Organization":"O=x, Inc."}"#, false),
        (
            r#""ForAnyValue:StringEquals":{"iot:Certificate.AvailableKeys":"iot:Certificate.SerialNumber"}"#,
            true,
        ),
        (
            r#""ForAnyValue:StringEquals":{"iot:Certificate.AvailableKeys":"iot:Certificate.Subject.State"}"#,
            false,
        ),
        (r#""Null":{"iot:Certificate.Subject.State":"true"}"#, true),
    ];
    for (condition, expected) in cases {
        let set = set(&format!(
            r#"{{"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{{{condition}}}}}"#
        ));
        assert_eq!(allows(&set, Action::Publish, "t", &context), expected, "{condition}");
    }
}

/// Row 21: a will is a publish, asked for by itself.
#[test]
fn connect_does_not_grant_the_will() {
    let set = grant("Connect", "~client/c");
    assert!(allows(&set, Action::Connect, "c", &client("c")));
    assert!(!allows(&set, Action::Publish, "will/c", &client("c")));
}

#[test]
fn the_old_version_has_no_variables() {
    let text = r#"{"Statement":{"Effect":"Allow","Action":"iot:Publish",
        "Resource":"arn:aws:iot:*:*:topic/${iot:ClientId}"}}"#;
    let document = PolicyDocument::parse(text, &Limits::default()).unwrap();
    let set = PolicySet::new(vec![Policy::new("old", document)], Settings::default());
    assert!(!allows(&set, Action::Publish, "c", &client("c")));
    assert!(allows(&set, Action::Publish, "${iot:ClientId}", &client("c")));
}

#[test]
fn not_action_and_not_resource() {
    let set =
        set(r#"{"Effect":"Allow","NotAction":"iot:Publish","NotResource":["~topic/secret/*","~client/*"]}"#);
    let none = Context::default();
    assert!(allows(&set, Action::Receive, "open", &none));
    assert!(!allows(&set, Action::Receive, "secret/x", &none));
    assert!(!allows(&set, Action::Connect, "c", &none));
    assert!(!allows(&set, Action::Publish, "open", &none));
    assert!(allows(&set, Action::ListRetainedMessages, "", &none));
}

#[test]
fn a_decision_names_its_statement() {
    let first = crate::fixture::document(&statement("Allow", "Publish", "~topic/a"));
    let second = crate::fixture::document(
        r#"{"Effect":"Allow","Action":"iot:Publish","Resource":"*"},
           {"Sid":"no","Effect":"Deny","Action":"iot:Publish","Resource":"~topic/b"}"#,
    );
    let set =
        PolicySet::new(vec![Policy::new("first", first), Policy::new("second", second)], Settings::default());
    let none = Context::default();
    let ask = |name| Request {
        action: Action::Publish.into(),
        resource: resource(Action::Publish, name),
        context: &none,
    };
    assert_eq!(set.evaluate(&ask("a")).by.unwrap().to_string(), "first[0]");
    assert_eq!(set.evaluate(&ask("b")).by.unwrap().to_string(), "second[1] (no)");
    assert_eq!(set.evaluate(&ask("c")).by.unwrap().to_string(), "second[0]");
    let explanation = set.explain(&ask("a"));
    assert_eq!(explanation.allows.iter().map(|by| by.policy).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(set.explain(&ask("b")).denies.len(), 1);
}

#[test]
fn missing_values_are_reported_for_the_action() {
    let set = set(
        r#"{"Effect":"Allow","Action":"iot:Publish","Resource":"~topic/${iot:ClientId}/${iot:CertificateId}",
            "Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},
                "StringEqualsIfExists":{"aws:SourceVpc":"v"},
                "Null":{"iot:DomainName":"true"},
                "StringEquals":{"iot:ClientId":"${iot:Connection.Thing.Attributes[x]}"}}},
           {"Effect":"Allow","Action":"iot:Receive","Resource":"~topic/${iot:Connection.Thing.ThingName}"}"#,
    );
    let context = client("c");
    let request = Request {
        action: Action::Publish.into(),
        resource: resource(Action::Publish, "t"),
        context: &context,
    };
    let missing = set.explain(&request).missing.into_iter().collect::<Vec<_>>();
    assert_eq!(missing, ["aws:SourceIp", "iot:CertificateId", "iot:Connection.Thing.Attributes[x]"]);
}

#[test]
fn control_plane_actions() {
    let text = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"iot:Create*","Resource":"arn:aws:iot:*:*:thing/${aws:username}-*",
         "Condition":{"StringEquals":{"aws:RequestTag/Team":"red"}}},
        {"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::1:role/*"}]}"#;
    let document =
        PolicyDocument::parse(text, &Limits { services: Services::Any, ..Limits::default() }).unwrap();
    let set = PolicySet::new(vec![Policy::new("operator", document)], Settings::default());
    let mut custom = CustomKeys::new();
    custom.insert("aws:username", "ada");
    custom.insert("aws:requesttag/team", "red");
    let context = Context { custom: Some(&custom), ..Context::default() };
    let asks = |action, resource| {
        set.evaluate(&Request { action: RequestedAction::named(action), resource, context: &context })
            .verdict
            .is_allowed()
    };
    let thing = resource(Action::GetThingShadow, "ada-1");
    assert!(asks("iot:CreateThing", thing));
    assert!(!asks("iot:DeleteThing", thing));
    assert!(!asks("iot:CreateThing", resource(Action::GetThingShadow, "bob-1")));
    assert!(asks("iam:PassRole", Resource::Text("arn:aws:iam::1:role/r")));
    assert!(!asks("iam:PassRole", Resource::Text("arn:aws:iam::2:role/r")));
}

#[test]
fn an_arn_is_written_from_its_parts() {
    assert_eq!(resource(Action::Publish, "a/b").to_arn(), "arn:aws:iot:eu-west-1:123456789012:topic/a/b");
    assert_eq!(Resource::Any.to_arn(), "*");
}
