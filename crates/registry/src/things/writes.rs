//! A thing's record and index keys, kept in step.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::encoded;
use crate::command::Context;
use crate::error::Error;
use crate::events::{self, Event, Operation};
use crate::keys;
use crate::record;
use crate::store::Store;
use crate::view::Effects;

/// Puts `after` in the place of `before`, and tells of it; either may be absent.
pub(super) fn replace(
    store: &Store<'_>,
    context: &Context,
    effects: &mut Effects,
    name: &str,
    (before, after): (Option<&record::Thing>, Option<&record::Thing>),
) -> Result<(), Error> {
    let key = keys::thing(store.scope, name);
    match after {
        Some(thing) => effects.put(key, encoded(thing)),
        None => effects.delete(key),
    }
    let old = before.map(|thing| index_keys(store, name, thing)).unwrap_or_default();
    let new = after.map(|thing| index_keys(store, name, thing)).unwrap_or_default();
    old.difference(&new).for_each(|key| effects.delete(key.clone()));
    new.difference(&old).for_each(|key| effects.put(key.clone(), Bytes::new()));
    let told = match (before, after) {
        (None, Some(thing)) => Some(events::thing(Operation::Created, name, thing)),
        (Some(thing), None) => Some(events::thing(Operation::Deleted, name, thing)),
        (Some(before), Some(after)) if before.version != after.version => {
            Some(events::thing(Operation::Updated, name, after))
        }
        _ => None,
    };
    let removed = association(name, Operation::Removed, before, after);
    let added = association(name, Operation::Added, after, before);
    told.into_iter()
        .chain(removed)
        .chain(added)
        .try_for_each(|event| events::publish(store, context, effects, event))
}

/// The association with a type that `with` has and `without` has not.
fn association(
    name: &str,
    operation: Operation,
    with: Option<&record::Thing>,
    without: Option<&record::Thing>,
) -> Option<Event> {
    let thing = with?;
    let thing_type = thing.thing_type_name.as_deref()?;
    let changed = without.and_then(|other| other.thing_type_name.as_deref()) != Some(thing_type);
    changed.then(|| events::type_association(operation, name, &thing.thing_id, thing_type))
}

fn index_keys(store: &Store<'_>, name: &str, thing: &record::Thing) -> BTreeSet<Bytes> {
    let attribute = |(attribute, value): (&String, &String)| {
        keys::thing_by_attribute(store.scope, attribute, value, name)
    };
    let mut all: BTreeSet<Bytes> = thing.attributes.iter().map(attribute).collect();
    if let Some(group) = &thing.billing_group_id {
        all.insert(keys::thing_of_billing_group(store.scope, group, name));
    }
    if let Some(thing_type) = &thing.thing_type_name {
        all.insert(keys::thing_by_type(store.scope, thing_type, name));
    }
    all
}
