//! Pauses between tries.

use std::time::Duration;

/// Exponential pauses with full jitter: before try `n` (from 1) anything up to `first · 2ⁿ⁻¹`, `most` at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Most before the second try.
    pub first: Duration,
    /// Most before any.
    pub most: Duration,
}

impl Backoff {
    /// The pause after `failures` failed tries; `random` is uniform.
    pub fn pause(&self, failures: u32, random: u64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = self.first.saturating_mul(doubled).min(self.most);
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(match nanos.checked_add(1) {
            Some(bound) => random % bound,
            None => random,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };

    proptest! {
        #[test]
        fn pauses_grow_up_to_a_bound(failures in 0_u32..100, random: u64) {
            let bound = 100_u64.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(2000);
            prop_assert!(BACKOFF.pause(failures, random) <= Duration::from_millis(bound));
        }
    }

    #[test]
    fn any_pause_up_to_the_bound_can_be() {
        assert_eq!(BACKOFF.pause(1, 0), Duration::ZERO);
        assert_eq!(BACKOFF.pause(1, 100_000_000), Duration::from_millis(100));
        assert_eq!(BACKOFF.pause(60, 2_000_000_000), Duration::from_secs(2));
    }
}
