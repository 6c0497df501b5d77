//! What a group answers to its peers.

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, NodeChange, Peer, PeerError, RequestVote, SnapshotStream, TransferLeader, Vote,
    Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};
use openraft::raft::AppendEntriesResponse;

use super::convert;
use crate::snapshot::{self, Shelf};
use crate::types::{Raft, Snapshot};

/// Appends a leader's entries.
pub(crate) async fn appended(raft: &Raft, request: AppendEntries) -> Result<Appended, PeerError> {
    let request = convert::append_request_in(&request).map_err(refused)?;
    Ok(match raft.append_entries(request).await.map_err(refused)? {
        AppendEntriesResponse::Success => Appended::All,
        AppendEntriesResponse::PartialSuccess(last) => Appended::UpTo(last.map(convert::log_id_out)),
        AppendEntriesResponse::Conflict => Appended::Conflict,
        AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote(convert::vote_out(&vote)),
    })
}

/// Votes, or says how it would.
pub(crate) async fn voted(raft: &Raft, request: RequestVote) -> Result<Voted, PeerError> {
    let asked = convert::vote_request_in(request);
    let answer = match request.pre_vote {
        true => raft.pre_vote(asked).await,
        false => raft.vote(asked).await,
    };
    Ok(convert::vote_response(&answer.map_err(refused)?))
}

/// Receives a snapshot and installs it.
pub(crate) async fn installed(
    raft: &Raft,
    (shelf, group): (&Shelf, u32),
    vote: Vote,
    file: SnapshotStream,
) -> Result<Vote, PeerError> {
    let file = snapshot::receive(shelf, group, file).await.map_err(refused)?;
    let meta = snapshot::meta(&file.applied().map_err(refused)?);
    let snapshot = Snapshot { meta, snapshot: file };
    let answer = raft.install_full_snapshot(convert::vote_in(vote), snapshot).await.map_err(refused)?;
    Ok(convert::vote_out(&answer.vote))
}

/// Takes part in passing leadership on.
pub(crate) async fn transferred(raft: &Raft, request: TransferLeader) -> Result<(), PeerError> {
    let answer = raft.handle_transfer_leader(convert::transfer_request_in(request)).await.map_err(refused)?;
    answer.map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> PeerError {
    PeerError::Refused(error.to_string())
}

/// A peer that is not there.
pub(super) struct Absent;

fn absent<T: Send + 'static>() -> BoxFuture<'static, Result<T, PeerError>> {
    Box::pin(std::future::ready(Err(PeerError::Unreachable("this node was started without peers".into()))))
}

fn absent_leader<T: Send + 'static>() -> BoxFuture<'static, Result<T, Error>> {
    Box::pin(std::future::ready(Err(Error::Unavailable("this node was started without peers".into()))))
}

impl Peer for Absent {
    fn append(&self, _group: u32, _request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        absent()
    }

    fn vote(&self, _group: u32, _request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        absent()
    }

    fn install(
        &self,
        _group: u32,
        _vote: Vote,
        _file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        absent()
    }

    fn transfer(&self, _group: u32, _request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        absent()
    }

    fn read_index_as_leader(&self, _group: u32) -> BoxFuture<'_, Result<u64, PeerError>> {
        absent()
    }

    fn change_nodes_as_leader(
        &self,
        _group: u32,
        _change: NodeChange,
    ) -> BoxFuture<'_, Result<(), PeerError>> {
        absent()
    }

    fn execute_as_leader(&self, _command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        absent_leader()
    }

    fn query_as_leader(&self, _query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        absent_leader()
    }

    fn renew_as_leader(&self, _incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        absent_leader()
    }

    fn in_force_here(&self, _revision: u64) -> BoxFuture<'_, Result<bool, PeerError>> {
        absent()
    }
}
