//! Rules of billing groups (provisioning.md section 9).
//!
//! A thing's record names its billing group with its id: once the group is deleted, that counts no more. The index from
//! the group to its things is swept a bounded number at a time, as that of thing groups is.

use bytes::Bytes;
use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    BillingGroupDescription, CreateBillingGroup, CreatedBillingGroup, DeleteGroup, GroupNameAndArn, Listed,
    PageRequest, ThingAndGroup, UpdateBillingGroup,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::thing_groups::{self, check_version};
use crate::things;
use crate::view::Effects;

pub(crate) const KIND: &str = "billinggroup";
/// Things that leave a deleted group with one command.
const SWEPT: usize = if cfg!(test) { 2 } else { 1024 };

/// CreateBillingGroup: the same configuration again is the same group; another one is a conflict.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateBillingGroup) -> Outcome {
    let name = &args.billing_group_name;
    syntax::registry_name("billingGroupName", name)?;
    check_description(args.description.as_deref())?;
    let arn = store.arn(KIND, name);
    let key = keys::billing_group(store.scope, name);
    if let Some(existing) = store.record::<record::BillingGroup>(&key)? {
        if existing.description == args.description {
            return Ok((created(name, arn, existing.billing_group_id), Effects::default()));
        }
        let message = format!("Billing group '{name}' already exists with different properties");
        return Err(Error::exists(message, existing.billing_group_id, arn));
    }
    let group = record::BillingGroup {
        billing_group_id: crate::ids::uuid(&context.random),
        description: args.description.clone(),
        version: 1,
        created_at: context.now.as_millis(),
    };
    let mut effects = swept(store);
    effects.put(key, group.encode_to_vec());
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    Ok((created(name, arn, group.billing_group_id), effects))
}

fn created(name: &str, billing_group_arn: String, billing_group_id: String) -> Reply {
    let billing_group_name = name.to_owned();
    Reply::BillingGroup(Box::new(CreatedBillingGroup {
        billing_group_name,
        billing_group_arn,
        billing_group_id,
    }))
}

/// UpdateBillingGroup: one more version, whatever changed.
pub(crate) fn update(store: &Store<'_>, args: &UpdateBillingGroup) -> Outcome {
    let name = &args.billing_group_name;
    syntax::registry_name("billingGroupName", name)?;
    check_description(args.description.as_deref())?;
    let mut group = required(store, name)?;
    check_version("Billing group", name, group.version, args.expected_version)?;
    group.description = args.description.clone().or(group.description);
    group.version = group.version.saturating_add(1);
    let mut effects = Effects::default();
    effects.put(keys::billing_group(store.scope, name), group.encode_to_vec());
    Ok((Reply::Version(group.version), effects))
}

/// DeleteBillingGroup: an unknown group is a success; its things leave it.
pub(crate) fn delete(store: &Store<'_>, args: &DeleteGroup) -> Outcome {
    let name = &args.group_name;
    syntax::registry_name("billingGroupName", name)?;
    let key = keys::billing_group(store.scope, name);
    let Some(group) = store.record::<record::BillingGroup>(&key)? else { return done(Effects::default()) };
    check_version("Billing group", name, group.version, args.expected_version)?;
    let mut effects = swept(store);
    effects.delete(key);
    if sweep(store, &mut effects, &group.billing_group_id) {
        effects.put(keys::billing_group_remains(store.scope, &group.billing_group_id), Bytes::new());
    }
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    done(effects)
}

/// The effects of a command on billing groups, which begin with some work on what is left of a deleted one.
fn swept(store: &Store<'_>) -> Effects {
    let mut effects = Effects::default();
    if let Some((key, _)) = store.view.scan(&keys::all_billing_group_remains(store.scope), None, 1).first()
        && !sweep(store, &mut effects, keys::last_part(key).unwrap_or_default())
    {
        effects.delete(key.clone());
    }
    effects
}

/// Whether things are left in the index of a deleted group.
fn sweep(store: &Store<'_>, effects: &mut Effects, id: &str) -> bool {
    let pairs =
        store.view.scan(&keys::things_of_billing_group(store.scope, id), None, SWEPT.saturating_add(1));
    pairs.iter().take(SWEPT).for_each(|(key, _)| effects.delete(key.clone()));
    pairs.len() > SWEPT
}

/// AddThingToBillingGroup: a thing is in one at most, so it leaves another.
pub(crate) fn add(store: &Store<'_>, context: &Context, args: &ThingAndGroup) -> Outcome {
    let (thing, group) = thing_and_group(store, args)?;
    let id = required(store, &group)?.billing_group_id;
    things::set_billing_group(store, context, &thing, Some((group, id)))
}

/// RemoveThingFromBillingGroup: a thing that is not in the group is none the less out of it.
pub(crate) fn remove(store: &Store<'_>, context: &Context, args: &ThingAndGroup) -> Outcome {
    let (thing, group) = thing_and_group(store, args)?;
    required(store, &group)?;
    let inside = things::required(store, &thing)?.billing_group_name.as_deref() == Some(&group);
    if inside { things::set_billing_group(store, context, &thing, None) } else { done(Effects::default()) }
}

fn thing_and_group(store: &Store<'_>, args: &ThingAndGroup) -> Result<(String, String), Error> {
    Ok((thing_groups::thing_name(store, args)?, thing_groups::group_name(store, KIND, args)?))
}

/// DescribeBillingGroup.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::registry_name("billingGroupName", name)?;
    let group = required(store, name)?;
    Ok(QueryReply::BillingGroup(Box::new(BillingGroupDescription {
        billing_group_name: name.to_owned(),
        billing_group_id: group.billing_group_id,
        billing_group_arn: store.arn(KIND, name),
        version: group.version,
        description: group.description,
        created_at: Timestamp(group.created_at),
    })))
}

/// ListBillingGroups, in name order.
pub(crate) fn list(
    store: &Store<'_>,
    name_prefix: Option<&str>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    name_prefix.map_or(Ok(()), |prefix| syntax::registry_name("namePrefixFilter", prefix))?;
    let prefix = name_prefix.unwrap_or_default();
    let filters = [prefix];
    let listing = Listing::new("ListBillingGroups", &filters, keys::billing_group(store.scope, prefix));
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let told = |name: &str| GroupNameAndArn { group_name: name.to_owned(), group_arn: store.arn(KIND, name) };
    let items = pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(told).collect();
    Ok(QueryReply::Groups(Listed { items, next }))
}

/// ListThingsInBillingGroup, in name order.
pub(crate) fn list_things(
    store: &Store<'_>,
    name: &str,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    syntax::registry_name("billingGroupName", name)?;
    let id = required(store, name)?.billing_group_id;
    let filters = [id.as_str()];
    let prefix = keys::things_of_billing_group(store.scope, &id);
    let (pairs, next) =
        page::read(store, &Listing::new("ListThingsInBillingGroup", &filters, prefix), page, now)?;
    let items = pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(str::to_owned).collect();
    Ok(QueryReply::Names(Listed { items, next }))
}

/// The stored group, or `ResourceNotFoundException`.
pub(crate) fn required(store: &Store<'_>, name: &str) -> Result<record::BillingGroup, Error> {
    let group = store.record(&keys::billing_group(store.scope, name))?;
    group.ok_or_else(|| Error::not_found("Billing group", name))
}

fn check_description(text: Option<&str>) -> Result<(), Error> {
    text.map_or(Ok(()), |text| syntax::description("billingGroupDescription", text, 2028))
}

#[cfg(test)]
mod tests;
