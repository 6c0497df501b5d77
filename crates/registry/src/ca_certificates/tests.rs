//! security.md section 3 and section 13, rows 6 to 8.

use CertificateMode::{Default as DefaultMode, SniOnly};

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::{Registry, account_arguments};

fn code(registry: &mut Registry) -> String {
    match registry.run(Action::GetRegistrationCode).unwrap() {
        Reply::RegistrationCode(code) => code,
        other => panic!("{other:?}"),
    }
}

fn run(registry: &mut Registry, args: RegisterCaCertificate) -> Result<Reply, crate::Error> {
    registry.run(Action::RegisterCaCertificate(Box::new(args)))
}

fn described(registry: &Registry, digit: &str) -> CaCertificateDescription {
    match registry.ask(QueryKind::DescribeCaCertificate(id(digit))).unwrap() {
        QueryReply::CaCertificate(ca) => *ca,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_code_stays_until_it_is_deleted() {
    let mut registry = registry();
    assert_eq!(refusal(registry.run(Action::DeleteRegistrationCode)), (ResourceNotFoundException, 404));
    let first = code(&mut registry);
    assert_eq!(first.len(), 64);
    assert_eq!(code(&mut registry), first);
    registry.run(Action::DeleteRegistrationCode).unwrap();
    assert_ne!(code(&mut registry), first);
}

#[test]
fn possession_is_proved_in_default_mode_only() {
    let mut registry = registry();
    let early = run(&mut registry, ca("a", DefaultMode, Some("x")));
    assert_eq!(refusal(early), (RegistrationCodeValidationException, 400));
    let code = code(&mut registry);
    let prefix = code.get(..63).unwrap();
    for (mode, name, expected) in [
        (DefaultMode, Some("other"), Some((RegistrationCodeValidationException, 400))),
        (DefaultMode, Some(prefix), Some((RegistrationCodeValidationException, 400))),
        (DefaultMode, None, Some((InvalidRequestException, 400))),
        (SniOnly, Some(code.as_str()), Some((InvalidRequestException, 400))),
        (DefaultMode, Some(code.as_str()), None),
        (DefaultMode, Some(code.as_str()), Some((ResourceAlreadyExistsException, 409))),
    ] {
        let result = run(&mut registry, ca("a", mode, name));
        assert_eq!(result.is_err().then(|| refusal(result)), expected, "{mode:?} {name:?}");
    }
}

#[test]
fn one_account_of_a_region_has_a_ca_in_default_mode() {
    let mut registry = registry();
    let first = code(&mut registry);
    run(&mut registry, ca("a", DefaultMode, Some(&first))).unwrap();
    registry.scope.account = "000000000001".parse().unwrap();
    let account = account_arguments("AKIAOTHEROTHEROT");
    registry.run(Action::CreateAccount(Box::new(account))).unwrap();
    let second = code(&mut registry);
    let conflict = run(&mut registry, ca("a", DefaultMode, Some(&second)));
    assert_eq!(refusal(conflict), (ResourceAlreadyExistsException, 409));
    run(&mut registry, ca("a", SniOnly, None)).unwrap();
    registry.scope.region = "us-east-1".parse().unwrap();
    let second = code(&mut registry);
    run(&mut registry, ca("a", DefaultMode, Some(&second))).unwrap();
}

#[test]
fn ten_cas_share_a_subject() {
    let mut registry = registry();
    for digit in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        registry.run(register_ca(digit)).unwrap();
    }
    assert_eq!(refusal(registry.run(register_ca("a"))), (LimitExceededException, 410));
    let other = RegisterCaCertificate { subject: "CN=other".to_owned(), ..ca("a", SniOnly, None) };
    run(&mut registry, other).unwrap();
    let found = registry.ask(QueryKind::CaCertificatesBySubject("CN=ca".to_owned())).unwrap();
    assert!(matches!(found, QueryReply::CaCertificatesBySubject(found) if found.len() == 10));
}

#[test]
fn registration_configurations() {
    let role = || Some("arn:aws:iam::123456789012:role/r".to_owned());
    let body = || Some(r#"{"Resources":{}}"#.to_owned());
    let config = |template_body, role_arn, template_name| {
        Some(RegistrationConfig { template_body, role_arn, template_name })
    };
    let name = || Some("template".to_owned());
    for (config, expected) in [
        (config(body(), role(), None), None),
        (config(body(), None, None), Some((InvalidRequestException, 400))),
        (config(None, None, None), Some((InvalidRequestException, 400))),
        (config(body(), role(), name()), Some((InvalidRequestException, 400))),
        (config(None, None, name()), Some((ResourceNotFoundException, 404))),
        (config(body(), Some("role".to_owned()), None), Some((InvalidRequestException, 400))),
        (config(Some("[]".to_owned()), role(), None), Some((InvalidRequestException, 400))),
    ] {
        let args = RegisterCaCertificate { registration_config: config.clone(), ..ca("a", SniOnly, None) };
        let result = run(&mut registry(), args);
        assert_eq!(result.is_err().then(|| refusal(result)), expected, "{config:?}");
    }
}

#[test]
fn updating_and_deleting() {
    let mut registry = registry();
    let body = r#"{"Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}}}}"#;
    let template_body = Some(body.to_owned());
    let role_arn = Some("arn:aws:iam::123456789012:role/r".to_owned());
    let registration_config = Some(RegistrationConfig { template_body, role_arn, template_name: None });
    let allow_auto_registration = true;
    let args =
        RegisterCaCertificate { registration_config, allow_auto_registration, ..ca("a", SniOnly, None) };
    run(&mut registry, args).unwrap();
    registry.run(register("1", "a", false)).unwrap();
    assert_eq!(described(&registry, "a").auto_registration_status, AutoRegistrationStatus::Enable);
    let certificate_id = id("a");
    let remove = UpdateCaCertificate {
        certificate_id,
        remove_auto_registration: true,
        ..UpdateCaCertificate::default()
    };
    registry.run(Action::UpdateCaCertificate(Box::new(remove))).unwrap();
    let after = described(&registry, "a");
    assert_eq!(after.auto_registration_status, AutoRegistrationStatus::Disable);
    assert_eq!((after.registration_config, after.customer_version), (None, 2));
    let delete = || Action::DeleteCaCertificate(id("a"));
    assert_eq!(refusal(registry.run(delete())), (CertificateStateException, 406));
    registry.run(set_ca_status("a", CaCertificateStatus::Inactive)).unwrap();
    assert!(is_done(registry.run(delete())));
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
    assert!(registry.ask(QueryKind::DescribeCertificate(id("1"))).is_ok(), "its certificates stay");
}
