//! Messages that committed entries ask to be published, until they are (protocols.md A4).
//!
//! An entry's messages are written to the group's state when it is applied, under its index, and removed by a later entry that
//! tells that they were published. So they travel with the state, in snapshots and backups too, and whoever leads the group
//! next finds what its predecessor had still to do. Watchers do not see them.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use fleethaven_registry::keys;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::damaged;
use crate::state::State;

/// Entries whose messages may wait: above it commands that ask for messages are refused.
const BOUND: usize = 65_536;

/// The entries of a group whose messages are still to be published, by index.
pub(crate) struct Outbox {
    waiting: Mutex<BTreeSet<u64>>,
    changed: watch::Sender<()>,
}

impl Outbox {
    /// The outbox that `state` holds.
    pub(crate) fn open(state: &State) -> io::Result<Self> {
        let outbox = Self { waiting: Mutex::default(), changed: watch::Sender::new(()) };
        outbox.reload(state)?;
        Ok(outbox)
    }

    /// Reads it anew from state that came by a snapshot.
    pub(crate) fn reload(&self, state: &State) -> io::Result<()> {
        let mut waiting = BTreeSet::new();
        for pair in state.now().pairs(&keys::outbox_prefix(), None) {
            let (key, _) = pair?;
            waiting.insert(keys::outbox_index(&key).ok_or_else(|| damaged("the outbox", "a key is none"))?);
        }
        *self.waiting.lock() = waiting;
        self.changed.send_replace(());
        Ok(())
    }

    /// Notes what was written and removed in a commit of the state.
    pub(crate) fn applied(&self, written: Vec<u64>, removed: &[u64]) {
        if written.is_empty() && removed.is_empty() {
            return;
        }
        let is_new = !written.is_empty();
        let mut waiting = self.waiting.lock();
        waiting.extend(written);
        for index in removed {
            waiting.remove(index);
        }
        drop(waiting);
        if is_new {
            self.changed.send_replace(());
        }
    }

    /// Up to `limit` entries above `index`, in order.
    pub(crate) fn above(&self, index: u64, limit: usize) -> Vec<u64> {
        self.waiting.lock().range(index.saturating_add(1)..).take(limit).copied().collect()
    }

    /// How many entries wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether no more may be added.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= BOUND
    }

    /// Tells when entries are added.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Where the messages of the entry at `index` are kept.
pub(crate) fn key(index: u64) -> Bytes {
    keys::outbox(index)
}
