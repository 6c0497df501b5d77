//! What this node does for its peers.

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, NodeChange, Peer, PeerError, RequestVote, SnapshotStream, TransferLeader, Vote,
    Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};

use crate::evaluator::confirmed;
use crate::group::Group;
use crate::metastore::Metastore;
use crate::network;

impl Metastore {
    /// The group that Raft's own calls are for: what they change is counted on by the others.
    fn taking_part(&self, id: u32) -> Result<&Group, PeerError> {
        match self.takes_part() {
            true => self.asked(id),
            false => Err(PeerError::Refused("this node knows nothing, and does not take part yet".into())),
        }
    }

    fn asked(&self, id: u32) -> Result<&Group, PeerError> {
        self.group(id).ok_or_else(|| PeerError::Refused(format!("there is no raft group {id}")))
    }
}

/// What a call of the leader comes to at the peer that made it.
fn failed(error: Error) -> PeerError {
    match error {
        Error::Unavailable(reason) => PeerError::Refused(reason),
        Error::Refused(refusal) => PeerError::Refused(refusal.to_string()),
        Error::Unknown => PeerError::NoAnswer(error.to_string()),
    }
}

impl Peer for Metastore {
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        Box::pin(async move { network::appended(&self.taking_part(group)?.raft, request).await })
    }

    fn vote(&self, group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        Box::pin(async move { network::voted(&self.taking_part(group)?.raft, request).await })
    }

    fn install(
        &self,
        group: u32,
        vote: Vote,
        file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            network::installed(&self.taking_part(group)?.raft, (&self.disk.snapshots, group), vote, file)
                .await
        })
    }

    fn transfer(&self, group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move { network::transferred(&self.taking_part(group)?.raft, request).await })
    }

    fn read_index_as_leader(&self, group: u32) -> BoxFuture<'_, Result<u64, PeerError>> {
        Box::pin(async move {
            let (_, revision) = confirmed(&self.asked(group)?.raft).await.map_err(failed)?;
            Ok(revision)
        })
    }

    fn change_nodes_as_leader(&self, group: u32, change: NodeChange) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move { self.change_here(self.asked(group)?, change).await.map_err(failed) })
    }

    fn execute_as_leader(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        Box::pin(self.run(command))
    }

    fn query_as_leader(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        Box::pin(self.read(query))
    }

    fn renew_as_leader(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.leases.renew(incarnation))
    }

    fn in_force_here(&self, revision: u64) -> BoxFuture<'_, Result<bool, PeerError>> {
        Box::pin(async move { Ok(self.markers.in_force(revision).await) })
    }
}
