//! Rates: so many a second, with bursts, counted without timers (the generic cell rate algorithm).

use std::time::{Duration, Instant};

/// So many a second on average, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next when they come evenly.
    interval: Duration,
    /// How far ahead of that a burst may run.
    tolerance: Duration,
}

impl Rate {
    /// `per_second` on average, at most `burst` at once; neither is taken as less than 1.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, tolerance: interval * burst.saturating_sub(1) }
    }

    /// `burst_secs` seconds' worth at once (AWS counts with one).
    pub fn per_second(per_second: u32, burst_secs: u32) -> Self {
        Self::new(per_second, per_second.saturating_mul(burst_secs))
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn tolerance(&self) -> Duration {
        self.tolerance
    }
}

/// How much of a [`Rate`] is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    /// When nothing is used up any more.
    level_at: Option<Instant>,
}

impl Meter {
    /// Counts one more, if `rate` allows it at `now`.
    pub fn take(&mut self, rate: &Rate, now: Instant) -> bool {
        let level_at = self.level_at.map_or(now, |at| at.max(now));
        if level_at.saturating_duration_since(now) > rate.tolerance {
            return false;
        }
        self.level_at = Some(level_at + rate.interval);
        true
    }

    /// Counts what has happened already, whether the rate allowed it or not.
    pub fn charge(&mut self, rate: &Rate, count: u32, now: Instant) {
        let level_at = self.level_at.map_or(now, |at| at.max(now));
        self.level_at = Some(level_at + rate.interval.saturating_mul(count));
    }

    /// How long until another one is allowed; `None`: it is allowed now.
    pub fn wait(&self, rate: &Rate, now: Instant) -> Option<Duration> {
        let ahead = self.level_at?.saturating_duration_since(now);
        ahead.checked_sub(rate.tolerance).filter(|over| !over.is_zero())
    }

    /// Whether nothing is used up at `now`: such a meter is as good as a new one.
    pub fn is_level(&self, now: Instant) -> bool {
        self.level_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    pub(crate) fn start() -> Instant {
        Instant::now()
    }

    fn taken(meter: &mut Meter, rate: &Rate, at: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| meter.take(rate, at)).count()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_average() {
        let (start, rate) = (start(), Rate::per_second(100, 1));
        let mut meter = Meter::default();
        assert_eq!(taken(&mut meter, &rate, start, 500), 100);
        assert_eq!(taken(&mut meter, &rate, start + Duration::from_millis(50), 500), 5);
        assert!(!meter.is_level(start + Duration::from_secs(1)));
        assert_eq!(
            taken(&mut meter, &rate, start + Duration::from_secs(60), 500),
            100,
            "no more is saved up"
        );
    }

    #[test]
    fn one_a_second_with_two_at_once() {
        let (start, rate) = (start(), Rate::new(1, 2));
        let mut meter = Meter::default();
        assert_eq!(taken(&mut meter, &rate, start, 3), 2);
        assert_eq!(taken(&mut meter, &rate, start + Duration::from_millis(999), 1), 0);
        assert_eq!(taken(&mut meter, &rate, start + Duration::from_millis(1000), 2), 1);
        assert!(meter.is_level(start + Duration::from_secs(3)));
    }

    #[test]
    fn what_is_charged_is_waited_for() {
        let (start, rate) = (start(), Rate::per_second(100, 1));
        let mut meter = Meter::default();
        meter.charge(&rate, 99, start);
        assert_eq!(meter.wait(&rate, start), None);
        meter.charge(&rate, 101, start);
        assert_eq!(meter.wait(&rate, start), Some(Duration::from_millis(1010)));
        assert_eq!(meter.wait(&rate, start + Duration::from_millis(1010)), None);
    }

    #[test]
    fn over_time_the_average_holds() {
        let (start, rate) = (start(), Rate::new(7, 3));
        let mut meter = Meter::default();
        let total: usize =
            (0..10_000).map(|ms| taken(&mut meter, &rate, start + Duration::from_millis(ms), 1)).sum();
        assert!((70..=73).contains(&total), "{total}");
    }
}
