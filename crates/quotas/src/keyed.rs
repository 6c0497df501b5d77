//! One meter per client id or topic.

use std::borrow::Borrow;
use std::hash::Hash;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::rate::{Meter, Rate};

/// Meters that are kept before level ones are swept out.
const SWEEP_AT: usize = 4096;

/// Meters of one rate, by key. One that is level again is as good as none, so what it holds is bounded by what the rate lets
/// through.
#[derive(Debug)]
pub struct KeyedMeters<K> {
    rate: Rate,
    meters: FxHashMap<K, Meter>,
    sweep_at: usize,
}

impl<K: Hash + Eq> KeyedMeters<K> {
    /// Meters with nothing used up.
    pub fn new(rate: Rate) -> Self {
        Self { rate, meters: FxHashMap::default(), sweep_at: SWEEP_AT }
    }

    /// Counts one more of `key`, if the rate allows it at `now`.
    pub fn take<Q>(&mut self, key: &Q, now: Instant) -> bool
    where
        K: Borrow<Q> + for<'a> From<&'a Q>,
        Q: Hash + Eq + ?Sized,
    {
        let taken = match self.meters.get_mut(key) {
            Some(meter) => meter.take(&self.rate, now),
            None => self.meters.entry(K::from(key)).or_default().take(&self.rate, now),
        };
        if self.meters.len() >= self.sweep_at {
            self.meters.retain(|_, meter| !meter.is_level(now));
            self.sweep_at = (2 * self.meters.len()).max(SWEEP_AT);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate::tests::start;

    #[test]
    fn each_key_has_its_own_rate_and_old_ones_are_forgotten() {
        let start = start();
        let mut meters: KeyedMeters<String> = KeyedMeters::new(Rate::new(1, 2));
        assert_eq!(
            [meters.take("a", start), meters.take("a", start), meters.take("a", start)],
            [true, true, false]
        );
        assert!(meters.take("b", start));
        for number in 0..SWEEP_AT as u64 {
            assert!(meters.take(number.to_string().as_str(), start + Duration::from_secs(10 + number)));
        }
        assert!(meters.meters.len() < 100);
    }
}
