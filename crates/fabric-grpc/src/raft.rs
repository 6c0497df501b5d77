//! The nodes of a metastore to each other: [`Peer`](fleethaven_fabric::raft::Peer) on a channel, and any peer as a service.
//!
//! Every call names the cluster in a header; a node of another one refuses it, so that a wrong address cannot mix two
//! clusters' logs.

pub mod peers;
pub mod server;
#[cfg(test)]
mod tests;

/// The header with the cluster's name.
const CLUSTER: &str = "fleethaven-cluster";

/// Largest message, in bytes: an append carries at most so many bytes of entries. Peers are trusted; this bounds a mistake.
const LARGEST: usize = 64 << 20;
