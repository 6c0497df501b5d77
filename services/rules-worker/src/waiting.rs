//! Messages whose actions wait for the broker itself.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many wait before the broker is taken to be away, and not one message to be at fault.
const AWAY: usize = 256;

/// How many actions wait until the broker takes what they publish.
#[derive(Debug, Default)]
pub struct Waiting(AtomicUsize);

/// One that waits, until it is dropped.
#[derive(Debug)]
pub struct Waits<'a>(&'a Waiting);

impl Waiting {
    /// One more waits, and why.
    pub fn begin(&self, reason: &str) -> Waits<'_> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(reason, "what rules publish waits for the broker");
        }
        Waits(self)
    }

    /// Whether nothing more is to be taken in hand: others may be able to publish it.
    pub fn is_broker_away(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= AWAY
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.0.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("the broker has taken all that rules publish");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_away_while_many_wait() {
        let waiting = Waiting::default();
        let mut held: Vec<_> = (1..AWAY).map(|_| waiting.begin("test")).collect();
        assert!(!waiting.is_broker_away());
        held.push(waiting.begin("test"));
        assert!(waiting.is_broker_away());
        drop(held);
        assert!(!waiting.is_broker_away());
    }
}
