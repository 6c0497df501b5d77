//! A thing's record and index keys, kept in step.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::encoded;
use crate::keys;
use crate::record;
use crate::store::Store;
use crate::view::Effects;

/// Puts `after` in the place of `before`; either may be absent.
pub(super) fn replace(
    store: &Store<'_>,
    effects: &mut Effects,
    name: &str,
    before: Option<&record::Thing>,
    after: Option<&record::Thing>,
) {
    let key = keys::thing(store.scope, name);
    match after {
        Some(thing) => effects.put(key, encoded(thing)),
        None => effects.delete(key),
    }
    let old = before.map(|thing| index_keys(store, name, thing)).unwrap_or_default();
    let new = after.map(|thing| index_keys(store, name, thing)).unwrap_or_default();
    old.difference(&new).for_each(|key| effects.delete(key.clone()));
    new.difference(&old).for_each(|key| effects.put(key.clone(), Bytes::new()));
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
