//! security.md section 9.1 and section 13, rows 22 and 23.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn with_policy() -> Registry {
    let mut registry = registry();
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry
}

/// A policy of so many characters that are no white space, and 10 KB of spaces.
fn padded(characters: usize) -> String {
    let empty = DOCUMENT.replace(r#""Statement""#, r#""Id":"","Statement""#);
    let id = "x".repeat(characters - empty.len());
    empty.replace(r#""Id":"""#, &format!(r#""Id":{}"{id}""#, " ".repeat(10_240)))
}

#[test]
fn white_space_does_not_count() {
    assert!(registry().run(create_policy("p", &padded(2048))).is_ok());
    let refused = registry().run(create_policy("p", &padded(2049)));
    assert_eq!(refusal(refused), (MalformedPolicyException, 400));
}

#[test]
fn policies_refused_at_creation() {
    let mut registry = with_policy();
    for (name, document, expected) in [
        ("p", DOCUMENT, (ResourceAlreadyExistsException, 409)),
        ("a:b", DOCUMENT, (InvalidRequestException, 400)),
        ("q", "{}", (MalformedPolicyException, 400)),
        ("q", "", (MalformedPolicyException, 400)),
    ] {
        assert_eq!(refusal(registry.run(create_policy(name, document))), expected, "{name} {document}");
    }
}

#[test]
fn versions() {
    let mut registry = with_policy();
    for number in 2..=5 {
        let reply = registry.run(create_version("p", DOCUMENT, number == 3)).unwrap();
        let Reply::PolicyVersion(created) = reply else { panic!("{reply:?}") };
        assert_eq!(
            (created.policy_version_id, created.is_default_version),
            (number.to_string(), number == 3)
        );
    }
    let sixth = registry.run(create_version("p", DOCUMENT, false));
    assert_eq!(refusal(sixth), (VersionsLimitExceededException, 409));
    let delete = |number: &str| Action::DeletePolicyVersion(version("p", number));
    assert_eq!(refusal(registry.run(delete("3"))), (DeleteConflictException, 409));
    assert_eq!(refusal(registry.run(delete("9"))), (ResourceNotFoundException, 404));
    assert_eq!(refusal(registry.run(delete("x"))), (InvalidRequestException, 400));
    registry.run(delete("5")).unwrap();
    registry.run(create_version("p", DOCUMENT, false)).unwrap();
    registry.run(Action::SetDefaultPolicyVersion(version("p", "6"))).unwrap();
    let QueryReply::PolicyVersions(listed) =
        registry.ask(QueryKind::ListPolicyVersions("p".to_owned())).unwrap()
    else {
        panic!("not versions")
    };
    let ids: Vec<_> =
        listed.iter().map(|found| (found.version_id.as_str(), found.is_default_version)).collect();
    assert_eq!(ids, [("6", true), ("4", false), ("3", false), ("2", false), ("1", false)]);
    let QueryReply::Policy(policy) = registry.ask(QueryKind::GetPolicy("p".to_owned())).unwrap() else {
        panic!("no policy")
    };
    assert_eq!((policy.default_version_id.as_str(), policy.policy_document.as_str()), ("6", DOCUMENT));
}

#[test]
fn a_policy_with_versions_or_targets_is_not_deleted() {
    let mut registry = with_policy();
    let delete = || Action::DeletePolicy("p".to_owned());
    registry.run(create_version("p", DOCUMENT, true)).unwrap();
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409));
    registry.run(Action::DeletePolicyVersion(version("p", "1"))).unwrap();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    registry.run(Action::AttachPolicy(target("p", &cert("1")))).unwrap();
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409));
    registry.run(Action::DetachPolicy(target("p", &cert("1")))).unwrap();
    assert!(is_done(registry.run(delete())));
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
}

#[test]
fn targets() {
    let mut registry = with_policy();
    registry.run(issue("1", CertificateStatus::Inactive)).unwrap();
    let identity = "eu-west-1:01234567-89ab-cdef-0123-456789abcdef";
    let elsewhere = cert("1").replace("eu-west-1", "us-east-1");
    for (policy, name, expected) in [
        ("p", cert("1"), None),
        ("p", cert("1"), None),
        ("p", identity.to_owned(), None),
        ("unknown", cert("1"), Some((ResourceNotFoundException, 404))),
        ("p", cert("2"), Some((ResourceNotFoundException, 404))),
        ("p", elsewhere, Some((ResourceNotFoundException, 404))),
        ("p", arn("thinggroup", "g"), Some((ResourceNotFoundException, 404))),
        ("p", arn("thing", "a"), Some((InvalidRequestException, 400))),
        ("p", "nonsense".to_owned(), Some((InvalidRequestException, 400))),
    ] {
        let result = registry.run(Action::AttachPolicy(target(policy, &name)));
        assert_eq!(result.is_err().then(|| refusal(result)), expected, "{policy} {name}");
    }
    let page = PageRequest::default;
    let of_policy = QueryKind::ListTargetsForPolicy { policy_name: "p".to_owned(), page: page() };
    let mut targets = names(registry.ask(of_policy).unwrap());
    targets.sort();
    assert_eq!(targets, [cert("1"), identity.to_owned()]);
    let of_target = QueryKind::ListAttachedPolicies { target: cert("1"), page: page() };
    assert_eq!(names(registry.ask(of_target).unwrap()), ["p"]);
    assert!(is_done(registry.run(Action::DetachPolicy(target("unknown", &cert("1"))))));
    let strict = registry.run(Action::DetachPrincipalPolicy(target("unknown", &cert("1"))));
    assert_eq!(refusal(strict), (ResourceNotFoundException, 404));
    let group = registry.run(Action::AttachPrincipalPolicy(target("p", &arn("thinggroup", "g"))));
    assert_eq!(refusal(group), (InvalidRequestException, 400));
}

#[test]
fn the_eleventh_policy_of_a_certificate() {
    let mut registry = registry();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    for number in 0..11 {
        let name = format!("p{number}");
        registry.run(create_policy(&name, DOCUMENT)).unwrap();
        let result = registry.run(Action::AttachPolicy(target(&name, &cert("1"))));
        let expected = (number == 10).then_some((LimitExceededException, 410));
        assert_eq!(result.is_err().then(|| refusal(result)), expected);
    }
}

#[test]
fn deprecated_listings_run_in_the_order_of_attaching() {
    let mut registry = registry();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    for name in ["b", "a"] {
        registry.run(create_policy(name, DOCUMENT)).unwrap();
        registry.run(Action::AttachPrincipalPolicy(target(name, &cert("1")))).unwrap();
        registry.wait(1);
    }
    let list = |ascending| {
        let page = PageRequest::default();
        let kind = QueryKind::ListPrincipalPolicies { principal: cert("1"), ascending, page };
        names(registry.ask(kind).unwrap())
    };
    assert_eq!((list(true), list(false)), (vec!["b".into(), "a".into()], vec!["a".into(), "b".into()]));
    let page = PageRequest::default();
    let kind = QueryKind::ListPolicyPrincipals { policy_name: "a".to_owned(), ascending: false, page };
    assert_eq!(names(registry.ask(kind).unwrap()), [cert("1")]);
}
