//! The types openraft is instantiated with.

use std::fmt;

use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;
use openraft::{BasicNode, RaftTypeConfig};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::record::Proposal;

/// Type configuration of every group. Leader ids are those of standard Raft (one leader per term), so that a
/// term alone names the leader an evaluation was bound to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Proposal;
    type R = Outcome;
    type NodeId = u64;
    type Node = BasicNode;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Proposal, u64, BasicNode>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    #[cfg(not(test))]
    type AsyncRuntime = openraft::impls::TokioRuntime;
    #[cfg(test)]
    type AsyncRuntime = crate::tests::simulation::Runtime;
    type Responder<T>
        = Completion<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// Index of an entry and the term of the leader that wrote it.
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
/// A log entry.
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
/// A vote.
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
/// The last membership applied and where it stands in the log.
pub(crate) type Membership = openraft::alias::StoredMembershipOf<Types>;
/// What a snapshot covers.
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
/// A snapshot.
pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, crate::snapshot::SnapshotFile>;
/// A running group.
pub(crate) type Raft = openraft::Raft<Types, crate::machine::StateMachine>;
/// What openraft answers to a proposal.
pub(crate) type WriteResult = openraft::raft::ClientWriteResult<Types>;

/// Builds a log id from its parts.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: term.into(), index }
}

/// What applying an entry came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The effects are part of the state.
    Applied,
    /// The entry's predecessor was not applied, so the entry changed nothing: evaluate again.
    Retry,
}

/// Carries the fate of one proposal to the evaluator: exactly one message per proposal, `None` when openraft
/// dropped it without an answer (it stopped), so that nothing waits for ever.
pub struct Completion<T> {
    sequence: u64,
    to: mpsc::UnboundedSender<(u64, Option<T>)>,
    answered: bool,
}

impl<T> Completion<T> {
    /// A completion for the proposal numbered `sequence`.
    pub(crate) fn new(sequence: u64, to: mpsc::UnboundedSender<(u64, Option<T>)>) -> Self {
        Self { sequence, to, answered: false }
    }

    fn answer(&mut self, result: Option<T>) {
        self.answered = true;
        // A closed channel means that the evaluator is gone, and with it everyone who could be told.
        let _ = self.to.send((self.sequence, result));
    }
}

impl<T: Send + 'static> Responder<Types, T> for Completion<T> {
    fn on_complete(mut self, result: T) {
        self.answer(Some(result));
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(None);
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "T{} #{} after #{}: {} writes",
            self.term,
            self.sequence,
            self.predecessor,
            self.writes.len()
        )
    }
}
