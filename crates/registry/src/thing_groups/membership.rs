//! Which things are in which groups.
//!
//! A membership is three keys and one more for each ancestor: from the thing to the group, from the group to the thing,
//! and from the group and every group above it to the thing, for recursive listings.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fleethaven_types::Arn;
use prost::Message;

use super::{KIND, remains, required};
use crate::command::Context;
use crate::error::Error;
use crate::events::{self, Operation};
use crate::keys;
use crate::limits::Limits;
use crate::record::{self, GroupName, ThingGroupMembership};
use crate::shapes::{ThingAndGroup, UpdateThingGroupsForThing};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::things;
use crate::view::Effects;

/// AddThingToThingGroup: again is a success.
pub(crate) fn add(store: &Store<'_>, context: &Context, args: &ThingAndGroup) -> Outcome {
    let (thing, group) = (thing_name(store, args)?, group_name(store, KIND, args)?);
    change(store, context, &thing, &[group], &[])
}

/// RemoveThingFromThingGroup: a thing that is not in the group is none the less out of it.
pub(crate) fn remove(store: &Store<'_>, context: &Context, args: &ThingAndGroup) -> Outcome {
    let (thing, group) = (thing_name(store, args)?, group_name(store, KIND, args)?);
    change(store, context, &thing, &[], &[group])
}

/// UpdateThingGroupsForThing.
pub(crate) fn update_for_thing(
    store: &Store<'_>,
    context: &Context,
    args: &UpdateThingGroupsForThing,
) -> Outcome {
    syntax::registry_name("thingName", &args.thing_name)?;
    for names in [&args.add, &args.remove] {
        let most = context.limits.thing_groups_per_request;
        if names.len() > most {
            return Err(Error::invalid(format!("{} thing groups: a request may name {most}", names.len())));
        }
        names.iter().try_for_each(|name| syntax::registry_name("thingGroupName", name))?;
    }
    change(store, context, &args.thing_name, &args.add, &args.remove)
}

fn change(store: &Store<'_>, context: &Context, thing: &str, add: &[String], remove: &[String]) -> Outcome {
    let thing_id = things::required(store, thing)?.thing_id;
    let tell = |effects: &mut Effects, operation, group: (&str, &str)| {
        let event = events::membership(store, operation, (thing, &thing_id), group);
        events::publish(store, context, effects, event)
    };
    let mut effects = remains::swept(store)?;
    let mut groups = BTreeMap::new();
    for (name, membership, group) in memberships(store, thing)? {
        match group {
            Some(group) => _ = groups.insert(name, (membership, group)),
            None => leave(store, &mut effects, thing, &name, &membership)?,
        }
    }
    for name in remove {
        required(store, name)?;
        if let Some((membership, _)) = groups.remove(name) {
            leave(store, &mut effects, thing, name, &membership)?;
            tell(&mut effects, Operation::Removed, (name, &membership.thing_group_id))?;
        }
    }
    for name in add {
        let group = required(store, name)?;
        if groups.contains_key(name) {
            continue;
        }
        let others = groups.iter().map(|(name, (_, group))| (name.as_str(), group));
        check_joinable(&context.limits, thing, (name, &group), others)?;
        let membership = ThingGroupMembership {
            ancestor_ids: group.ancestors.iter().map(|ancestor| ancestor.id.clone()).collect(),
            thing_group_id: group.thing_group_id.clone(),
            joined_at: context.now.as_millis(),
        };
        join(store, &mut effects, thing, name, &membership);
        tell(&mut effects, Operation::Added, (name, &membership.thing_group_id))?;
        groups.insert(name.clone(), (membership, group));
    }
    done(effects)
}

/// Refuses one group too many, and a second one of a hierarchy.
fn check_joinable<'a>(
    limits: &Limits,
    thing: &str,
    (name, group): (&str, &record::ThingGroup),
    mut others: impl ExactSizeIterator<Item = (&'a str, &'a record::ThingGroup)>,
) -> Result<(), Error> {
    let most = limits.thing_groups_per_thing;
    if others.len() >= most {
        let message = format!("thing '{thing}' is in {most} thing groups, which is the most allowed");
        return Err(Error::invalid(message));
    }
    let related = |(_, other): &(&str, &record::ThingGroup)| root_id(other) == root_id(group);
    match others.find(related) {
        None => Ok(()),
        Some((other, _)) => Err(Error::invalid(format!(
            "thing '{thing}' is in thing group '{other}', which belongs to the same hierarchy as '{name}'"
        ))),
    }
}

fn root_id(group: &record::ThingGroup) -> &str {
    group.ancestors.first().map_or(&group.thing_group_id, |root| &root.id)
}

fn join(
    store: &Store<'_>,
    effects: &mut Effects,
    thing: &str,
    group: &str,
    membership: &ThingGroupMembership,
) {
    let id = &membership.thing_group_id;
    effects.put(keys::group_of_thing(store.scope, thing, group), membership.encode_to_vec());
    effects.put(keys::thing_of_group(store.scope, id, thing), Bytes::new());
    let direct = GroupName { name: group.to_owned(), id: id.clone() }.encode_to_vec();
    for above in membership.ancestor_ids.iter().chain([id]) {
        effects.put(keys::thing_below_group(store.scope, above, thing), direct.clone());
    }
}

/// Takes a thing out of a group, which may be gone.
pub(super) fn leave(
    store: &Store<'_>,
    effects: &mut Effects,
    thing: &str,
    group: &str,
    membership: &ThingGroupMembership,
) -> Result<(), Error> {
    let id = &membership.thing_group_id;
    effects.delete(keys::group_of_thing(store.scope, thing, group));
    effects.delete(keys::thing_of_group(store.scope, id, thing));
    for above in membership.ancestor_ids.iter().chain([id]) {
        let key = keys::thing_below_group(store.scope, above, thing);
        // The thing may be in another group of the hierarchy since.
        let direct: Option<GroupName> = store.record(&key)?;
        if direct.is_some_and(|direct| direct.id == *id) {
            effects.delete(key);
        }
    }
    Ok(())
}

/// Takes a thing that is deleted out of all groups.
pub(crate) fn leave_all(
    store: &Store<'_>,
    context: &Context,
    effects: &mut Effects,
    (thing, thing_id): (&str, &str),
) -> Result<(), Error> {
    for (name, membership, group) in memberships(store, thing)? {
        leave(store, effects, thing, &name, &membership)?;
        if let Some(group) = group {
            let group = (name.as_str(), group.thing_group_id.as_str());
            let event = events::membership(store, Operation::Removed, (thing, thing_id), group);
            events::publish(store, context, effects, event)?;
        }
    }
    Ok(())
}

/// The groups that a thing is in, by name.
pub(crate) fn of_thing(store: &Store<'_>, thing: &str) -> Result<Vec<(String, record::ThingGroup)>, Error> {
    let all = memberships(store, thing)?.into_iter();
    Ok(all.filter_map(|(name, _, group)| Some((name, group?))).collect())
}

type Membership = (String, ThingGroupMembership, Option<record::ThingGroup>);

/// Every stored membership of a thing with its group; without one, the group is gone.
fn memberships(store: &Store<'_>, thing: &str) -> Result<Vec<Membership>, Error> {
    let mut all = Vec::new();
    for (key, value) in store.all(&keys::groups_of_thing(store.scope, thing)) {
        let membership: ThingGroupMembership = record::decode(&value)?;
        let name = keys::last_part(&key).unwrap_or_default().to_owned();
        let group: Option<record::ThingGroup> = store.record(&keys::thing_group(store.scope, &name))?;
        let group = group.filter(|group| group.thing_group_id == membership.thing_group_id);
        all.push((name, membership, group));
    }
    Ok(all)
}

/// The thing that a request names.
pub(crate) fn thing_name(store: &Store<'_>, args: &ThingAndGroup) -> Result<String, Error> {
    named(store, ("Thing", "thing"), args.thing_name.as_deref(), args.thing_arn.as_deref())
}

/// The group that a request names; `kind` as ARNs write it.
pub(crate) fn group_name(store: &Store<'_>, kind: &str, args: &ThingAndGroup) -> Result<String, Error> {
    named(store, ("Group", kind), args.group_name.as_deref(), args.group_arn.as_deref())
}

fn named(
    store: &Store<'_>,
    (what, kind): (&str, &str),
    name: Option<&str>,
    arn: Option<&str>,
) -> Result<String, Error> {
    let from_arn = arn.map(|text| {
        let shown = || syntax::shortened(text);
        let arn: Arn = text.parse().map_err(|_| Error::invalid(format!("'{}' is not an ARN", shown())))?;
        if arn.kind != kind {
            return Err(Error::invalid(format!("'{}' is not the ARN of a {kind}", shown())));
        }
        // What belongs to another account is answered as what is not there.
        if arn.scope == store.scope { Ok(arn.name) } else { Err(Error::not_found(what, text)) }
    });
    let names: BTreeSet<String> = from_arn.transpose()?.into_iter().chain(name.map(str::to_owned)).collect();
    let mut names = names.into_iter();
    match (names.next(), names.next()) {
        (Some(name), None) => {
            syntax::registry_name(&format!("{what} name"), &name)?;
            Ok(name)
        }
        (None, _) => Err(Error::invalid(format!("{what}: a name or an ARN is required"))),
        (Some(_), Some(_)) => Err(Error::invalid(format!("{what}: name and ARN differ"))),
    }
}
