//! Counters that the owner of the store exports as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub struct Stats {
    /// Entries appended to session queues.
    pub appended: AtomicU64,
    /// Messages dropped because a session's queue was at its bound.
    pub overflowed: AtomicU64,
    /// Queued messages that expired before they were read.
    pub expired: AtomicU64,
    /// QoS 0 messages dropped because the rules queue held too many entries.
    pub rules_dropped: AtomicU64,
    /// Dead letters dropped because the list was full.
    pub dead_letters_dropped: AtomicU64,
    /// Batches answered.
    pub batches: AtomicU64,
    /// Batches sent again because the answer did not come or did not confirm enough.
    pub replays: AtomicU64,
    /// Batches given up: Redis was away for longer than the patience, or refused.
    pub failed: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
