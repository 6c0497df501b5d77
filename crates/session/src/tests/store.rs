//! A durable queue in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleethaven_types::{EntryId, Message, QoS, Timestamp};

use crate::{Delivery, QueueState};

pub(super) const AT_LEAST_ONCE: Delivery<'static> =
    Delivery { qos: QoS::AtLeastOnce, retain: false, identifiers: &[] };

/// One session's queue, with the semantics of the storage seam.
#[derive(Debug, Clone)]
pub(super) struct Store {
    entries: BTreeMap<u64, Arc<Message>>,
    released: BTreeSet<u64>,
    tail: u64,
    /// At most so many entries in a read.
    pub(super) page: usize,
    /// As the last end told.
    pub(super) first_sent: Vec<(EntryId, Timestamp)>,
}

impl Default for Store {
    fn default() -> Self {
        Self::with_page(64)
    }
}

impl Store {
    pub(super) fn with_page(page: usize) -> Self {
        Self { entries: BTreeMap::new(), released: BTreeSet::new(), tail: 0, page, first_sent: Vec::new() }
    }

    /// Appends; returns (entry, the one before).
    pub(super) fn append(&mut self, message: Arc<Message>) -> (EntryId, EntryId) {
        self.tail += 1;
        self.entries.insert(self.tail, message);
        (EntryId(self.tail), EntryId(self.tail - 1))
    }

    /// Numbers up to `tail` were given out, and nothing of it is left.
    pub(super) fn skip_to(&mut self, tail: u64) {
        self.tail = tail;
    }

    pub(super) fn release(&mut self, entry: EntryId) {
        assert!(self.entries.contains_key(&entry.0) && self.released.insert(entry.0), "{entry:?}");
    }

    pub(super) fn released(&self) -> Vec<EntryId> {
        self.released.iter().copied().map(EntryId).collect()
    }

    pub(super) fn trim(&mut self, entry: EntryId) -> bool {
        self.released.remove(&entry.0);
        self.entries.remove(&entry.0).is_some()
    }

    pub(super) fn tail(&self) -> EntryId {
        EntryId(self.tail)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn message(&self, entry: EntryId) -> Option<Arc<Message>> {
        self.entries.get(&entry.0).cloned()
    }

    /// What a claim finds, when nothing above `sent` can have been sent before.
    pub(super) fn state(&self, sent: EntryId) -> QueueState {
        let first = self.entries.keys().next().copied().unwrap_or(self.tail + 1);
        QueueState { trimmed: EntryId(first - 1), tail: self.tail(), sent }
    }

    /// One page above `after`, and the tail.
    pub(super) fn read(&self, after: EntryId) -> (Vec<(EntryId, Arc<Message>, Delivery<'static>)>, EntryId) {
        let above = self.entries.range(after.0 + 1..).filter(|(id, _)| !self.released.contains(id));
        let entry = |(id, message): (&u64, &Arc<Message>)| {
            (EntryId(*id), message.clone(), Delivery { qos: message.qos, ..AT_LEAST_ONCE })
        };
        let entries = above.take(self.page).map(entry);
        (entries.collect(), self.tail())
    }
}
