//! How many entries the rules queue holds, as last heard of each partition.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::door::Port;

/// Depths of the partitions, and the lanes that are told when there is room again.
pub(crate) struct Depth {
    partitions: Vec<AtomicU64>,
    /// How often each partition's depth was noted by somebody who changed it.
    changes: Vec<AtomicU64>,
    full_at: u64,
    full: AtomicBool,
    ports: Mutex<Vec<Weak<Port>>>,
}

impl Depth {
    pub(crate) fn new(partitions: usize, full_at: u64) -> Self {
        let zeros = || std::iter::repeat_with(AtomicU64::default).take(partitions).collect();
        Self {
            partitions: zeros(),
            changes: zeros(),
            full_at,
            full: AtomicBool::new(false),
            ports: Mutex::default(),
        }
    }

    /// Entries in all partitions.
    pub(crate) fn total(&self) -> u64 {
        self.partitions.iter().map(|depth| depth.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// How often each partition's depth was noted by those who changed it.
    pub(crate) fn changes(&self) -> Vec<u64> {
        self.changes.iter().map(|changes| changes.load(Ordering::Relaxed)).collect()
    }

    /// Notes what somebody saw who asked when `before` was counted: older than what has been noted since.
    pub(crate) fn note_unless_changed(&self, partition: u8, depth: u64, before: &[u64]) {
        let at = usize::from(partition);
        let changes = self.changes.get(at).map(|changes| changes.load(Ordering::Relaxed));
        if changes.as_ref() == before.get(at) {
            self.set(partition, depth);
        }
    }

    /// Notes the depth that a change left.
    pub(crate) fn note(&self, partition: u8, depth: u64) {
        if let Some(changes) = self.changes.get(usize::from(partition)) {
            changes.fetch_add(1, Ordering::Relaxed);
        }
        self.set(partition, depth);
    }

    /// When the queue is no longer full, every lane is woken.
    fn set(&self, partition: u8, depth: u64) {
        if let Some(known) = self.partitions.get(usize::from(partition)) {
            known.store(depth, Ordering::Relaxed);
        }
        let total = self.total();
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
