//! Rules of thing types (provisioning.md section 8).

use std::collections::BTreeSet;
use std::time::Duration;

use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::Error;
use crate::events::{self, Operation};
use crate::keys;
use crate::limits::Limits;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record::{self, Mqtt5Configuration, PropagatingValue};
use crate::shapes::{
    CreateThingType, CreatedThingType, DeprecateThingType, Listed, PageRequest, PropagatedValue,
    PropagatingAttribute, ThingTypeDescription, ThingTypeProperties, UpdateThingType,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "thingtype";

/// CreateThingType: the same properties again are the same type; others are a conflict.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateThingType) -> Outcome {
    let name = &args.thing_type_name;
    syntax::registry_name("thingTypeName", name)?;
    check(&args.properties, &context.limits)?;
    let arn = store.arn(KIND, name);
    let key = keys::thing_type(store.scope, name);
    if let Some(existing) = store.record::<record::ThingType>(&key)? {
        if properties(&existing) == args.properties {
            return Ok((created(name, arn, existing.thing_type_id), Effects::default()));
        }
        let message = format!("Thing type '{name}' already exists with different properties");
        return Err(Error::exists(message, existing.thing_type_id, arn));
    }
    let thing_type = record::ThingType {
        thing_type_id: crate::ids::uuid(&context.random),
        description: args.properties.description.clone(),
        searchable_attributes: args.properties.searchable_attributes.clone(),
        mqtt5_configuration: args.properties.propagating_attributes.as_deref().map(stored),
        created_at: context.now.as_millis(),
        deprecated_at: None,
    };
    let mut effects = Effects::default();
    effects.put(key, thing_type.encode_to_vec());
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    events::publish(store, context, &mut effects, events::thing_type(Operation::Created, name, &thing_type))?;
    Ok((created(name, arn, thing_type.thing_type_id), effects))
}

fn created(name: &str, thing_type_arn: String, thing_type_id: String) -> Reply {
    let thing_type_name = name.to_owned();
    Reply::ThingType(Box::new(CreatedThingType { thing_type_name, thing_type_arn, thing_type_id }))
}

/// UpdateThingType: only `mqtt5Configuration` can change.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateThingType) -> Outcome {
    let name = &args.thing_type_name;
    syntax::registry_name("thingTypeName", name)?;
    check(&args.properties, &context.limits)?;
    let mut thing_type = required(store, name)?;
    let asked = &args.properties;
    let description_kept = asked.description.is_none() || asked.description == thing_type.description;
    let searchable_kept = asked.searchable_attributes.is_empty()
        || asked.searchable_attributes == thing_type.searchable_attributes;
    if !description_kept || !searchable_kept {
        return Err(Error::invalid(format!("of thing type '{name}' only mqtt5Configuration can change")));
    }
    let mut effects = Effects::default();
    if let Some(attributes) = &asked.propagating_attributes {
        thing_type.mqtt5_configuration = Some(stored(attributes));
        effects.put(keys::thing_type(store.scope, name), thing_type.encode_to_vec());
        let updated = events::thing_type(Operation::Updated, name, &thing_type);
        events::publish(store, context, &mut effects, updated)?;
    }
    done(effects)
}

/// DeprecateThingType, also its undoing.
pub(crate) fn deprecate(store: &Store<'_>, context: &Context, args: &DeprecateThingType) -> Outcome {
    let name = &args.thing_type_name;
    syntax::registry_name("thingTypeName", name)?;
    let mut thing_type = required(store, name)?;
    let mut effects = Effects::default();
    if thing_type.deprecated_at.is_some() != args.undo_deprecate {
        return done(effects);
    }
    thing_type.deprecated_at = (!args.undo_deprecate).then(|| context.now.as_millis());
    effects.put(keys::thing_type(store.scope, name), thing_type.encode_to_vec());
    events::publish(store, context, &mut effects, events::thing_type(Operation::Updated, name, &thing_type))?;
    done(effects)
}

/// DeleteThingType: only a deprecated type without things, some time after its deprecation.
pub(crate) fn delete(store: &Store<'_>, context: &Context, name: &str) -> Outcome {
    syntax::registry_name("thingTypeName", name)?;
    let thing_type = required(store, name)?;
    let Some(deprecated_at) = thing_type.deprecated_at.map(Timestamp) else {
        return Err(Error::invalid(format!("thing type '{name}' must be deprecated before it is deleted")));
    };
    let wait = context.limits.thing_type_delete_wait_secs;
    if context.now.since(deprecated_at) < Duration::from_secs(wait) {
        let message = format!("thing type '{name}' can be deleted {wait} seconds after its deprecation");
        return Err(Error::invalid(message));
    }
    if store.any(&keys::things_of_type(store.scope, name)) {
        return Err(Error::invalid(format!("thing type '{name}' is still associated with things")));
    }
    let mut effects = Effects::default();
    effects.delete(keys::thing_type(store.scope, name));
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    events::publish(store, context, &mut effects, events::thing_type(Operation::Deleted, name, &thing_type))?;
    done(effects)
}

/// DescribeThingType.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::registry_name("thingTypeName", name)?;
    Ok(QueryReply::ThingType(Box::new(description(store, name, &required(store, name)?))))
}

/// ListThingTypes, in name order.
pub(crate) fn list(
    store: &Store<'_>,
    name: Option<&str>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    name.map_or(Ok(()), |name| syntax::registry_name("thingTypeName", name))?;
    let filters = [name.unwrap_or_default()];
    let listing = Listing::new("ListThingTypes", &filters, keys::thing_types_prefix(store.scope));
    let (pairs, next) = match name {
        None => page::read(store, &listing, page, now)?,
        Some(name) => {
            let key = keys::thing_type(store.scope, name);
            (store.view.get(&key).map(|value| (key, value)).into_iter().collect(), None)
        }
    };
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let name = keys::last_part(key).unwrap_or_default();
        items.push(description(store, name, &record::decode(value)?));
    }
    Ok(QueryReply::ThingTypes(Listed { items, next }))
}

/// Refuses a type that a thing cannot be given: unknown or deprecated.
pub(crate) fn check_associable(store: &Store<'_>, name: &str) -> Result<(), Error> {
    if required(store, name)?.deprecated_at.is_some() {
        return Err(Error::invalid(format!("thing type '{name}' is deprecated")));
    }
    Ok(())
}

/// The user properties that the type adds to messages.
pub(crate) fn propagating(thing_type: &record::ThingType) -> Option<Vec<PropagatingAttribute>> {
    let configuration = thing_type.mqtt5_configuration.as_ref()?;
    let shape = |stored: &record::PropagatingAttribute| {
        let value = match stored.value.clone()? {
            PropagatingValue::ThingAttribute(name) => PropagatedValue::ThingAttribute(name),
            PropagatingValue::ConnectionAttribute(name) => PropagatedValue::ConnectionAttribute(name),
        };
        Some(PropagatingAttribute { user_property_key: stored.user_property_key.clone(), value })
    };
    Some(configuration.propagating_attributes.iter().filter_map(shape).collect())
}

fn stored(attributes: &[PropagatingAttribute]) -> Mqtt5Configuration {
    let record = |attribute: &PropagatingAttribute| record::PropagatingAttribute {
        user_property_key: attribute.user_property_key.clone(),
        value: Some(match attribute.value.clone() {
            PropagatedValue::ThingAttribute(name) => PropagatingValue::ThingAttribute(name),
            PropagatedValue::ConnectionAttribute(name) => PropagatingValue::ConnectionAttribute(name),
        }),
    };
    Mqtt5Configuration { propagating_attributes: attributes.iter().map(record).collect() }
}

fn properties(thing_type: &record::ThingType) -> ThingTypeProperties {
    ThingTypeProperties {
        description: thing_type.description.clone(),
        searchable_attributes: thing_type.searchable_attributes.clone(),
        propagating_attributes: propagating(thing_type),
    }
}

fn description(store: &Store<'_>, name: &str, thing_type: &record::ThingType) -> ThingTypeDescription {
    ThingTypeDescription {
        thing_type_name: name.to_owned(),
        thing_type_id: thing_type.thing_type_id.clone(),
        thing_type_arn: store.arn(KIND, name),
        properties: properties(thing_type),
        deprecated_at: thing_type.deprecated_at.map(Timestamp),
        created_at: Timestamp(thing_type.created_at),
    }
}

fn required(store: &Store<'_>, name: &str) -> Result<record::ThingType, Error> {
    store.record(&keys::thing_type(store.scope, name))?.ok_or_else(|| Error::not_found("Thing type", name))
}

fn check(properties: &ThingTypeProperties, limits: &Limits) -> Result<(), Error> {
    if let Some(text) = &properties.description {
        syntax::description("thingTypeDescription", text, 2028)?;
    }
    let searchable = &properties.searchable_attributes;
    searchable.iter().try_for_each(|name| syntax::attribute_name(name))?;
    let most = limits.searchable_attributes;
    if searchable.len() > most {
        return Err(Error::invalid(format!(
            "{} searchable attributes: {most} are allowed",
            searchable.len()
        )));
    }
    if searchable.iter().collect::<BTreeSet<_>>().len() < searchable.len() {
        return Err(Error::invalid("searchableAttributes names an attribute twice"));
    }
    let propagating = properties.propagating_attributes.as_deref().unwrap_or_default();
    let most = limits.propagating_attributes;
    if propagating.len() > most {
        let count = propagating.len();
        return Err(Error::invalid(format!("{count} propagating attributes: {most} are allowed")));
    }
    propagating.iter().try_for_each(check_propagating)
}

fn check_propagating(attribute: &PropagatingAttribute) -> Result<(), Error> {
    syntax::user_property_key(&attribute.user_property_key)?;
    match &attribute.value {
        PropagatedValue::ThingAttribute(name) => syntax::attribute_name(name),
        PropagatedValue::ConnectionAttribute(name) => match name.as_str() {
            "iot:ClientId" | "iot:Thing.ThingName" => Ok(()),
            other => Err(Error::invalid(format!(
                "connectionAttribute '{}' is none of iot:ClientId, iot:Thing.ThingName",
                syntax::shortened(other)
            ))),
        },
    }
}

#[cfg(test)]
mod tests;
