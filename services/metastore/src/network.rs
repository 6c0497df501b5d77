//! How the nodes of a group reach each other: openraft's calls, carried by the fabric's [`Peer`]s.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::raft::{Appended, Peer, PeerError, Peers};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetworkFactory, RaftNetworkV2};

use crate::quorum::{ELECTION, Quorum};
use crate::snapshot::SnapshotFile;
use crate::types::{Snapshot, Types, Vote};

mod convert;
mod serve;

pub(crate) use serve::{appended, installed, transferred, voted};

/// The peers of a node that has none.
#[derive(Debug, Clone, Copy)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn peer(&self, address: &str) -> Arc<dyn Peer> {
        // The only voter never asks anyone; a membership with others needs a node that was started with peers.
        tracing::error!(address, "this node was started without peers");
        Arc::new(serve::Absent)
    }
}

/// The connections of one group of this node.
pub(crate) struct Network {
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) group: u32,
    pub(crate) node: u64,
    pub(crate) quorum: Quorum,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Link {
        let (peer, quorum) = (self.peers.peer(&node.addr), self.quorum.clone());
        Link { peer, group: self.group, node: self.node, target, quorum }
    }
}

/// The way to one node.
pub(crate) struct Link {
    peer: Arc<dyn Peer>,
    group: u32,
    node: u64,
    target: u64,
    quorum: Quorum,
}

impl Link {
    /// Waits for an answer as long as openraft says; it gives up by itself a little later.
    async fn within<T>(
        &self,
        limit: Duration,
        action: RPCTypes,
        answer: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, RPCError<Types>> {
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => {
                Err(RPCError::Timeout(Timeout { action, id: self.node, target: self.target, timeout: limit }))
            }
        }
    }
}

/// What a peer's failure means to openraft: it backs off from a node that cannot be reached.
fn failed(error: &PeerError) -> RPCError<Types> {
    let cause = io::Error::other(error.to_string());
    match error {
        PeerError::NoAnswer(_) => RPCError::Network(NetworkError::new(&cause)),
        PeerError::Unreachable(_) | PeerError::Refused(_) => RPCError::Unreachable(Unreachable::new(&cause)),
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // openraft would wait for entries as long as for a heartbeat: a follower whose disk is slower than that would be sent them
        // again and again.
        let has_entries = !request.entries.is_empty();
        if has_entries && self.quorum.is_left_to_others() {
            let cause = io::Error::other("this leader has no quorum and lets the others elect another");
            return Err(RPCError::Unreachable(Unreachable::new(&cause)));
        }
        let request =
            convert::append_request(&request).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let limit = if has_entries { ELECTION } else { option.hard_ttl() };
        let answer = self.peer.append(self.group, request);
        let answer = self.within(limit, RPCTypes::AppendEntries, answer).await?;
        Ok(match answer {
            Appended::All => AppendEntriesResponse::Success,
            Appended::UpTo(last) => AppendEntriesResponse::PartialSuccess(last.map(convert::log_id_in)),
            Appended::Conflict => AppendEntriesResponse::Conflict,
            Appended::HigherVote(vote) => AppendEntriesResponse::HigherVote(convert::vote_in(vote)),
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.peer.vote(self.group, convert::vote_request(&request, false));
        let answer = self.within(option.hard_ttl(), RPCTypes::Vote, answer).await?;
        Ok(convert::vote_response_in(answer))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.peer.vote(self.group, convert::vote_request(&request, true));
        let answer = self.within(option.hard_ttl(), RPCTypes::Vote, answer).await?;
        Ok(convert::vote_response_in(answer))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let file = snapshot.snapshot.pieces().map_err(|e| StreamingError::Network(NetworkError::new(&e)))?;
        let sent = self.peer.install(self.group, convert::vote_out(&vote), file);
        let sent = self.within(option.hard_ttl(), RPCTypes::InstallSnapshot, sent);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = sent => Ok(SnapshotResponse::new(convert::vote_in(answer?))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let answer = self.peer.transfer(self.group, convert::transfer_request(&request));
        self.within(option.hard_ttl(), RPCTypes::TransferLeader, answer).await?;
        Ok(Ok(()))
    }
}
