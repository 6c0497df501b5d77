//! Who may assume a role.

use super::*;
use crate::context::CustomKeys;

const ALICE: Assumer<'_> = Assumer::Principal {
    account: "123456789012",
    arn: "arn:aws:iam::123456789012:user/alice",
    role_arn: None,
};

fn trust(principal: &str, more: &str) -> Result<TrustPolicy, Error> {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole",
            "Principal":{principal}{more}}}}}"#
    );
    TrustPolicy::parse(&text, &Limits::default())
}

fn decide(principal: &str, who: Assumer<'_>) -> Trust {
    trust(principal, "").unwrap().decide(who, "sts:AssumeRole", &Context::default())
}

#[test]
fn names_accounts_and_services() {
    let nobody = Trust::Refused(Verdict::ImplicitDeny);
    assert_eq!(decide(r#"{"AWS":"arn:aws:iam::123456789012:user/alice"}"#, ALICE), Trust::Named);
    assert_eq!(decide(r#"{"AWS":["arn:aws:iam::123456789012:user/bob"]}"#, ALICE), nobody);
    for account in [r#"{"AWS":"123456789012"}"#, r#"{"AWS":"arn:aws:iam::123456789012:root"}"#, r#""*""#] {
        assert_eq!(decide(account, ALICE), Trust::Delegated, "{account}");
    }
    assert_eq!(decide(r#"{"AWS":"210987654321"}"#, ALICE), nobody);
    let service = r#"{"Service":"credentials.iot.amazonaws.com"}"#;
    assert_eq!(decide(service, ALICE), nobody);
    assert_eq!(decide(service, Assumer::Service("credentials.iot.amazonaws.com")), Trust::Named);
    assert_eq!(decide(r#""*""#, Assumer::Service("credentials.iot.amazonaws.com")), nobody);
}

#[test]
fn a_session_is_meant_by_its_role_too() {
    let session = Assumer::Principal {
        account: "123456789012",
        arn: "arn:aws:sts::123456789012:assumed-role/ops/night",
        role_arn: Some("arn:aws:iam::123456789012:role/ops"),
    };
    assert_eq!(decide(r#"{"AWS":"arn:aws:iam::123456789012:role/ops"}"#, session), Trust::Named);
    assert_eq!(
        decide(r#"{"AWS":"arn:aws:sts::123456789012:assumed-role/ops/night"}"#, session),
        Trust::Named
    );
    let other = r#"{"AWS":"arn:aws:sts::123456789012:assumed-role/ops/day"}"#;
    assert_eq!(decide(other, session), Trust::Refused(Verdict::ImplicitDeny));
}

#[test]
fn conditions_and_denials_count() {
    let condition = r#","Condition":{"StringEquals":{"sts:ExternalId":"42"}}"#;
    let policy = trust(r#"{"AWS":"123456789012"}"#, condition).unwrap();
    let mut keys = CustomKeys::new();
    let decide = |keys: &CustomKeys| {
        let context = Context { custom: Some(keys), ..Context::default() };
        policy.decide(ALICE, "sts:AssumeRole", &context)
    };
    assert_eq!(decide(&keys), Trust::Refused(Verdict::ImplicitDeny));
    keys.insert("sts:ExternalId", "42");
    assert_eq!(decide(&keys), Trust::Delegated);
    let both = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"sts:*","Principal":"*"},
        {"Effect":"Deny","Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::123456789012:user/alice"}}]}"#;
    let both = TrustPolicy::parse(both, &Limits::default()).unwrap();
    let context = Context::default();
    assert_eq!(both.decide(ALICE, "sts:AssumeRole", &context), Trust::Refused(Verdict::ExplicitDeny));
    assert_eq!(both.decide(ALICE, "sts:TagSession", &context), Trust::Delegated);
}

#[test]
fn what_is_no_trust_policy() {
    for principal in [
        "{}",
        r#"{"AWS":[]}"#,
        r#"{"AWS":"alice"}"#,
        r#"{"AWS":"arn:aws:iam::1:root"}"#,
        r#"{"Federated":"x"}"#,
        r#""alice""#,
        "1",
        r#"{"AWS":"arn:aws:iam::123456789012:group/x"}"#,
    ] {
        assert!(trust(principal, "").is_err(), "{principal}");
    }
    assert!(trust(r#""*""#, r#","Resource":"*""#).is_err());
}
