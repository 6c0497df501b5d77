//! Where the leader is: commands and linearizable reads are carried out there, whichever node they reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleethaven_fabric::metadata::{BoxFuture, Error};
use fleethaven_fabric::raft::{Peer, Peers};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::quorum::ELECTION;
use crate::types::Raft;

/// Pause before a leader that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a leader that has a successor is listened to yet.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The leader as this node knows it.
pub(crate) enum Leader {
    /// This node.
    Here,
    /// Another one.
    Elsewhere(Arc<dyn Peer>),
}

/// Finds the leader of a group.
#[derive(Clone)]
pub(crate) struct Compass {
    raft: Raft,
    peers: Arc<dyn Peers>,
    /// When it was last found that what is applied here is recent.
    confirmed: Arc<Mutex<Option<Instant>>>,
}

impl Compass {
    pub(crate) fn new(raft: Raft, peers: Arc<dyn Peers>) -> Self {
        Self { raft, peers, confirmed: Arc::default() }
    }

    /// The leader, once one is known.
    pub(crate) async fn found(&self) -> Leader {
        loop {
            if let Some(leader) = self.leader() {
                return leader;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The leader now, if one is known.
    pub(crate) fn leader(&self) -> Option<Leader> {
        self.leader_and_id().map(|(_, leader)| leader)
    }

    fn leader_and_id(&self) -> Option<(u64, Leader)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        if leader == metrics.id {
            return Some((leader, Leader::Here));
        }
        let node = metrics.membership_config.membership().get_node(&leader)?;
        Some((leader, Leader::Elsewhere(self.peers.peer(&node.addr))))
    }

    /// Whether what this node has applied is known to be recent: it leads and a quorum answers, or it follows a leader.
    pub(crate) fn is_confirmed(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let is_confirmed = match metrics.current_leader {
            Some(leader) if leader == metrics.id => {
                // Not asked of `raft`: that looks at what is borrowed here once more, and would wait for ever for a writer
                // that waits for this borrow.
                metrics.membership_config.membership().voter_ids().eq([metrics.id])
                    || metrics.last_quorum_acked.is_some_and(|at| at.elapsed() < ELECTION)
            }
            leader => leader.is_some(),
        };
        if is_confirmed {
            *self.confirmed.lock() = Some(Instant::now());
        }
        is_confirmed
    }

    /// How long ago what this node has applied was last known to be recent.
    pub(crate) fn staleness(&self) -> Duration {
        if self.is_confirmed() {
            return Duration::ZERO;
        }
        self.confirmed.lock().map_or(Duration::MAX, |at| at.elapsed())
    }

    /// Asks the leader until it answers. Where it did nothing (it leads no more, or not yet), whoever leads then is asked; so,
    /// too, where that is unknown and what is asked is `repeatable`. A leader that has a successor is not waited for: it may
    /// hang. Ends when the caller gives up: `asked` tells whether something may have been done.
    pub(crate) async fn ask<'a, T>(
        &self,
        repeatable: bool,
        asked: &AtomicBool,
        ask: impl Fn(Leader) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        loop {
            if let Some((id, leader)) = self.leader_and_id() {
                let here = matches!(leader, Leader::Here);
                let before = asked.swap(true, Ordering::Relaxed);
                let answer = tokio::select! {
                    biased;
                    answer = ask(leader) => answer,
                    () = self.succeeded(id, repeatable), if !here => Err(Error::Unknown),
                };
                match answer {
                    Err(Error::Unavailable(_)) if !self.has_stopped() => {
                        asked.store(before, Ordering::Relaxed)
                    }
                    Err(Error::Unknown) if repeatable && !self.has_stopped() => {}
                    // This time nothing was done, but an earlier attempt may have been carried out.
                    Err(Error::Unavailable(_)) if before => return Err(Error::Unknown),
                    answer => return answer,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until another node than `leader` is known to lead. What cannot be asked again has a little longer to be answered
    /// by the one that led.
    async fn succeeded(&self, leader: u64, repeatable: bool) {
        let mut metrics = self.raft.server_metrics();
        while metrics.borrow_watched().current_leader.is_none_or(|id| id == leader) {
            if metrics.changed().await.is_err() {
                // The group stops; whoever asked is told by other means.
                return std::future::pending().await;
            }
        }
        if !repeatable {
            tokio::time::sleep(LAST_WORDS).await;
        }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.raft.metrics().borrow_watched().running_state.is_err()
    }
}
