//! What a metastore node is started with.

use std::path::PathBuf;
use std::time::Duration;

use fleethaven_registry::Limits;
use fleethaven_types::Timestamp;

/// Configuration of one metastore node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of this node's data; created when absent. Everything the metastore keeps lies below it.
    pub dir: PathBuf,
    /// Raft node id. A node whose disk lost data must come back under a new id.
    pub node: u64,
    /// Log entries after which a snapshot is written and the log is compacted.
    pub snapshot_every: u64,
    /// Log entries kept although a snapshot covers them, so that a briefly absent replica needs no snapshot.
    pub keep_log: u64,
    /// Bytes of keys and values that the in-memory change log holds for watchers, at most. A watcher that
    /// falls further behind is reset.
    pub change_log_bytes: usize,
    /// Commands accepted but not yet answered, at most; further ones wait.
    pub max_in_flight: usize,
    /// How long a command may take before it is answered with `Unknown`.
    pub command_timeout: Duration,
    /// The wall clock, read once per command.
    pub clock: fn() -> Timestamp,
    /// Quotas that commands are held to.
    pub limits: Limits,
}

impl Config {
    /// The defaults for a node with its data in `dir`.
    pub fn new(dir: impl Into<PathBuf>, clock: fn() -> Timestamp, limits: Limits) -> Self {
        Self {
            dir: dir.into(),
            node: 1,
            snapshot_every: 50_000,
            keep_log: 10_000,
            change_log_bytes: 64 << 20,
            max_in_flight: 1024,
            command_timeout: Duration::from_secs(10),
            clock,
            limits,
        }
    }
}
