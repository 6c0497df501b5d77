//! Rules of things: create, update, delete (provisioning.md section 8).

mod listing;
mod writes;

pub(crate) use listing::{describe, list};

use bytes::Bytes;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::limits::Limits;
use crate::record;
use crate::shapes::{Attributes, CreateThing, CreatedThing, DeleteThing, UpdateThing};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::thing_types;
use crate::view::Effects;

/// CreateThing: the same configuration again is the same thing; another one is a conflict.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateThing) -> Outcome {
    syntax::registry_name("thingName", &args.thing_name)?;
    check_names(args.thing_type_name.as_deref(), args.billing_group_name.as_deref())?;
    check_syntax(&args.attributes)?;
    let attributes = without_empty(&args.attributes);
    let key = keys::thing(store.scope, &args.thing_name);
    if let Some(existing) = store.record::<record::Thing>(&key)? {
        return same_or_conflict(store, args, &attributes, existing);
    }
    if let Some(name) = &args.thing_type_name {
        thing_types::check_associable(store, name)?;
    }
    if let Some(name) = &args.billing_group_name {
        return Err(Error::not_found("Billing group", name));
    }
    check_attribute_limits(&context.limits, &attributes, args.thing_type_name.is_some())?;
    let now = context.now.as_millis();
    let thing = record::Thing {
        thing_id: crate::ids::uuid(&context.random),
        thing_type_name: args.thing_type_name.clone(),
        attributes,
        version: 1,
        billing_group_name: None,
        created_at: now,
        modified_at: now,
    };
    let mut effects = Effects::default();
    writes::replace(store, &mut effects, &args.thing_name, None, Some(&thing));
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
        check_syntax(&payload.attributes)?;
    }
    let before = required(store, &args.thing_name)?;
    check_version(&args.thing_name, before.version, args.expected_version)?;
    let mut after = before.clone();
    change_type(store, args, &mut after)?;
    change_attributes(args, &mut after);
    check_attribute_limits(&context.limits, &after.attributes, after.thing_type_name.is_some())?;
    after.version = before.version.saturating_add(1);
    after.modified_at = context.now.as_millis();
    let mut effects = Effects::default();
    writes::replace(store, &mut effects, &args.thing_name, Some(&before), Some(&after));
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

fn change_attributes(args: &UpdateThing, thing: &mut record::Thing) {
    let Some(payload) = &args.attribute_payload else { return };
    if !payload.merge {
        thing.attributes.clear();
    }
    for (name, value) in &payload.attributes {
        if value.is_empty() {
            thing.attributes.remove(name);
        } else {
            thing.attributes.insert(name.clone(), value.clone());
        }
    }
}

/// DeleteThing: an unknown thing is a success, one with principals is not.
pub(crate) fn delete(store: &Store<'_>, args: &DeleteThing) -> Outcome {
    syntax::registry_name("thingName", &args.thing_name)?;
    let mut effects = Effects::default();
    let key = keys::thing(store.scope, &args.thing_name);
    let Some(thing) = store.record::<record::Thing>(&key)? else { return done(effects) };
    check_version(&args.thing_name, thing.version, args.expected_version)?;
    if store.any(&keys::principals_of_thing(store.scope, &args.thing_name)) {
        let message =
            format!("Cannot delete. Thing '{}' is still attached to one or more principals", args.thing_name);
        return Err(Error::invalid(message));
    }
    writes::replace(store, &mut effects, &args.thing_name, Some(&thing), None);
    done(effects)
}

/// The stored thing, or `ResourceNotFoundException`.
pub(crate) fn required(store: &Store<'_>, name: &str) -> Result<record::Thing, Error> {
    store.record(&keys::thing(store.scope, name))?.ok_or_else(|| Error::not_found("Thing", name))
}

fn check_version(name: &str, stored: u64, expected: Option<u64>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != stored => {
            let message = format!("Thing '{name}' has version {stored}, not the expected {expected}");
            Err(Error::new(ErrorCode::VersionConflictException, message))
        }
        _ => Ok(()),
    }
}

fn check_names(thing_type: Option<&str>, billing_group: Option<&str>) -> Result<(), Error> {
    thing_type.map_or(Ok(()), |name| syntax::registry_name("thingTypeName", name))?;
    billing_group.map_or(Ok(()), |name| syntax::registry_name("billingGroupName", name))
}

fn check_syntax(attributes: &Attributes) -> Result<(), Error> {
    attributes.iter().try_for_each(|(name, value)| {
        syntax::attribute_name(name)?;
        syntax::attribute_value(value)
    })
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
    let bytes: usize = attributes.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    if bytes > limits.attribute_bytes {
        let most = limits.attribute_bytes;
        return Err(Error::invalid(format!("the attributes have {bytes} bytes, {most} are allowed")));
    }
    Ok(())
}

fn encoded(thing: &record::Thing) -> Bytes {
    Bytes::from(thing.encode_to_vec())
}

#[cfg(test)]
mod tests;
