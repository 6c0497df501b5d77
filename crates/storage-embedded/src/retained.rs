//! The retained messages: an index of topics in memory, the messages on disk, recent ones also cached here.
//!
//! Only the commit thread changes the index; other threads read it, at worst a moment before the change is on disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use fleethaven_storage::{Error, RetainedTopic};
use fleethaven_types::{Message, QoS, Scope, Timestamp, Utf8Bytes};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::keys;
use crate::reading::message;
use crate::recent::Recent;
use crate::record::message_cost;
use crate::space::Space;

/// Retained messages of all scopes.
pub(crate) struct Retained {
    keyspace: Space,
    index: RwLock<Index>,
}

struct Index {
    scopes: FxHashMap<Scope, BTreeMap<Utf8Bytes, Kept>>,
    recent: Recent<(Scope, Utf8Bytes)>,
    last: u64,
}

/// What memory knows of one retained message.
#[derive(Clone)]
struct Kept {
    /// Its key on disk.
    number: u64,
    expires_at: Option<Timestamp>,
    received_at: Timestamp,
    payload_bytes: u32,
    qos: QoS,
    cached: Option<Arc<Message>>,
}

impl Kept {
    /// `message`, stored under `number`.
    fn of(number: u64, message: &Message) -> Self {
        Self {
            number,
            expires_at: message.expires_at,
            received_at: message.received_at,
            payload_bytes: u32::try_from(message.payload.len()).unwrap_or(u32::MAX),
            qos: message.qos,
            cached: None,
        }
    }
}

/// One answer to a read.
pub(crate) struct Page {
    pub(crate) messages: Vec<Arc<Message>>,
    /// Topics that were passed over because their message has expired.
    pub(crate) expired: Vec<Utf8Bytes>,
}

impl Retained {
    pub(crate) fn new(keyspace: Space, cache_bytes: usize) -> Self {
        let index = Index { scopes: FxHashMap::default(), recent: Recent::new(cache_bytes), last: 0 };
        Self { keyspace, index: RwLock::new(index) }
    }

    /// Notes a message found on disk under `number`.
    pub(crate) fn found(&self, scope: Scope, number: u64, message: &Message) {
        let mut index = self.index.write();
        index.last = index.last.max(number);
        index.scopes.entry(scope).or_default().insert(message.topic.compact(), Kept::of(number, message));
    }

    /// Replaces the message of its topic; the number to store it under.
    pub(crate) fn set(&self, scope: Scope, message: &Message) -> u64 {
        let message = compact(message);
        let topic = message.topic.clone();
        let cost = message_cost(&message) as usize + size_of::<Message>();
        let mut index = self.index.write();
        let next = index.last + 1;
        let topics = index.scopes.entry(scope).or_default();
        let number = topics.get(&topic).map_or(next, |kept| kept.number);
        let kept = Kept::of(number, &message);
        topics.insert(topic.clone(), Kept { cached: Some(Arc::new(message)), ..kept });
        index.last = index.last.max(number);
        index.recent.push((scope, topic), cost);
        number
    }

    /// Forgets the message of `topic`; the number it was stored under.
    pub(crate) fn clear(&self, scope: Scope, topic: &Utf8Bytes) -> Option<u64> {
        let mut index = self.index.write();
        index.scopes.get_mut(&scope)?.remove(topic).map(|kept| kept.number)
    }

    /// Drops cached messages above the bound.
    pub(crate) fn evict(&self) {
        let mut index = self.index.write();
        while let Some((scope, topic)) = index.recent.evict() {
            if let Some(kept) = index.scopes.get_mut(&scope).and_then(|topics| topics.get_mut(&topic)) {
                kept.cached = None;
            }
        }
    }

    /// The message of exactly this topic, unless it has expired.
    pub(crate) fn get(
        &self,
        scope: Scope,
        topic: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Message>>, Error> {
        let kept = {
            let index = self.index.read();
            index.scopes.get(&scope).and_then(|topics| topics.get(topic)).cloned()
        };
        match kept {
            Some(kept) if !is_over(kept.expires_at, now) => self.load(scope, kept),
            _ => Ok(None),
        }
    }

    /// At most `limit` topics above `after`, in order, expired ones left out.
    pub(crate) fn list(
        &self,
        scope: Scope,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<RetainedTopic> {
        let index = self.index.read();
        let Some(topics) = index.scopes.get(&scope) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = topics.range::<str, _>((start, Bound::Unbounded));
        let live = kept.filter(|(_, kept)| !is_over(kept.expires_at, now));
        live.take(limit)
            .map(|(topic, kept)| RetainedTopic {
                topic: topic.clone(),
                payload_bytes: u64::from(kept.payload_bytes),
                qos: kept.qos,
                received_at: kept.received_at,
            })
            .collect()
    }

    pub(crate) fn count(&self, scope: Scope) -> u64 {
        self.index.read().scopes.get(&scope).map_or(0, |topics| topics.len() as u64)
    }

    pub(crate) fn holds(&self, scope: Scope, topic: &str) -> bool {
        self.index.read().scopes.get(&scope).is_some_and(|topics| topics.contains_key(topic))
    }

    /// Which filters match a message.
    pub(crate) fn find(&self, scope: Scope, filters: &[Utf8Bytes], now: Timestamp) -> Vec<usize> {
        let matches = |filter: &str| match filter.contains(['+', '#']) {
            false => self.holds(scope, filter),
            true => !self.matching(scope, filter, None, (1, now)).0.is_empty(),
        };
        filters.iter().enumerate().filter(|(_, filter)| matches(filter)).map(|(at, _)| at).collect()
    }

    /// A page of messages whose topic matches `filter`, above `after`; `limits`: how many, and the time.
    pub(crate) fn read(
        &self,
        scope: Scope,
        filter: &str,
        after: Option<&Utf8Bytes>,
        limits: (usize, Timestamp),
    ) -> Result<Page, Error> {
        let (found, expired) = self.matching(scope, filter, after, limits);
        let mut messages = Vec::with_capacity(found.len());
        for kept in found {
            messages.extend(self.load(scope, kept)?);
        }
        Ok(Page { messages, expired })
    }

    fn matching(
        &self,
        scope: Scope,
        filter: &str,
        after: Option<&Utf8Bytes>,
        (limit, now): (usize, Timestamp),
    ) -> (Vec<Kept>, Vec<Utf8Bytes>) {
        let (mut found, mut expired) = (Vec::new(), Vec::new());
        let index = self.index.read();
        let Some(topics) = index.scopes.get(&scope) else { return (found, expired) };
        let prefix = literal_prefix(filter);
        for (topic, kept) in topics.range::<str, _>((start(prefix, after), Bound::Unbounded)) {
            if found.len() >= limit || !topic.as_str().starts_with(prefix) {
                break;
            }
            if !fleethaven_topics::matches(filter, topic, true) {
                continue;
            }
            if is_over(kept.expires_at, now) {
                expired.push(topic.clone());
            } else {
                found.push(kept.clone());
            }
        }
        (found, expired)
    }

    /// From the cache or from disk; `None` when it was cleared a moment ago.
    fn load(&self, scope: Scope, kept: Kept) -> Result<Option<Arc<Message>>, Error> {
        if let Some(cached) = kept.cached {
            return Ok(Some(cached));
        }
        let unavailable = |reason: String| Error::Unavailable(format!("retained message: {reason}"));
        let value = self.keyspace.get(keys::scoped(scope, kept.number));
        let Some(value) = value.map_err(|error| unavailable(error.to_string()))? else { return Ok(None) };
        message(&value).map(Some).map_err(|error| unavailable(error.to_string()))
    }
}

fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

/// What every topic that matches `filter` begins with: all before the first wildcard, less the `/` before it, as
/// `a/#` matches `a` too.
fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        Some(at) => filter.get(..at.saturating_sub(1)).unwrap_or_default(),
        None => filter,
    }
}

fn start<'a>(prefix: &'a str, after: Option<&'a Utf8Bytes>) -> Bound<&'a str> {
    match after.map(Utf8Bytes::as_str) {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

/// A copy that keeps no network buffer alive: a retained message may stay for years.
fn compact(message: &Message) -> Message {
    let payload = bytes::Bytes::copy_from_slice(&message.payload);
    Message { topic: message.topic.compact(), payload, ..message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_before_the_wildcard_and_its_slash() {
        for (filter, prefix) in
            [("a/b", "a/b"), ("a/b/#", "a/b"), ("a/+/c", "a"), ("#", ""), ("+/x", ""), ("/#", "")]
        {
            assert_eq!(literal_prefix(filter), prefix, "{filter}");
        }
    }
}
