//! provisioning.md section 9 and section 14, rows 29 to 32.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const INVALID: (crate::ErrorCode, u16) = (InvalidRequestException, 400);
const MISSING: (crate::ErrorCode, u16) = (ResourceNotFoundException, 404);

/// `root` over `left` and `right`, `deep` below `left`, and `other`, a root; with things `a` and `b`.
fn hierarchy() -> Registry {
    let mut registry = registry();
    let groups = [("root", None), ("left", Some("root")), ("right", Some("root")), ("deep", Some("left"))];
    for (name, parent) in groups.into_iter().chain([("other", None)]) {
        registry.run(create_group(name, parent)).unwrap();
    }
    for name in ["a", "b"] {
        registry.run(create_thing(name, None, &[])).unwrap();
    }
    registry
}

fn described(registry: &Registry, name: &str) -> ThingGroupDescription {
    match registry.ask(QueryKind::DescribeThingGroup(name.to_owned())).unwrap() {
        QueryReply::ThingGroup(group) => *group,
        other => panic!("{other:?}"),
    }
}

fn things(registry: &Registry, name: &str, recursive: bool) -> Vec<String> {
    let (thing_group_name, page) = (name.to_owned(), PageRequest::default());
    names(registry.ask(QueryKind::ListThingsInThingGroup { thing_group_name, recursive, page }).unwrap())
}

fn groups(registry: &Registry, thing: &str) -> Vec<String> {
    let (thing_name, page) = (thing.to_owned(), PageRequest::default());
    names(registry.ask(QueryKind::ListThingGroupsForThing { thing_name, page }).unwrap())
}

fn list(
    registry: &Registry,
    parent: Option<&str>,
    recursive: Option<bool>,
    prefix: Option<&str>,
) -> Vec<String> {
    let args = ListThingGroups {
        parent_group: parent.map(str::to_owned),
        name_prefix: prefix.map(str::to_owned),
        recursive,
        page: PageRequest::default(),
    };
    names(registry.ask(QueryKind::ListThingGroups(Box::new(args))).unwrap())
}

fn update(name: &str, properties: ThingGroupProperties, expected_version: Option<u64>) -> Action {
    let thing_group_name = name.to_owned();
    Action::UpdateThingGroup(Box::new(UpdateThingGroup { thing_group_name, properties, expected_version }))
}

fn payload(pairs: &[(&str, &str)], merge: bool) -> ThingGroupProperties {
    let attribute_payload = Some(AttributePayload { attributes: attributes(pairs), merge });
    ThingGroupProperties { description: None, attribute_payload }
}

#[test]
fn a_group_knows_its_ancestors() {
    let registry = hierarchy();
    let group = described(&registry, "deep");
    let ancestors: Vec<&str> = group.root_to_parent.iter().map(|group| group.group_name.as_str()).collect();
    assert_eq!(ancestors, ["root", "left"]);
    assert_eq!(group.root_to_parent[1].group_arn, arn("thinggroup", "left"));
    assert_eq!((group.version, group.thing_group_arn), (1, arn("thinggroup", "deep")));
}

#[test]
fn the_same_group_again_is_the_same_group_and_another_is_a_conflict() {
    let mut registry = hierarchy();
    let first = registry.run(create_group("left", Some("root"))).unwrap();
    let Reply::ThingGroup(created) = &first else { panic!("{first:?}") };
    assert_eq!(created.thing_group_id, described(&registry, "left").thing_group_id);
    for parent in [None, Some("other")] {
        let error = registry.run(create_group("left", parent)).unwrap_err();
        assert_eq!((error.code, error.code.http_status()), (ResourceAlreadyExistsException, 409));
        assert_eq!(error.resource, Some((created.thing_group_id.clone(), arn("thinggroup", "left"))));
    }
}

#[test]
fn groups_that_are_refused() {
    let mut registry = hierarchy();
    assert_eq!(refusal(registry.run(create_group("a b", None))), INVALID);
    assert_eq!(refusal(registry.run(create_group("x", Some("unknown")))), INVALID);
    let properties = payload(&[("a", "with space")], false);
    let group =
        CreateThingGroup { thing_group_name: "x".to_owned(), properties, ..CreateThingGroup::default() };
    assert_eq!(refusal(registry.run(Action::CreateThingGroup(Box::new(group)))), INVALID);
    let tags = vec![tag("aws:reserved", "v")];
    let group = CreateThingGroup { thing_group_name: "x".to_owned(), tags, ..CreateThingGroup::default() };
    assert_eq!(refusal(registry.run(Action::CreateThingGroup(Box::new(group)))), INVALID);
}

#[test]
fn an_eighth_level_and_one_child_too_many_are_refused() {
    let mut registry = registry();
    let mut parent = None;
    for level in 1..=7 {
        let name = format!("level{level}");
        registry.run(create_group(&name, parent.as_deref())).unwrap();
        parent = Some(name);
    }
    assert_eq!(refusal(registry.run(create_group("level8", parent.as_deref()))), INVALID);
    registry.limits.thing_group_children = 2;
    registry.run(create_group("second", Some("level1"))).unwrap();
    assert_eq!(refusal(registry.run(create_group("third", Some("level1")))), INVALID);
}

#[test]
fn updates_merge_or_replace_and_count_up() {
    let mut registry = hierarchy();
    let version = |reply: Reply| match reply {
        Reply::Version(version) => version,
        other => panic!("{other:?}"),
    };
    let run = |registry: &mut Registry, action| version(registry.run(action).unwrap());
    assert_eq!(run(&mut registry, update("root", payload(&[("a", "1"), ("b", "2")], false), Some(1))), 2);
    assert_eq!(run(&mut registry, update("root", payload(&[("a", ""), ("c", "3")], true), None)), 3);
    assert_eq!(described(&registry, "root").attributes, attributes(&[("b", "2"), ("c", "3")]));
    let text = ThingGroupProperties { description: Some("d".to_owned()), attribute_payload: None };
    assert_eq!(run(&mut registry, update("root", text, None)), 4);
    let group = described(&registry, "root");
    assert_eq!((group.description.as_deref(), group.attributes.len()), (Some("d"), 2));
    let stale = registry.run(update("root", payload(&[], false), Some(1)));
    assert_eq!(refusal(stale), (VersionConflictException, 409));
    assert_eq!(refusal(registry.run(update("none", payload(&[], false), None))), MISSING);
    registry.limits.thing_group_attributes = 1;
    let many = registry.run(update("root", payload(&[("a", "1"), ("b", "2")], false), None));
    assert_eq!(refusal(many), INVALID);
}

#[test]
fn listings_of_groups() {
    let registry = hierarchy();
    assert_eq!(list(&registry, None, None, None), ["deep", "left", "other", "right", "root"]);
    assert_eq!(list(&registry, None, Some(false), None), ["other", "root"]);
    assert_eq!(list(&registry, None, None, Some("r")), ["right", "root"]);
    assert_eq!(list(&registry, Some("root"), None, None), ["left", "right"]);
    assert_eq!(list(&registry, Some("root"), Some(true), None), ["deep", "left", "right"]);
    assert_eq!(list(&registry, Some("root"), Some(true), Some("l")), ["left"]);
    let args = ListThingGroups { parent_group: Some("none".to_owned()), ..ListThingGroups::default() };
    assert_eq!(refusal(registry.ask(QueryKind::ListThingGroups(Box::new(args)))), MISSING);
}

#[test]
fn a_thing_is_in_one_group_of_a_hierarchy_and_in_several_hierarchies() {
    let mut registry = hierarchy();
    assert!(is_done(registry.run(join("a", "deep"))));
    assert!(is_done(registry.run(join("a", "deep"))), "again");
    for relative in ["right", "root", "left"] {
        assert_eq!(refusal(registry.run(join("a", relative))), INVALID, "{relative}");
    }
    assert!(is_done(registry.run(join("a", "other"))));
    assert!(is_done(registry.run(join("b", "right"))));
    assert_eq!(groups(&registry, "a"), ["deep", "other"]);
    assert_eq!(things(&registry, "root", true), ["a", "b"]);
    assert!(things(&registry, "root", false).is_empty());
    assert_eq!(things(&registry, "left", true), ["a"]);
    assert_eq!(things(&registry, "deep", false), ["a"]);
    for (thing, group) in [("none", "root"), ("a", "none")] {
        assert_eq!(refusal(registry.run(join(thing, group))), MISSING);
        let remove = Action::RemoveThingFromThingGroup(thing_and_group(thing, group));
        assert_eq!(refusal(registry.run(remove)), MISSING);
    }
    registry.run(Action::RemoveThingFromThingGroup(thing_and_group("a", "deep"))).unwrap();
    assert!(is_done(registry.run(Action::RemoveThingFromThingGroup(thing_and_group("a", "deep")))));
    assert_eq!(
        (groups(&registry, "a"), things(&registry, "root", true)),
        (vec!["other".to_owned()], vec!["b".to_owned()])
    );
}

#[test]
fn a_thing_has_a_bounded_number_of_groups() {
    let mut registry = registry();
    registry.run(create_thing("a", None, &[])).unwrap();
    for number in 0..=10 {
        let name = format!("g{number}");
        registry.run(create_group(&name, None)).unwrap();
        let joined = registry.run(join("a", &name));
        assert_eq!(joined.is_ok(), number < 10, "{number}");
    }
}

#[test]
fn things_and_groups_go_by_name_or_arn() {
    let mut registry = hierarchy();
    let by = |thing: (Option<&str>, Option<String>), group: (Option<&str>, Option<String>)| {
        Action::AddThingToThingGroup(Box::new(ThingAndGroup {
            thing_name: thing.0.map(str::to_owned),
            thing_arn: thing.1,
            group_name: group.0.map(str::to_owned),
            group_arn: group.1,
        }))
    };
    let (thing, group) = (Some(arn("thing", "a")), Some(arn("thinggroup", "root")));
    assert!(is_done(registry.run(by((None, thing.clone()), (Some("root"), group)))));
    assert_eq!(groups(&registry, "a"), ["root"]);
    let foreign = arn("thinggroup", "root").replace("123456789012", "210987654321");
    for (action, expected) in [
        (by((None, None), (Some("root"), None)), INVALID),
        (by((Some("a"), None), (None, None)), INVALID),
        (by((Some("b"), thing.clone()), (Some("root"), None)), INVALID),
        (by((Some("a"), None), (None, thing)), INVALID),
        (by((Some("a"), None), (None, Some("root".to_owned()))), INVALID),
        (by((Some("a"), None), (None, Some(foreign))), MISSING),
    ] {
        assert_eq!(refusal(registry.run(action.clone())), expected, "{action:?}");
    }
}

#[test]
fn several_groups_change_at_once_or_not_at_all() {
    let mut registry = hierarchy();
    let update = |add: &[&str], remove: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (thing_name, add, remove) = ("a".to_owned(), texts(add), texts(remove));
        Action::UpdateThingGroupsForThing(Box::new(UpdateThingGroupsForThing { thing_name, add, remove }))
    };
    assert!(is_done(registry.run(update(&["left", "other"], &[]))));
    assert!(is_done(registry.run(update(&["right"], &["left"]))), "in the same hierarchy");
    assert_eq!(groups(&registry, "a"), ["other", "right"]);
    assert_eq!(things(&registry, "root", true), ["a"]);
    assert_eq!(refusal(registry.run(update(&["deep", "none"], &["right"]))), MISSING);
    assert_eq!(refusal(registry.run(update(&["left", "deep"], &["right"]))), INVALID);
    assert_eq!(groups(&registry, "a"), ["other", "right"]);
}

#[test]
fn a_group_with_children_stays_and_one_with_things_goes() {
    let mut registry = hierarchy();
    registry.run(join("a", "deep")).unwrap();
    assert_eq!(refusal(registry.run(delete_group("left"))), INVALID);
    let stale = DeleteGroup { group_name: "deep".to_owned(), expected_version: Some(7) };
    assert_eq!(
        refusal(registry.run(Action::DeleteThingGroup(Box::new(stale)))),
        (VersionConflictException, 409)
    );
    assert!(is_done(registry.run(delete_group("deep"))));
    assert!(is_done(registry.run(delete_group("deep"))), "an unknown one");
    assert!(groups(&registry, "a").is_empty() && things(&registry, "root", true).is_empty());
    assert!(is_done(registry.run(delete_group("left"))));
}

#[test]
fn a_thing_that_is_deleted_leaves_its_groups() {
    let mut registry = hierarchy();
    registry.run(join("a", "deep")).unwrap();
    registry.run(delete_thing("a")).unwrap();
    assert!(things(&registry, "root", true).is_empty());
    registry.run(create_thing("a", None, &[])).unwrap();
    assert!(groups(&registry, "a").is_empty());
}

#[test]
fn more_things_than_leave_at_once_leave_by_and_by_and_count_no_more() {
    let mut registry = hierarchy();
    let things_of = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
    for thing in things_of(5) {
        registry.run(create_thing(&thing, None, &[])).unwrap();
        registry.run(join(&thing, "deep")).unwrap();
    }
    registry.run(delete_group("deep")).unwrap();
    assert!(things_of(5).iter().all(|thing| groups(&registry, thing).is_empty()));
    assert!(things(&registry, "root", true).is_empty());
    // A new group of the same name has none of them, and they may join any group.
    registry.run(create_group("deep", Some("left"))).unwrap();
    assert!(things(&registry, "deep", true).is_empty());
    registry.run(join("t4", "right")).unwrap();
    assert_eq!(
        (groups(&registry, "t4"), things(&registry, "root", true)),
        (vec!["right".to_owned()], vec!["t4".to_owned()])
    );
    registry.run(delete_thing("t3")).unwrap();
    for _ in 0..3 {
        registry.run(Action::RemoveThingFromThingGroup(thing_and_group("t4", "other"))).unwrap();
    }
    let left = |key: &bytes::Bytes| crate::keys::parse(key).unwrap().collection == "thing-group-remains";
    assert!(!registry.view.entries().keys().any(left), "all of it is swept");
    assert_eq!(things(&registry, "root", true), ["t4"]);
}
