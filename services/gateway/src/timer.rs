//! Coarse timers: a wheel of seconds. A connection is looked at when its bucket comes up; if its deadline has moved on (a
//! packet arrived), it goes into the new deadline's bucket then. No work per message, and one entry per connection unless
//! a deadline moved forward.

use std::time::{Duration, Instant};

/// Buckets of one second; deadlines further away are looked at again after a full round.
const BUCKETS: usize = 512;

/// When to look at which connection (slot and generation).
pub(crate) struct Wheel {
    buckets: Vec<Vec<(u32, u32)>>,
    start: Instant,
    /// Seconds since `start` whose buckets have been handed out.
    passed: u64,
}

impl Wheel {
    pub(crate) fn new(start: Instant) -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], start, passed: 0 }
    }

    /// The second whose bucket a deadline belongs to: the one after it, within a round.
    pub(crate) fn second_of(&self, deadline: Instant) -> u64 {
        let due = deadline.saturating_duration_since(self.start).as_secs() + 1;
        due.clamp(self.passed + 1, self.passed + BUCKETS as u64 - 1)
    }

    /// Puts a connection into the bucket after its deadline; returns the second when it comes up.
    pub(crate) fn insert(&mut self, deadline: Instant, connection: (u32, u32)) -> u64 {
        let second = self.second_of(deadline);
        if let Some(bucket) = self.buckets.get_mut((second % BUCKETS as u64) as usize) {
            bucket.push(connection);
        }
        second
    }

    /// Whether the bucket of `second` has come up.
    pub(crate) fn has_passed(&self, second: u64) -> bool {
        second <= self.passed
    }

    /// Connections whose bucket has come up by `now`.
    pub(crate) fn due(&mut self, now: Instant, due: &mut Vec<(u32, u32)>) {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        // After a long pause one round covers every bucket.
        let first = self.passed.max(seconds.saturating_sub(BUCKETS as u64)) + 1;
        for second in first..=seconds {
            if let Some(bucket) = self.buckets.get_mut((second % BUCKETS as u64) as usize) {
                due.append(bucket);
            }
        }
        self.passed = self.passed.max(seconds);
    }

    /// How often [`Wheel::due`] is to be called.
    pub(crate) const TICK: Duration = Duration::from_secs(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn comes_up_after_the_deadline_and_not_before() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.insert(start + Duration::from_millis(1500), (1, 1));
        wheel.insert(start + Duration::from_secs(2000), (2, 1));
        let mut due = Vec::new();
        wheel.due(start + Duration::from_millis(1900), &mut due);
        assert!(due.is_empty());
        wheel.due(start + Duration::from_secs(2), &mut due);
        assert_eq!(due, [(1, 1)]);
        wheel.due(start + Duration::from_secs(600), &mut due);
        assert_eq!(due, [(1, 1), (2, 1)], "looked at once a round");
        let second = wheel.insert(start + Duration::from_secs(1), (3, 1));
        assert!(!wheel.has_passed(second), "a deadline that has passed is looked at next");
        wheel.due(start + Duration::from_secs(601), &mut due);
        assert!(wheel.has_passed(second) && due.contains(&(3, 1)));
    }
}
