//! Short ways to write commands in tests.

use fleethaven_types::Timestamp;

use crate::command::{Action, Reply};
use crate::error::{Error, ErrorCode};
use crate::query::QueryReply;
use crate::shapes::*;
use crate::testing::Registry;

pub(crate) const DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;

pub(crate) fn registry() -> Registry {
    Registry::new().unwrap()
}

/// The exception and its status.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorCode, u16) {
    let error = result.unwrap_err();
    (error.code, error.code.http_status())
}

pub(crate) fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn create_thing(name: &str, thing_type: Option<&str>, pairs: &[(&str, &str)]) -> Action {
    Action::CreateThing(Box::new(CreateThing {
        thing_name: name.to_owned(),
        thing_type_name: thing_type.map(str::to_owned),
        attributes: attributes(pairs),
        billing_group_name: None,
    }))
}

pub(crate) fn create_group(name: &str, parent: Option<&str>) -> Action {
    Action::CreateThingGroup(Box::new(CreateThingGroup {
        thing_group_name: name.to_owned(),
        parent_group_name: parent.map(str::to_owned),
        ..CreateThingGroup::default()
    }))
}

pub(crate) fn delete_group(name: &str) -> Action {
    Action::DeleteThingGroup(Box::new(DeleteGroup { group_name: name.to_owned(), expected_version: None }))
}

pub(crate) fn thing_and_group(thing: &str, group: &str) -> Box<ThingAndGroup> {
    Box::new(ThingAndGroup {
        thing_name: Some(thing.to_owned()),
        group_name: Some(group.to_owned()),
        ..ThingAndGroup::default()
    })
}

pub(crate) fn join(thing: &str, group: &str) -> Action {
    Action::AddThingToThingGroup(thing_and_group(thing, group))
}

pub(crate) fn delete_thing(name: &str) -> Action {
    Action::DeleteThing(Box::new(DeleteThing { thing_name: name.to_owned(), expected_version: None }))
}

pub(crate) fn create_type(name: &str) -> Action {
    Action::CreateThingType(Box::new(CreateThingType {
        thing_type_name: name.to_owned(),
        ..CreateThingType::default()
    }))
}

pub(crate) fn deprecate(name: &str, undo_deprecate: bool) -> Action {
    let thing_type_name = name.to_owned();
    Action::DeprecateThingType(Box::new(DeprecateThingType { thing_type_name, undo_deprecate }))
}

/// 64 times the digit.
pub(crate) fn id(digit: &str) -> String {
    digit.repeat(64)
}

pub(crate) fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:iot:eu-west-1:123456789012:{kind}/{name}")
}

pub(crate) fn cert(digit: &str) -> String {
    arn("cert", &id(digit))
}

pub(crate) fn validity() -> Validity {
    Validity { not_before: Timestamp(1), not_after: Timestamp(2) }
}

pub(crate) fn issue(digit: &str, status: CertificateStatus) -> Action {
    Action::RegisterIssuedCertificate(Box::new(RegisterIssuedCertificate {
        certificate_id: id(digit),
        certificate_pem: "pem".to_owned(),
        status,
        validity: validity(),
        issued_for: IssuedFor::Caller,
    }))
}

pub(crate) fn set_status(digit: &str, new_status: CertificateStatus) -> Action {
    Action::UpdateCertificate(Box::new(UpdateCertificate { certificate_id: id(digit), new_status }))
}

pub(crate) fn delete_certificate(digit: &str, force_delete: bool) -> Action {
    Action::DeleteCertificate(Box::new(DeleteCertificate { certificate_id: id(digit), force_delete }))
}

pub(crate) fn ca(digit: &str, mode: CertificateMode, common_name: Option<&str>) -> RegisterCaCertificate {
    RegisterCaCertificate {
        certificate_id: id(digit),
        certificate_pem: "pem".to_owned(),
        subject: "CN=ca".to_owned(),
        validity: validity(),
        verification_common_name: common_name.map(str::to_owned),
        set_as_active: true,
        allow_auto_registration: false,
        registration_config: None,
        certificate_mode: mode,
        tags: Vec::new(),
    }
}

pub(crate) fn register_ca(digit: &str) -> Action {
    Action::RegisterCaCertificate(Box::new(ca(digit, CertificateMode::SniOnly, None)))
}

pub(crate) fn set_ca_status(digit: &str, status: CaCertificateStatus) -> Action {
    Action::UpdateCaCertificate(Box::new(UpdateCaCertificate {
        certificate_id: id(digit),
        new_status: Some(status),
        ..UpdateCaCertificate::default()
    }))
}

pub(crate) fn register(digit: &str, ca: &str, ca_certificate_given: bool) -> Action {
    Action::RegisterCertificate(Box::new(RegisterCertificate {
        certificate_id: id(digit),
        certificate_pem: "pem".to_owned(),
        validity: validity(),
        ca_certificate_id: id(ca),
        ca_certificate_given,
        status: None,
        set_as_active: true,
    }))
}

pub(crate) fn create_policy(name: &str, document: &str) -> Action {
    let (policy_name, policy_document) = (name.to_owned(), document.to_owned());
    Action::CreatePolicy(Box::new(CreatePolicy { policy_name, policy_document, tags: Vec::new() }))
}

pub(crate) fn create_version(name: &str, document: &str, set_as_default: bool) -> Action {
    let (policy_name, policy_document) = (name.to_owned(), document.to_owned());
    let args = CreatePolicyVersion { policy_name, policy_document, set_as_default };
    Action::CreatePolicyVersion(Box::new(args))
}

pub(crate) fn version(name: &str, version: &str) -> Box<PolicyVersionName> {
    Box::new(PolicyVersionName { policy_name: name.to_owned(), version_id: version.to_owned() })
}

pub(crate) fn target(policy: &str, target: &str) -> Box<PolicyTarget> {
    Box::new(PolicyTarget { policy_name: policy.to_owned(), target: target.to_owned() })
}

pub(crate) fn attach_thing(thing: &str, principal: &str, kind: Option<ThingPrincipalType>) -> Action {
    Action::AttachThingPrincipal(Box::new(AttachThingPrincipal {
        thing_name: thing.to_owned(),
        principal: principal.to_owned(),
        thing_principal_type: kind,
    }))
}

pub(crate) fn detach_thing(thing: &str, principal: &str) -> Action {
    let (thing_name, principal) = (thing.to_owned(), principal.to_owned());
    Action::DetachThingPrincipal(Box::new(DetachThingPrincipal { thing_name, principal }))
}

pub(crate) fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned() }
}

pub(crate) fn names(reply: QueryReply) -> Vec<String> {
    match reply {
        QueryReply::Names(listed) => listed.items,
        QueryReply::Policies(listed) => listed.items.into_iter().map(|policy| policy.policy_name).collect(),
        QueryReply::Things(listed) => listed.items.into_iter().map(|thing| thing.thing_name).collect(),
        QueryReply::PrincipalThings(listed) => {
            listed.items.into_iter().map(|thing| thing.thing_name).collect()
        }
        QueryReply::ThingPrincipals(listed) => {
            listed.items.into_iter().map(|found| found.principal).collect()
        }
        QueryReply::Certificates(listed) => {
            listed.items.into_iter().map(|found| found.certificate_id).collect()
        }
        QueryReply::Groups(listed) => listed.items.into_iter().map(|group| group.group_name).collect(),
        QueryReply::RuleSummaries(listed) => listed.items.into_iter().map(|rule| rule.rule_name).collect(),
        other => panic!("{other:?} has no names"),
    }
}

pub(crate) fn is_done(reply: Result<Reply, Error>) -> bool {
    reply == Ok(Reply::Done)
}
