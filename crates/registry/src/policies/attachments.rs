//! What policies are attached to: AttachPolicy, DetachPolicy, their deprecated forms, and the listings.

use bytes::Bytes;
use fleethaven_types::{Arn, Timestamp};
use prost::Message;

use super::reads::summary;
use super::{names_of_groups, required};
use crate::command::Context;
use crate::error::Error;
use crate::keys::{self, Order};
use crate::limits::Limits;
use crate::page::{self, Listing};
use crate::principals;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{Listed, PageRequest, PolicyTarget};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::thing_groups;
use crate::view::Effects;

/// What policies are attached to.
pub(super) enum Target {
    /// ARN of a certificate that exists, or an identity id.
    Principal(String),
    /// A thing group that exists.
    Group {
        /// Its ARN.
        arn: String,
        name: String,
        group: record::ThingGroup,
    },
}

impl Target {
    /// As attachments are stored.
    fn as_str(&self) -> &str {
        match self {
            Self::Principal(text) | Self::Group { arn: text, .. } => text,
        }
    }

    fn most(&self, limits: &Limits) -> usize {
        match self {
            Self::Principal(_) => limits.policies_per_principal,
            Self::Group { .. } => limits.policies_per_thing_group,
        }
    }
}

/// AttachPolicy: again is a success.
pub(crate) fn attach(store: &Store<'_>, context: &Context, args: &PolicyTarget) -> Outcome {
    put(store, context, &args.policy_name, || target(store, &args.target))
}

/// AttachPrincipalPolicy.
pub(crate) fn attach_principal(store: &Store<'_>, context: &Context, args: &PolicyTarget) -> Outcome {
    let principal = || principals::principal(store, &args.target).map(Target::Principal);
    put(store, context, &args.policy_name, principal)
}

fn put(
    store: &Store<'_>,
    context: &Context,
    policy: &str,
    target: impl FnOnce() -> Result<Target, Error>,
) -> Outcome {
    syntax::policy_name(policy)?;
    required(store, policy)?;
    let target = target()?;
    let (target, most) = (target.as_str(), target.most(&context.limits));
    let key = keys::policy_of_target(store.scope, target, policy);
    let mut effects = Effects::default();
    if store.exists(&key) {
        return done(effects);
    }
    principals::check_attachable(store, target)?;
    if store.count(&keys::policies_of_target(store.scope, target), most) >= most {
        return Err(Error::limit(format!("'{target}' has {most} policies, which is the most allowed")));
    }
    let record = record::PolicyAttachment { attached_at: context.now.as_millis() };
    effects.put(key, record.encode_to_vec());
    for order in Order::BOTH {
        let index = keys::target_of_policy(store.scope, order, policy, context.now, target);
        effects.put(index, Bytes::new());
    }
    done(effects)
}

/// What a policy can be attached to, if it exists.
pub(super) fn target(store: &Store<'_>, text: &str) -> Result<Target, Error> {
    match text.parse::<Arn>() {
        Ok(Arn { scope, kind, name, .. }) if kind == thing_groups::KIND => {
            let group: Option<record::ThingGroup> = store.record(&keys::thing_group(store.scope, &name))?;
            let group = group.filter(|_| scope == store.scope);
            let group = group.ok_or_else(|| Error::not_found("Thing group", text))?;
            Ok(Target::Group { arn: store.arn(thing_groups::KIND, &name), name, group })
        }
        _ => principals::principal(store, text).map(Target::Principal),
    }
}

/// The names of the policies attached to a target.
pub(crate) fn names_of_target(store: &Store<'_>, target: &str) -> Vec<String> {
    let pairs = store.all(&keys::policies_of_target(store.scope, target));
    pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(str::to_owned).collect()
}

/// DetachPolicy: a policy that is not attached, or not there, is detached.
pub(crate) fn detach(store: &Store<'_>, args: &PolicyTarget) -> Outcome {
    syntax::policy_name(&args.policy_name)?;
    let target = target(store, &args.target)?;
    let mut effects = Effects::default();
    remove(store, &mut effects, &args.policy_name, target.as_str())?;
    done(effects)
}

/// DetachPrincipalPolicy: the policy and the principal must exist.
pub(crate) fn detach_principal(store: &Store<'_>, args: &PolicyTarget) -> Outcome {
    syntax::policy_name(&args.policy_name)?;
    required(store, &args.policy_name)?;
    let principal = principals::principal(store, &args.target)?;
    let mut effects = Effects::default();
    remove(store, &mut effects, &args.policy_name, &principal)?;
    done(effects)
}

/// Detaches every policy of a target that is deleted.
pub(crate) fn detach_all(store: &Store<'_>, effects: &mut Effects, target: &str) -> Result<(), Error> {
    for (key, _) in store.all(&keys::policies_of_target(store.scope, target)) {
        remove(store, effects, keys::last_part(&key).unwrap_or_default(), target)?;
    }
    Ok(())
}

fn remove(store: &Store<'_>, effects: &mut Effects, policy: &str, target: &str) -> Result<(), Error> {
    let key = keys::policy_of_target(store.scope, target, policy);
    let Some(attachment) = store.record::<record::PolicyAttachment>(&key)? else { return Ok(()) };
    effects.delete(key);
    let attached = Timestamp(attachment.attached_at);
    for order in Order::BOTH {
        effects.delete(keys::target_of_policy(store.scope, order, policy, attached, target));
    }
    Ok(())
}

/// ListAttachedPolicies: in name order; `recursive`: those of the groups above a thing group, too.
pub(crate) fn list_attached(
    store: &Store<'_>,
    text: &str,
    recursive: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let target = target(store, text)?;
    let filters = [target.as_str(), if recursive { "recursive" } else { "" }];
    let prefix = keys::policies_of_target(store.scope, target.as_str());
    let listing = Listing::new("ListAttachedPolicies", &filters, prefix);
    let (names, next) = match &target {
        Target::Group { name, group, .. } if recursive => {
            let inherited = names_of_groups(store, thing_groups::lineage(name, group));
            page::of(store, &listing, inherited, true, page, now)?
        }
        _ => {
            let (pairs, next) = page::read(store, &listing, page, now)?;
            let names = pairs.iter().filter_map(|(key, _)| keys::last_part(key));
            (names.map(str::to_owned).collect(), next)
        }
    };
    Ok(QueryReply::Policies(Listed { items: names.iter().map(|name| summary(store, name)).collect(), next }))
}

/// ListPrincipalPolicies. A quota bounds them, so the first page has the order asked for and further ones
/// follow it.
pub(crate) fn list_principal_policies(
    store: &Store<'_>,
    text: &str,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let principal = principals::principal(store, text)?;
    let order = Order::ascending(ascending);
    let filters = [principal.as_str(), order.name()];
    let prefix = keys::policies_of_target(store.scope, &principal);
    let (pairs, next) =
        page::read(store, &Listing::new("ListPrincipalPolicies", &filters, prefix), page, now)?;
    let mut dated = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let attached_at = record::decode::<record::PolicyAttachment>(value)?.attached_at;
        dated.push((attached_at, keys::last_part(key).unwrap_or_default()));
    }
    dated.sort_unstable();
    if !ascending {
        dated.reverse();
    }
    let items = dated.into_iter().map(|(_, name)| summary(store, name)).collect();
    Ok(QueryReply::Policies(Listed { items, next }))
}

/// ListTargetsForPolicy: first attached first.
pub(crate) fn list_targets(
    store: &Store<'_>,
    policy: &str,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    targets(store, "ListTargetsForPolicy", policy, Order::Oldest, page, now)
}

/// ListPolicyPrincipals.
pub(crate) fn list_principals(
    store: &Store<'_>,
    policy: &str,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    targets(store, "ListPolicyPrincipals", policy, Order::ascending(ascending), page, now)
}

fn targets(
    store: &Store<'_>,
    operation: &'static str,
    policy: &str,
    order: Order,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    syntax::policy_name(policy)?;
    required(store, policy)?;
    let filters = [policy, order.name()];
    let prefix = keys::targets_of_policy(store.scope, order, policy);
    let (pairs, next) = page::read(store, &Listing::new(operation, &filters, prefix), page, now)?;
    let items = pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(str::to_owned).collect();
    Ok(QueryReply::Names(Listed { items, next }))
}
