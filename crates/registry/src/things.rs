//! Rules of things: create, update, delete (provisioning.md section 8).

mod listing;
mod writes;

pub(crate) use listing::{describe, list};

use bytes::Bytes;
use prost::Message;

use crate::attributes;
use crate::billing_groups;
use crate::command::{Context, Reply};
use crate::error::Error;
use crate::keys;
use crate::limits::Limits;
use crate::record;
use crate::shapes::{Attributes, CreateThing, CreatedThing, DeleteThing, UpdateThing};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::thing_groups;
use crate::thing_types;
use crate::view::Effects;

/// CreateThing: the same configuration again is the same thing; another one is a conflict.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateThing) -> Outcome {
    syntax::registry_name("thingName", &args.thing_name)?;
    check_names(args.thing_type_name.as_deref(), args.billing_group_name.as_deref())?;
    attributes::check_syntax(&args.attributes)?;
    let attributes = without_empty(&args.attributes);
    if let Some(existing) = stored(store, &args.thing_name)? {
        return same_or_conflict(store, args, &attributes, existing);
    }
    if let Some(name) = &args.thing_type_name {
        thing_types::check_associable(store, name)?;
    }
    let billing_group = args.billing_group_name.as_ref().map(|name| billing_groups::required(store, name));
    check_attribute_limits(&context.limits, &attributes, args.thing_type_name.is_some())?;
    let now = context.now.as_millis();
    let thing = record::Thing {
        thing_id: crate::ids::uuid(&context.random),
        thing_type_name: args.thing_type_name.clone(),
        attributes,
        version: 1,
        billing_group_name: args.billing_group_name.clone(),
        created_at: now,
        modified_at: now,
        billing_group_id: billing_group.transpose()?.map(|group| group.billing_group_id),
    };
    let mut effects = Effects::default();
    writes::replace(store, context, &mut effects, &args.thing_name, (None, Some(&thing)))?;
    Ok((created(store, &args.thing_name, thing.thing_id), effects))
}

fn same_or_conflict(
    store: &Store<'_>,
    args: &CreateThing,
    attributes: &Attributes,
    existing: record::Thing,
) -> Outcome {
    let same = existing.thing_type_name == args.thing_type_name
        && existing.billing_group_name == args.billing_group_name
        && existing.attributes == *attributes;
    if same {
        return Ok((created(store, &args.thing_name, existing.thing_id), Effects::default()));
    }
    let message = format!("Thing '{}' already exists with different properties", args.thing_name);
    Err(Error::exists(message, existing.thing_id, store.arn("thing", &args.thing_name)))
}

fn created(store: &Store<'_>, name: &str, thing_id: String) -> Reply {
    let thing_arn = store.arn("thing", name);
    Reply::Thing(Box::new(CreatedThing { thing_name: name.to_owned(), thing_arn, thing_id }))
}

/// UpdateThing: one more version, whatever changed.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateThing) -> Outcome {
    syntax::registry_name("thingName", &args.thing_name)?;
    check_names(args.thing_type_name.as_deref(), None)?;
    if args.thing_type_name.is_some() && args.remove_thing_type {
        return Err(Error::invalid("thingTypeName and removeThingType exclude each other"));
    }
    if let Some(payload) = &args.attribute_payload {
        attributes::check_syntax(&payload.attributes)?;
    }
    let before = required(store, &args.thing_name)?;
    thing_groups::check_version("Thing", &args.thing_name, before.version, args.expected_version)?;
    let mut after = before.clone();
    change_type(store, args, &mut after)?;
    if let Some(payload) = &args.attribute_payload {
        attributes::change(&mut after.attributes, &payload.attributes, payload.merge);
    }
    check_attribute_limits(&context.limits, &after.attributes, after.thing_type_name.is_some())?;
    after.version = before.version.saturating_add(1);
    after.modified_at = context.now.as_millis();
    let mut effects = Effects::default();
    writes::replace(store, context, &mut effects, &args.thing_name, (Some(&before), Some(&after)))?;
    done(effects)
}

fn change_type(store: &Store<'_>, args: &UpdateThing, thing: &mut record::Thing) -> Result<(), Error> {
    if args.remove_thing_type {
        thing.thing_type_name = None;
    }
    if let Some(name) = &args.thing_type_name
        && thing.thing_type_name.as_ref() != Some(name)
    {
        thing_types::check_associable(store, name)?;
        thing.thing_type_name = Some(name.clone());
    }
    Ok(())
}

/// Puts a thing into a billing group, by name and id, or into none. It is no new version of the thing.
pub(crate) fn set_billing_group(
    store: &Store<'_>,
    context: &Context,
    name: &str,
    group: Option<(String, String)>,
) -> Outcome {
    let before = required(store, name)?;
    let (group, id) = group.unzip();
    let mut effects = Effects::default();
    if before.billing_group_id != id {
        let modified_at = context.now.as_millis();
        let after =
            record::Thing { billing_group_name: group, billing_group_id: id, modified_at, ..before.clone() };
        writes::replace(store, context, &mut effects, name, (Some(&before), Some(&after)))?;
    }
    done(effects)
}

/// DeleteThing: an unknown thing is a success, one with principals is not. It leaves its groups.
pub(crate) fn delete(store: &Store<'_>, context: &Context, args: &DeleteThing) -> Outcome {
    syntax::registry_name("thingName", &args.thing_name)?;
    let mut effects = Effects::default();
    let Some(thing) = stored(store, &args.thing_name)? else { return done(effects) };
    thing_groups::check_version("Thing", &args.thing_name, thing.version, args.expected_version)?;
    if store.any(&keys::principals_of_thing(store.scope, &args.thing_name)) {
        let message =
            format!("Cannot delete. Thing '{}' is still attached to one or more principals", args.thing_name);
        return Err(Error::invalid(message));
    }
    thing_groups::leave_all(store, context, &mut effects, (&args.thing_name, &thing.thing_id))?;
    writes::replace(store, context, &mut effects, &args.thing_name, (Some(&thing), None))?;
    done(effects)
}

/// The stored thing, or `ResourceNotFoundException`.
pub(crate) fn required(store: &Store<'_>, name: &str) -> Result<record::Thing, Error> {
    stored(store, name)?.ok_or_else(|| Error::not_found("Thing", name))
}

/// The stored thing, in no billing group when that is gone.
pub(crate) fn stored(store: &Store<'_>, name: &str) -> Result<Option<record::Thing>, Error> {
    let Some(mut thing) = store.record::<record::Thing>(&keys::thing(store.scope, name))? else {
        return Ok(None);
    };
    if let Some(group) = &thing.billing_group_name {
        let group: Option<record::BillingGroup> = store.record(&keys::billing_group(store.scope, group))?;
        if group.map(|group| group.billing_group_id) != thing.billing_group_id {
            (thing.billing_group_name, thing.billing_group_id) = (None, None);
        }
    }
    Ok(Some(thing))
}

fn check_names(thing_type: Option<&str>, billing_group: Option<&str>) -> Result<(), Error> {
    thing_type.map_or(Ok(()), |name| syntax::registry_name("thingTypeName", name))?;
    billing_group.map_or(Ok(()), |name| syntax::registry_name("billingGroupName", name))
}

fn without_empty(attributes: &Attributes) -> Attributes {
    let kept = attributes.iter().filter(|(_, value)| !value.is_empty());
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn check_attribute_limits(limits: &Limits, attributes: &Attributes, has_type: bool) -> Result<(), Error> {
    let most = if has_type { limits.attributes_with_type } else { limits.attributes_without_type };
    if attributes.len() > most {
        let with = if has_type { "with" } else { "without" };
        let count = attributes.len();
        return Err(Error::invalid(format!(
            "{count} attributes: a thing {with} a thing type may have {most}"
        )));
    }
    attributes::check_bytes(attributes, limits)
}

fn encoded(thing: &record::Thing) -> Bytes {
    Bytes::from(thing.encode_to_vec())
}

#[cfg(test)]
mod tests;
