//! Rules of static thing groups (provisioning.md section 9).
//!
//! A group's parent never changes, and a group with children cannot be deleted: what stands in its record about its
//! ancestors is true as long as it is there. Groups are known by their ids where it matters, so that a deleted group's
//! things need not all leave it at once ([`remains`]).

mod listing;
mod membership;
mod remains;

pub(crate) use listing::{describe, list, list_of_thing, list_things};
pub(crate) use membership::{add, group_name, leave_all, of_thing, remove, thing_name, update_for_thing};

use bytes::Bytes;
use prost::Message;

use crate::attributes;
use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::events::{self, Operation};
use crate::keys;
use crate::limits::Limits;
use crate::policies;
use crate::record::{self, GroupName};
use crate::shapes::{
    AttributePayload, CreateThingGroup, CreatedThingGroup, DeleteGroup, ThingGroupProperties,
    UpdateThingGroup,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

pub(crate) const KIND: &str = "thinggroup";

/// CreateThingGroup: the same configuration again is the same group; another one is a conflict.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateThingGroup) -> Outcome {
    let name = &args.thing_group_name;
    syntax::registry_name("thingGroupName", name)?;
    args.parent_group_name
        .as_ref()
        .map_or(Ok(()), |parent| syntax::registry_name("parentGroupName", parent))?;
    let group = group(store, context, args)?;
    let arn = store.arn(KIND, name);
    let key = keys::thing_group(store.scope, name);
    if let Some(existing) = store.record::<record::ThingGroup>(&key)? {
        let same = existing.ancestors == group.ancestors
            && existing.description == group.description
            && existing.attributes == group.attributes;
        if same {
            return Ok((created(name, arn, existing.thing_group_id), Effects::default()));
        }
        let message = format!("Thing group '{name}' already exists with different properties");
        return Err(Error::exists(message, existing.thing_group_id, arn));
    }
    check_place(store, &context.limits, &group)?;
    let mut effects = remains::swept(store)?;
    effects.put(key, group.encode_to_vec());
    for key in places(store, name, &group) {
        effects.put(key, Bytes::new());
    }
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    tell(store, context, &mut effects, (Operation::Created, Operation::Added), (name, &group))?;
    Ok((created(name, arn, group.thing_group_id), effects))
}

fn created(name: &str, thing_group_arn: String, thing_group_id: String) -> Reply {
    let thing_group_name = name.to_owned();
    Reply::ThingGroup(Box::new(CreatedThingGroup { thing_group_name, thing_group_arn, thing_group_id }))
}

/// Tells of a group's beginning or end, and of its place's.
fn tell(
    store: &Store<'_>,
    context: &Context,
    effects: &mut Effects,
    (of_group, of_place): (Operation, Operation),
    (name, group): (&str, &record::ThingGroup),
) -> Result<(), Error> {
    events::publish(store, context, effects, events::group(store, of_group, name, group))?;
    let Some(parent) = group.ancestors.last() else { return Ok(()) };
    events::publish(store, context, effects, events::hierarchy(of_place, parent, name, group))
}

fn group(store: &Store<'_>, context: &Context, args: &CreateThingGroup) -> Result<record::ThingGroup, Error> {
    let mut group = record::ThingGroup {
        thing_group_id: crate::ids::uuid(&context.random),
        version: 1,
        created_at: context.now.as_millis(),
        ..record::ThingGroup::default()
    };
    if let Some(name) = &args.parent_group_name {
        let parent: Option<record::ThingGroup> = store.record(&keys::thing_group(store.scope, name))?;
        let missing = || Error::invalid(format!("parent thing group '{name}' does not exist"));
        let parent = parent.ok_or_else(missing)?;
        group.ancestors = parent.ancestors;
        group.ancestors.push(GroupName { name: name.clone(), id: parent.thing_group_id });
    }
    change(&mut group, &args.properties, &context.limits)?;
    Ok(group)
}

/// Changes what an update, or a creation, says.
fn change(
    group: &mut record::ThingGroup,
    properties: &ThingGroupProperties,
    limits: &Limits,
) -> Result<(), Error> {
    if let Some(text) = &properties.description {
        syntax::description("thingGroupDescription", text, 2028)?;
        group.description = Some(text.clone());
    }
    let Some(AttributePayload { attributes: given, merge }) = &properties.attribute_payload else {
        return Ok(());
    };
    attributes::check_syntax(given)?;
    attributes::change(&mut group.attributes, given, *merge);
    let (count, most) = (group.attributes.len(), limits.thing_group_attributes);
    if count > most {
        return Err(Error::invalid(format!("{count} attributes: a thing group may have {most}")));
    }
    attributes::check_bytes(&group.attributes, limits)
}

/// Refuses a group that would be too deep, or one child too many.
fn check_place(store: &Store<'_>, limits: &Limits, group: &record::ThingGroup) -> Result<(), Error> {
    let Some(parent) = group.ancestors.last() else { return Ok(()) };
    let most = limits.thing_group_depth;
    if group.ancestors.len() >= most {
        let message = format!("thing group '{}' is on level {most}, which is the last", parent.name);
        return Err(Error::invalid(message));
    }
    let most = limits.thing_group_children;
    let children = keys::thing_groups_of_parent(store.scope, &parent.name, "");
    if store.count(&children, most) >= most {
        let message =
            format!("thing group '{}' has {most} child groups, which is the most allowed", parent.name);
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// The index keys of a group's place in its hierarchy.
fn places(store: &Store<'_>, name: &str, group: &record::ThingGroup) -> Vec<Bytes> {
    let parent = group.ancestors.last().map_or("", |parent| parent.name.as_str());
    let below = |ancestor: &GroupName| keys::thing_group_of_ancestor(store.scope, &ancestor.name, name);
    let mut keys: Vec<Bytes> = group.ancestors.iter().map(below).collect();
    keys.push(keys::thing_groups_of_parent(store.scope, parent, name));
    keys
}

/// UpdateThingGroup: one more version, whatever changed.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateThingGroup) -> Outcome {
    let name = &args.thing_group_name;
    syntax::registry_name("thingGroupName", name)?;
    let mut group = required(store, name)?;
    check_version("Thing group", name, group.version, args.expected_version)?;
    change(&mut group, &args.properties, &context.limits)?;
    group.version = group.version.saturating_add(1);
    let mut effects = Effects::default();
    effects.put(keys::thing_group(store.scope, name), group.encode_to_vec());
    events::publish(store, context, &mut effects, events::group(store, Operation::Updated, name, &group))?;
    Ok((Reply::Version(group.version), effects))
}

/// DeleteThingGroup: an unknown group is a success, one with children is not. Its things leave it without events of their
/// own, its policies are detached.
pub(crate) fn delete(store: &Store<'_>, context: &Context, args: &DeleteGroup) -> Outcome {
    let name = &args.group_name;
    syntax::registry_name("thingGroupName", name)?;
    let key = keys::thing_group(store.scope, name);
    let Some(group) = store.record::<record::ThingGroup>(&key)? else { return done(Effects::default()) };
    check_version("Thing group", name, group.version, args.expected_version)?;
    if store.any(&keys::thing_groups_of_parent(store.scope, name, "")) {
        let message = format!("Cannot delete. Thing group '{name}' still has child groups attached to it");
        return Err(Error::invalid(message));
    }
    let mut effects = remains::swept(store)?;
    effects.delete(key);
    for key in places(store, name, &group) {
        effects.delete(key);
    }
    remains::bury(store, &mut effects, name, &group.thing_group_id)?;
    let arn = store.arn(KIND, name);
    policies::detach_all(store, &mut effects, &arn)?;
    tags::delete_all(store, &mut effects, &arn);
    tell(store, context, &mut effects, (Operation::Deleted, Operation::Removed), (name, &group))?;
    done(effects)
}

/// The stored group, or `ResourceNotFoundException`.
pub(crate) fn required(store: &Store<'_>, name: &str) -> Result<record::ThingGroup, Error> {
    let group = store.record(&keys::thing_group(store.scope, name))?;
    group.ok_or_else(|| Error::not_found("Thing group", name))
}

/// A group and those above it, whose policies it inherits.
pub(crate) fn lineage<'a>(name: &'a str, group: &'a record::ThingGroup) -> impl Iterator<Item = &'a str> {
    [name].into_iter().chain(group.ancestors.iter().map(|ancestor| ancestor.name.as_str()))
}

/// Refuses an update or deletion of another version than the stored one.
pub(crate) fn check_version(kind: &str, name: &str, stored: u64, expected: Option<u64>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != stored => {
            let message = format!("{kind} '{name}' has version {stored}, not the expected {expected}");
            Err(Error::new(ErrorCode::VersionConflictException, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
