//! provisioning.md section 9.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn create(name: &str, description: Option<&str>) -> Action {
    let (billing_group_name, description) = (name.to_owned(), description.map(str::to_owned));
    Action::CreateBillingGroup(Box::new(CreateBillingGroup {
        billing_group_name,
        description,
        tags: Vec::new(),
    }))
}

fn delete(name: &str) -> Action {
    Action::DeleteBillingGroup(Box::new(DeleteGroup { group_name: name.to_owned(), expected_version: None }))
}

fn create_in(thing: &str, group: &str) -> Action {
    let (thing_name, billing_group_name) = (thing.to_owned(), Some(group.to_owned()));
    Action::CreateThing(Box::new(CreateThing { thing_name, billing_group_name, ..CreateThing::default() }))
}

fn group_of(registry: &Registry, thing: &str) -> Option<String> {
    match registry.ask(QueryKind::DescribeThing(thing.to_owned())).unwrap() {
        QueryReply::Thing(thing) => thing.billing_group_name,
        other => panic!("{other:?}"),
    }
}

fn things(registry: &Registry, group: &str) -> Vec<String> {
    let (billing_group_name, page) = (group.to_owned(), PageRequest::default());
    names(registry.ask(QueryKind::ListThingsInBillingGroup { billing_group_name, page }).unwrap())
}

#[test]
fn the_life_of_a_billing_group() {
    let mut registry = registry();
    let first = registry.run(create("g", Some("d"))).unwrap();
    assert_eq!(registry.run(create("g", Some("d"))).unwrap(), first);
    assert_eq!(refusal(registry.run(create("g", None))), (ResourceAlreadyExistsException, 409));
    assert_eq!(refusal(registry.run(create("a b", None))), (InvalidRequestException, 400));
    let update = |description: &str, expected_version| {
        let (billing_group_name, description) = ("g".to_owned(), Some(description.to_owned()));
        Action::UpdateBillingGroup(Box::new(UpdateBillingGroup {
            billing_group_name,
            description,
            expected_version,
        }))
    };
    assert_eq!(registry.run(update("e", Some(1))).unwrap(), Reply::Version(2));
    assert_eq!(refusal(registry.run(update("f", Some(1)))), (VersionConflictException, 409));
    assert_eq!(refusal(registry.run(update(&"x".repeat(2029), None))), (InvalidRequestException, 400));
    let described = registry.ask(QueryKind::DescribeBillingGroup("g".to_owned())).unwrap();
    let QueryReply::BillingGroup(group) = described else { panic!("{described:?}") };
    assert_eq!((group.description.as_deref(), group.version), (Some("e"), 2));
    assert_eq!(group.billing_group_arn, arn("billinggroup", "g"));
    registry.run(create("h", None)).unwrap();
    let list = |prefix: Option<&str>| {
        let (name_prefix, page) = (prefix.map(str::to_owned), PageRequest::default());
        names(registry.ask(QueryKind::ListBillingGroups { name_prefix, page }).unwrap())
    };
    assert_eq!((list(None), list(Some("h"))), (vec!["g".to_owned(), "h".to_owned()], vec!["h".to_owned()]));
    assert!(is_done(registry.run(delete("g"))) && is_done(registry.run(delete("g"))));
    let gone = registry.ask(QueryKind::DescribeBillingGroup("g".to_owned()));
    assert_eq!(refusal(gone), (ResourceNotFoundException, 404));
}

#[test]
fn a_thing_is_in_one_billing_group_at_most() {
    let mut registry = registry();
    for group in ["g", "h"] {
        registry.run(create(group, None)).unwrap();
    }
    registry.run(create_in("a", "g")).unwrap();
    assert!(registry.run(create_in("a", "g")).is_ok(), "the same again");
    assert_eq!(refusal(registry.run(create_in("a", "h"))), (ResourceAlreadyExistsException, 409));
    assert_eq!(
        (group_of(&registry, "a").as_deref(), things(&registry, "g")),
        (Some("g"), vec!["a".to_owned()])
    );
    assert!(is_done(registry.run(Action::AddThingToBillingGroup(thing_and_group("a", "h")))));
    assert_eq!((group_of(&registry, "a").as_deref(), things(&registry, "g").len()), (Some("h"), 0));
    assert!(
        is_done(registry.run(Action::RemoveThingFromBillingGroup(thing_and_group("a", "g")))),
        "not in it"
    );
    assert_eq!(group_of(&registry, "a").as_deref(), Some("h"));
    assert!(is_done(registry.run(Action::RemoveThingFromBillingGroup(thing_and_group("a", "h")))));
    assert_eq!((group_of(&registry, "a"), things(&registry, "h").len()), (None, 0));
    for (thing, group) in [("none", "g"), ("a", "none")] {
        let added = registry.run(Action::AddThingToBillingGroup(thing_and_group(thing, group)));
        assert_eq!(refusal(added), (ResourceNotFoundException, 404));
    }
    registry.run(Action::AddThingToBillingGroup(thing_and_group("a", "g"))).unwrap();
    registry.run(delete_thing("a")).unwrap();
    assert!(things(&registry, "g").is_empty());
}

#[test]
fn a_deleted_group_has_no_things_nor_has_the_next_one_of_its_name() {
    let mut registry = registry();
    registry.run(create("g", None)).unwrap();
    for number in 0..5 {
        registry.run(create_in(&format!("t{number}"), "g")).unwrap();
    }
    registry.run(delete("g")).unwrap();
    registry.run(create("g", None)).unwrap();
    assert!((0..5).all(|number| group_of(&registry, &format!("t{number}")).is_none()));
    assert!(things(&registry, "g").is_empty());
    registry.run(Action::AddThingToBillingGroup(thing_and_group("t1", "g"))).unwrap();
    assert_eq!(things(&registry, "g"), ["t1"]);
    registry.run(create("h", None)).unwrap();
    let left = |key: &bytes::Bytes| crate::keys::parse(key).unwrap().collection == "billing-group-remains";
    assert!(!registry.view.entries().keys().any(left), "all of it is swept");
}
