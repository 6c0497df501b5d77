//! A peer in memory behind a loopback socket.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, LogId, NodeChange, Peer, PeerError, Peers, RequestVote, SnapshotStream,
    TransferLeader, Vote, Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};
use futures_util::{TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

use super::peers::GrpcPeers;
use super::{Store, server};
use crate::channel::traced;

const LEADER: Vote = Vote { term: 4, node: 2, committed: true };

/// Answers with what it was asked, as far as that fits.
#[derive(Default)]
struct Echo {
    received: Mutex<Vec<u8>>,
}

impl Peer for Echo {
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        let answer = match group {
            0 => Ok(Appended::UpTo(request.committed)),
            1 if request.entries.concat() == b"onetwo" => Ok(Appended::All),
            1 => Ok(Appended::Conflict),
            2 => Ok(Appended::HigherVote(request.vote)),
            _ => Err(PeerError::Refused("no such group".into())),
        };
        Box::pin(std::future::ready(answer))
    }

    fn vote(&self, _group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        let granted = request.pre_vote && request.leadership_transfer;
        Box::pin(std::future::ready(Ok(Voted { vote: request.vote, granted, last: request.last })))
    }

    fn install(
        &self,
        _group: u32,
        vote: Vote,
        file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            let pieces: Vec<Bytes> =
                file.try_collect().await.map_err(|e| PeerError::Refused(e.to_string()))?;
            *self.received.lock() = pieces.concat();
            Ok(vote)
        })
    }

    fn transfer(&self, _group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        let fits = (request.from, request.to) == (LEADER, 3);
        Box::pin(std::future::ready(fits.then_some(()).ok_or(PeerError::Refused("other".into()))))
    }

    fn read_index_as_leader(&self, group: u32) -> BoxFuture<'_, Result<u64, PeerError>> {
        let leads = || PeerError::Refused("node 2 leads".into());
        Box::pin(std::future::ready((group == 3).then_some(77).ok_or_else(leads)))
    }

    fn change_nodes_as_leader(&self, group: u32, change: NodeChange) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(std::future::ready(Err(PeerError::Refused(format!("{group}: {change:?}")))))
    }

    fn execute_as_leader(&self, _command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        Box::pin(std::future::ready(Err(Error::Unavailable("not the leader".into()))))
    }

    fn query_as_leader(&self, _query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        Box::pin(std::future::ready(Err(Error::Unknown)))
    }

    fn renew_as_leader(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(match incarnation.0 {
            1 => Ok(()),
            _ => Err(Error::Unavailable("leads no more".to_owned())),
        }))
    }

    fn in_force_here(&self, revision: u64) -> BoxFuture<'_, Result<bool, PeerError>> {
        Box::pin(std::future::ready(Ok(revision < 10)))
    }
}

fn store(cluster: &str, state_groups: u32) -> Store {
    Store::new(cluster, NonZeroU32::new(state_groups).unwrap()).unwrap()
}

fn peers(cluster: &str) -> GrpcPeers {
    peers_with(cluster, 4)
}

fn peers_with(cluster: &str, state_groups: u32) -> GrpcPeers {
    let channel = |address: &str| {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
        Ok(traced(endpoint.connect_lazy()))
    };
    GrpcPeers::new(store(cluster, state_groups), Box::new(channel))
}

async fn serve(echo: Arc<Echo>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let routes = server::add_service(Routes::default(), store("here", 4), echo);
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test]
async fn calls_travel_with_their_answers() {
    let echo = Arc::<Echo>::default();
    let peer = peers("here").peer(&serve(echo.clone()).await);
    let id = Some(LogId { term: 3, index: 17 });
    let request = AppendEntries {
        vote: LEADER,
        previous: id,
        committed: Some(LogId { term: 3, index: 16 }),
        entries: vec!["one".into(), "two".into()],
    };
    assert_eq!(peer.append(0, request.clone()).await.unwrap(), Appended::UpTo(request.committed));
    assert_eq!(peer.append(1, request.clone()).await.unwrap(), Appended::All);
    let heartbeat = AppendEntries { entries: Vec::new(), ..request.clone() };
    assert_eq!(peer.append(1, heartbeat).await.unwrap(), Appended::Conflict);
    assert_eq!(peer.append(2, request.clone()).await.unwrap(), Appended::HigherVote(LEADER));
    assert!(matches!(peer.append(9, request).await, Err(PeerError::Refused(_))));

    let asked = RequestVote { vote: LEADER, last: id, leadership_transfer: true, pre_vote: true };
    assert_eq!(peer.vote(0, asked).await.unwrap(), Voted { vote: LEADER, granted: true, last: id });
    peer.transfer(0, TransferLeader { from: LEADER, to: 3, last: None }).await.unwrap();
    peer.renew_as_leader(Incarnation(1)).await.unwrap();
    assert!(matches!(peer.renew_as_leader(Incarnation(2)).await, Err(Error::Unavailable(_))));
    assert!(peer.in_force_here(9).await.unwrap() && !peer.in_force_here(10).await.unwrap());
    assert_eq!(peer.read_index_as_leader(3).await.unwrap(), 77);
    let refused = peer.read_index_as_leader(0).await;
    assert!(matches!(&refused, Err(PeerError::Refused(reason)) if reason == "node 2 leads"), "{refused:?}");
    let address = "m4:7000".to_owned();
    for change in [
        NodeChange::Add { node: 4, address: address.clone() },
        NodeChange::Remove { node: 3 },
        NodeChange::Replace { old: 2, new: 4, address },
    ] {
        let echoed = peer.change_nodes_as_leader(2, change.clone()).await;
        let expected = format!("2: {change:?}");
        assert!(matches!(&echoed, Err(PeerError::Refused(told)) if *told == expected), "{echoed:?}");
    }
}

#[tokio::test]
async fn a_snapshot_travels_in_pieces_and_a_broken_one_is_noticed() {
    let echo = Arc::<Echo>::default();
    let peer = peers("here").peer(&serve(echo.clone()).await);
    let pieces: Vec<_> = (0..40_u8).map(|n| Ok(Bytes::from(vec![n; 100_000]))).collect();
    assert_eq!(peer.install(0, LEADER, Box::pin(stream::iter(pieces))).await.unwrap(), LEADER);
    assert_eq!(echo.received.lock().len(), 4_000_000);
    let broken = vec![Ok(Bytes::from_static(b"a")), Err(io::Error::other("gone"))];
    peer.install(0, LEADER, Box::pin(stream::iter(broken))).await.unwrap();
    assert_eq!(*echo.received.lock(), b"a", "cut short: the file's own checksum tells");
}

#[tokio::test]
async fn another_cluster_is_refused_and_nobody_is_unreachable() {
    let address = serve(Arc::default()).await;
    let refused = peers("there").peer(&address).in_force_here(1).await;
    assert!(matches!(refused, Err(PeerError::Refused(_))), "{refused:?}");
    let refused = peers_with("here", 8).peer(&address).in_force_here(1).await.unwrap_err().to_string();
    assert!(refused.ends_with("this node has 4 state groups, the one that calls has 8"), "{refused}");
    // Bound and closed again: nothing listens there.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for address in [gone.as_str(), "no address"] {
        let absent = peers("here").peer(address);
        let answer = tokio::time::timeout(Duration::from_secs(10), absent.in_force_here(1)).await.unwrap();
        assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
    }
    assert!(Store::new("line\nbreak", NonZeroU32::MIN).is_none());
}
