//! The table of groups, and what memory knows of a group's queue.

use std::collections::BTreeMap;
use std::time::Duration;

use fleethaven_storage::{EntryId, GroupId, GroupRecord, OpenGroup};
use fleethaven_types::{Message, Scope, Timestamp, Utf8Bytes};
use rustc_hash::FxHashMap;

use crate::queue::Slot;
use crate::record::{Error, GroupRow};

/// Where the numbers of a group's entries start: they grow at the back and fall at the front.
const MIDDLE: u64 = 1 << 63;

/// One group.
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) scope: Scope,
    key: Utf8Bytes,
    bounds: (u64, u64),
    retention_secs: u32,
    pub(crate) queue: GroupQueue,
}

impl Group {
    pub(crate) fn new(id: u64, open: OpenGroup) -> Self {
        let OpenGroup { scope, key, bounds, retention_secs, .. } = open;
        Self { id, scope, key: key.compact(), bounds, retention_secs, queue: GroupQueue::default() }
    }

    pub(crate) fn row(&self) -> GroupRow {
        GroupRow {
            key: self.key.clone().into_bytes(),
            bound_messages: self.bounds.0,
            bound_bytes: self.bounds.1,
            retention_secs: self.retention_secs,
        }
    }

    /// The group that [`row`](Self::row) described, without its queue.
    pub(crate) fn from_row(id: u64, scope: Scope, row: GroupRow) -> Result<Self, Error> {
        let key = Utf8Bytes::from_utf8(row.key).map_err(|_| Error::Field("group key"))?;
        let bounds = (row.bound_messages, row.bound_bytes);
        Ok(Self { id, scope, key, bounds, retention_secs: row.retention_secs, queue: GroupQueue::default() })
    }

    pub(crate) fn record(&self) -> GroupRecord {
        GroupRecord { group: GroupId(self.id), scope: self.scope, key: self.key.clone() }
    }

    /// Whether one more message of `cost` bytes stays within the bounds.
    pub(crate) fn has_room(&self, cost: u32) -> bool {
        let queue = &self.queue;
        let messages = (queue.free.len() + queue.held.len() + queue.sent.len()) as u64;
        messages < self.bounds.0 && queue.bytes + u64::from(cost) <= self.bounds.1
    }

    /// Whether a message is not to be delivered any more.
    pub(crate) fn is_over(&self, message: &Message, now: Timestamp) -> bool {
        let kept = Duration::from_secs(u64::from(self.retention_secs));
        message.is_expired(now) || now.since(message.received_at) >= kept
    }
}

/// A group's queue.
#[derive(Default)]
pub(crate) struct GroupQueue {
    free: BTreeMap<u64, Slot>,
    /// Given out, and not acknowledged, replaced or released yet.
    held: FxHashMap<u64, Slot>,
    /// The same at QoS 2 to clean sessions: they are not on disk any more.
    sent: FxHashMap<u64, Slot>,
    /// Lowest and highest number given since the store was opened.
    span: Option<(u64, u64)>,
    bytes: u64,
}

impl GroupQueue {
    /// A number behind all others.
    pub(crate) fn back(&mut self) -> u64 {
        let (first, last) = self.span.unwrap_or((MIDDLE + 1, MIDDLE));
        self.span = Some((first, last + 1));
        last + 1
    }

    /// A number before all others.
    pub(crate) fn front(&mut self) -> u64 {
        let (first, last) = self.span.unwrap_or((MIDDLE + 1, MIDDLE));
        self.span = Some((first - 1, last));
        first - 1
    }

    /// Adds an entry that nobody holds.
    pub(crate) fn insert(&mut self, slot: Slot) {
        let (first, last) = self.span.unwrap_or((slot.entry, slot.entry));
        self.span = Some((first.min(slot.entry), last.max(slot.entry)));
        self.bytes += u64::from(slot.cost);
        self.free.insert(slot.entry, slot);
    }

    /// The oldest entry that nobody holds.
    pub(crate) fn first(&self) -> Option<&Slot> {
        self.free.values().next()
    }

    /// Gives an entry out.
    pub(crate) fn hold(&mut self, entry: u64) {
        if let Some(slot) = self.free.remove(&entry) {
            self.held.insert(entry, slot);
        }
    }

    /// What is given out, oldest first, at most so many; without what clean sessions may have at QoS 2.
    pub(crate) fn held(&self, most: usize) -> Vec<EntryId> {
        let mut held: Vec<u64> = self.held.keys().copied().collect();
        held.sort_unstable();
        held.truncate(most);
        held.into_iter().map(EntryId).collect()
    }

    /// Takes an entry back.
    pub(crate) fn release(&mut self, entry: u64) {
        if let Some(slot) = self.held.remove(&entry) {
            self.free.insert(entry, slot);
        }
    }

    /// Takes an entry out; its body id, if it was there.
    pub(crate) fn remove(&mut self, entry: u64) -> Option<u64> {
        let held = self.held.remove(&entry).or_else(|| self.free.remove(&entry));
        let slot = held.or_else(|| self.sent.remove(&entry))?;
        self.bytes = self.bytes.saturating_sub(u64::from(slot.cost));
        Some(slot.body)
    }

    /// Adds an entry that is not on disk.
    pub(crate) fn insert_sent(&mut self, slot: Slot) {
        self.bytes += u64::from(slot.cost);
        self.sent.insert(slot.entry, slot);
    }

    /// Takes out an entry that is not on disk.
    pub(crate) fn take_sent(&mut self, entry: u64) -> Option<Slot> {
        let slot = self.sent.remove(&entry)?;
        self.bytes = self.bytes.saturating_sub(u64::from(slot.cost));
        Some(slot)
    }

    pub(crate) fn contains(&self, entry: u64) -> bool {
        self.held.contains_key(&entry) || self.free.contains_key(&entry) || self.sent.contains_key(&entry)
    }

    /// Forgets the cached message of an entry.
    pub(crate) fn evict(&mut self, entry: u64) {
        let slot = self.held.get_mut(&entry).or_else(|| self.free.get_mut(&entry));
        if let Some(slot) = slot {
            slot.cached = None;
        }
    }

    /// All entries, held or not, in no particular order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Slot> {
        self.free.values().chain(self.held.values()).chain(self.sent.values())
    }
}

/// All groups.
#[derive(Default)]
pub(crate) struct Groups {
    /// In order of age.
    by_id: BTreeMap<u64, Group>,
    /// The oldest of each key: before there was one for each, a crash could leave another.
    by_key: FxHashMap<(Scope, Utf8Bytes), u64>,
}

impl Groups {
    pub(crate) fn insert(&mut self, group: Group) {
        self.by_key.entry((group.scope, group.key.clone())).or_insert(group.id);
        self.by_id.insert(group.id, group);
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Group> {
        let group = self.by_id.remove(&id)?;
        let key = (group.scope, group.key.clone());
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
        }
        Some(group)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Group> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Group> {
        self.by_id.get_mut(&id)
    }

    /// The group of a key.
    pub(crate) fn with_key(&self, scope: Scope, key: &Utf8Bytes) -> Option<u64> {
        self.by_key.get(&(scope, key.clone())).copied()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Group> {
        self.by_id.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(entry: u64) -> Slot {
        Slot { entry, body: 0, cost: 10, group: 1, gone: false, cached: None }
    }

    #[test]
    fn numbers_grow_at_the_back_and_fall_at_the_front() {
        let mut queue = GroupQueue::default();
        let (front, back) = (queue.front(), queue.back());
        for entry in [back, front] {
            queue.insert(slot(entry));
        }
        assert_eq!(queue.first().map(|slot| slot.entry), Some(front));
        queue.hold(front);
        assert_eq!(queue.first().map(|slot| slot.entry), Some(back));
        assert_eq!((queue.remove(front), queue.remove(front)), (Some(0), None));
        assert!(queue.front() < front && queue.back() > back, "not given again");
        queue.hold(back);
        queue.release(back);
        assert!(queue.contains(back) && queue.all().count() == 1 && queue.bytes == 10);
    }
}
