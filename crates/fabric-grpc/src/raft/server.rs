//! Any [`Peer`] as a gRPC service.

use std::io;
use std::sync::Arc;

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::raft::{Peer, PeerError};
use futures_util::StreamExt;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::{LARGEST, Store};
use crate::convert::{execute, membership, query, raft as convert};
use crate::generated::membership::{RenewRequest, RenewResponse};
use crate::generated::metadata as calls;
use crate::generated::raft as wire;
use crate::generated::raft::install_snapshot_request::Message;
use crate::generated::raft::raft_server;
use crate::status::unanswered;

/// Adds the service of `peer`, a node of `store`, to `routes`.
///
/// It trusts whoever can reach it: the listener authenticates its peers.
pub fn add_service(routes: Routes, store: Store, peer: Arc<dyn Peer>) -> Routes {
    let server = raft_server::RaftServer::new(Service { store, peer })
        .max_decoding_message_size(LARGEST)
        .max_encoding_message_size(LARGEST);
    routes.add_service(server)
}

struct Service {
    store: Store,
    peer: Arc<dyn Peer>,
}

impl Service {
    fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.store.admit(request.metadata())?;
        Ok(request.into_inner())
    }
}

fn status(error: PeerError) -> Status {
    match error {
        PeerError::Refused(reason) => Status::failed_precondition(reason),
        PeerError::Unreachable(reason) | PeerError::NoAnswer(reason) => Status::internal(reason),
    }
}

#[tonic::async_trait]
impl raft_server::Raft for Service {
    async fn append(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendResponse>, Status> {
        let (group, request) = convert::append_in(self.admit(request)?)?;
        let answer = self.peer.append(group, request).await.map_err(status)?;
        Ok(Response::new(convert::appended_out(answer)))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteResponse>, Status> {
        let (group, request) = convert::vote_request_in(&self.admit(request)?)?;
        let answer = self.peer.vote(group, request).await.map_err(status)?;
        Ok(Response::new(convert::voted_out(answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::InstallSnapshotRequest>>,
    ) -> Result<Response<wire::InstallSnapshotResponse>, Status> {
        let mut messages = self.admit(request)?;
        let begin = match messages.message().await?.and_then(|first| first.message) {
            Some(Message::Begin(begin)) => begin,
            _ => return Err(Status::invalid_argument("a snapshot begins with begin")),
        };
        let vote = convert::vote(begin.vote)?;
        let pieces = messages.map(|message| match message.map_err(io::Error::other)?.message {
            Some(Message::Piece(piece)) => Ok(piece),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a piece of a snapshot")),
        });
        let answer = self.peer.install(begin.group, vote, Box::pin(pieces)).await.map_err(status)?;
        Ok(Response::new(wire::InstallSnapshotResponse { vote: Some(convert::ballot(answer)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        let (group, request) = convert::transfer_in(&self.admit(request)?)?;
        self.peer.transfer(group, request).await.map_err(status)?;
        Ok(Response::new(wire::TransferLeaderResponse {}))
    }

    async fn read_index_as_leader(
        &self,
        request: Request<wire::ReadIndexRequest>,
    ) -> Result<Response<wire::ReadIndexResponse>, Status> {
        let asked = self.admit(request)?;
        let revision = self.peer.read_index_as_leader(asked.group).await.map_err(status)?;
        Ok(Response::new(wire::ReadIndexResponse { revision }))
    }

    async fn change_nodes_as_leader(
        &self,
        request: Request<wire::ChangeNodesRequest>,
    ) -> Result<Response<wire::ChangeNodesResponse>, Status> {
        let (group, change) = convert::change_nodes_in(self.admit(request)?)?;
        self.peer.change_nodes_as_leader(group, change).await.map_err(status)?;
        Ok(Response::new(wire::ChangeNodesResponse {}))
    }

    async fn execute_as_leader(
        &self,
        request: Request<calls::ExecuteRequest>,
    ) -> Result<Response<calls::ExecuteResponse>, Status> {
        let command = execute::command(&self.admit(request)?)?;
        let result = self.peer.execute_as_leader(command).await;
        Ok(Response::new(execute::response(result).map_err(unanswered)?))
    }

    async fn query_as_leader(
        &self,
        request: Request<calls::QueryRequest>,
    ) -> Result<Response<calls::QueryResponse>, Status> {
        let asked = query::query(&self.admit(request)?)?;
        let result = self.peer.query_as_leader(asked).await;
        Ok(Response::new(query::response(result)?))
    }

    async fn renew_as_leader(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let asked = self.admit(request)?;
        let renewed = self.peer.renew_as_leader(Incarnation(asked.incarnation)).await;
        Ok(Response::new(RenewResponse { failure: membership::failure_out(renewed) }))
    }

    async fn in_force_here(
        &self,
        request: Request<calls::InForceRequest>,
    ) -> Result<Response<calls::InForceResponse>, Status> {
        let asked = self.admit(request)?;
        let in_force = self.peer.in_force_here(asked.revision).await.map_err(status)?;
        Ok(Response::new(calls::InForceResponse { in_force }))
    }
}
