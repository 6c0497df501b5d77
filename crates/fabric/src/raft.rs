//! What the nodes of a metastore ask of each other: Raft's own calls, and commands, reads and renewals handed on to the leader.
//! A metastore has several raft groups; each has a leader of its own.
//!
//! A node is a [`Peer`] to the others; [`Peers`] finds them by their address. Entries and snapshots travel as the bytes that
//! the metastore keeps on disk, so that this seam knows nothing of what is replicated.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_registry::{Command, Query, QueryReply};
use futures_core::Stream;

use crate::membership::Incarnation;
use crate::metadata::{BoxFuture, Error, Executed};

/// Who leads in which term, or wants to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The node voted for.
    pub node: u64,
    /// A quorum granted it: the node leads.
    pub committed: bool,
}

/// The place of an entry in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId {
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Index.
    pub index: u64,
}

/// A leader's entries for a follower; none is a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendEntries {
    /// The leader.
    pub vote: Vote,
    /// The entry before the first of `entries`; the follower must have it.
    pub previous: Option<LogId>,
    /// What is committed.
    pub committed: Option<LogId>,
    /// Entries as they stand in the log on disk, without a gap.
    pub entries: Vec<Bytes>,
}

/// A follower's answer to [`AppendEntries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// All of them are durable.
    All,
    /// Those up to here are durable.
    UpTo(Option<LogId>),
    /// The entry before them is not there.
    Conflict,
    /// The follower has seen a higher vote.
    HigherVote(Vote),
}

/// A candidate's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestVote {
    /// The candidate.
    pub vote: Vote,
    /// Its last entry.
    pub last: Option<LogId>,
    /// The leader asked for this election: no lease stands against it.
    pub leadership_transfer: bool,
    /// Only whether the vote would be granted; nothing is noted.
    pub pre_vote: bool,
}

/// The answer to [`RequestVote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voted {
    /// The vote that the node has noted.
    pub vote: Vote,
    /// Whether it goes to the candidate.
    pub granted: bool,
    /// The node's last entry.
    pub last: Option<LogId>,
}

/// The leader wants `to` to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLeader {
    /// The leader.
    pub from: Vote,
    /// Who is to lead.
    pub to: u64,
    /// What it must have before it asks for votes.
    pub last: Option<LogId>,
}

/// A change of the nodes of a group. What is so already is left as it is, so that it can be asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeChange {
    /// A node is brought level, and votes then.
    Add {
        /// Its id.
        node: u64,
        /// Where the others reach it.
        address: String,
    },
    /// A node goes.
    Remove {
        /// Its id.
        node: u64,
    },
    /// A node takes the place of another one.
    Replace {
        /// The id of the one that goes.
        old: u64,
        /// The id of the one that comes.
        new: u64,
        /// Where the others reach that one.
        address: String,
    },
}

/// The bytes of a snapshot file, in pieces.
pub type SnapshotStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Why a peer gave no answer. What was asked may have been done all the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// Nothing answers at its address.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// It did not answer in time, or the answer was lost.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// It does not do what was asked: another cluster, no such group, shutting down.
    #[error("refused: {0}")]
    Refused(String),
}

/// One node of a metastore as the others see it. `group` is the raft group concerned.
pub trait Peer: Send + Sync + 'static {
    /// Appends entries; answered when they are durable.
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>>;

    /// Asks for a vote.
    fn vote(&self, group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>>;

    /// Replaces the group's state by a snapshot that `vote`'s leader sends; answered with the node's vote when it is
    /// installed.
    fn install(&self, group: u32, vote: Vote, file: SnapshotStream)
    -> BoxFuture<'_, Result<Vote, PeerError>>;

    /// Passes leadership on.
    fn transfer(&self, group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>>;

    /// Confirms with a quorum that this node leads the group; the revision of all that was committed by then.
    fn read_index_as_leader(&self, group: u32) -> BoxFuture<'_, Result<u64, PeerError>>;

    /// Changes the group's nodes if this node leads it; answered when the change is committed.
    fn change_nodes_as_leader(&self, group: u32, change: NodeChange) -> BoxFuture<'_, Result<(), PeerError>>;

    /// Carries out a command if this node leads the group that holds what it changes; it is not handed on again.
    fn execute_as_leader(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>>;

    /// A linearizable read if this node leads the group that is asked.
    fn query_as_leader(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>>;

    /// Renews a member's lease if this node leads the control group (`Membership::renew`).
    fn renew_as_leader(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>>;

    /// Whether the consumers that watch at this node have acted on `revision`; waits two seconds at most.
    fn in_force_here(&self, revision: u64) -> BoxFuture<'_, Result<bool, PeerError>>;
}

/// How a node reaches the others.
pub trait Peers: Send + Sync + 'static {
    /// The node at `address`. Connects when first used, and again after it was lost.
    fn peer(&self, address: &str) -> Arc<dyn Peer>;
}
