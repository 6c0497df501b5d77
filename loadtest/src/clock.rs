//! The one place that reads the clock.

use std::time::Instant;

/// The monotonic time now.
#[expect(clippy::disallowed_methods, reason = "no runtime here whose clock could be paused")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds from `start` to `end`; 0 when it is earlier.
pub(crate) fn nanos(start: Instant, end: Instant) -> u64 {
    u64::try_from(end.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}
