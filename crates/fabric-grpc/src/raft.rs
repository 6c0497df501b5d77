//! The nodes of a metastore to each other: [`Peer`](fleethaven_fabric::raft::Peer) on a channel, and any peer as a service.
//!
//! Every call names the cluster and the number of its state groups in headers; a node of another one, or with another number,
//! refuses it, so that a wrong address cannot mix two clusters' logs, nor a wrong setting their shards.

use std::num::NonZeroU32;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

pub mod peers;
pub mod server;
#[cfg(test)]
mod tests;

/// The header with the cluster's name.
const CLUSTER: &str = "fleethaven-cluster";
/// The header with the number of state groups.
const STATE_GROUPS: &str = "fleethaven-state-groups";

/// Largest message, in bytes: an append carries at most so many bytes of entries. Peers are trusted; this bounds a mistake.
const LARGEST: usize = 64 << 20;

/// What the nodes of one metastore have in common, and no others.
#[derive(Debug, Clone)]
pub struct Store {
    cluster: MetadataValue<Ascii>,
    state_groups: MetadataValue<Ascii>,
}

impl Store {
    /// The store of `cluster` with so many state groups; `None` when the name cannot stand in a header.
    pub fn new(cluster: &str, state_groups: NonZeroU32) -> Option<Self> {
        Some(Self { cluster: cluster.parse().ok()?, state_groups: state_groups.get().into() })
    }

    /// Names the store in a request.
    fn stamp<T>(&self, request: &mut Request<T>) {
        let headers = request.metadata_mut();
        headers.insert(CLUSTER, self.cluster.clone());
        headers.insert(STATE_GROUPS, self.state_groups.clone());
    }

    /// Refuses a caller of another store.
    fn admit(&self, headers: &MetadataMap) -> Result<(), Status> {
        let cluster = headers.get(CLUSTER);
        if cluster != Some(&self.cluster) {
            tracing::error!(?cluster, "a node of another cluster calls: check the addresses");
            return Err(Status::failed_precondition("this node is of another cluster"));
        }
        let theirs = headers.get(STATE_GROUPS);
        if theirs != Some(&self.state_groups) {
            let own = &self.state_groups;
            tracing::error!(
                ?theirs,
                ?own,
                "a node with another number of state groups calls: check the setting"
            );
            let own = own.to_str().unwrap_or_default();
            let theirs = theirs.and_then(|value| value.to_str().ok()).unwrap_or("none");
            let reason = format!("this node has {own} state groups, the one that calls has {theirs}");
            return Err(Status::failed_precondition(reason));
        }
        Ok(())
    }
}
