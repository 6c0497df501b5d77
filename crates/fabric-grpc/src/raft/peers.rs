//! The other nodes of a metastore.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error as CallError, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, NodeChange, Peer, PeerError, Peers, RequestVote, SnapshotStream, TransferLeader,
    Vote, Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};
use futures_util::Stream;
use parking_lot::Mutex;
use tonic::{Code, Request, Status};

use super::{LARGEST, Store};
use crate::channel::Channel;
use crate::convert::{execute, membership, query, raft as convert};
use crate::generated::membership::RenewRequest;
use crate::generated::metadata::InForceRequest;
use crate::generated::raft::install_snapshot_request::Message;
use crate::generated::raft::raft_client::RaftClient;
use crate::generated::raft::{Begin, InstallSnapshotRequest, ReadIndexRequest};
use crate::status::was_not_sent;

/// How long a call may take, snapshots apart: the longest that a command may. Raft itself gives up sooner.
const WITHIN: Duration = Duration::from_secs(10);

/// Makes the channel to an address; a text says why there is none.
pub type MakeChannel = Box<dyn Fn(&str) -> Result<Channel, String> + Send + Sync>;

/// Peers over gRPC: one connection to each address, shared by all groups.
pub struct GrpcPeers {
    store: Store,
    channel: MakeChannel,
    known: Mutex<HashMap<String, Arc<dyn Peer>>>,
}

impl GrpcPeers {
    /// The peers of a node of `store`.
    pub fn new(store: Store, channel: MakeChannel) -> Self {
        Self { store, channel, known: Mutex::default() }
    }
}

impl Peers for GrpcPeers {
    fn peer(&self, address: &str) -> Arc<dyn Peer> {
        let mut known = self.known.lock();
        if let Some(peer) = known.get(address) {
            return peer.clone();
        }
        let stub = (self.channel)(address).map(|channel| {
            RaftClient::new(channel).max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST)
        });
        let peer: Arc<dyn Peer> = Arc::new(GrpcPeer { stub, store: self.store.clone() });
        known.insert(address.to_owned(), peer.clone());
        peer
    }
}

/// One node.
struct GrpcPeer {
    /// `Err` when its address is none.
    stub: Result<RaftClient<Channel>, String>,
    store: Store,
}

impl GrpcPeer {
    fn stub(&self) -> Result<RaftClient<Channel>, PeerError> {
        self.stub.clone().map_err(PeerError::Unreachable)
    }

    fn leader(&self) -> Result<RaftClient<Channel>, CallError> {
        self.stub.clone().map_err(CallError::Unavailable)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.unbounded(message);
        request.set_timeout(WITHIN);
        request
    }

    /// A request that takes as long as it takes.
    fn unbounded<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.store.stamp(&mut request);
        request
    }
}

/// What a failed call means.
fn failed(status: &Status) -> PeerError {
    let reason = status.message().to_owned();
    match status.code() {
        _ if was_not_sent(status) => PeerError::Unreachable(reason),
        Code::FailedPrecondition | Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented => {
            PeerError::Refused(reason)
        }
        _ => PeerError::NoAnswer(reason),
    }
}

/// A command's outcome is unknown unless it certainly did not arrive.
fn call_failed(status: &Status) -> CallError {
    match failed(status) {
        PeerError::Unreachable(reason) | PeerError::Refused(reason) => CallError::Unavailable(reason),
        PeerError::NoAnswer(_) => CallError::Unknown,
    }
}

fn unreadable(error: impl std::fmt::Display) -> PeerError {
    PeerError::NoAnswer(error.to_string())
}

/// A snapshot on its way: `begin`, then the pieces. A file that cannot be read to its end is cut short, and refused by the
/// receiver for that.
struct Messages {
    begin: Option<Begin>,
    file: SnapshotStream,
}

impl Stream for Messages {
    type Item = InstallSnapshotRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = match self.begin.take() {
            Some(begin) => Message::Begin(begin),
            None => match std::task::ready!(self.file.as_mut().poll_next(cx)) {
                Some(Ok(piece)) => Message::Piece(piece),
                Some(Err(error)) => {
                    tracing::error!(%error, "a snapshot could not be read");
                    return Poll::Ready(None);
                }
                None => return Poll::Ready(None),
            },
        };
        Poll::Ready(Some(InstallSnapshotRequest { message: Some(message) }))
    }
}

impl Peer for GrpcPeer {
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        Box::pin(async move {
            let request = self.request(convert::append(group, request));
            let answer = self.stub()?.append(request).await.map_err(|s| failed(&s))?;
            convert::appended(answer.into_inner()).map_err(unreadable)
        })
    }

    fn vote(&self, group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        Box::pin(async move {
            let request = self.request(convert::vote_request(group, request));
            let answer = self.stub()?.vote(request).await.map_err(|s| failed(&s))?;
            convert::voted(&answer.into_inner()).map_err(unreadable)
        })
    }

    fn install(
        &self,
        group: u32,
        vote: Vote,
        file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            let begin = Some(Begin { group, vote: Some(convert::ballot(vote)) });
            // Raft gives a snapshot its time, and a peer that is gone is noticed by the channel.
            let request = self.unbounded(Messages { begin, file });
            let answer = self.stub()?.install_snapshot(request).await.map_err(|s| failed(&s))?;
            convert::vote(answer.into_inner().vote).map_err(unreadable)
        })
    }

    fn transfer(&self, group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move {
            let request = self.request(convert::transfer(group, request));
            self.stub()?.transfer_leader(request).await.map_err(|s| failed(&s))?;
            Ok(())
        })
    }

    fn read_index_as_leader(&self, group: u32) -> BoxFuture<'_, Result<u64, PeerError>> {
        Box::pin(async move {
            let request = self.request(ReadIndexRequest { group });
            let answer = self.stub()?.read_index_as_leader(request).await.map_err(|s| failed(&s))?;
            Ok(answer.into_inner().revision)
        })
    }

    fn change_nodes_as_leader(&self, group: u32, change: NodeChange) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move {
            // Bringing a node level takes its time.
            let request = self.unbounded(convert::change_nodes(group, change));
            self.stub()?.change_nodes_as_leader(request).await.map(drop).map_err(|s| failed(&s))
        })
    }

    fn execute_as_leader(&self, command: Command) -> BoxFuture<'_, Result<Executed, CallError>> {
        Box::pin(async move {
            let message = execute::request(&command).map_err(|e| CallError::Unavailable(e.to_string()))?;
            let answer = self.leader()?.execute_as_leader(self.request(message)).await;
            let answer = answer.map_err(|s| call_failed(&s))?;
            execute::result(answer.into_inner()).unwrap_or(Err(CallError::Unknown))
        })
    }

    fn query_as_leader(&self, asked: Query) -> BoxFuture<'_, Result<QueryReply, CallError>> {
        Box::pin(async move {
            let unavailable = |reason: String| CallError::Unavailable(reason);
            let message = query::request(&asked).map_err(|e| unavailable(e.to_string()))?;
            let answer = self.leader()?.query_as_leader(self.request(message)).await;
            let answer = answer.map_err(|s| unavailable(s.message().to_owned()))?;
            query::result(answer.into_inner()).unwrap_or_else(|e| Err(unavailable(e.to_string())))
        })
    }

    fn renew_as_leader(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            let request = self.request(RenewRequest { incarnation: incarnation.0 });
            let answer = self.leader()?.renew_as_leader(request).await.map_err(|s| call_failed(&s))?;
            membership::failure(answer.into_inner().failure)
        })
    }

    fn in_force_here(&self, revision: u64) -> BoxFuture<'_, Result<bool, PeerError>> {
        Box::pin(async move {
            let request = self.request(InForceRequest { revision });
            let answer = self.stub()?.in_force_here(request).await.map_err(|s| failed(&s))?;
            Ok(answer.into_inner().in_force)
        })
    }
}
