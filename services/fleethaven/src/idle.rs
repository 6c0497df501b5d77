//! HTTP connections that nobody uses: each holds one of the listener's places.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Without a request for this long, or with an answer that is not read, a connection is closed; at the latest after twice
/// the time.
const IDLE: Duration = Duration::from_secs(60);

/// The requests of one connection.
#[derive(Default)]
pub(crate) struct Activity {
    begun: AtomicU64,
    under_way: AtomicUsize,
}

/// A request under way.
pub(crate) struct Busy<'a>(&'a Activity);

impl Activity {
    /// A request has come; it is under way until the result is dropped.
    pub(crate) fn begin(&self) -> Busy<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// Waits until the connection is idle: no first request within `first`, or none for a while later on.
    ///
    /// This also ends what HTTP's own timers do not see: a client that sends half of the preface by which versions are told
    /// apart, and one on HTTP/2 that asks for nothing.
    pub(crate) async fn idle(&self, first: Duration) {
        let (mut seen, mut wait) = (0, first);
        loop {
            tokio::time::sleep(wait).await;
            let begun = self.begun.load(Ordering::Relaxed);
            if begun == seen && self.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
            (seen, wait) = (begun, IDLE);
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
