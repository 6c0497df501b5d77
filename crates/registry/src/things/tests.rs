//! provisioning.md section 14, rows 22 to 27.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn update(name: &str) -> UpdateThing {
    UpdateThing { thing_name: name.to_owned(), ..UpdateThing::default() }
}

fn run(registry: &mut Registry, args: UpdateThing) -> Result<Reply, crate::Error> {
    registry.run(Action::UpdateThing(Box::new(args)))
}

fn payload(pairs: &[(&str, &str)], merge: bool) -> Option<AttributePayload> {
    Some(AttributePayload { attributes: attributes(pairs), merge })
}

fn thing(registry: &Registry, name: &str) -> ThingDescription {
    match registry.ask(QueryKind::DescribeThing(name.to_owned())).unwrap() {
        QueryReply::Thing(thing) => *thing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_thing_again_is_the_same_thing_and_another_is_a_conflict() {
    let mut registry = registry();
    let first = registry.run(create_thing("a", None, &[("k", "v")])).unwrap();
    let Reply::Thing(created) = &first else { panic!("{first:?}") };
    assert_eq!(created.thing_arn, arn("thing", "a"));
    assert_eq!(registry.run(create_thing("a", None, &[("k", "v"), ("gone", "")])).unwrap(), first);
    let error = registry.run(create_thing("a", None, &[("k", "w")])).unwrap_err();
    assert_eq!((error.code, error.code.http_status()), (ResourceAlreadyExistsException, 409));
    assert_eq!(error.resource, Some((created.thing_id.clone(), arn("thing", "a"))));
}

#[test]
fn things_refused_at_creation() {
    let mut registry = registry();
    registry.run(create_type("old")).unwrap();
    registry.run(deprecate("old", false)).unwrap();
    let four = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    let many: Vec<(String, String)> = (0..51).map(|n| (format!("n{n}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    registry.run(create_type("t")).unwrap();
    for (action, expected) in [
        (create_thing("a b", None, &[]), (InvalidRequestException, 400)),
        (create_thing("", None, &[]), (InvalidRequestException, 400)),
        (create_thing("a", Some("unknown"), &[]), (ResourceNotFoundException, 404)),
        (create_thing("a", Some("old"), &[]), (InvalidRequestException, 400)),
        (create_thing("a", None, &four), (InvalidRequestException, 400)),
        (create_thing("a", None, &[("k", "with space")]), (InvalidRequestException, 400)),
        (create_thing("a", None, &[("k ", "v")]), (InvalidRequestException, 400)),
        (create_thing("a", None, &[("", "v")]), (InvalidRequestException, 400)),
        (create_thing("a", Some("t"), &many), (InvalidRequestException, 400)),
    ] {
        assert_eq!(refusal(registry.run(action.clone())), expected, "{action:?}");
    }
    assert!(registry.run(create_thing("a", Some("t"), &four)).is_ok());
    let group = CreateThing {
        thing_name: "b".to_owned(),
        billing_group_name: Some("g".to_owned()),
        ..CreateThing::default()
    };
    assert_eq!(refusal(registry.run(Action::CreateThing(Box::new(group)))), (ResourceNotFoundException, 404));
}

#[test]
fn fifty_large_attributes_exceed_the_total() {
    let mut registry = registry();
    registry.run(create_type("t")).unwrap();
    registry.limits.attribute_bytes = 10;
    assert!(registry.run(create_thing("a", Some("t"), &[("k", "123456789")])).is_ok());
    let refused = registry.run(create_thing("b", Some("t"), &[("k", "1234567890")]));
    assert_eq!(refusal(refused), (InvalidRequestException, 400));
}

#[test]
fn updates_merge_or_replace_and_count_versions() {
    let mut registry = registry();
    registry.run(create_thing("a", None, &[("a", "1"), ("b", "2")])).unwrap();
    let merge = payload(&[("b", "3"), ("c", "4")], true);
    run(&mut registry, UpdateThing { attribute_payload: merge, ..update("a") }).unwrap();
    assert_eq!(thing(&registry, "a").attributes, attributes(&[("a", "1"), ("b", "3"), ("c", "4")]));
    let remove = payload(&[("b", "")], true);
    run(&mut registry, UpdateThing { attribute_payload: remove, ..update("a") }).unwrap();
    assert_eq!(thing(&registry, "a").attributes, attributes(&[("a", "1"), ("c", "4")]));
    run(&mut registry, update("a")).unwrap();
    assert_eq!(thing(&registry, "a").attributes.len(), 2);
    let replace = payload(&[("z", "9")], false);
    run(&mut registry, UpdateThing { attribute_payload: replace, ..update("a") }).unwrap();
    let after = thing(&registry, "a");
    assert_eq!((after.attributes, after.version), (attributes(&[("z", "9")]), 5));
}

#[test]
fn an_expected_version_must_be_the_stored_one() {
    let mut registry = registry();
    registry.run(create_thing("a", None, &[])).unwrap();
    let stale = UpdateThing { expected_version: Some(2), ..update("a") };
    assert_eq!(refusal(run(&mut registry, stale)), (VersionConflictException, 409));
    assert_eq!(thing(&registry, "a").version, 1);
    assert!(run(&mut registry, UpdateThing { expected_version: Some(1), ..update("a") }).is_ok());
    let delete = |expected_version| {
        Action::DeleteThing(Box::new(DeleteThing { thing_name: "a".to_owned(), expected_version }))
    };
    assert_eq!(refusal(registry.run(delete(Some(1)))), (VersionConflictException, 409));
    assert!(is_done(registry.run(delete(Some(2)))));
    assert!(is_done(registry.run(delete(Some(7)))));
}

#[test]
fn types_are_given_changed_and_taken_away() {
    let mut registry = registry();
    registry.run(create_type("t")).unwrap();
    registry.run(create_thing("a", None, &[])).unwrap();
    let typed = || UpdateThing { thing_type_name: Some("t".to_owned()), ..update("a") };
    let both = UpdateThing { remove_thing_type: true, ..typed() };
    assert_eq!(refusal(run(&mut registry, both)), (InvalidRequestException, 400));
    run(&mut registry, typed()).unwrap();
    registry.run(deprecate("t", false)).unwrap();
    assert!(run(&mut registry, typed()).is_ok(), "things keep a deprecated type");
    let four = payload(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")], false);
    run(&mut registry, UpdateThing { attribute_payload: four, ..update("a") }).unwrap();
    let untyped = UpdateThing { remove_thing_type: true, ..update("a") };
    assert_eq!(refusal(run(&mut registry, untyped.clone())), (InvalidRequestException, 400));
    let fewer = UpdateThing { attribute_payload: payload(&[], false), ..untyped };
    run(&mut registry, fewer).unwrap();
    assert_eq!(thing(&registry, "a").thing_type_name, None);
    assert_eq!(refusal(run(&mut registry, typed())), (InvalidRequestException, 400));
    assert_eq!(refusal(run(&mut registry, update("unknown"))), (ResourceNotFoundException, 404));
}

#[test]
fn a_thing_with_principals_is_not_deleted() {
    let mut registry = registry();
    registry.run(create_thing("a", None, &[])).unwrap();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    registry.run(attach_thing("a", &cert("1"), None)).unwrap();
    let delete =
        Action::DeleteThing(Box::new(DeleteThing { thing_name: "a".to_owned(), expected_version: None }));
    assert_eq!(refusal(registry.run(delete.clone())), (InvalidRequestException, 400));
    registry.run(detach_thing("a", &cert("1"))).unwrap();
    assert!(is_done(registry.run(delete)));
    let described = registry.ask(QueryKind::DescribeThing("a".to_owned()));
    assert_eq!(refusal(described), (ResourceNotFoundException, 404));
}

#[test]
fn a_value_needs_its_attribute() {
    let args = ListThings { attribute_value: Some("v".to_owned()), ..ListThings::default() };
    let listed = registry().ask(QueryKind::ListThings(Box::new(args)));
    assert_eq!(refusal(listed), (InvalidRequestException, 400));
}
