//! provisioning.md sections 3 and 4, and section 14, rows 18, 19 and 20.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const ROLE: &str = "arn:aws:iam::123456789012:role/provisioning";

fn body(parameters: &[&str]) -> String {
    let parameters: BTreeMap<_, _> =
        parameters.iter().map(|name| (*name, json!({"Type": "String"}))).collect();
    let body = json!({
        "Parameters": parameters,
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"}}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}},
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": DOCUMENT}},
        },
    });
    body.to_string()
}

/// A CA whose devices register themselves.
fn register_ca(config: Option<RegistrationConfig>) -> Action {
    let mut args = ca("a", CertificateMode::SniOnly, None);
    (args.allow_auto_registration, args.registration_config) = (true, config);
    Action::RegisterCaCertificate(Box::new(args))
}

fn inline(body: String) -> RegistrationConfig {
    RegistrationConfig { template_body: Some(body), role_arn: Some(ROLE.to_owned()), template_name: None }
}

fn connect(registry: &mut Registry, digit: &str, common_name: &str) -> Result<FirstConnected, crate::Error> {
    let Action::RegisterCertificate(certificate) = register(digit, "a", true) else { unreachable!() };
    let subject = BTreeMap::from([("CommonName".to_owned(), common_name.to_owned())]);
    let args = FirstConnect { certificate: *certificate, subject };
    let action = Action::FirstConnect(Box::new(args));
    assert!(action.is_enrolment());
    registry.run(action).map(|reply| match reply {
        Reply::FirstConnected(connected) => *connected,
        other => panic!("{other:?}"),
    })
}

fn described(registry: &Registry, digit: &str) -> Option<CertificateDescription> {
    match registry.ask(QueryKind::DescribeCertificate(id(digit))) {
        Ok(QueryReply::Certificate(certificate)) => Some(*certificate),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

fn authorities(registry: &Registry) -> Vec<String> {
    match registry.ask(QueryKind::IssuingAuthorities("CN=ca".to_owned())).unwrap() {
        QueryReply::IssuingAuthorities(found) => found.into_iter().map(|ca| ca.certificate_id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_registers_itself_and_who_decides_is_told_each_time() {
    let mut registry = registry();
    registry.run(register_ca(None)).unwrap();
    assert_eq!(authorities(&registry), [id("a")]);
    assert_eq!(connect(&mut registry, "1", "lamp"), Ok(FirstConnected::Registered));
    let certificate = described(&registry, "1").unwrap();
    assert_eq!(certificate.status, CertificateStatus::PendingActivation);
    assert_eq!(certificate.ca_certificate_id, Some(id("a")));
    assert_eq!(certificate.certificate_mode, CertificateMode::SniOnly, "as the CA's");
    let registered_at = registry.now;
    registry.wait(5);
    let before = registry.view.clone();
    assert_eq!(connect(&mut registry, "1", "lamp"), Ok(FirstConnected::Registered));
    assert_eq!(registry.view, before);
    let told: Vec<_> = registry.emits.iter().map(|emit| &*emit.topic).collect();
    let topic = format!("$aws/events/certificates/registered/{}", id("a"));
    assert_eq!(told, [&topic, &topic]);
    let payload: Value = serde_json::from_slice(&registry.emits[1].payload).unwrap();
    let expected = json!({
        "certificateId": id("1"),
        "caCertificateId": id("a"),
        "timestamp": registered_at.as_millis() + 5000,
        "certificateStatus": "PENDING_ACTIVATION",
        "awsAccountId": "123456789012",
        "certificateRegistrationTimestamp": registered_at.as_millis().to_string(),
    });
    assert_eq!(payload, expected);
    // What somebody has decided about is left alone.
    registry.run(set_status("1", CertificateStatus::Inactive)).unwrap();
    assert_eq!(refusal(connect(&mut registry, "1", "lamp")), (CertificateStateException, 406));
}

#[test]
fn only_an_authority_that_is_active_and_enabled() {
    let mut registry = registry();
    assert_eq!(refusal(connect(&mut registry, "1", "lamp")), (ResourceNotFoundException, 404));
    registry.run(register_ca(None)).unwrap();
    let set = |status, auto| {
        Action::UpdateCaCertificate(Box::new(UpdateCaCertificate {
            certificate_id: id("a"),
            new_status: status,
            new_auto_registration_status: auto,
            ..UpdateCaCertificate::default()
        }))
    };
    for (off, on) in [
        (set(Some(CaCertificateStatus::Inactive), None), set(Some(CaCertificateStatus::Active), None)),
        (set(None, Some(AutoRegistrationStatus::Disable)), set(None, Some(AutoRegistrationStatus::Enable))),
    ] {
        registry.run(off).unwrap();
        assert!(authorities(&registry).is_empty());
        assert_eq!(refusal(connect(&mut registry, "1", "lamp")), (CertificateStateException, 406));
        assert!(described(&registry, "1").is_none());
        registry.run(on).unwrap();
        assert_eq!(authorities(&registry), [id("a")]);
    }
    // Certificates stay when their CA goes.
    connect(&mut registry, "1", "lamp").unwrap();
    registry.run(set(Some(CaCertificateStatus::Inactive), None)).unwrap();
    registry.run(Action::DeleteCaCertificate(id("a"))).unwrap();
    assert!(authorities(&registry).is_empty() && described(&registry, "1").is_some());
}

#[test]
fn a_template_provisions_a_device_at_once() {
    let mut registry = registry();
    let names = ["AWS::IoT::Certificate::CommonName", "AWS::IoT::Certificate::Id"];
    registry.run(register_ca(Some(inline(body(&names))))).unwrap();
    let provisioned = FirstConnected::Provisioned(Some("lamp".to_owned()));
    assert_eq!(connect(&mut registry, "1", "lamp"), Ok(provisioned));
    assert_eq!(described(&registry, "1").unwrap().status, CertificateStatus::Active);
    let QueryReply::Principal(Some(view)) =
        registry.ask(QueryKind::Principal { certificate_id: id("1") }).unwrap()
    else {
        panic!("another answer")
    };
    assert_eq!((view.things[0].thing_name.as_str(), view.policies.len()), ("lamp", 1));
    assert!(registry.emits.is_empty(), "nobody has to decide");
    assert_eq!(refusal(connect(&mut registry, "1", "lamp")), (CertificateStateException, 406), "once");
}

#[test]
fn what_cannot_be_provisioned_waits_and_is_tried_again() {
    let mut registry = registry();
    registry.run(register_ca(Some(inline(body(&["AWS::IoT::Certificate::Country"]))))).unwrap();
    let outcome = connect(&mut registry, "1", "lamp").unwrap();
    assert!(
        matches!(&outcome, FirstConnected::NotProvisioned(why) if why.contains("Country")),
        "{outcome:?}"
    );
    assert_eq!(described(&registry, "1").unwrap().status, CertificateStatus::PendingActivation);
    let fixed = UpdateCaCertificate {
        certificate_id: id("a"),
        registration_config: Some(inline(body(&[]))),
        ..UpdateCaCertificate::default()
    };
    registry.run(Action::UpdateCaCertificate(Box::new(fixed))).unwrap();
    // A name that no thing can have: nothing of it stays, but the certificate.
    let before = registry.view.clone();
    assert!(matches!(connect(&mut registry, "1", "a b"), Ok(FirstConnected::NotProvisioned(_))));
    assert_eq!(registry.view, before);
    assert!(matches!(connect(&mut registry, "1", "lamp"), Ok(FirstConnected::Provisioned(_))));
    assert_eq!(described(&registry, "1").unwrap().status, CertificateStatus::Active);
}

#[test]
fn a_template_by_name_must_be_for_that() {
    let create = |name: &str, template_type, enabled| {
        Action::CreateProvisioningTemplate(Box::new(CreateProvisioningTemplate {
            template_name: name.to_owned(),
            description: None,
            template_body: body(&[]),
            enabled,
            provisioning_role_arn: ROLE.to_owned(),
            pre_provisioning_hook: None,
            template_type,
            tags: Vec::new(),
        }))
    };
    let named = |name: &str| RegistrationConfig {
        template_body: None,
        role_arn: None,
        template_name: Some(name.to_owned()),
    };
    let mut registry = registry();
    registry.run(create("J", TemplateType::Jitp, false)).unwrap();
    registry.run(create("F", TemplateType::FleetProvisioning, true)).unwrap();
    let wrong = registry.run(register_ca(Some(named("F"))));
    assert_eq!(refusal(wrong), (InvalidRequestException, 400));
    let unknown = registry.run(register_ca(Some(named("U"))));
    assert_eq!(refusal(unknown), (ResourceNotFoundException, 404));
    registry.run(register_ca(Some(named("J")))).unwrap();
    assert!(
        matches!(connect(&mut registry, "1", "lamp"), Ok(FirstConnected::NotProvisioned(_))),
        "not enabled"
    );
    let enable = UpdateProvisioningTemplate {
        template_name: "J".to_owned(),
        enabled: Some(true),
        ..UpdateProvisioningTemplate::default()
    };
    registry.run(Action::UpdateProvisioningTemplate(Box::new(enable))).unwrap();
    assert!(matches!(connect(&mut registry, "1", "lamp"), Ok(FirstConnected::Provisioned(_))));
}
