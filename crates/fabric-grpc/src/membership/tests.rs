//! A cluster in memory behind a loopback socket.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, Phase, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use fleethaven_membership::{Cluster, Command, Refusal, floor};
use fleethaven_registry::{self as registry, ErrorCode};
use fleethaven_topics::Slot;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

use super::{MembershipClient, add_service};
use crate::channel::traced;

const DEADLINE: Duration = Duration::from_secs(30);

/// The logic without Raft and without leases: who is a member may renew.
struct Fake {
    cluster: watch::Sender<Cluster>,
    fails: Mutex<Option<Error>>,
    /// Renewals are never answered, as by a node that is cut off.
    silent: bool,
    /// What streams of tables tell, one after the other, before the cluster is told as it is.
    told: Mutex<VecDeque<Vec<Arc<RoutingTable>>>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        let cluster = watch::Sender::new(Cluster::new(floor(1_800_000_000)));
        Arc::new(Self { cluster, fails: Mutex::default(), silent: false, told: Mutex::default() })
    }

    fn run(&self, command: &Command) -> Result<Option<Incarnation>, Error> {
        if let Some(error) = self.fails.lock().clone() {
            return Err(error);
        }
        let mut outcome = Ok(None);
        self.cluster.send_modify(|cluster| outcome = cluster.apply(command));
        outcome.map_err(|refusal| match refusal {
            Refusal::Gone(gone) => Error::Refused(registry::Error::not_found("Member", &gone.to_string())),
            other => Error::Refused(registry::Error::invalid(other.to_string())),
        })
    }

    fn done(&self, command: &Command) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ready(self.run(command).map(drop)))
    }
}

impl Membership for Fake {
    fn join(
        &self,
        role: Role,
        address: String,
        version: String,
    ) -> BoxFuture<'_, Result<Incarnation, Error>> {
        let joined = self.run(&Command::Join { role, address, version });
        Box::pin(ready(joined.map(|incarnation| incarnation.unwrap())))
    }

    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        if self.silent {
            return Box::pin(std::future::pending());
        }
        self.done(&Command::Release { incarnation, slots: Vec::new() })
    }

    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>> {
        self.done(&Command::SetPhase { incarnation, phase })
    }

    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        let slots = slots.into_iter().map(|(slot, epoch)| (slot.index(), epoch)).collect();
        self.done(&Command::Release { incarnation, slots })
    }

    fn ready_for_depth(&self, incarnation: Incarnation, version: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.done(&Command::ReadyForDepth { incarnation, version })
    }

    fn set_depth(&self, prefix: String, depth: Option<u64>) -> BoxFuture<'_, Result<(), Error>> {
        self.done(&Command::SetDepth { prefix, depth: depth.map(|depth| depth.try_into().unwrap()) })
    }

    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        self.done(&Command::Remove { incarnation })
    }

    fn table(&self) -> TableStream {
        if let Some(told) = self.told.lock().pop_front() {
            return Box::pin(stream::iter(told));
        }
        let mut cluster = self.cluster.subscribe();
        cluster.mark_changed();
        Box::pin(stream::unfold(cluster, |mut cluster| async move {
            cluster.changed().await.ok()?;
            let table = Arc::new(cluster.borrow_and_update().table());
            Some((table, cluster))
        }))
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn client(addresses: &[String]) -> MembershipClient {
    let channel =
        |address| traced(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy());
    MembershipClient::new(addresses.iter().map(channel).collect(), DEADLINE)
}

async fn serve(fake: &Arc<Fake>) -> String {
    let (listener, address) = listen().await;
    let routes = add_service(Routes::default(), fake.clone());
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn connected(fake: &Arc<Fake>) -> MembershipClient {
    client(&[serve(fake).await])
}

/// The next table that is as wanted.
async fn table(tables: &mut TableStream, wanted: impl Fn(&RoutingTable) -> bool) -> Arc<RoutingTable> {
    timeout(DEADLINE, async {
        loop {
            let table = tables.next().await.unwrap();
            if wanted(&table) {
                return table;
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn everything_travels() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let mut tables = client.table();
    assert!(table(&mut tables, |_| true).await.members.is_empty());
    let mut joined = Vec::new();
    for role in [Role::Router, Role::Gateway, Role::RulesWorker, Role::Api, Role::Router] {
        let incarnation =
            client.join(role, format!("10.0.0.{}:7000", joined.len()), "1".to_owned()).await.unwrap();
        client.set_phase(incarnation, Phase::Serving).await.unwrap();
        client.renew(incarnation).await.unwrap();
        joined.push(incarnation);
    }
    let settled = table(&mut tables, |table| table.slots.iter().any(|slot| slot.next.is_some())).await;
    assert_eq!(*settled, fake.cluster.borrow().table());
    let (slot, entry) = Slot::all().map(|s| (s, settled.slot(s))).find(|(_, e)| e.next.is_some()).unwrap();
    client.release(entry.owner.unwrap(), vec![(slot, entry.epoch)]).await.unwrap();
    let moved = table(&mut tables, |table| table.slot(slot).epoch > entry.epoch).await;
    assert_eq!(moved.slot(slot).owner, entry.next);
    client.set_depth("acme/prod".to_owned(), Some(5)).await.unwrap();
    let told = table(&mut tables, |table| table.change.is_some()).await;
    assert_eq!(*told, fake.cluster.borrow().table());
    for router in [joined[0], joined[4]] {
        client.ready_for_depth(router, told.version).await.unwrap();
    }
    let switching = table(&mut tables, |table| table.is_switching()).await;
    assert_eq!(*switching, fake.cluster.borrow().table());
    client.set_phase(joined[0], Phase::Leaving).await.unwrap();
    client.leave(joined[0]).await.unwrap();
    let left = table(&mut tables, |table| table.members.len() == 4).await;
    assert_eq!(*left, fake.cluster.borrow().table());
}

#[tokio::test]
async fn failures_keep_their_kind() {
    let fake = Fake::new();
    let client = connected(&fake).await;
    let gone = Incarnation(3);
    for refused in [client.renew(gone).await, client.set_phase(gone, Phase::Serving).await] {
        assert!(matches!(&refused, Err(Error::Refused(e)) if e.code == ErrorCode::ResourceNotFoundException));
    }
    let refused = client.join(Role::Gateway, String::new(), String::new()).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    *fake.fails.lock() = Some(Error::Unavailable("no leader".to_owned()));
    let failed = client.release(gone, Vec::new()).await;
    assert!(matches!(&failed, Err(Error::Unavailable(reason)) if reason == "no leader"), "{failed:?}");
    *fake.fails.lock() = Some(Error::Unknown);
    assert!(matches!(client.join(Role::Router, "r:1".to_owned(), "1".to_owned()).await, Err(Error::Unknown)));
    assert!(matches!(client.renew(gone).await, Err(Error::Unavailable(_))), "nobody is out for that");
}

#[tokio::test]
async fn without_a_metastore_nobody_is_out() {
    // Bound and closed again: nothing listens there.
    let (listener, address) = listen().await;
    drop(listener);
    let client = client(&[address]);
    assert!(matches!(client.renew(Incarnation(1)).await, Err(Error::Unavailable(_))));
    assert!(matches!(
        client.join(Role::Router, "r:1".to_owned(), "1".to_owned()).await,
        Err(Error::Unavailable(_))
    ));
}

#[tokio::test]
async fn a_node_that_is_cut_off_leaves_a_lease_time_to_be_renewed_elsewhere() {
    let fake = Fake::new();
    let silent = Arc::new(Fake {
        cluster: fake.cluster.clone(),
        silent: true,
        fails: Mutex::default(),
        told: Mutex::default(),
    });
    let member = fake
        .run(&Command::Join { role: Role::Router, address: "r:1".to_owned(), version: "1".to_owned() })
        .unwrap()
        .unwrap();
    let client = client(&[serve(&silent).await, serve(&fake).await]);
    client.renew(member).await.expect("another node is asked before the lease is over");
    client.renew(member).await.expect("that node goes on being asked");
}

#[tokio::test]
async fn a_stream_of_tables_that_ends_is_opened_again_and_never_goes_back() {
    let fake = Fake::new();
    let told = |versions: &[u64]| {
        let table = |version: &u64| Arc::new(RoutingTable { version: *version, ..Cluster::new(0).table() });
        versions.iter().map(table).collect()
    };
    // As two nodes would tell them, the second of which is behind.
    fake.told.lock().extend([told(&[1, 3]), told(&[2, 3, 5])]);
    let client = connected(&fake).await;
    let mut tables = client.table();
    for version in [1, 3, 5] {
        let table = timeout(DEADLINE, tables.next()).await.unwrap().unwrap();
        assert_eq!(table.version, version);
    }
}
