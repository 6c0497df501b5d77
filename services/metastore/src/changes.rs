//! A group's recent changes, for watchers: a bounded ring above a floor.
//!
//! Watchers read the ring by position, so a slow one costs nothing: when the ring passes it by, it is reset.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::record::Change;

/// Rough cost of keeping one change besides its key and value.
const CHANGE_OVERHEAD: usize = 96;

/// The changes of one applied entry.
#[derive(Debug)]
pub(crate) struct Changed {
    /// The entry's raft index.
    pub(crate) revision: u64,
    /// What it changed, in order.
    pub(crate) changes: Vec<Change>,
}

impl Changed {
    fn bytes(&self) -> usize {
        let of = |c: &Change| CHANGE_OVERHEAD + c.key.len() + c.value.as_ref().map_or(0, |v| v.len());
        self.changes.iter().map(of).sum()
    }
}

/// Where the group's state stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The last entry applied.
    pub(crate) revision: u64,
    /// No more will come.
    pub(crate) closed: bool,
}

/// What a watcher finds above its position.
#[derive(Debug)]
pub(crate) enum Since {
    /// All changes up to `revision`, those of empty entries left out.
    Changes { changed: Vec<Arc<Changed>>, revision: u64 },
    /// The position lies below the floor.
    TooOld,
}

/// Changes of one group above a floor.
pub(crate) struct ChangeLog {
    ring: Mutex<Ring>,
    tip: watch::Sender<Tip>,
    limit: usize,
}

struct Ring {
    /// Positions from here on can be served.
    floor: u64,
    changed: VecDeque<Arc<Changed>>,
    bytes: usize,
}

impl ChangeLog {
    /// An empty log on top of state at `revision`, holding `limit` bytes at most.
    pub(crate) fn new(revision: u64, limit: usize) -> Self {
        let ring = Ring { floor: revision, changed: VecDeque::new(), bytes: 0 };
        Self { ring: Mutex::new(ring), tip: watch::Sender::new(Tip { revision, closed: false }), limit }
    }

    /// Adds the changes of entries just applied, the last of which is `revision`.
    pub(crate) fn push(&self, entries: Vec<Changed>, revision: u64) {
        let mut ring = self.ring.lock();
        for changed in entries {
            ring.bytes += changed.bytes();
            ring.changed.push_back(Arc::new(changed));
        }
        while ring.bytes > self.limit {
            let Some(oldest) = ring.changed.pop_front() else { break };
            ring.bytes -= oldest.bytes();
            ring.floor = oldest.revision;
        }
        drop(ring);
        self.tip.send_modify(|tip| tip.revision = revision);
    }

    /// Starts afresh on top of state at `revision`, which came by a snapshot.
    pub(crate) fn reset(&self, revision: u64) {
        let mut ring = self.ring.lock();
        *ring = Ring { floor: revision, changed: VecDeque::new(), bytes: 0 };
        drop(ring);
        self.tip.send_modify(|tip| tip.revision = revision);
    }

    /// Tells watchers that no more will come.
    pub(crate) fn close(&self) {
        self.tip.send_modify(|tip| tip.closed = true);
    }

    /// Follows the tip.
    pub(crate) fn tip(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// Up to `limit` entries above `position`.
    pub(crate) fn since(&self, position: u64, limit: usize) -> Since {
        let ring = self.ring.lock();
        if position < ring.floor {
            return Since::TooOld;
        }
        let first = ring.changed.partition_point(|changed| changed.revision <= position);
        let changed: Vec<_> = ring.changed.range(first..).take(limit).cloned().collect();
        let revision = match changed.last() {
            Some(last) if first + changed.len() < ring.changed.len() => last.revision,
            // The ring is complete up to what the tip said before the lock was taken, or newer.
            Some(last) => last.revision.max(self.tip.borrow().revision),
            None => self.tip.borrow().revision,
        };
        Since::Changes { changed, revision }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u64) -> Changed {
        Changed { revision, changes: vec![Change { key: "k".into(), value: Some("v".into()) }] }
    }

    fn revisions(log: &ChangeLog, position: u64, limit: usize) -> Option<(Vec<u64>, u64)> {
        match log.since(position, limit) {
            Since::Changes { changed, revision } => {
                Some((changed.iter().map(|c| c.revision).collect(), revision))
            }
            Since::TooOld => None,
        }
    }

    #[test]
    fn positions_from_the_floor_on_are_served() {
        let log = ChangeLog::new(10, 3 * (CHANGE_OVERHEAD + 2));
        assert_eq!(revisions(&log, 9, 10), None);
        assert_eq!(revisions(&log, 10, 10), Some((vec![], 10)));
        log.push(vec![entry(11), entry(13)], 14);
        assert_eq!(revisions(&log, 10, 10), Some((vec![11, 13], 14)));
        assert_eq!(revisions(&log, 10, 1), Some((vec![11], 11)));
        assert_eq!(revisions(&log, 11, 10), Some((vec![13], 14)));
        log.push(vec![entry(15), entry(16)], 16);
        assert_eq!(revisions(&log, 10, 10), None);
        assert_eq!(revisions(&log, 11, 10), Some((vec![13, 15, 16], 16)));
        log.reset(20);
        assert_eq!(revisions(&log, 16, 10), None);
        assert_eq!(revisions(&log, 20, 10), Some((vec![], 20)));
    }
}
