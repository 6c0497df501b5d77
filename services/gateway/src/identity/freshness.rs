//! How long ago the metastore last confirmed what is cached.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A cache of this age has all that the API has answered for.
const COMPLETE: Duration = Duration::from_secs(1);

/// The age of a cache, which a watch confirms five times a second while its metastore node is in touch with a quorum.
#[derive(Default)]
pub(super) struct Freshness {
    /// `None`: it never gets too old, as what it is a cache of is in this process.
    max: Option<Duration>,
    first: OnceLock<Instant>,
    /// Milliseconds from `first` to the last confirmation.
    confirmed: AtomicU64,
}

impl Freshness {
    /// A cache that may be this old.
    pub(super) fn bounded(max: Duration) -> Self {
        Self { max: Some(max), ..Self::default() }
    }

    /// What is cached was right at `now`.
    pub(super) fn confirm(&self, now: Instant) {
        let passed = now.saturating_duration_since(*self.first.get_or_init(|| now));
        self.confirmed.fetch_max(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it is too old. One that was never confirmed has nothing that could be.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.max.is_some_and(|max| self.age(now).is_some_and(|age| age > max))
    }

    /// Whether what is not cached does not exist, either.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        self.max.is_none() || self.age(now).is_some_and(|age| age <= COMPLETE)
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        let confirmed = Duration::from_millis(self.confirmed.load(Ordering::Relaxed));
        Some(now.saturating_duration_since(*self.first.get()?).saturating_sub(confirmed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_good_for_so_long_after_each_confirmation() {
        let start = tokio::time::Instant::now().into_std();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let freshness = Freshness::bounded(Duration::from_secs(60));
        assert!(!freshness.is_stale(at(1000)), "nothing was cached yet");
        assert!(!freshness.is_complete(at(0)));
        freshness.confirm(at(0));
        assert!(!freshness.is_stale(at(60)) && freshness.is_stale(at(61)));
        assert!(freshness.is_complete(at(1)) && !freshness.is_complete(at(2)));
        freshness.confirm(at(100));
        assert!(!freshness.is_stale(at(160)) && freshness.is_stale(at(161)));
        freshness.confirm(at(90));
        assert!(!freshness.is_stale(at(160)), "an older one takes nothing back");
        let own = Freshness::default();
        own.confirm(at(0));
        assert!(!own.is_stale(at(1_000_000)) && own.is_complete(at(1_000_000)), "in one process");
    }
}
