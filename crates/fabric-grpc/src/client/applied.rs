//! How far this process has acted on what it was told: as far as the slowest of its consumers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_fabric::metadata::AppliedMarker;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The replica's revision and those of the consumers registered here.
#[derive(Default)]
pub(crate) struct Applied {
    replica: AtomicU64,
    consumers: Mutex<Vec<Arc<AtomicU64>>>,
    moved: Notify,
}

/// A consumer's place; given back when dropped.
struct Registration {
    applied: Arc<Applied>,
    consumer: Arc<AtomicU64>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.applied.consumers.lock().retain(|other| !Arc::ptr_eq(other, &self.consumer));
        self.applied.moved.notify_waiters();
    }
}

impl Applied {
    /// Adds a consumer, which has acted on nothing yet. Dropping the marker takes it out again.
    pub(crate) fn register(self: &Arc<Self>) -> AppliedMarker {
        let consumer = Arc::new(AtomicU64::new(0));
        self.consumers.lock().push(consumer.clone());
        let place = Registration { applied: self.clone(), consumer };
        Box::new(move |revision| {
            place.consumer.fetch_max(revision, Ordering::Release);
            place.applied.moved.notify_waiters();
        })
    }

    /// The replica holds everything up to `revision`, which is lower than before when the data were restored.
    pub(crate) fn replicated(&self, revision: u64) {
        self.replica.store(revision, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Waits until everyone has acted on more than `told`, and says on how much.
    pub(crate) async fn above(&self, told: u64) -> u64 {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Enabled before the check, so that a move in between is not missed.
            moved.as_mut().enable();
            let revision = self.revision();
            if revision > told {
                return revision;
            }
            moved.await;
        }
    }

    fn revision(&self) -> u64 {
        let consumers = self.consumers.lock();
        let slowest = consumers.iter().map(|consumer| consumer.load(Ordering::Acquire)).min();
        slowest.unwrap_or(u64::MAX).min(self.replica.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_slowest_consumer_counts() {
        let applied = Arc::new(Applied::default());
        applied.replicated(9);
        assert_eq!(applied.above(0).now_or_never(), Some(9));
        let consumer = applied.register();
        assert_eq!(applied.above(0).now_or_never(), None);
        consumer(4);
        assert_eq!(applied.above(0).now_or_never(), Some(4));
        assert_eq!(applied.above(4).now_or_never(), None);
        drop(consumer);
        assert_eq!(applied.above(4).now_or_never(), Some(9));
    }
}
