//! How far those who act on watches have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleethaven_fabric::metadata::AppliedMarker;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long a change may take to come into force before that is reported (protocols.md B2).
const PATIENCE: Duration = Duration::from_secs(2);

/// The registered consumers of watches.
#[derive(Default)]
pub(crate) struct Markers {
    consumers: Mutex<Vec<Arc<Consumer>>>,
    moved: Notify,
}

struct Consumer {
    name: &'static str,
    revision: AtomicU64,
}

/// A consumer's place among the markers; given back when dropped.
struct Registration {
    markers: Arc<Markers>,
    consumer: Arc<Consumer>,
}

impl Registration {
    fn reach(&self, revision: u64) {
        self.consumer.revision.fetch_max(revision, Ordering::Release);
        self.markers.moved.notify_waiters();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.markers.consumers.lock().retain(|other| !Arc::ptr_eq(other, &self.consumer));
        self.markers.moved.notify_waiters();
    }
}

impl Markers {
    /// Adds a consumer, which has seen nothing yet. Dropping the marker takes it out again.
    pub(crate) fn register(self: &Arc<Self>, name: &'static str) -> AppliedMarker {
        let consumer = Arc::new(Consumer { name, revision: AtomicU64::new(0) });
        self.consumers.lock().push(consumer.clone());
        let registration = Registration { markers: self.clone(), consumer };
        Box::new(move |revision| registration.reach(revision))
    }

    /// Waits until every consumer has reached `revision`; `false` when that takes too long.
    pub(crate) async fn in_force(&self, revision: u64) -> bool {
        let reached = tokio::time::timeout(PATIENCE, self.reached(revision)).await.is_ok();
        if !reached {
            let behind = self.behind(revision);
            tracing::warn!(revision, ?behind, "a change is not in force everywhere yet");
        }
        reached
    }

    async fn reached(&self, revision: u64) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Enabled before the check, so that a move in between is not missed.
            moved.as_mut().enable();
            if self.behind(revision).is_empty() {
                return;
            }
            moved.await;
        }
    }

    fn behind(&self, revision: u64) -> Vec<&'static str> {
        let consumers = self.consumers.lock();
        let late = consumers.iter().filter(|c| c.revision.load(Ordering::Acquire) < revision);
        late.map(|c| c.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_in_force_when_the_last_consumer_has_it() {
        let markers = Arc::new(Markers::default());
        assert!(markers.in_force(7).await);
        let one = markers.register("one");
        let two = markers.register("two");
        one(8);
        let waiting = tokio::spawn({
            let markers = markers.clone();
            async move { markers.in_force(7).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        two(7);
        assert!(waiting.await.unwrap());
        assert!(!markers.in_force(8).await);
        drop(two);
        assert!(markers.in_force(8).await);
    }
}
