//! Registry events below `$aws/events/` (provisioning.md section 11): which are switched on, and what they say.
//!
//! An event is an effect of the command that it tells of: it is published once that is committed, at least once. Types are
//! off until somebody switches them on, except those that AWS lists under CERTIFICATE: lifecycle events and
//! just-in-time registration, which are always on.

mod messages;

pub(crate) use messages::{Operation, group, hierarchy, membership, thing, thing_type, type_association};

use std::collections::BTreeMap;

use fleethaven_types::Timestamp;
use prost::Message;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{EventConfigurationsDescription, EventType, UpdateEventConfigurations};
use crate::store::{Outcome, Store, done};
use crate::view::{Effects, Emit};

/// UpdateEventConfigurations.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateEventConfigurations) -> Outcome {
    let key = keys::event_configurations(store.scope);
    let now = context.now.as_millis();
    let stored: Option<record::EventConfigurations> = store.record(&key)?;
    let mut configurations =
        stored.unwrap_or(record::EventConfigurations { created_at: now, ..Default::default() });
    let changes = args.enabled.iter().map(|(kind, enabled)| (kind.as_str().to_owned(), *enabled));
    configurations.enabled.extend(changes);
    configurations.modified_at = now;
    let mut effects = Effects::default();
    effects.put(key, configurations.encode_to_vec());
    done(effects)
}

/// DescribeEventConfigurations.
pub(crate) fn describe(store: &Store<'_>) -> Result<QueryReply, Error> {
    let stored: Option<record::EventConfigurations> =
        store.record(&keys::event_configurations(store.scope))?;
    let (created_at, modified_at) =
        stored.as_ref().map(|stored| (Timestamp(stored.created_at), Timestamp(stored.modified_at))).unzip();
    let stored = stored.unwrap_or_default();
    let enabled: BTreeMap<EventType, bool> =
        EventType::ALL.into_iter().map(|kind| (kind, is_enabled(&stored, kind))).collect();
    let description = EventConfigurationsDescription { enabled, created_at, modified_at };
    Ok(QueryReply::EventConfigurations(Box::new(description)))
}

fn is_enabled(stored: &record::EventConfigurations, kind: EventType) -> bool {
    stored.enabled.get(kind.as_str()).copied().unwrap_or(kind == EventType::Certificate)
}

/// An event that is still to be given its id.
pub(crate) struct Event {
    kind: EventType,
    /// Below `$aws/events/`.
    topic: String,
    /// `eventType` of the payload.
    name: &'static str,
    operation: Operation,
    /// Whether AWS names the account in the payload.
    has_account: bool,
    members: Map<String, Value>,
}

/// Publishes an event with the other effects of a command, if its type is switched on.
pub(crate) fn publish(
    store: &Store<'_>,
    context: &Context,
    effects: &mut Effects,
    event: Event,
) -> Result<(), Error> {
    let stored: Option<record::EventConfigurations> =
        store.record(&keys::event_configurations(store.scope))?;
    if !is_enabled(&stored.unwrap_or_default(), event.kind) {
        return Ok(());
    }
    let mut payload = Map::new();
    payload.insert("eventType".to_owned(), event.name.into());
    payload.insert("eventId".to_owned(), event_id(context, effects.emits.len()).into());
    payload.insert("timestamp".to_owned(), context.now.as_millis().into());
    payload.insert("operation".to_owned(), event.operation.as_str().into());
    if event.has_account {
        payload.insert("accountId".to_owned(), store.scope.account.to_string().into());
    }
    payload.extend(event.members);
    let topic = format!("$aws/events/{}", event.topic);
    effects.emits.push(Emit::new(store.scope, topic, Value::Object(payload).to_string()));
    Ok(())
}

/// A UUID that no other event has: `nth` tells the events of one command apart.
fn event_id(context: &Context, nth: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(context.random);
    hash.update(u64::try_from(nth).unwrap_or(u64::MAX).to_be_bytes());
    crate::ids::uuid(&hash.finalize().into())
}

#[cfg(test)]
mod tests;
