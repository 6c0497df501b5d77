//! Leaves alone for a moment what fails again and again.

use std::time::{Duration, Instant};

/// A circuit breaker: after [`THRESHOLD`] failures in a row it opens; then one call is let through every cool-down, and the
/// first that succeeds closes it.
#[derive(Debug, Clone)]
pub struct Breaker {
    cool_down: Duration,
    failures: u32,
    /// When the next call is let through, while it is open.
    closed_until: Option<Instant>,
}

/// Failures in a row that open it.
pub const THRESHOLD: u32 = 5;
/// How long nothing is called once it is open, unless said otherwise.
pub const COOL_DOWN: Duration = Duration::from_secs(5);

impl Default for Breaker {
    fn default() -> Self {
        Self::new(COOL_DOWN)
    }
}

impl Breaker {
    /// A closed one, which lets one call through every `cool_down` while it is open.
    pub fn new(cool_down: Duration) -> Self {
        Self { cool_down, failures: 0, closed_until: None }
    }

    /// Whether a call may be made now. While it is open, whoever is told so makes the call that decides.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.closed_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.closed_until = Some(now + self.cool_down);
                true
            }
            None => true,
        }
    }

    /// Whether calls are held back.
    pub fn is_open(&self) -> bool {
        self.closed_until.is_some()
    }

    /// A call reached what it called.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.cool_down);
    }

    /// A call did not. Whether this opened the breaker.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < THRESHOLD {
            return false;
        }
        let opened = self.closed_until.is_none();
        self.closed_until = Some(now + self.cool_down);
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_by_one_success() {
        let start = tokio::time::Instant::now().into_std();
        let mut breaker = Breaker::default();
        for _ in 1..THRESHOLD {
            assert!(!breaker.failed(start));
        }
        breaker.succeeded();
        for _ in 1..THRESHOLD {
            assert!(!breaker.failed(start));
        }
        assert!(breaker.admits(start));
        assert!(breaker.failed(start));
        assert!(!breaker.failed(start), "open already");
        assert!(!breaker.admits(start + COOL_DOWN / 2));
        let later = start + COOL_DOWN;
        assert!(breaker.admits(later));
        assert!(!breaker.admits(later), "one call decides");
        assert!(!breaker.failed(later));
        assert!(breaker.is_open());
        let later = later + COOL_DOWN;
        assert!(breaker.admits(later));
        breaker.succeeded();
        assert!(!breaker.is_open());
        assert!(breaker.admits(later) && breaker.admits(later));
    }
}
