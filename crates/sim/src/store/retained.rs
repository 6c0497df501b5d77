//! Retained messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleethaven_topics::filter::matches;
use fleethaven_types::{Message, Scope, Timestamp, Utf8Bytes};

/// The last one set of each topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retained(pub(super) BTreeMap<(Scope, Utf8Bytes), Arc<Message>>);

impl Retained {
    /// What is retained of a topic.
    pub(crate) fn get(&self, scope: Scope, topic: &str) -> Option<&Arc<Message>> {
        self.0.get(&(scope, topic.into()))
    }

    pub(super) fn set(&mut self, message: &Arc<Message>) {
        self.0.insert((message.publisher.scope, message.topic.clone()), message.clone());
    }

    pub(super) fn clear(&mut self, scope: Scope, topic: &Utf8Bytes) {
        self.0.remove(&(scope, topic.clone()));
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.0.retain(|_, message| !message.is_expired(now));
    }

    pub(super) fn of(&self, scope: Scope, after: Option<&str>) -> impl Iterator<Item = &Arc<Message>> {
        let own = self.0.iter().filter(move |((of, _), _)| *of == scope);
        own.filter(move |((_, topic), _)| after.is_none_or(|after| **topic > *after))
            .map(|(_, message)| message)
    }

    pub(super) fn read(
        &mut self,
        scope: Scope,
        filter: &str,
        after: Option<&str>,
        (limit, now): (usize, Timestamp),
    ) -> Vec<Arc<Message>> {
        self.expire(now);
        let matching = self.of(scope, after).filter(|message| matches(filter, &message.topic, true));
        matching.take(limit).cloned().collect()
    }
}
