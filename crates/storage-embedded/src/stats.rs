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
    /// Queued messages that had waited for longer than their session's queue keeps them.
    pub too_old: AtomicU64,
    /// QoS 0 messages dropped because the memory-only part of the rules queue was full.
    pub rules_dropped: AtomicU64,
    /// Dead letters dropped because the list was full.
    pub dead_letters_dropped: AtomicU64,
    /// Turns of the commit thread.
    pub batches: AtomicU64,
    /// Requests carried out; divided by `batches` it is the mean batch size.
    pub requests: AtomicU64,
    /// Requests in the largest batch.
    pub largest_batch: AtomicU64,
    /// Batches that were fsynced.
    pub fsyncs: AtomicU64,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_batch(&self, requests: usize, fsynced: bool) {
        Self::add(&self.batches, 1);
        Self::add(&self.requests, requests);
        Self::add(&self.fsyncs, usize::from(fsynced));
        self.largest_batch.fetch_max(requests as u64, Ordering::Relaxed);
    }
}
