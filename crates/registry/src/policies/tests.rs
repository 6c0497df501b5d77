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
    let of_target = QueryKind::ListAttachedPolicies { target: cert("1"), recursive: true, page: page() };
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

/// `root` over `leaf`, with thing `a` in `leaf`, and policies `p`, `q`, `r`, `s`.
fn with_groups() -> Registry {
    let mut registry = registry();
    for name in ["p", "q", "r", "s"] {
        registry.run(create_policy(name, DOCUMENT)).unwrap();
    }
    registry.run(create_group("root", None)).unwrap();
    registry.run(create_group("leaf", Some("root"))).unwrap();
    registry.run(create_thing("a", None, &[])).unwrap();
    registry.run(join("a", "leaf")).unwrap();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    registry
}

fn attach_to(registry: &mut Registry, policy: &str, to: &str) -> Result<Reply, crate::Error> {
    registry.run(Action::AttachPolicy(target(policy, to)))
}

fn effective(registry: &Registry, principal: Option<&str>, thing: Option<&str>) -> Vec<String> {
    let (principal, thing_name) = (principal.map(str::to_owned), thing.map(str::to_owned));
    match registry.ask(QueryKind::EffectivePolicies { principal, thing_name }).unwrap() {
        QueryReply::EffectivePolicies(policies) => {
            policies.into_iter().map(|policy| policy.policy_name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn groups_inherit_policies() {
    let mut registry = with_groups();
    let (root, leaf) = (arn("thinggroup", "root"), arn("thinggroup", "leaf"));
    for (policy, to) in [("p", &root), ("q", &leaf), ("r", &cert("1"))] {
        assert!(is_done(attach_to(&mut registry, policy, to)));
        assert!(is_done(attach_to(&mut registry, policy, to)), "again");
    }
    assert_eq!(effective(&registry, Some(&leaf), None), ["p", "q"]);
    assert_eq!(effective(&registry, Some(&root), None), ["p"]);
    assert_eq!(effective(&registry, None, Some("a")), ["p", "q"]);
    assert_eq!(effective(&registry, Some(&cert("1")), None), ["r"]);
    assert_eq!(effective(&registry, Some(&cert("1")), Some("a")), ["p", "q", "r"]);
    let attached = |recursive: bool, limit: Option<u32>, token: Option<String>| {
        let (target, page) = (leaf.clone(), PageRequest { limit, token });
        match registry.ask(QueryKind::ListAttachedPolicies { target, recursive, page }).unwrap() {
            QueryReply::Policies(page) => page,
            other => panic!("{other:?}"),
        }
    };
    let names = |page: &Listed<PolicySummary>| {
        page.items.iter().map(|policy| policy.policy_name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&attached(false, None, None)), ["q"]);
    let first = attached(true, Some(1), None);
    let second = attached(true, Some(1), first.next.clone());
    assert_eq!(
        (names(&first), names(&second), second.next),
        (vec!["p".to_owned()], vec!["q".to_owned()], None)
    );
    let targets = registry
        .ask(QueryKind::ListTargetsForPolicy { policy_name: "q".to_owned(), page: PageRequest::default() });
    assert_eq!(crate::requests::names(targets.unwrap()), [leaf]);
}

#[test]
fn a_group_has_two_policies_and_takes_them_along() {
    let mut registry = with_groups();
    let leaf = arn("thinggroup", "leaf");
    for policy in ["p", "q"] {
        assert!(is_done(attach_to(&mut registry, policy, &leaf)));
    }
    assert_eq!(refusal(attach_to(&mut registry, "r", &leaf)), (LimitExceededException, 410));
    let foreign = leaf.replace("123456789012", "210987654321");
    assert_eq!(refusal(attach_to(&mut registry, "r", &foreign)), (ResourceNotFoundException, 404));
    let delete = || Action::DeletePolicy("p".to_owned());
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409));
    registry.run(Action::DetachPolicy(target("q", &leaf))).unwrap();
    registry.run(delete_group("leaf")).unwrap();
    assert!(is_done(registry.run(delete())), "detached with the group");
}

#[test]
fn a_gateway_is_told_of_the_policies_of_groups() {
    let mut registry = with_groups();
    let principal = cert("1");
    for (policy, to) in
        [("p", &arn("thinggroup", "root")), ("q", &arn("thinggroup", "leaf")), ("r", &principal)]
    {
        attach_to(&mut registry, policy, to).unwrap();
    }
    registry.run(create_thing("b", None, &[])).unwrap();
    for thing in ["a", "b"] {
        registry.run(attach_thing(thing, &principal, None)).unwrap();
    }
    let view =
        |registry: &Registry| match registry.ask(QueryKind::Principal { certificate_id: id("1") }).unwrap() {
            QueryReply::Principal(Some(view)) => *view,
            other => panic!("{other:?}"),
        };
    let told = |policies: &[AttachedPolicy]| {
        policies.iter().map(|policy| policy.policy_name.clone()).collect::<Vec<_>>()
    };
    let now = view(&registry);
    assert_eq!(
        (told(&now.policies), told(&now.group_policies)),
        (vec!["r".to_owned()], vec!["p".to_owned(), "q".to_owned()])
    );
    let [a, b] = now.things.as_slice() else { panic!("{:?}", now.things) };
    assert_eq!(
        (a.thing_groups.as_slice(), a.group_policies.as_slice()),
        (["leaf".to_owned(), "root".to_owned()].as_slice(), ["p".to_owned(), "q".to_owned()].as_slice())
    );
    assert!(b.thing_groups.is_empty() && b.group_policies.is_empty());
    let (certificate_id, thing_name) = (id("1"), "a".to_owned());
    match registry.ask(QueryKind::PrincipalThing { certificate_id, thing_name }).unwrap() {
        QueryReply::PrincipalThing(Some(standing)) => assert_eq!(told(&standing.policies), ["p", "q"]),
        other => panic!("{other:?}"),
    }
    registry.run(delete_group("leaf")).unwrap();
    assert!(view(&registry).group_policies.is_empty(), "what was inherited is gone, too");
}
