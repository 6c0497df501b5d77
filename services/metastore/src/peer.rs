//! What this node does for its peers.

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, Peer, PeerError, RequestVote, SnapshotStream, TransferLeader, Vote, Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};

use crate::group::Group;
use crate::metastore::Metastore;
use crate::network;

impl Metastore {
    fn group(&self, id: u32) -> Result<&Group, PeerError> {
        let group = (id == crate::group::CONTROL).then_some(&self.control);
        group.ok_or_else(|| PeerError::Refused(format!("there is no raft group {id}")))
    }
}

impl Peer for Metastore {
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        Box::pin(async move { network::appended(&self.group(group)?.raft, request).await })
    }

    fn vote(&self, group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        Box::pin(async move { network::voted(&self.group(group)?.raft, request).await })
    }

    fn install(
        &self,
        group: u32,
        vote: Vote,
        file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            network::installed(&self.group(group)?.raft, (self.disk.dir(), group), vote, file).await
        })
    }

    fn transfer(&self, group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move { network::transferred(&self.group(group)?.raft, request).await })
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
