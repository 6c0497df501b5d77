//! When an action that failed is tried again (rules-actions.md section 1). Pure: the time and the dice are arguments.

use std::time::Duration;

use fleethaven_outbound::Backoff;

/// How often, and with what pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Most tries, the first one included.
    pub tries: u32,
    /// Pauses between them, with full jitter.
    pub backoff: Backoff,
    /// An action has failed when it has not succeeded by then, tries and pauses together.
    pub budget: Duration,
}

impl Policy {
    /// What all actions have that AWS says nothing else of.
    pub const DEFAULT: Self = Self {
        tries: 3,
        backoff: Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) },
        budget: Duration::from_secs(10),
    };

    /// The pause before the next try; `None`: there is none, as all tries have been made, or it would begin after the budget.
    pub fn pause(&self, failures: u32, elapsed: Duration, random: u64) -> Option<Duration> {
        let pause = self.backoff.pause(failures, random);
        (failures < self.tries && elapsed.saturating_add(pause) < self.budget).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_tries_with_growing_pauses() {
        let policy = Policy::DEFAULT;
        let longest = |failures, bound: u64| policy.pause(failures, Duration::ZERO, bound * 1_000_000);
        assert_eq!(longest(1, 100), Some(Duration::from_millis(100)));
        assert_eq!(longest(2, 200), Some(Duration::from_millis(200)));
        assert_eq!(policy.pause(1, Duration::ZERO, 0), Some(Duration::ZERO), "any pause up to the bound");
        assert_eq!(policy.pause(3, Duration::ZERO, 0), None);
    }

    #[test]
    fn no_try_begins_after_the_budget() {
        let policy = Policy::DEFAULT;
        assert_eq!(policy.pause(1, policy.budget, 0), None);
        assert_eq!(policy.pause(1, policy.budget - Duration::from_millis(50), 100_000_000), None);
    }
}
