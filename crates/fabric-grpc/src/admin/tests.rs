//! A node in memory behind a loopback socket.

use std::future::ready;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::{FileStream, GroupStatus, Node, NodeRole, Status};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use futures_util::{TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

use super::{AdminClient, add_service};
use crate::channel::traced;

/// Notes what it is asked, and does nothing.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    fails: Mutex<Option<Error>>,
}

impl Fake {
    fn note(&self, asked: String) -> BoxFuture<'_, Result<(), Error>> {
        self.asked.lock().push(asked);
        Box::pin(ready(self.fails.lock().clone().map_or(Ok(()), Err)))
    }
}

fn told() -> Status {
    let node = |node: u64, matched| Node { node, address: format!("m{node}:7000"), votes: node < 3, matched };
    let control = GroupStatus {
        role: NodeRole::Leader,
        leader: Some(1),
        term: 4,
        last: 90,
        committed: 80,
        applied: 70,
        snapshot: 60,
        confirmed: true,
        nodes: vec![node(1, Some(90)), node(2, Some(85)), node(3, None)],
    };
    let state = |leader| GroupStatus {
        role: NodeRole::Follower,
        leader,
        confirmed: leader.is_some(),
        nodes: vec![node(2, None)],
        ..control.clone()
    };
    Status {
        node: 1,
        version: "1.2".to_owned(),
        disk_bytes: 5 << 30,
        master_keys: vec!["0f1e2d3c".to_owned()],
        issuing_keys: vec!["4b5a6978".to_owned()],
        state: vec![state(Some(2)), state(None)],
        control,
    }
}

impl Admin for Fake {
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        Box::pin(ready(Ok(told())))
    }

    fn backup(&self) -> BoxFuture<'_, Result<FileStream, Error>> {
        let mut pieces: Vec<_> = (0..40_u8).map(|n| Ok(Bytes::from(vec![n; 100_000]))).collect();
        if self.fails.lock().is_some() {
            pieces.push(Err(io::Error::other("the disk")));
        }
        let file: FileStream = Box::pin(stream::iter(pieces));
        Box::pin(ready(Ok(file)))
    }

    fn add_node(&self, node: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        self.note(format!("add {node} {address}"))
    }

    fn remove_node(&self, node: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.note(format!("remove {node}"))
    }

    fn replace_node(&self, old: u64, new: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        self.note(format!("replace {old} {new} {address}"))
    }

    fn hand_over(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.note("hand over".to_owned())
    }
}

async fn connected(fake: &Arc<Fake>) -> AdminClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = add_service(Routes::default(), fake.clone());
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)));
    AdminClient::new(traced(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()))
}

#[tokio::test]
async fn everything_travels() {
    let fake = Arc::<Fake>::default();
    let client = connected(&fake).await;
    let status = client.status().await.unwrap();
    assert_eq!(status, told());
    let control = status.control;
    assert_eq!((control.lag(2), control.lag(3), control.lag(9)), (Some(5), None, None));
    client.add_node(4, "m4:7000".to_owned()).await.unwrap();
    client.remove_node(3).await.unwrap();
    client.replace_node(2, 5, "m5:7000".to_owned()).await.unwrap();
    client.hand_over().await.unwrap();
    assert_eq!(*fake.asked.lock(), ["add 4 m4:7000", "remove 3", "replace 2 5 m5:7000", "hand over"]);
    let pieces: Vec<Bytes> = client.backup().await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat().len(), 4_000_000);
}

#[tokio::test]
async fn failures_keep_their_kind_and_their_words() {
    let fake = Arc::<Fake>::default();
    let client = connected(&fake).await;
    *fake.fails.lock() = Some(Error::Unavailable("node 2 leads".to_owned()));
    let refused = client.add_node(4, "m4:7000".to_owned()).await;
    assert!(matches!(&refused, Err(Error::Unavailable(reason)) if reason == "node 2 leads"), "{refused:?}");
    *fake.fails.lock() = Some(Error::Unknown);
    assert!(matches!(client.remove_node(4).await, Err(Error::Unknown)));
    let broken: Result<Vec<Bytes>, _> = client.backup().await.unwrap().try_collect().await;
    assert!(broken.unwrap_err().to_string().contains("the disk"), "a backup that was cut short is none");
}
