//! What a metastore node is started with.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_registry::Limits;
use fleethaven_types::Timestamp;
use fleethaven_vault::Vault;

use crate::sealing::Sealing;

/// What a node does when its directory is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// It is a cluster of its own. Others can be added later.
    #[default]
    Alone,
    /// It forms a cluster with these nodes: id and address of each, this one included. All of them are started with the
    /// same list.
    Form(BTreeMap<u64, String>),
    /// It waits until the leader of a cluster adds it.
    Join,
    /// It may have lost what it knew: it takes part in nothing before it is told to ([`crate::Metastore::begin`],
    /// [`crate::Metastore::take_part`]), as a vote of a node that has forgotten could undo what was committed.
    Ask,
}

/// Configuration of one metastore node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of this node's data; created when absent. Everything the metastore keeps lies below it.
    pub dir: PathBuf,
    /// Raft node id. A node whose disk lost data must come back under a new id.
    pub node: u64,
    /// Name of the store, the same on all its nodes and no other store's: revisions of one say nothing about another. A
    /// restored backup gets a new one. Empty: a name of its own, for a node that stays alone.
    pub cluster: String,
    /// What to do when the directory is empty.
    pub start: Start,
    /// How many state groups the store has, the same on all its nodes and for ever; [`fleethaven_registry::Shard::COUNT`] at
    /// most.
    pub state_groups: NonZeroU32,
    /// How long a node must have been level before it is given the state groups that it should lead.
    pub settle: Duration,
    /// Log entries of a group after which a snapshot is written and the log is compacted.
    pub snapshot_every: u64,
    /// Log entries kept although a snapshot covers them, so that a briefly absent replica needs no snapshot.
    pub keep_log: u64,
    /// Bytes of keys and values that the control group's in-memory change log holds for watchers, at most, and those of all state
    /// groups together. A watcher that falls further behind is reset.
    pub change_log_bytes: usize,
    /// Commands of a group accepted but not yet answered, at most; further ones wait.
    pub max_in_flight: usize,
    /// How long a command may take before it is answered with `Unknown`.
    pub command_timeout: Duration,
    /// The wall clock, read once per command.
    pub clock: fn() -> Timestamp,
    /// Quotas that commands are held to.
    pub limits: Limits,
    /// Seals what is written and opens what is read. Without it nothing is sealed.
    pub vault: Option<Arc<Vault>>,
    /// Seals the private keys of issuing CAs. Without keys in it none is taken.
    pub sealing: Arc<Sealing>,
}

impl Config {
    /// The defaults for a node with its data in `dir`.
    pub fn new(dir: impl Into<PathBuf>, clock: fn() -> Timestamp, limits: Limits) -> Self {
        Self {
            dir: dir.into(),
            node: 1,
            cluster: String::new(),
            start: Start::Alone,
            state_groups: NonZeroU32::MIN,
            settle: Duration::from_secs(10),
            snapshot_every: 50_000,
            keep_log: 10_000,
            change_log_bytes: 64 << 20,
            max_in_flight: 1024,
            command_timeout: Duration::from_secs(10),
            clock,
            limits,
            vault: None,
            sealing: Sealing::new(None),
        }
    }
}
