//! DescribeThing and ListThings.

use bytes::Bytes;
use fleethaven_types::Timestamp;

use super::required;
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{ListThings, Listed, ThingDescription, ThingSummary};
use crate::store::Store;
use crate::syntax;

/// DescribeThing.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::registry_name("thingName", name)?;
    let thing = required(store, name)?;
    Ok(QueryReply::Thing(Box::new(ThingDescription {
        thing_name: name.to_owned(),
        thing_id: thing.thing_id,
        thing_arn: store.arn("thing", name),
        thing_type_name: thing.thing_type_name,
        attributes: thing.attributes,
        version: thing.version,
        billing_group_name: thing.billing_group_name,
    })))
}

/// ListThings: walks the narrowest index and checks the other filters, so that pages may be short.
pub(crate) fn list(store: &Store<'_>, args: &ListThings, now: Timestamp) -> Result<QueryReply, Error> {
    check(args)?;
    let listing = Listing::new("ListThings", &[], index(store, args));
    let filters = [
        flag(args.attribute_name.is_some()),
        args.attribute_name.as_deref().unwrap_or_default(),
        flag(args.attribute_value.is_some()),
        args.attribute_value.as_deref().unwrap_or_default(),
        flag(args.use_prefix_attribute_value),
        flag(args.thing_type_name.is_some()),
        args.thing_type_name.as_deref().unwrap_or_default(),
    ];
    let listing = Listing { filters: &filters, ..listing };
    let (pairs, next) = page::read(store, &listing, &args.page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, _) in &pairs {
        items.extend(summary(store, args, key)?);
    }
    Ok(QueryReply::Things(Listed { items, next }))
}

fn flag(set: bool) -> &'static str {
    if set { "1" } else { "0" }
}

fn check(args: &ListThings) -> Result<(), Error> {
    if args.attribute_value.is_some() && args.attribute_name.is_none() {
        return Err(Error::invalid("attributeValue needs an attributeName"));
    }
    args.attribute_name.as_deref().map_or(Ok(()), syntax::attribute_name)?;
    args.attribute_value.as_deref().map_or(Ok(()), syntax::attribute_value)?;
    args.thing_type_name.as_deref().map_or(Ok(()), |name| syntax::registry_name("thingTypeName", name))
}

fn index(store: &Store<'_>, args: &ListThings) -> Bytes {
    let scope = store.scope;
    match (&args.attribute_name, &args.attribute_value, &args.thing_type_name) {
        (Some(name), Some(value), _) if args.use_prefix_attribute_value => {
            keys::things_with_value_prefix(scope, name, value)
        }
        (Some(name), Some(value), _) => keys::things_with_value(scope, name, value),
        (Some(name), None, _) => keys::things_with_attribute(scope, name),
        (None, _, Some(thing_type)) => keys::things_of_type(scope, thing_type),
        (None, _, None) => keys::things_prefix(scope),
    }
}

fn summary(store: &Store<'_>, args: &ListThings, key: &[u8]) -> Result<Option<ThingSummary>, Error> {
    let Some(name) = keys::last_part(key) else { return Ok(None) };
    let Some(thing) = store.record::<record::Thing>(&keys::thing(store.scope, name))? else {
        return Ok(None);
    };
    let of_type = args.thing_type_name.is_none() || args.thing_type_name == thing.thing_type_name;
    Ok(of_type.then(|| ThingSummary {
        thing_name: name.to_owned(),
        thing_type_name: thing.thing_type_name,
        thing_arn: store.arn("thing", name),
        attributes: thing.attributes,
        version: thing.version,
    }))
}
