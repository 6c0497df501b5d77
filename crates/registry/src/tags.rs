//! Rules of tags (provisioning.md section 9).

use std::collections::BTreeMap;

use fleethaven_types::{Arn, Timestamp};
use prost::Message;

use crate::command::Context;
use crate::domain_configurations;
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{Listed, PageRequest, Tag, TagResource, UntagResource};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// TagResource: same key overwrites.
pub(crate) fn tag(store: &Store<'_>, context: &Context, args: &TagResource) -> Outcome {
    let arn = resource(store, &args.resource_arn)?;
    let wanted = checked(&args.tags)?;
    let fresh = wanted.keys().filter(|key| !store.exists(&keys::tag(store.scope, &arn, key))).count();
    let most = context.limits.tags_per_resource;
    let present = store.count(&keys::tags_of(store.scope, &arn), most.saturating_add(1));
    check_count(present.saturating_add(fresh), most)?;
    let mut effects = Effects::default();
    put(store, &mut effects, &arn, &wanted);
    done(effects)
}

/// UntagResource: keys that are not there are ignored.
pub(crate) fn untag(store: &Store<'_>, args: &UntagResource) -> Outcome {
    let arn = resource(store, &args.resource_arn)?;
    let mut effects = Effects::default();
    for key in &args.tag_keys {
        check_key(key)?;
        let key = keys::tag(store.scope, &arn, key);
        if store.exists(&key) {
            effects.delete(key);
        }
    }
    done(effects)
}

/// ListTagsForResource, in the order of keys.
pub(crate) fn list(
    store: &Store<'_>,
    arn: &str,
    next_token: Option<&str>,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let arn = resource(store, arn)?;
    let filters = [arn.as_str()];
    let listing = Listing::new("ListTagsForResource", &filters, keys::tags_of(store.scope, &arn));
    let request = PageRequest { token: next_token.map(str::to_owned), limit: None };
    let (pairs, next) = page::read(store, &listing, &request, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let tag: record::Tag = record::decode(value)?;
        items.push(Tag { key: keys::last_part(key).unwrap_or_default().to_owned(), value: tag.value });
    }
    Ok(QueryReply::Tags(Listed { items, next }))
}

/// Tags given when a resource is created.
pub(crate) fn put_initial(
    store: &Store<'_>,
    context: &Context,
    effects: &mut Effects,
    arn: &str,
    tags: &[Tag],
) -> Result<(), Error> {
    let wanted = checked(tags)?;
    check_count(wanted.len(), context.limits.tags_per_resource)?;
    put(store, effects, arn, &wanted);
    Ok(())
}

/// Removes the tags of a resource that is deleted.
pub(crate) fn delete_all(store: &Store<'_>, effects: &mut Effects, arn: &str) {
    for (key, _) in store.all(&keys::tags_of(store.scope, arn)) {
        effects.delete(key);
    }
}

fn put(store: &Store<'_>, effects: &mut Effects, arn: &str, tags: &BTreeMap<&str, &str>) {
    for (key, value) in tags {
        let tag = record::Tag { value: (*value).to_owned() };
        effects.put(keys::tag(store.scope, arn, key), tag.encode_to_vec());
    }
}

pub(crate) fn check_count(count: usize, most: usize) -> Result<(), Error> {
    if count > most {
        return Err(Error::limit(format!("a resource may have {most} tags")));
    }
    Ok(())
}

pub(crate) fn checked(tags: &[Tag]) -> Result<BTreeMap<&str, &str>, Error> {
    let mut wanted = BTreeMap::new();
    for Tag { key, value } in tags {
        check_key(key)?;
        if value.chars().count() > 256 || !syntax::tag_text(value) {
            let shown = syntax::shortened(value);
            return Err(Error::invalid(format!(
                "tag value '{shown}' must be at most 256 letters, digits, spaces or _.:/=+-@"
            )));
        }
        if wanted.insert(key.as_str(), value.as_str()).is_some() {
            return Err(Error::invalid(format!("tag key '{key}' is given twice")));
        }
    }
    Ok(wanted)
}

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let shown = || syntax::shortened(key);
    if !(1..=128).contains(&key.chars().count()) || !syntax::tag_text(key) {
        return Err(Error::invalid(format!(
            "tag key '{}' must be 1 to 128 letters, digits, spaces or _.:/=+-@",
            shown()
        )));
    }
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return Err(Error::invalid(format!("tag key '{}' starts with the reserved aws:", shown())));
    }
    Ok(())
}

/// The ARN of a resource that can have tags and exists. Things and client certificates cannot.
fn resource(store: &Store<'_>, text: &str) -> Result<String, Error> {
    let arn: Arn = text.parse().map_err(|_| not_taggable(text))?;
    let key = match arn.kind.as_str() {
        "thingtype" => Some(keys::thing_type(store.scope, &arn.name)),
        "thinggroup" => Some(keys::thing_group(store.scope, &arn.name)),
        "billinggroup" => Some(keys::billing_group(store.scope, &arn.name)),
        "policy" => Some(keys::policy(store.scope, &arn.name)),
        "rule" => Some(keys::rule(store.scope, &arn.name)),
        "cacert" => Some(keys::ca_certificate(store.scope, &arn.name)),
        "certificateprovider" => Some(keys::certificate_provider(store.scope, &arn.name)),
        "provisioningtemplate" => Some(keys::provisioning_template(store.scope, &arn.name)),
        "authorizer" => Some(keys::authorizer(store.scope, &arn.name)),
        "rolealias" => Some(keys::role_alias(store.scope, &arn.name)),
        "domainconfiguration" => domain_configurations::key_of_arn(store, &arn.name),
        "job" => None,
        _ => return Err(not_taggable(text)),
    };
    let exists = arn.scope == store.scope && key.is_some_and(|key| store.exists(&key));
    if !exists {
        return Err(Error::not_found("Resource", text));
    }
    Ok(arn.to_string())
}

fn not_taggable(text: &str) -> Error {
    Error::invalid(format!("'{}' is not the ARN of a resource that can have tags", syntax::shortened(text)))
}

#[cfg(test)]
mod tests;
