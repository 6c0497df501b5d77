//! How many entries the rules queue holds, as last heard of each partition.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::door::Port;

/// Depths of the partitions, and the lanes that are told when there is room again.
pub(crate) struct Depth {
    partitions: Vec<Mutex<Known>>,
    /// Entries in all partitions.
    total: AtomicU64,
    full_at: u64,
    full: AtomicBool,
    ports: Mutex<Vec<Weak<Port>>>,
}

/// What was last heard of one partition.
#[derive(Default)]
struct Known {
    depth: u64,
    /// How often its depth was noted by somebody who changed it.
    changes: u64,
}

impl Depth {
    pub(crate) fn new(partitions: usize, full_at: u64) -> Self {
        Self {
            partitions: std::iter::repeat_with(Mutex::default).take(partitions).collect(),
            total: AtomicU64::new(0),
            full_at,
            full: AtomicBool::new(false),
            ports: Mutex::default(),
        }
    }

    /// Entries in all partitions.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// How often each partition's depth was noted by those who changed it.
    pub(crate) fn changes(&self) -> Vec<u64> {
        self.partitions.iter().map(|known| known.lock().changes).collect()
    }

    /// Notes what somebody saw who asked when `before` was counted: older than what has been noted since.
    pub(crate) fn note_unless_changed(&self, partition: u8, depth: u64, before: &[u64]) {
        let at = usize::from(partition);
        if let (Some(known), Some(before)) = (self.partitions.get(at), before.get(at)) {
            let mut known = known.lock();
            if known.changes == *before {
                self.set(&mut known, depth);
            }
        }
    }

    /// Notes the depth that a change left.
    pub(crate) fn note(&self, partition: u8, depth: u64) {
        if let Some(known) = self.partitions.get(usize::from(partition)) {
            let mut known = known.lock();
            known.changes += 1;
            self.set(&mut known, depth);
        }
    }

    /// When the queue is no longer full, every lane is woken.
    fn set(&self, known: &mut Known, depth: u64) {
        // Wraps around when a partition shrinks, and back in the sum.
        let change = depth.wrapping_sub(std::mem::replace(&mut known.depth, depth));
        let total = self.total.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        if total >= self.full_at {
            self.full.store(true, Ordering::Relaxed);
        } else if total <= self.full_at - self.full_at / 4 && self.full.swap(false, Ordering::Relaxed) {
            self.ports().iter().for_each(|port| port.wake());
        }
    }

    /// A lane to be told.
    pub(crate) fn add(&self, port: &Arc<Port>) {
        let mut ports = self.ports.lock();
        ports.retain(|port| port.strong_count() > 0);
        ports.push(Arc::downgrade(port));
    }

    /// The lanes that are open.
    pub(crate) fn ports(&self) -> Vec<Arc<Port>> {
        self.ports.lock().iter().filter_map(Weak::upgrade).collect()
    }
}
