//! The metastore as others see it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_registry::{Command, Query, QueryReply, Reply};
use futures_core::Stream;

/// A future that the seam returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A watch: ends only when the metastore shuts down or the watcher is dropped.
pub type WatchStream = Pin<Box<dyn Stream<Item = WatchEvent> + Send>>;

/// Why the metastore did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The command or query was evaluated and refused: AWS's own error.
    #[error(transparent)]
    Refused(#[from] fleethaven_registry::Error),
    /// Not carried out: no leader, not ready. Trying again can help.
    #[error("the metadata store is unavailable: {0}")]
    Unavailable(String),
    /// The deadline passed; the command may or may not have been carried out. Asking again with the same key carries it
    /// out once.
    #[error("the metadata store did not answer in time")]
    Unknown,
}

/// A command that was carried out.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The answer.
    pub reply: Reply,
    /// The revision of the group that carried it out (`fleethaven_registry::placement`) at which its effects are visible, or, for a command that was carried out before, one above that; 0
    /// when nothing changed.
    pub revision: u64,
}

/// Where a watch stands: positions of another incarnation, or below the change log's floor, are answered with a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Incarnation of the cluster's data (a restore starts a new one).
    pub incarnation: u64,
    /// Raft group.
    pub group: u32,
    /// Revision: the group's raft index.
    pub revision: u64,
}

/// What a watch tells, in order and without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A full listing follows: forget what is not listed by the next [`WatchEvent::Synced`].
    Reset,
    /// The key has this value as of `revision`.
    Put {
        /// Key.
        key: Bytes,
        /// Value.
        value: Bytes,
        /// Revision of the change.
        revision: u64,
    },
    /// The key is gone as of `revision`.
    Delete {
        /// Key.
        key: Bytes,
        /// Revision of the change.
        revision: u64,
    },
    /// The listing is complete as of this position; changes above it follow.
    Synced(Position),
    /// Everything up to this position has been sent, and the node that sends it is in touch with a leader: after each batch of
    /// changes, and every 200 ms while idle.
    Progress(Position),
}

/// Commands, queries and watches of the metastore.
pub trait Metadata: Send + Sync + 'static {
    /// Evaluates on the leader and replicates the effects. Returns after commit and apply. A command whose key the
    /// metastore has seen (`fleethaven_registry::idempotency`) is answered as the first time.
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>>;

    /// A linearizable read.
    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>>;

    /// A read of this node's applied state: never blocks, may lag behind the leader. What a gateway's cache is filled
    /// from before the watch corrects it; a denial or absence read this way is never final (`query` it). Only a node of the
    /// metastore has the state of things to read.
    fn query_local(&self, query: Query) -> Result<QueryReply, Error>;

    /// How long ago it was last known that [`query_local`](Self::query_local) and watches miss nothing that was committed, give
    /// or take the second in which a node notices that it was cut off (protocols C3); [`Duration::MAX`] before the first time.
    fn staleness(&self) -> Duration;

    /// Changes of the control group's keys with one of `prefixes` from a position on (`None`: a reset and full listing first).
    fn watch(&self, prefixes: Vec<Bytes>, from: Option<Position>) -> WatchStream;

    /// A consumer of watches that must have caught up before a change counts as in force.
    fn register(&self, name: &'static str) -> AppliedMarker;

    /// Waits until every registered consumer has reached `revision` of the control group, 2 seconds at most; `false` when one has not.
    fn in_force(&self, revision: u64) -> BoxFuture<'_, bool>;
}

/// Through this a consumer of watches reports how far it has acted on them.
pub type AppliedMarker = Box<dyn Fn(u64) + Send + Sync>;
