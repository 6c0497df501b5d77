//! provisioning.md section 2, security.md section 13, row 17, and what gateways read.

use ThingPrincipalType::{ExclusiveThing, NonExclusiveThing};

use crate::command::Action;
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn prepared() -> Registry {
    let mut registry = registry();
    for name in ["a", "b"] {
        registry.run(create_thing(name, None, &[("k", "v")])).unwrap();
    }
    for digit in ["1", "2"] {
        registry.run(issue(digit, CertificateStatus::Active)).unwrap();
    }
    registry
}

#[test]
fn an_exclusive_principal_has_one_thing() {
    let invalid = Some((InvalidRequestException, 400));
    for (first, second, expected) in [
        (None, ("b", None), None),
        (None, ("b", Some(ExclusiveThing)), invalid),
        (Some(ExclusiveThing), ("b", None), invalid),
        (Some(ExclusiveThing), ("b", Some(ExclusiveThing)), invalid),
        (Some(ExclusiveThing), ("a", None), None),
        (Some(ExclusiveThing), ("a", Some(ExclusiveThing)), None),
        (Some(ExclusiveThing), ("a", Some(NonExclusiveThing)), invalid),
        (None, ("a", Some(ExclusiveThing)), invalid),
    ] {
        let mut registry = prepared();
        registry.run(attach_thing("a", &cert("1"), first)).unwrap();
        let result = registry.run(attach_thing(second.0, &cert("1"), second.1));
        assert_eq!(result.is_err().then(|| refusal(result)), expected, "{first:?} then {second:?}");
        assert!(registry.run(attach_thing("a", &cert("2"), Some(ExclusiveThing))).is_ok());
    }
}

#[test]
fn detaching_frees_an_exclusive_principal() {
    let mut registry = prepared();
    registry.run(attach_thing("a", &cert("1"), Some(ExclusiveThing))).unwrap();
    assert!(is_done(registry.run(detach_thing("a", &cert("1")))));
    assert!(is_done(registry.run(detach_thing("a", &cert("1")))));
    assert!(registry.run(attach_thing("b", &cert("1"), Some(ExclusiveThing))).is_ok());
}

#[test]
fn unknown_things_and_principals() {
    let mut registry = prepared();
    for (thing, principal, expected) in [
        ("x", cert("1"), (ResourceNotFoundException, 404)),
        ("a", cert("3"), (ResourceNotFoundException, 404)),
        ("a", arn("policy", "p"), (InvalidRequestException, 400)),
        ("a b", cert("1"), (InvalidRequestException, 400)),
    ] {
        let attached = registry.run(attach_thing(thing, &principal, None));
        assert_eq!(refusal(attached), expected, "{thing} {principal}");
        let detached = registry.run(detach_thing(thing, &principal));
        assert_eq!(refusal(detached), expected, "{thing} {principal}");
    }
}

#[test]
fn listings_of_both_sides() {
    let mut registry = prepared();
    registry.run(attach_thing("a", &cert("1"), Some(ExclusiveThing))).unwrap();
    registry.run(attach_thing("a", &cert("2"), None)).unwrap();
    registry.run(attach_thing("b", &cert("2"), None)).unwrap();
    let of_thing = |kind| {
        let (thing_name, page) = ("a".to_owned(), PageRequest::default());
        let kind = QueryKind::ListThingPrincipals { thing_name, thing_principal_type: kind, page };
        names(registry.ask(kind).unwrap())
    };
    assert_eq!(of_thing(None), [cert("1"), cert("2")]);
    assert_eq!(of_thing(Some(ExclusiveThing)), [cert("1")]);
    assert_eq!(of_thing(Some(NonExclusiveThing)), [cert("2")]);
    let of_principal = |kind| {
        let (principal, page) = (cert("2"), PageRequest::default());
        let kind = QueryKind::ListPrincipalThings { principal, thing_principal_type: kind, page };
        names(registry.ask(kind).unwrap())
    };
    assert_eq!(of_principal(None), ["a", "b"]);
    assert!(of_principal(Some(ExclusiveThing)).is_empty());
}

fn view(registry: &Registry, digit: &str) -> Option<Box<PrincipalView>> {
    match registry.ask(QueryKind::Principal { certificate_id: id(digit) }).unwrap() {
        QueryReply::Principal(view) => view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_reads_all_of_a_principal_at_once() {
    let mut registry = prepared();
    let value = PropagatedValue::ThingAttribute("k".to_owned());
    let attribute = PropagatingAttribute { user_property_key: "key".to_owned(), value };
    let propagating_attributes = Some(vec![attribute.clone()]);
    let properties = ThingTypeProperties { propagating_attributes, ..ThingTypeProperties::default() };
    let thing_type_name = "t".to_owned();
    let thing_type = CreateThingType { thing_type_name, properties, tags: Vec::new() };
    registry.run(Action::CreateThingType(Box::new(thing_type))).unwrap();
    registry.run(create_thing("typed", Some("t"), &[("k", "v")])).unwrap();
    registry.run(attach_thing("typed", &cert("1"), Some(ExclusiveThing))).unwrap();
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry.run(create_version("p", DOCUMENT, true)).unwrap();
    registry.run(Action::AttachPolicy(target("p", &cert("1")))).unwrap();
    let found = view(&registry, "1").unwrap();
    assert_eq!(found.status, CertificateStatus::Active);
    let document = DOCUMENT.to_owned();
    let policy = AttachedPolicy { policy_name: "p".to_owned(), version_id: "2".to_owned(), document };
    assert_eq!(found.policies, [policy]);
    let thing = AttachedThing {
        thing_name: "typed".to_owned(),
        thing_type_name: Some("t".to_owned()),
        attributes: attributes(&[("k", "v")]),
        exclusive: true,
        propagating_attributes: vec![attribute],
        thing_groups: Vec::new(),
        group_policies: Vec::new(),
    };
    assert_eq!((found.things.as_slice(), found.more_things), ([thing.clone()].as_slice(), false));
    let one = |thing_name: &str| {
        let (certificate_id, thing_name) = (id("1"), thing_name.to_owned());
        registry.ask(QueryKind::PrincipalThing { certificate_id, thing_name }).unwrap()
    };
    assert_eq!(
        one("typed"),
        QueryReply::PrincipalThing(Some(Box::new(StandingThing { thing, policies: Vec::new() })))
    );
    assert_eq!(one("a"), QueryReply::PrincipalThing(None));
    assert_eq!(one("no thing's name"), QueryReply::PrincipalThing(None));
    assert_eq!(view(&registry, "3"), None);
}

#[test]
fn a_principal_of_many_things_says_so() {
    let mut registry = prepared();
    for number in 0..251 {
        let name = format!("n{number}");
        registry.run(create_thing(&name, None, &[])).unwrap();
        registry.run(attach_thing(&name, &cert("1"), None)).unwrap();
    }
    let found = view(&registry, "1").unwrap();
    assert_eq!((found.things.len(), found.more_things), (250, true));
}
