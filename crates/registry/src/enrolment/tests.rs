//! provisioning.md section 5, and section 14, rows 1, 2, 3, 10, 11, 12 and 15.

use std::collections::BTreeMap;

use serde_json::json;

use super::ENDED_AT_ONCE;
use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

/// A template that makes a thing `lamp-{Serial}`.
fn template() -> String {
    let body = json!({
        "Parameters": {"Serial": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Fn::Join": ["-", ["lamp", {"Ref": "Serial"}]]}}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"}},
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": DOCUMENT}},
        },
        "DeviceConfiguration": {"serial": {"Ref": "Serial"}},
    });
    body.to_string()
}

fn create_template(name: &str, hook: Option<ProvisioningHook>) -> Action {
    Action::CreateProvisioningTemplate(Box::new(CreateProvisioningTemplate {
        template_name: name.to_owned(),
        description: None,
        template_body: template(),
        enabled: true,
        provisioning_role_arn: "arn:aws:iam::123456789012:role/provisioning".to_owned(),
        pre_provisioning_hook: hook,
        template_type: TemplateType::FleetProvisioning,
        tags: Vec::new(),
    }))
}

fn token(digit: &str, claimant: &str) -> OwnershipToken {
    OwnershipToken { sha256: digit.repeat(64), claimant: claimant.to_owned() }
}

/// Certificate and token of the same digit.
fn issue_for(digit: &str, issued_for: IssuedFor) -> Action {
    let status = match issued_for {
        IssuedFor::Device(_) => CertificateStatus::PendingActivation,
        _ => CertificateStatus::Active,
    };
    Action::RegisterIssuedCertificate(Box::new(RegisterIssuedCertificate {
        certificate_id: id(digit),
        certificate_pem: "pem".to_owned(),
        status,
        validity: Validity { not_before: validity().not_before, not_after: later(300) },
        issued_for,
    }))
}

/// So many seconds after the registry's first moment.
fn later(seconds: u64) -> fleethaven_types::Timestamp {
    registry().now.after(std::time::Duration::from_secs(seconds))
}

fn issue_owned(digit: &str) -> Action {
    issue_for(digit, IssuedFor::Device(token(digit, "claim")))
}

fn request(template: &str, serial: Option<&str>, token: OwnershipToken) -> ProvisionDevice {
    let serial = serial.map(|serial| ("Serial".to_owned(), serial.to_owned()));
    let parameters = serial.into_iter().collect();
    ProvisionDevice { template_name: template.to_owned(), parameters, token, allowed_by: None }
}

fn provision(registry: &mut Registry, request: ProvisionDevice) -> Result<ProvisionedDevice, crate::Error> {
    registry.run(Action::ProvisionDevice(Box::new(request))).map(|reply| match reply {
        Reply::ProvisionedDevice(provisioned) => *provisioned,
        other => panic!("{other:?}"),
    })
}

fn status(registry: &Registry, digit: &str) -> Option<CertificateStatus> {
    match registry.ask(QueryKind::DescribeCertificate(id(digit))) {
        Ok(QueryReply::Certificate(certificate)) => Some(certificate.status),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

fn is_good(registry: &Registry, token: OwnershipToken) -> bool {
    match registry.ask(QueryKind::OwnedCertificate(token)).unwrap() {
        QueryReply::OwnedCertificate(owned) => owned.is_some(),
        other => panic!("{other:?}"),
    }
}

fn ended(registry: &mut Registry) -> usize {
    match registry.run(Action::EndExpiredEnrolments).unwrap() {
        Reply::Ended(count) => count,
        other => panic!("{other:?}"),
    }
}

fn fleet() -> Registry {
    let mut registry = registry();
    registry.run(create_template("T", None)).unwrap();
    registry.run(issue_owned("1")).unwrap();
    registry
}

#[test]
fn a_token_is_good_for_one_success() {
    let mut registry = fleet();
    assert!(is_good(&registry, token("1", "claim")));
    // What fails leaves everything as it was, the token included.
    let before = registry.view.clone();
    for (name, serial, refused) in [
        ("U", Some("7"), (ResourceNotFoundException, 404)),
        ("T", None, (InvalidRequestException, 400)),
        ("T", Some("not a name"), (ResourceRegistrationFailureException, 400)),
    ] {
        let outcome = provision(&mut registry, request(name, serial, token("1", "claim")));
        assert_eq!(refusal(outcome), refused);
        assert_eq!(registry.view, before);
    }
    let made = provision(&mut registry, request("T", Some("7"), token("1", "claim"))).unwrap();
    assert_eq!(made.thing_name.as_deref(), Some("lamp-7"));
    assert_eq!(made.device_configuration, BTreeMap::from([("serial".to_owned(), "7".to_owned())]));
    assert_eq!(status(&registry, "1"), Some(CertificateStatus::Active));
    assert!(!is_good(&registry, token("1", "claim")));
    let again = provision(&mut registry, request("T", Some("8"), token("1", "claim")));
    assert_eq!(refusal(again), (CertificateStateException, 406));
    // What has become of the certificate outlives the token.
    registry.wait(3601);
    assert_eq!((ended(&mut registry), ended(&mut registry)), (1, 0));
    assert_eq!(status(&registry, "1"), Some(CertificateStatus::Active));
}

#[test]
fn a_token_is_nobody_elses() {
    let mut registry = fleet();
    registry.run(issue_owned("2")).unwrap();
    for wrong in [token("1", "another"), token("1", ""), token("3", "claim")] {
        assert!(!is_good(&registry, wrong.clone()));
        let outcome = provision(&mut registry, request("T", Some("7"), wrong));
        assert_eq!(refusal(outcome), (CertificateStateException, 406));
    }
    let malformed = OwnershipToken { sha256: "1\0".to_owned(), claimant: "claim".to_owned() };
    assert_eq!(
        refusal(provision(&mut registry, request("T", Some("7"), malformed))),
        (InvalidRequestException, 400)
    );
    // Another account has a template of that name, and no such token.
    let scope = registry.scope;
    registry.scope.account = "210987654321".parse().unwrap();
    registry.run(create_template("T", None)).unwrap();
    let foreign = provision(&mut registry, request("T", Some("7"), token("1", "claim")));
    assert_eq!(refusal(foreign), (CertificateStateException, 406));
    registry.scope = scope;
    provision(&mut registry, request("T", Some("7"), token("1", "claim"))).unwrap();
    assert_eq!(status(&registry, "2"), Some(CertificateStatus::PendingActivation));
}

#[test]
fn what_was_not_provisioned_in_time_goes() {
    let mut registry = fleet();
    registry.run(issue_owned("2")).unwrap();
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry.run(Action::AttachPolicy(target("p", &cert("2")))).unwrap();
    registry.wait(3599);
    assert_eq!(ended(&mut registry), 0);
    assert!(is_good(&registry, token("1", "claim")));
    registry.wait(1);
    assert!(!is_good(&registry, token("1", "claim")), "before anything has ended it");
    let late = provision(&mut registry, request("T", Some("7"), token("1", "claim")));
    assert_eq!(refusal(late), (CertificateStateException, 406));
    assert_eq!(ended(&mut registry), 2);
    assert_eq!(status(&registry, "1"), None);
    assert_eq!(status(&registry, "2"), Some(CertificateStatus::PendingActivation), "a policy is attached");
    let page = PageRequest::default();
    let listed = registry.ask(QueryKind::ListCertificates { ascending: true, page }).unwrap();
    assert_eq!(names(listed), [id("2")]);
}

#[test]
fn so_many_end_at_once() {
    let mut registry = registry();
    for number in 0..=ENDED_AT_ONCE {
        let digits = format!("{number:064x}");
        let token = OwnershipToken { sha256: digits.clone(), claimant: String::new() };
        let Action::RegisterIssuedCertificate(mut args) = issue_for("1", IssuedFor::Device(token)) else {
            unreachable!()
        };
        args.certificate_id = digits;
        registry.run(Action::RegisterIssuedCertificate(args)).unwrap();
    }
    registry.wait(3600);
    assert_eq!([(); 3].map(|()| ended(&mut registry)), [ENDED_AT_ONCE, 1, 0]);
    assert!(
        !registry.view.entries().keys().any(|key| key.starts_with(b"123456789012/eu-west-1/certificate"))
    );
}

#[test]
fn a_template_must_be_enabled_and_its_hook_asked() {
    let hook = ProvisioningHook {
        payload_version: "2020-04-01".to_owned(),
        target_arn: "arn:aws:lambda:eu-west-1:123456789012:function:hook".to_owned(),
    };
    let mut registry = fleet();
    registry.run(create_template("H", Some(hook.clone()))).unwrap();
    let unasked = provision(&mut registry, request("H", Some("7"), token("1", "claim")));
    assert_eq!(refusal(unasked), (UnauthorizedException, 401));
    let mut asked = request("H", Some("7"), token("1", "claim"));
    asked.allowed_by = Some(hook);
    let update = |enabled| {
        Action::UpdateProvisioningTemplate(Box::new(UpdateProvisioningTemplate {
            template_name: "H".to_owned(),
            enabled: Some(enabled),
            ..UpdateProvisioningTemplate::default()
        }))
    };
    registry.run(update(false)).unwrap();
    assert_eq!(refusal(provision(&mut registry, asked.clone())), (UnauthorizedException, 401));
    registry.run(update(true)).unwrap();
    provision(&mut registry, asked).unwrap();
}

#[test]
fn a_claim_may_do_nothing_else_and_is_not_listed() {
    let mut registry = fleet();
    registry.run(issue_for("2", IssuedFor::Claim("T".to_owned()))).unwrap();
    let unknown = registry.run(issue_for("3", IssuedFor::Claim("U".to_owned())));
    assert_eq!(refusal(unknown), (ResourceNotFoundException, 404));
    // What is attached to it does not count.
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry.run(Action::AttachPolicy(target("p", &cert("2")))).unwrap();
    let QueryReply::Principal(Some(view)) =
        registry.ask(QueryKind::Principal { certificate_id: id("2") }).unwrap()
    else {
        panic!("another answer")
    };
    assert_eq!((view.status, view.policies.len()), (CertificateStatus::Active, 1));
    let document = &view.policies[0].document;
    assert!(document.contains("topic/$aws/provisioning-templates/T/provision/*"), "{document}");
    let page = PageRequest::default();
    let listed = registry.ask(QueryKind::ListCertificates { ascending: true, page }).unwrap();
    assert_eq!(names(listed), [id("1")]);
    registry.wait(301);
    assert_eq!(ended(&mut registry), 1);
    assert_eq!(status(&registry, "2"), None);
    assert!(!registry.view.entries().keys().any(|key| key.ends_with(id("2").as_bytes())));
}

#[test]
fn only_enrolments_are_carried_out_for_those_who_serve_devices() {
    let device = Action::ProvisionDevice(Box::new(request("T", None, token("1", ""))));
    assert!(device.is_enrolment() && issue_owned("1").is_enrolment());
    let claim = issue_for("1", IssuedFor::Claim("T".to_owned()));
    for other in [claim, issue("1", CertificateStatus::Active), create_policy("p", DOCUMENT)] {
        assert!(!other.is_enrolment(), "{other:?}");
    }
    let mut active = issue_owned("1");
    let Action::RegisterIssuedCertificate(args) = &mut active else { unreachable!() };
    args.status = CertificateStatus::Active;
    assert_eq!(refusal(registry().run(active)), (InvalidRequestException, 400));
}
