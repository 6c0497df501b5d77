//! security.md section 2.3 and section 13, rows 2 to 4 and 9.

use CertificateStatus::*;

use crate::command::Action;
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn described(registry: &Registry, digit: &str) -> CertificateDescription {
    match registry.ask(QueryKind::DescribeCertificate(id(digit))).unwrap() {
        QueryReply::Certificate(certificate) => *certificate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_status_machine() {
    let state = Some((CertificateStateException, 406));
    let invalid = Some((InvalidRequestException, 400));
    for (from, to, expected) in [
        (Active, Inactive, None),
        (Active, Active, None),
        (Active, Revoked, None),
        (Inactive, Active, None),
        (Inactive, Revoked, None),
        (PendingActivation, Active, None),
        (PendingActivation, Inactive, None),
        (PendingActivation, Revoked, None),
        (Revoked, Revoked, None),
        (Revoked, Active, state),
        (Revoked, Inactive, state),
        (Active, PendingTransfer, invalid),
        (Active, PendingActivation, invalid),
        (Inactive, RegisterInactive, invalid),
    ] {
        let mut registry = registry();
        let initial = if from == Revoked { Active } else { from };
        registry.run(issue("1", initial)).unwrap();
        if from == Revoked {
            registry.run(set_status("1", Revoked)).unwrap();
        }
        let result = registry.run(set_status("1", to));
        assert_eq!(result.is_err().then(|| refusal(result)), expected, "{from:?} to {to:?}");
        assert_eq!(described(&registry, "1").status, if expected.is_none() { to } else { from });
    }
}

#[test]
fn customer_versions_count_changes_only() {
    let mut registry = registry();
    registry.run(issue("1", Inactive)).unwrap();
    registry.wait(5);
    registry.run(set_status("1", Inactive)).unwrap();
    assert_eq!(described(&registry, "1").customer_version, 1);
    registry.run(set_status("1", Active)).unwrap();
    let after = described(&registry, "1");
    assert_eq!(after.customer_version, 2);
    assert_eq!(after.modified_at.since(after.created_at).as_secs(), 5);
}

#[test]
fn deleting() {
    let mut registry = registry();
    registry.run(issue("1", Active)).unwrap();
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry.run(create_thing("a", None, &[])).unwrap();
    registry.run(Action::AttachPolicy(target("p", &cert("1")))).unwrap();
    registry.run(attach_thing("a", &cert("1"), None)).unwrap();
    assert_eq!(refusal(registry.run(delete_certificate("1", true))), (CertificateStateException, 406));
    registry.run(set_status("1", Inactive)).unwrap();
    assert_eq!(refusal(registry.run(delete_certificate("1", true))), (DeleteConflictException, 409));
    registry.run(detach_thing("a", &cert("1"))).unwrap();
    assert_eq!(refusal(registry.run(delete_certificate("1", false))), (DeleteConflictException, 409));
    assert!(is_done(registry.run(delete_certificate("1", true))));
    assert!(is_done(registry.run(Action::DeletePolicy("p".to_owned()))), "the policy is detached");
    assert_eq!(refusal(registry.run(delete_certificate("1", true))), (ResourceNotFoundException, 404));
}

#[test]
fn registering_twice_tells_what_exists() {
    let mut registry = registry();
    registry.run(issue("1", Active)).unwrap();
    let error = registry.run(issue("1", Active)).unwrap_err();
    assert_eq!(error.code, ResourceAlreadyExistsException);
    assert_eq!(error.resource, Some((id("1"), cert("1"))));
    registry.scope.region = "us-east-1".parse().unwrap();
    assert!(registry.run(issue("1", Active)).is_ok());
    let owners = registry.ask(QueryKind::CertificateOwners { certificate_id: id("1") }).unwrap();
    assert!(matches!(owners, QueryReply::Scopes(scopes) if scopes.len() == 2));
}

#[test]
fn the_ends_of_active_certificates_are_told_in_parts() {
    let mut registry = registry();
    let numbers: Vec<String> = (0..150).map(|n| format!("{n:064x}")).collect();
    for (n, id) in numbers.iter().enumerate() {
        let status = if n % 3 == 0 { Inactive } else { Active };
        let Action::RegisterIssuedCertificate(mut args) = issue("1", status) else { unreachable!() };
        args.certificate_id.clone_from(id);
        registry.run(Action::RegisterIssuedCertificate(args)).unwrap();
    }
    let part = |after| match registry.ask(QueryKind::CertificateEnds { after }).unwrap() {
        QueryReply::CertificateEnds(part) => part,
        other => panic!("{other:?}"),
    };
    let first = part(None);
    assert_eq!(first.ends.len(), 66, "the inactive ones of the first hundred do not count");
    assert_eq!(first.ends[0].account, registry.scope.account);
    let second = part(first.next);
    assert_eq!((second.ends.len(), second.next), (34, None));
}

#[test]
fn registering_with_a_ca() {
    let mut registry = registry();
    assert_eq!(refusal(registry.run(register("1", "a", true))), (CertificateValidationException, 400));
    registry.run(register_ca("a")).unwrap();
    registry.run(set_ca_status("a", CaCertificateStatus::Inactive)).unwrap();
    assert_eq!(refusal(registry.run(register("1", "a", true))), (CertificateStateException, 406));
    registry.run(set_ca_status("a", CaCertificateStatus::Active)).unwrap();
    registry.run(register("1", "a", false)).unwrap();
    registry.run(register_ca("b")).unwrap();
    assert_eq!(refusal(registry.run(register("2", "a", false))), (CertificateConflictException, 409));
    registry.run(register("2", "a", true)).unwrap();
    let certificate = described(&registry, "2");
    assert_eq!(certificate.status, Active);
    assert_eq!(certificate.certificate_mode, CertificateMode::SniOnly);
    assert_eq!(certificate.ca_certificate_id, Some(id("a")));
    let by_ca = |ca: &str| {
        let page = PageRequest::default();
        let kind = QueryKind::ListCertificatesByCa { ca_certificate_id: id(ca), ascending: true, page };
        names(registry.ask(kind).unwrap())
    };
    assert_eq!((by_ca("a"), by_ca("b")), (vec![id("1"), id("2")], vec![]));
}

#[test]
fn registering_without_a_ca() {
    for (status, expected) in
        [(None, Ok(Inactive)), (Some(Revoked), Ok(Revoked)), (Some(PendingActivation), Err(400))]
    {
        let mut registry = registry();
        let args = RegisterCertificateWithoutCa {
            certificate_id: id("1"),
            certificate_pem: "pem".to_owned(),
            validity: validity(),
            status,
        };
        let result = registry.run(Action::RegisterCertificateWithoutCa(Box::new(args)));
        let found =
            result.map(|_| described(&registry, "1").status).map_err(|error| error.code.http_status());
        assert_eq!(found, expected);
    }
}

#[test]
fn listings_run_both_ways() {
    let mut registry = registry();
    for digit in ["3", "1", "2"] {
        registry.run(issue(digit, Active)).unwrap();
        registry.wait(1);
    }
    let list = |ascending| {
        let kind = QueryKind::ListCertificates { ascending, page: PageRequest::default() };
        names(registry.ask(kind).unwrap())
    };
    assert_eq!(list(true), [id("3"), id("1"), id("2")]);
    assert_eq!(list(false), [id("2"), id("1"), id("3")]);
}
