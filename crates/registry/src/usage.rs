//! What was used, summed by day, for each account, region and billing group.
//!
//! Each process that counts reports what it has counted since its last report, under a number; the number of the last report is
//! kept with the sums, by the same log entry. So a report that comes again because its outcome was unknown changes nothing,
//! however late it comes. Sums are kept for [`KEPT_DAYS`].

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_types::{Scope, Timestamp};
use prost::Message;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{Amounts, ReportUsage, UsageQuery, UsageRow};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::things;
use crate::view::Effects;

/// Most rows of one report.
pub const ROWS: usize = 256;
/// Most rows of one answer.
pub const PAGE: usize = 1000;
/// For how many days sums are kept: a year, and a month to ask for it.
pub const KEPT_DAYS: u32 = 400;
/// How long a process may be silent before what it last reported is forgotten.
const SILENT_MILLIS: u64 = 7 * DAY_MILLIS;
/// Regions of an account in which something is counted where nothing was ever created: AWS has fewer.
const REGIONS: usize = 64;
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// Records of processes that one report looks at, and sums of days long past that it takes out in each of its scopes.
const SWEPT: usize = 16;

/// The day that a moment falls on.
pub fn day_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis() / DAY_MILLIS).unwrap_or(u32::MAX)
}

/// ReportUsage: adds what was counted, once.
pub(crate) fn report(store: &Store<'_>, context: &Context, args: &ReportUsage) -> Outcome {
    check(args)?;
    let key = keys::usage_source(&args.source);
    let known = store.record::<record::UsageSource>(&key)?.unwrap_or_default();
    let mut effects = Effects::default();
    if args.number <= known.number {
        return done(effects);
    }
    let mut made = BTreeSet::new();
    for ((scope, day, group), amounts) in summed(&args.rows) {
        if !is_marked(store, &mut effects, &mut made, scope) {
            continue;
        }
        let key = keys::usage(scope, day, group);
        let mut sum: Amounts = store.record::<record::Usage>(&key)?.unwrap_or_default().into();
        sum += amounts;
        effects.put(key, record::Usage::from(sum).encode_to_vec());
    }
    let scopes: BTreeSet<_> = args.rows.iter().map(|row| row.scope).collect();
    scopes.into_iter().for_each(|scope| forget_old(store, &mut effects, scope, day_of(context.now)));
    forget_silent(store, &mut effects, &key, context.now)?;
    if args.last {
        effects.delete(key);
    } else {
        let source = record::UsageSource { number: args.number, at: context.now.as_millis() };
        effects.put(key, source.encode_to_vec());
    }
    done(effects)
}

/// Marks a scope as one in which there is something, or tells that an account has too many: whoever may sign names a region, and
/// reading costs no more than that.
fn is_marked(store: &Store<'_>, effects: &mut Effects, made: &mut BTreeSet<Scope>, scope: Scope) -> bool {
    let marker = keys::scope_marker(scope);
    if store.exists(&marker) || made.contains(&scope) {
        return true;
    }
    let known = store.count(&keys::scopes_of_account(scope.account), REGIONS);
    let new = made.iter().filter(|one| one.account == scope.account).count();
    if known + new >= REGIONS {
        return false;
    }
    effects.put(marker, Vec::new());
    made.insert(scope)
}

fn check(args: &ReportUsage) -> Result<(), Error> {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if args.source.is_empty() || args.source.len() > 64 || !args.source.bytes().all(is_named) {
        return Err(Error::invalid("'source' is no name of a process"));
    }
    if args.rows.len() > ROWS {
        return Err(Error::invalid(format!("a report has at most {ROWS} rows")));
    }
    let mut groups = args.rows.iter().filter_map(|row| row.billing_group.as_deref());
    groups.try_for_each(|group| syntax::registry_name("billingGroupName", group))
}

/// A report that names one twice means both.
fn summed(rows: &[UsageRow]) -> BTreeMap<(Scope, u32, &str), Amounts> {
    let mut sums = BTreeMap::<_, Amounts>::new();
    for UsageRow { scope, billing_group, day, amounts } in rows {
        let group = billing_group.as_deref().unwrap_or_default();
        *sums.entry((*scope, *day, group)).or_default() += *amounts;
    }
    sums
}

fn forget_old(store: &Store<'_>, effects: &mut Effects, scope: Scope, today: u32) {
    let oldest = store.view.scan(&keys::usage_prefix(scope), None, SWEPT).into_iter();
    for (key, _) in oldest {
        match keys::parse_usage(&key) {
            Some((day, _)) if day.saturating_add(KEPT_DAYS) < today => effects.delete(key),
            _ => return,
        }
    }
}

/// Looks at some of the records behind `own`: their names are random, so each is looked at by somebody.
fn forget_silent(store: &Store<'_>, effects: &mut Effects, own: &[u8], now: Timestamp) -> Result<(), Error> {
    for (key, value) in store.view.scan(&keys::usage_sources(), Some(own), SWEPT) {
        let source: record::UsageSource = record::decode(&value)?;
        if now.as_millis().saturating_sub(source.at) > SILENT_MILLIS {
            effects.delete(key);
        }
    }
    Ok(())
}

/// What the scope's account used, by day and billing group.
pub(crate) fn list(store: &Store<'_>, asked: &UsageQuery) -> Result<QueryReply, Error> {
    let UsageQuery { from, to, after } = asked;
    let prefix = keys::usage_prefix(store.scope);
    let start = match after {
        Some((day, group)) => Some(keys::usage(store.scope, *day, group)),
        // What sorts just below the first day.
        None => from.checked_sub(1).map(|before| keys::usage_after(store.scope, before)),
    };
    let mut rows = Vec::new();
    for (key, value) in store.view.scan(&prefix, start.as_deref(), PAGE) {
        let Some((day, group)) = keys::parse_usage(&key) else { continue };
        if day > *to {
            break;
        }
        let amounts = record::decode::<record::Usage>(&value)?.into();
        let billing_group = Some(group).filter(|group| !group.is_empty());
        rows.push(UsageRow { scope: store.scope, billing_group, day, amounts });
    }
    Ok(QueryReply::Usage(rows))
}

/// The billing group that an MQTT client's usage counts for: that of the thing whose name is its client id, if its certificate is
/// attached to that thing.
pub(crate) fn group_of_client(
    store: &Store<'_>,
    certificate_id: &str,
    client_id: &str,
) -> Result<QueryReply, Error> {
    let is_thing = syntax::registry_name("thingName", client_id).is_ok();
    let arn = match syntax::certificate_id(certificate_id) {
        Ok(id) if is_thing => store.arn("cert", &id),
        _ => return Ok(QueryReply::BillingGroupOfClient(None)),
    };
    if !store.exists(&keys::thing_of_principal(store.scope, &arn, client_id)) {
        return Ok(QueryReply::BillingGroupOfClient(None));
    }
    let thing = things::stored(store, client_id)?;
    Ok(QueryReply::BillingGroupOfClient(thing.and_then(|thing| thing.billing_group_name)))
}

/// The billing group that usage by a certificate outside of MQTT counts for, where there is no client id: that of the thing that it is
/// attached to, if that is one only.
pub(crate) fn group_of_certificate(store: &Store<'_>, certificate_id: &str) -> Result<QueryReply, Error> {
    let Ok(id) = syntax::certificate_id(certificate_id) else {
        return Ok(QueryReply::BillingGroupOfClient(None));
    };
    let things = keys::things_of_principal(store.scope, &store.arn("cert", &id));
    let attached = store.view.scan(&things, None, 2);
    let thing = match attached.as_slice() {
        [(key, _)] => keys::last_part(key).map(|name| things::stored(store, name)).transpose()?.flatten(),
        _ => None,
    };
    Ok(QueryReply::BillingGroupOfClient(thing.and_then(|thing| thing.billing_group_name)))
}

#[cfg(test)]
mod tests;
