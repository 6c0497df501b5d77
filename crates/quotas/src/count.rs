//! How many of something there are now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count with a bound, shared by all cores.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicU64>);

/// One of a [`Count`], given back when this is dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicU64>);

impl Count {
    /// One more, unless there are `most` already.
    pub fn take(&self, most: Option<u64>) -> Option<Held> {
        let more = |count: u64| most.is_none_or(|most| count < most).then_some(count + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Held(self.0.clone()))
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let count = Count::default();
        let first = count.take(Some(2)).unwrap();
        let second = count.take(Some(2)).unwrap();
        assert!(count.take(Some(2)).is_none());
        drop(first);
        assert!(count.take(Some(2)).is_some(), "and given back at once");
        drop(second);
        assert_eq!(count.get(), 0);
        let all: Vec<_> = (0..100).map(|_| count.take(None).unwrap()).collect();
        assert_eq!(count.get(), all.len() as u64);
    }
}
