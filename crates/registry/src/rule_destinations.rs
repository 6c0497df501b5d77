//! Topic rule destinations (rules-actions.md 5.9): addresses that `http` actions may call once their owners have confirmed it.

use std::time::Duration;

use fleethaven_types::{Scope, Timestamp};
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::limits;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    DestinationStatus, Listed, PageRequest, RuleDestination, Secret, UnreachableRuleDestination,
    UpdateRuleDestination,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

const KIND: &str = "ruledestination";
/// How long an owner may take to confirm.
const TOKEN_LASTS: Duration = Duration::from_secs(3 * 24 * 3600);

/// CreateTopicRuleDestination, of an HTTP address.
pub(crate) fn create(store: &Store<'_>, context: &Context, url: &str) -> Outcome {
    syntax::function_url(url)?;
    let existing = store.all(&keys::rule_destinations_of_scope(store.scope));
    for (key, value) in &existing {
        let record: record::RuleDestination = record::decode(value)?;
        if record.confirmation_url == url {
            let arn = arn(store, keys::last_part(key).unwrap_or_default());
            let message = format!("there is a destination for '{}' already", syntax::shortened(url));
            return Err(Error::exists(message, arn.clone(), arn));
        }
    }
    if existing.len() >= limits::RULE_DESTINATIONS {
        let most = limits::RULE_DESTINATIONS;
        return Err(Error::invalid(format!("an account has at most {most} destinations in a region")));
    }
    let id = crate::ids::uuid(&context.random);
    let now = context.now.as_millis();
    let record = record::RuleDestination {
        confirmation_url: url.to_owned(),
        created_at: now,
        ..asking(store.scope, &id, context)
    };
    put(store, &id, record)
}

/// UpdateTopicRuleDestination.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateRuleDestination) -> Outcome {
    let (id, before) = required(store, &args.arn)?;
    let changed = match args.status {
        DestinationStatus::Enabled if !before.confirmed => {
            return Err(Error::invalid("the owner of the address has not confirmed it"));
        }
        DestinationStatus::Error => {
            return Err(Error::invalid("status is ENABLED, DISABLED or IN_PROGRESS"));
        }
        DestinationStatus::InProgress => record::RuleDestination {
            confirmation_url: before.confirmation_url,
            confirmed: before.confirmed,
            created_at: before.created_at,
            ..asking(store.scope, &id, context)
        },
        status => with_status(before, status, String::new(), context),
    };
    put(store, &id, changed)
}

/// ConfirmTopicRuleDestination.
pub(crate) fn confirm(store: &Store<'_>, context: &Context, token: &Secret) -> Outcome {
    let refused = || Error::invalid("the confirmation token is not valid, or has expired");
    let (scope, id) = scope_of_token(token).ok_or_else(refused)?;
    let found: Option<record::RuleDestination> = store.record(&keys::rule_destination(scope, &id))?;
    let before = found.filter(|found| scope == store.scope && found.token == token.0);
    let before = before.ok_or_else(refused)?;
    let age = context.now.as_millis().saturating_sub(before.asked_at);
    if u128::from(age) > TOKEN_LASTS.as_millis() {
        return Err(refused());
    }
    let confirmed = record::RuleDestination { confirmed: true, ..before };
    put(store, &id, with_status(confirmed, DestinationStatus::Enabled, String::new(), context))
}

/// The owner could not be asked.
pub(crate) fn unreachable(
    store: &Store<'_>,
    context: &Context,
    args: &UnreachableRuleDestination,
) -> Outcome {
    let (id, before) = required(store, &args.arn)?;
    if before.token != args.token.0 || before.status != DestinationStatus::InProgress.as_str() {
        return done(Effects::default());
    }
    let reason = syntax::shortened(&args.reason);
    put(store, &id, with_status(before, DestinationStatus::Error, reason, context))
}

/// DeleteTopicRuleDestination.
pub(crate) fn delete(store: &Store<'_>, arn: &str) -> Outcome {
    let (id, _) = required(store, arn)?;
    let mut effects = Effects::default();
    effects.delete(keys::rule_destination(store.scope, &id));
    done(effects)
}

/// GetTopicRuleDestination.
pub(crate) fn get(store: &Store<'_>, arn: &str) -> Result<QueryReply, Error> {
    let (id, record) = required(store, arn)?;
    Ok(QueryReply::RuleDestination(Box::new(describe(store.scope, &id, record))))
}

/// ListTopicRuleDestinations.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::rule_destinations_of_scope(store.scope);
    let listing = Listing::new("ListTopicRuleDestinations", &[], prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(id) = keys::last_part(key) else { continue };
        items.push(describe(store.scope, id, record::decode(value)?));
    }
    Ok(QueryReply::RuleDestinations(Listed { items, next }))
}

/// Where a destination is, and what its value says.
pub fn decode(key: &[u8], value: &[u8]) -> Option<(Scope, RuleDestination)> {
    let (scope, id) = key_of(key)?;
    Some((scope, describe(scope, &id, record::decode(value).ok()?)))
}

/// The scope and id that a key below [`rule_destinations_prefix`](keys::rule_destinations_prefix) names.
pub fn key_of(key: &[u8]) -> Option<(Scope, String)> {
    let parsed = keys::parse(key)?;
    match (parsed.account, parsed.collection, &parsed.parts[..]) {
        ("global", "rule-destination", [account, region, id]) => {
            let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
            Some((scope, (*id).to_owned()))
        }
        _ => None,
    }
}

/// Where the destination is that a token is for, and its id: whoever has the token says it without a signature.
pub fn scope_of_token(token: &Secret) -> Option<(Scope, String)> {
    let mut parts = token.0.split('.');
    let scope = Scope { account: parts.next()?.parse().ok()?, region: parts.next()?.parse().ok()? };
    Some((scope, parts.next()?.to_owned()))
}

/// A destination whose owner is being asked, with a new token.
fn asking(scope: Scope, id: &str, context: &Context) -> record::RuleDestination {
    let now = context.now.as_millis();
    record::RuleDestination {
        status: DestinationStatus::InProgress.as_str().to_owned(),
        token: format!(
            "{}.{}.{id}.{}",
            scope.account,
            scope.region,
            hex::encode(context.random.split_at(16).1)
        ),
        asked_at: now,
        last_updated_at: now,
        ..record::RuleDestination::default()
    }
}

fn with_status(
    before: record::RuleDestination,
    status: DestinationStatus,
    status_reason: String,
    context: &Context,
) -> record::RuleDestination {
    let (status, last_updated_at) = (status.as_str().to_owned(), context.now.as_millis());
    record::RuleDestination { status, status_reason, last_updated_at, token: String::new(), ..before }
}

fn put(store: &Store<'_>, id: &str, record: record::RuleDestination) -> Outcome {
    let mut effects = Effects::default();
    effects.put(keys::rule_destination(store.scope, id), record.encode_to_vec());
    let described = describe(store.scope, id, record);
    Ok((Reply::RuleDestination(Box::new(described)), effects))
}

fn arn(store: &Store<'_>, id: &str) -> String {
    store.arn(KIND, &format!("http/{id}"))
}

/// The destination of the scope with this ARN. AWS hides whether there is one.
fn required(store: &Store<'_>, arn: &str) -> Result<(String, record::RuleDestination), Error> {
    let refused = || {
        let message = format!("Access to topic rule destination '{}' was denied", syntax::shortened(arn));
        Error::new(ErrorCode::UnauthorizedException, message)
    };
    let id = arn.strip_prefix(&self::arn(store, "")).ok_or_else(refused)?;
    let key = keys::rule_destination(store.scope, id);
    let record = if id.contains('\0') { None } else { store.record(&key)? };
    Ok((id.to_owned(), record.ok_or_else(refused)?))
}

fn describe(scope: Scope, id: &str, record: record::RuleDestination) -> RuleDestination {
    let given = |text: String| (!text.is_empty()).then_some(text);
    RuleDestination {
        arn: fleethaven_types::Arn::new(scope, KIND, &format!("http/{id}")).to_string(),
        confirmation_url: record.confirmation_url,
        // Only a later version writes others, and then nothing is let through.
        status: record.status.parse().unwrap_or(DestinationStatus::Error),
        status_reason: given(record.status_reason),
        token: given(record.token).map(Secret),
        created_at: Timestamp(record.created_at),
        last_updated_at: Timestamp(record.last_updated_at),
    }
}

#[cfg(test)]
mod tests;
