//! A meter that many threads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::rate::Rate;

/// How much of a [`Rate`] is used up, by whichever thread. The same algorithm as [`Meter`](crate::Meter).
#[derive(Debug)]
pub struct SharedMeter {
    rate: Rate,
    /// What times are counted from.
    origin: Instant,
    /// Nanoseconds after `origin` when nothing is used up any more.
    level_at: AtomicU64,
}

impl SharedMeter {
    /// A meter of `rate` with nothing used up. No time before `origin` is ever passed to it.
    pub fn new(rate: Rate, origin: Instant) -> Self {
        Self { rate, origin, level_at: AtomicU64::new(0) }
    }

    /// Counts `count` at once, if the rate allows another one at `now`.
    pub fn take(&self, count: u32, now: Instant) -> bool {
        let (now, cost) = (self.nanos(now), self.cost(count));
        let tolerance = nanos(self.rate.tolerance());
        let taken = self.level_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level_at| {
            let level_at = level_at.max(now);
            (level_at - now <= tolerance).then(|| level_at.saturating_add(cost))
        });
        taken.is_ok()
    }

    /// Counts what has happened already, whether the rate allowed it or not.
    pub fn charge(&self, count: u32, now: Instant) {
        let (now, cost) = (self.nanos(now), self.cost(count));
        // Never fails: the closure always gives a value.
        let _ = self.level_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level_at| {
            Some(level_at.max(now).saturating_add(cost))
        });
    }

    /// How long until another one is allowed; `None`: it is allowed now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let ahead = self.level_at.load(Ordering::Relaxed).saturating_sub(self.nanos(now));
        let over = ahead.saturating_sub(nanos(self.rate.tolerance()));
        (over > 0).then(|| Duration::from_nanos(over))
    }

    fn nanos(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.origin))
    }

    fn cost(&self, count: u32) -> u64 {
        nanos(self.rate.interval()).saturating_mul(u64::from(count))
    }
}

/// Nanoseconds, for 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::tests::start;

    #[test]
    fn counts_as_one_meter_whoever_takes() {
        let start = start();
        let meter = SharedMeter::new(Rate::per_second(1000, 1), start);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        taken.fetch_add(u64::from(meter.take(1, start)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
        assert_eq!(meter.wait(start), Some(Duration::from_millis(1)));
        assert!(!meter.take(1, start) && meter.take(1, start + Duration::from_millis(1)));
    }

    #[test]
    fn what_is_charged_is_paid_back() {
        let start = start();
        let meter = SharedMeter::new(Rate::per_second(10, 1), start);
        meter.charge(9, start);
        assert_eq!(meter.wait(start), None, "below the bound");
        meter.charge(1, start);
        assert_eq!(meter.wait(start), Some(Duration::from_millis(100)), "at the bound");
        meter.charge(10, start);
        assert_eq!(meter.wait(start), Some(Duration::from_millis(1100)), "above it");
        assert!(!meter.take(1, start + Duration::from_millis(1099)));
        assert!(meter.take(1, start + Duration::from_millis(1100)));
    }
}
