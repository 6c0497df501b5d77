//! A leader that hears from no quorum makes room for another.
//!
//! One that still reaches the others, and is not reached by them, would be their leader for ever: what it sends keeps them from
//! an election, and nothing it is asked to write can be committed. openraft leaves out heartbeats then
//! (`quorum_loss_probe_interval`); what is still to be replicated it sends again and again, and that is left out here.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::Instant as _;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::types::{Raft, Types};

/// How often a leader says that it leads, and how long it waits for the answer: a quorum that is a tenth of a second away, and back
/// again, is still in time, and each is heard three times before an election.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long the others wait for a leader at most before they elect another, and how long one may lead without a quorum.
pub(crate) const ELECTION: Duration = Duration::from_millis(800);
/// How long a leader without a quorum is silent, and then tries again: long enough for what it sent last to lapse, and for an
/// election.
pub(crate) const SILENCE: Duration = Duration::from_millis(2000);

/// What a node knows of its quorum; [`Quorum::follow`] tells where to look.
#[derive(Clone, Default)]
pub(crate) struct Quorum(Arc<Known>);

#[derive(Default)]
struct Known {
    metrics: OnceLock<WatchReceiverOf<Types, RaftMetrics<Types>>>,
    /// The last term in which something was to be replicated before a quorum was heard, and since when.
    begun: Mutex<Option<(u64, Instant)>>,
}

impl Quorum {
    /// Looks at `raft` from here on. Holds no handle of it, which would keep it alive.
    pub(crate) fn follow(&self, raft: &Raft) {
        drop(self.0.metrics.set(raft.metrics()));
    }

    /// Whether this node leads, has no quorum, and leaves the others to themselves for now.
    pub(crate) fn is_left_to_others(&self) -> bool {
        let Some(metrics) = self.0.metrics.get() else { return false };
        let (term, acked) = {
            let metrics = metrics.borrow_watched();
            (metrics.current_term, metrics.last_quorum_acked)
        };
        is_silent(acked.map_or_else(|| self.begun(term).elapsed(), |at| at.elapsed()))
    }

    /// Since when it leads in `term`: one that was elected and is heard by nobody from then on has never heard from a quorum.
    fn begun(&self, term: u64) -> Instant {
        let mut begun = self.0.begun.lock();
        match *begun {
            Some((of, since)) if of == term => since,
            _ => begun.insert((term, Instant::now())).1,
        }
    }
}

/// Whether a leader is silent that last heard from a quorum so long ago: the rule that openraft has for heartbeats.
fn is_silent(unheard: Duration) -> bool {
    let Some(lapsed) = unheard.checked_sub(ELECTION) else { return false };
    (lapsed.as_millis() / SILENCE.as_millis()).is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_term_begins_once() {
        let quorum = Quorum::default();
        let first = quorum.begun(2);
        tokio::time::advance(ELECTION).await;
        assert_eq!(quorum.begun(2), first);
        assert_eq!(quorum.begun(3).duration_since(first), ELECTION);
    }

    #[test]
    fn a_leader_without_a_quorum_is_silent_and_tries_again_in_turn() {
        let silent = |millis| is_silent(Duration::from_millis(millis));
        assert!(!silent(0) && !silent(799));
        assert!(silent(800) && silent(2799));
        assert!(!silent(2800) && !silent(4799));
        assert!(silent(4800));
        assert!(SILENCE >= 2 * ELECTION, "what openraft asks for");
    }
}
