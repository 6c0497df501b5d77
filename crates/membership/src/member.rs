//! The processes of a cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One start of one process. Never used again, and never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Owns slots.
    Router,
    /// Holds connections.
    Gateway,
    /// Executes rules.
    RulesWorker,
    /// Answers AWS's REST.
    Api,
}

/// How far a member has come. Phases only go forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Hears of changes and is not to be relied upon yet: a router owns no slot.
    Loading,
    /// In service.
    Serving,
    /// On its way out: what it owns goes to others.
    Leaving,
}

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which start of which process.
    pub incarnation: Incarnation,
    /// What it does.
    pub role: Role,
    /// Where the others reach it: `host:port` of its gRPC listener.
    pub address: String,
    /// How far it is.
    pub phase: Phase,
    /// The release that it runs; empty for one that did not say so yet.
    pub version: String,
}
