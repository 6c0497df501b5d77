//! DescribeThingGroup, ListThingGroups, ListThingGroupsForThing, ListThingsInThingGroup.

use fleethaven_types::Timestamp;

use super::{KIND, required};
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record::{self, GroupName, ThingGroupMembership};
use crate::shapes::{GroupNameAndArn, ListThingGroups, Listed, PageRequest, ThingGroupDescription};
use crate::store::Store;
use crate::syntax;
use crate::things;

/// DescribeThingGroup.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::registry_name("thingGroupName", name)?;
    let group = required(store, name)?;
    Ok(QueryReply::ThingGroup(Box::new(ThingGroupDescription {
        thing_group_name: name.to_owned(),
        thing_group_id: group.thing_group_id,
        thing_group_arn: store.arn(KIND, name),
        version: group.version,
        description: group.description,
        attributes: group.attributes,
        root_to_parent: group.ancestors.iter().map(|ancestor| told(store, &ancestor.name)).collect(),
        created_at: Timestamp(group.created_at),
    })))
}

fn told(store: &Store<'_>, name: &str) -> GroupNameAndArn {
    GroupNameAndArn { group_name: name.to_owned(), group_arn: store.arn(KIND, name) }
}

/// ListThingGroups, in name order.
pub(crate) fn list(store: &Store<'_>, args: &ListThingGroups, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = args.name_prefix.as_deref().unwrap_or_default();
    if args.name_prefix.is_some() {
        syntax::registry_name("namePrefixFilter", prefix)?;
    }
    let (depth, keys) = match (&args.parent_group, args.recursive) {
        (None, None | Some(true)) => ("all", keys::thing_group(store.scope, prefix)),
        (None, Some(false)) => ("children", keys::thing_groups_of_parent(store.scope, "", prefix)),
        (Some(parent), recursive) => {
            syntax::registry_name("parentGroup", parent)?;
            required(store, parent)?;
            match recursive {
                Some(true) => ("all", keys::thing_group_of_ancestor(store.scope, parent, prefix)),
                _ => ("children", keys::thing_groups_of_parent(store.scope, parent, prefix)),
            }
        }
    };
    let filters = [depth, args.parent_group.as_deref().unwrap_or_default(), prefix];
    let (pairs, next) = page::read(store, &Listing::new("ListThingGroups", &filters, keys), &args.page, now)?;
    let items =
        pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(|name| told(store, name)).collect();
    Ok(QueryReply::Groups(Listed { items, next }))
}

/// ListThingGroupsForThing, in name order.
pub(crate) fn list_of_thing(
    store: &Store<'_>,
    thing: &str,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    syntax::registry_name("thingName", thing)?;
    things::required(store, thing)?;
    let filters = [thing];
    let listing =
        Listing::new("ListThingGroupsForThing", &filters, keys::groups_of_thing(store.scope, thing));
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let name = keys::last_part(key).unwrap_or_default();
        let membership: ThingGroupMembership = record::decode(value)?;
        if is_there(store, name, &membership.thing_group_id)? {
            items.push(told(store, name));
        }
    }
    Ok(QueryReply::Groups(Listed { items, next }))
}

/// ListThingsInThingGroup, in name order. What a deleted child has left behind is passed over.
pub(crate) fn list_things(
    store: &Store<'_>,
    name: &str,
    recursive: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    syntax::registry_name("thingGroupName", name)?;
    let id = required(store, name)?.thing_group_id;
    let (depth, prefix) = match recursive {
        true => ("all", keys::things_below_group(store.scope, &id)),
        false => ("direct", keys::things_of_group(store.scope, &id)),
    };
    let filters = [depth, id.as_str()];
    let listing = Listing::new("ListThingsInThingGroup", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let direct: GroupName = record::decode(value)?;
        if !recursive || direct.id == id || is_there(store, &direct.name, &direct.id)? {
            items.push(keys::last_part(key).unwrap_or_default().to_owned());
        }
    }
    Ok(QueryReply::Names(Listed { items, next }))
}

/// Whether the group of this id still exists.
fn is_there(store: &Store<'_>, name: &str, id: &str) -> Result<bool, Error> {
    let group: Option<record::ThingGroup> = store.record(&keys::thing_group(store.scope, name))?;
    Ok(group.is_some_and(|group| group.thing_group_id == id))
}
