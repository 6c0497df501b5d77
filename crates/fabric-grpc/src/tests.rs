//! Client and server over a loopback socket, in front of a store in memory.

pub(crate) mod fake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fake::Fake;
use fleethaven_fabric::metadata::{Error, Executed};
use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_registry::shapes::CreateThing;
use fleethaven_registry::{Action, Command, ErrorCode, IdempotencyKey, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::Timestamp;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};

use crate::channel::traced;
use crate::client::{Client, Options};
use crate::generated::metadata as wire;
use crate::server;

const DEADLINE: Duration = Duration::from_secs(30);

async fn serve(fake: &Arc<Fake>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = server::service(fake.clone());
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).unwrap()
}

async fn connected(fake: &Arc<Fake>) -> Client {
    let channel = endpoint(serve(fake).await).connect_lazy();
    let client = Client::new(vec![traced(channel)], options(0));
    timeout(DEADLINE, client.level()).await.unwrap();
    client
}

fn options(first_node: usize) -> Options {
    let clock = || Timestamp(1_700_000_000_000);
    Options { prefixes: vec![Bytes::new()], timeout: DEADLINE, clock, first_node }
}

fn create(fake: &Fake, name: &str) -> Command {
    let thing = CreateThing { thing_name: name.to_owned(), ..CreateThing::default() };
    Command::new(fake.scope(), Action::CreateThing(Box::new(thing)))
}

fn describe(fake: &Fake, name: &str) -> Query {
    Query::new(fake.scope(), QueryKind::DescribeThing(name.to_owned()))
}

/// Waits for a condition that another task brings about.
async fn until(condition: impl Fn() -> bool) {
    let turns = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, turns).await.expect("the condition within the deadline");
}

#[tokio::test]
async fn commands_and_queries_travel_with_their_answers() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let Executed { reply, revision } = client.execute(create(&fake, "sensor01")).await.unwrap();
    assert!(matches!(reply, Reply::Thing(thing) if thing.thing_name == "sensor01"));
    assert_eq!(revision, fake.revision());
    let answer = client.query(describe(&fake, "sensor01")).await.unwrap();
    assert!(matches!(answer, QueryReply::Thing(thing) if thing.thing_name == "sensor01"));
}

#[tokio::test]
async fn a_command_travels_with_its_key() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let key = IdempotencyKey::of(&["k"]);
    client.execute(Command { key: Some(key), ..create(&fake, "a") }).await.unwrap();
    assert_eq!(fake.last_key(), Some(key));
    client.execute(create(&fake, "b")).await.unwrap();
    assert_eq!(fake.last_key(), None);
    let bad =
        wire::ExecuteRequest { command_json: Bytes::new(), idempotency_key: Bytes::from_static(b"short") };
    assert!(crate::convert::execute::command(&bad).is_err());
}

#[tokio::test]
async fn refusals_and_failures_keep_their_kind() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let refused = client.query(describe(&fake, "absent")).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(e) if e.code == ErrorCode::ResourceNotFoundException));
    fake.fail(Error::Unavailable("no leader".to_owned()));
    let unavailable = client.execute(create(&fake, "a")).await.unwrap_err();
    assert!(matches!(unavailable, Error::Unavailable(reason) if reason == "no leader"));
    fake.fail(Error::Unknown);
    assert!(matches!(client.execute(create(&fake, "a")).await.unwrap_err(), Error::Unknown));
}

#[tokio::test]
async fn a_watcher_that_sees_a_change_reads_it_locally() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let mut watch = client.watch(vec![Bytes::new()], None);
    while !matches!(watch.next().await.unwrap(), WatchEvent::Synced(_)) {}
    let created = client.execute(create(&fake, "sensor01")).await.unwrap();
    loop {
        match timeout(DEADLINE, watch.next()).await.unwrap().unwrap() {
            WatchEvent::Progress(at) if at.revision >= created.revision => break,
            _ => {}
        }
    }
    assert!(matches!(client.query_local(describe(&fake, "sensor01")), Ok(QueryReply::Thing(_))));
}

#[tokio::test]
async fn a_change_is_in_force_when_local_consumers_have_acted() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let marker = client.register("consumer");
    let created = client.execute(create(&fake, "sensor01")).await.unwrap();
    assert!(!client.in_force(created.revision).await);
    assert!(timeout(Duration::ZERO, client.acted()).await.is_err());
    marker(created.revision);
    timeout(DEADLINE, client.acted()).await.unwrap();
    until(|| fake.applied.load(Ordering::SeqCst) >= created.revision).await;
    assert!(client.in_force(created.revision).await);
}

#[tokio::test]
async fn a_broken_watch_is_resumed_and_misses_nothing() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    fake.drop_watchers();
    fake.execute(create(&fake, "made-meanwhile")).await.unwrap();
    until(|| client.query_local(describe(&fake, "made-meanwhile")).is_ok()).await;
}

#[tokio::test]
async fn a_client_that_goes_away_holds_nothing_up() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    assert_eq!(fake.registered.load(Ordering::SeqCst), 1);
    drop(client);
    until(|| fake.registered.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn another_node_is_asked_when_one_is_gone() {
    let fake = Fake::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let there = serve(&fake).await;
    for first_node in [0, 1] {
        let channels = [gone, there].map(|address| traced(endpoint(address).connect_lazy()));
        let client = Client::new(channels.to_vec(), options(first_node));
        let thing = format!("asked-first-{first_node}");
        client.execute(create(&fake, &thing)).await.unwrap();
        assert!(client.query(describe(&fake, &thing)).await.is_ok());
        timeout(DEADLINE, client.level()).await.unwrap();
    }
}
