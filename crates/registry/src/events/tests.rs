//! provisioning.md section 11 and section 14, row 37.

use serde_json::{Value, json};

use crate::command::Action;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn switch(registry: &mut Registry, types: &[EventType]) {
    let enabled = types.iter().map(|kind| (*kind, true)).collect();
    let args = UpdateEventConfigurations { enabled };
    assert!(is_done(registry.run(Action::UpdateEventConfigurations(Box::new(args)))));
}

/// Topics and payloads of what a command publishes.
fn published(registry: &mut Registry, action: Action) -> Vec<(String, Value)> {
    registry.emits.clear();
    registry.run(action).unwrap();
    let told = |emit: &crate::Emit| (emit.topic.clone(), serde_json::from_slice(&emit.payload).unwrap());
    registry.emits.iter().map(told).collect()
}

fn without_id(mut payload: Value) -> Value {
    let id = payload.as_object_mut().unwrap().remove("eventId").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36);
    payload
}

fn described(registry: &Registry) -> EventConfigurationsDescription {
    match registry.ask(QueryKind::DescribeEventConfigurations).unwrap() {
        QueryReply::EventConfigurations(described) => *described,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_are_off_until_they_are_switched_on() {
    let mut registry = registry();
    let at_first = described(&registry);
    assert_eq!(at_first.enabled.len(), 11);
    assert!(at_first.enabled.iter().all(|(kind, on)| *on == (*kind == EventType::Certificate)));
    assert_eq!(at_first.created_at, None);
    assert!(published(&mut registry, create_thing("a", None, &[])).is_empty());
    let created_at = registry.now;
    switch(&mut registry, &[EventType::Thing]);
    registry.wait(1);
    switch(&mut registry, &[EventType::ThingType]);
    let now = described(&registry);
    assert!(now.enabled[&EventType::Thing] && now.enabled[&EventType::ThingType]);
    assert!(!now.enabled[&EventType::ThingGroup]);
    assert_eq!((now.created_at, now.modified_at), (Some(created_at), Some(registry.now)));
    assert_eq!(published(&mut registry, create_thing("b", None, &[])).len(), 1);
    assert!(published(&mut registry, create_thing("b", None, &[])).is_empty(), "nothing was created");
}

#[test]
fn a_things_life() {
    let mut registry = registry();
    switch(&mut registry, &[EventType::Thing, EventType::ThingTypeAssociation]);
    registry.run(create_type("t")).unwrap();
    let created = published(&mut registry, create_thing("a", Some("t"), &[("k", "v")]));
    let [(topic, event), (association, of_type)] = created.as_slice() else { panic!("{created:?}") };
    assert_eq!(topic, "$aws/events/thing/a/created");
    let thing_id = event["thingId"].clone();
    let expected = json!({
        "eventType": "THING_EVENT",
        "timestamp": registry.now.as_millis(),
        "operation": "CREATED",
        "accountId": "123456789012",
        "thingId": thing_id,
        "thingName": "a",
        "versionNumber": 1,
        "thingTypeName": "t",
        "billingGroupName": null,
        "attributes": {"k": "v"},
    });
    assert_eq!(without_id(event.clone()), expected);
    assert_eq!(association, "$aws/events/thingTypeAssociation/thing/a/thingType/t/added");
    let expected = json!({
        "eventType": "THING_TYPE_ASSOCIATION_EVENT",
        "timestamp": registry.now.as_millis(),
        "operation": "ADDED",
        "thingId": thing_id,
        "thingName": "a",
        "thingTypeName": "t",
    });
    assert_eq!(without_id(of_type.clone()), expected);
    assert_ne!(event["eventId"], of_type["eventId"]);
    let update =
        UpdateThing { thing_name: "a".to_owned(), remove_thing_type: true, ..UpdateThing::default() };
    let updated = published(&mut registry, Action::UpdateThing(Box::new(update)));
    let topics: Vec<&str> = updated.iter().map(|(topic, _)| topic.as_str()).collect();
    let removed = "$aws/events/thingTypeAssociation/thing/a/thingType/t/removed";
    assert_eq!(topics, ["$aws/events/thing/a/updated", removed]);
    assert_eq!((&updated[0].1["versionNumber"], &updated[0].1["thingTypeName"]), (&json!(2), &Value::Null));
    let deleted = published(&mut registry, delete_thing("a"));
    assert_eq!(
        (deleted[0].0.as_str(), &deleted[0].1["versionNumber"]),
        ("$aws/events/thing/a/deleted", &json!(2))
    );
}

#[test]
fn a_types_life() {
    let mut registry = registry();
    switch(&mut registry, &[EventType::ThingType]);
    let created = published(&mut registry, create_type("t"));
    let (topic, event) = created[0].clone();
    assert_eq!(topic, "$aws/events/thingType/t/created");
    let expected = json!({
        "eventType": "THING_TYPE_EVENT",
        "timestamp": registry.now.as_millis(),
        "operation": "CREATED",
        "accountId": "123456789012",
        "thingTypeId": event["thingTypeId"],
        "thingTypeName": "t",
        "isDeprecated": false,
        "deprecationDate": null,
        "searchableAttributes": [],
        "propagatingAttributes": [],
        "description": null,
    });
    assert_eq!(without_id(event), expected);
    let deprecated = published(&mut registry, deprecate("t", false));
    assert_eq!(deprecated[0].0, "$aws/events/thingType/t/updated");
    assert_eq!(deprecated[0].1["deprecationDate"], json!(registry.now.as_millis()));
    assert!(published(&mut registry, deprecate("t", false)).is_empty(), "nothing changed");
    let deleted = published(&mut registry, Action::DeleteThingType("t".to_owned()));
    assert_eq!(
        (deleted[0].0.as_str(), &deleted[0].1["isDeprecated"]),
        ("$aws/events/thingType/t/deleted", &json!(true))
    );
}

#[test]
fn groups_their_places_and_members() {
    let mut registry = registry();
    let types = [EventType::ThingGroup, EventType::ThingGroupHierarchy, EventType::ThingGroupMembership];
    switch(&mut registry, &types);
    let root = published(&mut registry, create_group("root", None));
    assert_eq!(root.len(), 1);
    let root_id = root[0].1["thingGroupId"].clone();
    let created = published(&mut registry, create_group("leaf", Some("root")));
    let [(topic, event), (place, hierarchy)] = created.as_slice() else { panic!("{created:?}") };
    assert_eq!(topic, "$aws/events/thingGroup/leaf/created");
    let expected = json!({
        "eventType": "THING_GROUP_EVENT",
        "timestamp": registry.now.as_millis(),
        "operation": "CREATED",
        "accountId": "123456789012",
        "thingGroupId": event["thingGroupId"],
        "thingGroupName": "leaf",
        "versionNumber": 1,
        "parentGroupName": "root",
        "parentGroupId": root_id,
        "description": null,
        "rootToParentThingGroups": [{"groupArn": arn("thinggroup", "root"), "groupId": root_id}],
        "attributes": {},
        "dynamicGroupMappingId": null,
    });
    assert_eq!(without_id(event.clone()), expected);
    assert_eq!(place, "$aws/events/thingGroupHierarchy/thingGroup/root/childThingGroup/leaf/added");
    let expected = json!({
        "eventType": "THING_GROUP_HIERARCHY_EVENT",
        "timestamp": registry.now.as_millis(),
        "operation": "ADDED",
        "accountId": "123456789012",
        "thingGroupId": root_id,
        "thingGroupName": "root",
        "childGroupId": event["thingGroupId"],
        "childGroupName": "leaf",
    });
    assert_eq!(without_id(hierarchy.clone()), expected);
    registry.run(create_thing("a", None, &[])).unwrap();
    let joined = published(&mut registry, join("a", "leaf"));
    assert_eq!(joined[0].0, "$aws/events/thingGroupMembership/thingGroup/leaf/thing/a/added");
    let membership = joined[0].1["membershipId"].clone();
    let expected = json!({
        "eventType": "THING_GROUP_MEMBERSHIP_EVENT",
        "timestamp": registry.now.as_millis(),
        "operation": "ADDED",
        "accountId": "123456789012",
        "groupArn": arn("thinggroup", "leaf"),
        "groupId": event["thingGroupId"],
        "thingArn": arn("thing", "a"),
        "thingId": joined[0].1["thingId"],
        "membershipId": membership,
    });
    assert_eq!(without_id(joined[0].1.clone()), expected);
    assert!(published(&mut registry, join("a", "leaf")).is_empty(), "again");
    let left = published(&mut registry, delete_thing("a"));
    assert_eq!(left[0].0, "$aws/events/thingGroupMembership/thingGroup/leaf/thing/a/removed");
    assert_eq!(left[0].1["membershipId"], membership);
    let deleted = published(&mut registry, delete_group("leaf"));
    let topics: Vec<&str> = deleted.iter().map(|(topic, _)| topic.as_str()).collect();
    let place = "$aws/events/thingGroupHierarchy/thingGroup/root/childThingGroup/leaf/removed";
    assert_eq!(topics, ["$aws/events/thingGroup/leaf/deleted", place]);
}
