//! What memory knows of one session's queue: which entries are there and what they weigh. Bodies are on disk, those
//! of recent entries also here.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use fleethaven_storage::{Append, QueueBounds};
use fleethaven_types::Message;

use crate::record::RELEASED;

/// A message with the options of its delivery to this session.
pub(crate) struct Cached {
    pub(crate) message: Arc<Message>,
    pub(crate) append: Append,
}

/// One entry. `gone` ones wait behind an older entry that is still there.
pub(crate) struct Slot {
    pub(crate) entry: u64,
    /// Id of a shared body, [`INLINE`](crate::record::INLINE) or [`RELEASED`].
    pub(crate) body: u64,
    pub(crate) cost: u32,
    /// The group whose share it is; 0 for none.
    pub(crate) group: u64,
    pub(crate) gone: bool,
    pub(crate) cached: Option<Box<Cached>>,
}

impl Slot {
    /// Whether the receiver has the message and the entry only waits for PUBCOMP.
    pub(crate) fn is_released(&self) -> bool {
        self.body == RELEASED
    }
}

/// A session's queue.
#[derive(Default)]
pub(crate) struct Queue {
    slots: VecDeque<Slot>,
    tail: u64,
    messages: u64,
    bytes: u64,
    /// Entries that are released and not gone.
    released: BTreeSet<u64>,
}

impl Queue {
    /// The last entry ever appended, 0 for none.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Everything up to here is gone.
    pub(crate) fn trimmed(&self) -> u64 {
        self.slots.front().map_or(self.tail, |slot| slot.entry - 1)
    }

    /// Whether one more message of `cost` bytes stays within `bounds`.
    pub(crate) fn has_room(&self, cost: u32, bounds: &QueueBounds) -> bool {
        self.messages < bounds.messages && self.bytes + u64::from(cost) <= bounds.bytes
    }

    /// Adds an entry above the tail.
    pub(crate) fn push(&mut self, slot: Slot) {
        self.tail = self.tail.max(slot.entry);
        self.messages += 1;
        self.bytes += u64::from(slot.cost);
        if slot.is_released() {
            self.released.insert(slot.entry);
        }
        self.slots.push_back(slot);
    }

    /// Raises the tail to one that the disk remembers after its entry went.
    pub(crate) fn raise_tail(&mut self, tail: u64) {
        self.tail = self.tail.max(tail);
    }

    /// Takes an entry out; its body id, if it was there.
    pub(crate) fn remove(&mut self, entry: u64) -> Option<u64> {
        let at = self.slots.binary_search_by_key(&entry, |slot| slot.entry).ok()?;
        let slot = self.slots.get_mut(at).filter(|slot| !slot.gone)?;
        (slot.gone, slot.cached) = (true, None);
        self.released.remove(&entry);
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(u64::from(slot.cost));
        let body = slot.body;
        while self.slots.front().is_some_and(|slot| slot.gone) {
            self.slots.pop_front();
        }
        Some(body)
    }

    /// An entry that is there with its message.
    pub(crate) fn get(&self, entry: u64) -> Option<&Slot> {
        let at = self.slots.binary_search_by_key(&entry, |slot| slot.entry).ok()?;
        self.slots.get(at).filter(|slot| !slot.gone && !slot.is_released())
    }

    /// Whether an entry is there with its message.
    pub(crate) fn contains(&self, entry: u64) -> bool {
        self.get(entry).is_some()
    }

    /// Notes that the receiver has the message of `entry`; the body that is not needed any more, if the entry is there
    /// and was not released before.
    pub(crate) fn release(&mut self, entry: u64) -> Option<u64> {
        let at = self.slots.binary_search_by_key(&entry, |slot| slot.entry).ok()?;
        let slot = self.slots.get_mut(at).filter(|slot| !slot.gone && !slot.is_released())?;
        self.bytes = self.bytes.saturating_sub(u64::from(slot.cost));
        // It is the receiver's, and no share of a group any more.
        (slot.cost, slot.group, slot.cached) = (0, 0, None);
        self.released.insert(entry);
        Some(std::mem::replace(&mut slot.body, RELEASED))
    }

    /// Released entries, in order.
    pub(crate) fn released(&self) -> impl Iterator<Item = u64> {
        self.released.iter().copied()
    }

    /// Forgets the cached message of an entry.
    pub(crate) fn evict(&mut self, entry: u64) {
        let at = self.slots.binary_search_by_key(&entry, |slot| slot.entry);
        if let Some(slot) = at.ok().and_then(|at| self.slots.get_mut(at)) {
            slot.cached = None;
        }
    }

    /// Entries above `after` that are there, in order.
    pub(crate) fn above(&self, after: u64) -> impl Iterator<Item = &Slot> {
        let start = self.slots.partition_point(|slot| slot.entry <= after);
        self.slots.range(start..).filter(|slot| !slot.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(entry: u64) -> Slot {
        Slot { entry, body: 0, cost: 10, group: 0, gone: false, cached: None }
    }

    #[test]
    fn trimmed_stops_below_the_first_entry_that_is_there() {
        let mut queue = Queue::default();
        (1..=4).for_each(|entry| queue.push(slot(entry)));
        assert_eq!(queue.remove(2), Some(0));
        assert_eq!((queue.trimmed(), queue.remove(2)), (0, None));
        queue.remove(1);
        assert_eq!(queue.trimmed(), 2);
        assert_eq!(queue.above(0).map(|s| s.entry).collect::<Vec<_>>(), [3, 4]);
        queue.remove(4);
        queue.remove(3);
        assert_eq!((queue.trimmed(), queue.tail(), queue.bytes), (4, 4, 0));
    }

    #[test]
    fn a_released_entry_stays_without_its_message() {
        let mut queue = Queue::default();
        (1..=3).for_each(|entry| queue.push(slot(entry)));
        assert_eq!((queue.release(2), queue.release(2), queue.release(9)), (Some(0), None, None));
        assert_eq!((queue.messages, queue.bytes, queue.trimmed()), (3, 20, 0));
        assert!(queue.released().eq([2]));
        assert_eq!((queue.remove(2), queue.released().count(), queue.bytes), (Some(RELEASED), 0, 20));
    }

    #[test]
    fn both_bounds_hold() {
        let mut queue = Queue::default();
        queue.push(slot(1));
        let has_room =
            |cost, messages| queue.has_room(cost, &QueueBounds { messages, bytes: 20, secs: None });
        assert!(has_room(10, 2) && !has_room(11, 2) && !has_room(1, 1));
    }
}
