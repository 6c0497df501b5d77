//! What each event says, in AWS's members.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Event;
use crate::record;
use crate::record::PropagatingValue;
use crate::shapes::EventType;
use crate::store::Store;
use crate::thing_groups;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Created,
    Updated,
    Deleted,
    Added,
    Removed,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::Added => "ADDED",
            Self::Removed => "REMOVED",
        }
    }

    /// The last level of topics.
    fn level(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A thing was created, updated or deleted.
pub(crate) fn thing(operation: Operation, name: &str, thing: &record::Thing) -> Event {
    Event {
        kind: EventType::Thing,
        topic: format!("thing/{name}/{}", operation.level()),
        name: "THING_EVENT",
        operation,
        has_account: true,
        members: members(json!({
            "thingId": thing.thing_id,
            "thingName": name,
            "versionNumber": thing.version,
            "thingTypeName": thing.thing_type_name,
            "billingGroupName": thing.billing_group_name,
            "attributes": thing.attributes,
        })),
    }
}

/// A thing was given a type, or its type was taken away.
pub(crate) fn type_association(operation: Operation, name: &str, id: &str, thing_type: &str) -> Event {
    Event {
        kind: EventType::ThingTypeAssociation,
        topic: format!("thingTypeAssociation/thing/{name}/thingType/{thing_type}/{}", operation.level()),
        name: "THING_TYPE_ASSOCIATION_EVENT",
        operation,
        has_account: false,
        members: members(json!({"thingId": id, "thingName": name, "thingTypeName": thing_type})),
    }
}

/// A thing type was created, updated (deprecation and its undoing, too) or deleted.
pub(crate) fn thing_type(operation: Operation, name: &str, thing_type: &record::ThingType) -> Event {
    let configuration = thing_type.mqtt5_configuration.as_ref();
    let propagating = configuration.map_or(&[] as &[_], |found| found.propagating_attributes.as_slice());
    let propagated = |attribute: &record::PropagatingAttribute| {
        let key = &attribute.user_property_key;
        match &attribute.value {
            Some(PropagatingValue::ThingAttribute(name)) => {
                json!({"userPropertyKey": key, "thingAttribute": name})
            }
            Some(PropagatingValue::ConnectionAttribute(name)) => {
                json!({"userPropertyKey": key, "connectionAttribute": name})
            }
            None => json!({"userPropertyKey": key}),
        }
    };
    Event {
        kind: EventType::ThingType,
        topic: format!("thingType/{name}/{}", operation.level()),
        name: "THING_TYPE_EVENT",
        operation,
        has_account: true,
        members: members(json!({
            "thingTypeId": thing_type.thing_type_id,
            "thingTypeName": name,
            "isDeprecated": thing_type.deprecated_at.is_some(),
            "deprecationDate": thing_type.deprecated_at,
            "searchableAttributes": thing_type.searchable_attributes,
            "propagatingAttributes": propagating.iter().map(propagated).collect::<Vec<_>>(),
            "description": thing_type.description,
        })),
    }
}

/// A thing group was created, updated or deleted.
pub(crate) fn group(
    store: &Store<'_>,
    operation: Operation,
    name: &str,
    group: &record::ThingGroup,
) -> Event {
    let parent = group.ancestors.last();
    let told = |ancestor: &record::GroupName| json!({"groupArn": store.arn(thing_groups::KIND, &ancestor.name), "groupId": ancestor.id});
    Event {
        kind: EventType::ThingGroup,
        topic: format!("thingGroup/{name}/{}", operation.level()),
        name: "THING_GROUP_EVENT",
        operation,
        has_account: true,
        members: members(json!({
            "thingGroupId": group.thing_group_id,
            "thingGroupName": name,
            "versionNumber": group.version,
            "parentGroupName": parent.map(|parent| &parent.name),
            "parentGroupId": parent.map(|parent| &parent.id),
            "description": group.description,
            "rootToParentThingGroups": group.ancestors.iter().map(told).collect::<Vec<_>>(),
            "attributes": group.attributes,
            "dynamicGroupMappingId": null,
        })),
    }
}

/// A group became the child of another, or is no more.
pub(crate) fn hierarchy(
    operation: Operation,
    parent: &record::GroupName,
    child: &str,
    group: &record::ThingGroup,
) -> Event {
    let parent_name = &parent.name;
    Event {
        kind: EventType::ThingGroupHierarchy,
        topic: format!(
            "thingGroupHierarchy/thingGroup/{parent_name}/childThingGroup/{child}/{}",
            operation.level()
        ),
        name: "THING_GROUP_HIERARCHY_EVENT",
        operation,
        has_account: true,
        members: members(json!({
            "thingGroupId": parent.id,
            "thingGroupName": parent_name,
            "childGroupId": group.thing_group_id,
            "childGroupName": child,
        })),
    }
}

/// A thing, by name and id, joined or left a group, by name and id.
pub(crate) fn membership(
    store: &Store<'_>,
    operation: Operation,
    (thing, thing_id): (&str, &str),
    (group, group_id): (&str, &str),
) -> Event {
    // The same for joining and leaving; no other pair has it.
    let membership_id = crate::ids::uuid(&Sha256::digest(format!("{group_id}/{thing_id}")).into());
    Event {
        kind: EventType::ThingGroupMembership,
        topic: format!("thingGroupMembership/thingGroup/{group}/thing/{thing}/{}", operation.level()),
        name: "THING_GROUP_MEMBERSHIP_EVENT",
        operation,
        has_account: true,
        members: members(json!({
            "groupArn": store.arn(thing_groups::KIND, group),
            "groupId": group_id,
            "thingArn": store.arn("thing", thing),
            "thingId": thing_id,
            "membershipId": membership_id,
        })),
    }
}
