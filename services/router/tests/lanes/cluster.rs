//! Routers and gateway cores that know each other by addresses only: each router has a runtime of its own, and dies with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::delivery::{Address, Credit, Push};
use fleethaven_fabric::membership::{Incarnation, Member, Phase, Role, SlotOwner, TableStream};
use fleethaven_fabric::{Delivery, Routing, RoutingEvent, RoutingRequest, RoutingTable};
use fleethaven_fabric_grpc::channel::traced;
use fleethaven_fabric_grpc::routing::{
    ClientOptions, Deliveries, Gathering, LaneId, RoutingClient, RoutingServer,
};
use fleethaven_lanes::gateway;
use fleethaven_lanes::router::{Serving, Slots};
use fleethaven_quotas::Accounts;
use fleethaven_router::metrics::Metrics;
use fleethaven_router::{Lane, Options, Router};
use fleethaven_storage::{
    Claim, Claimed, Completion, OwnerToken, QueueBounds, Request, SessionId, SessionStore, Subscription,
    Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options as StoreOptions};
use fleethaven_topics::{DepthRules, Slot};
use fleethaven_types::{Behaviour, Limits, Message, Profile, Publisher, QoS, Scope, Timestamp};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);

/// A store that all routers and gateways share, and the table that all follow.
pub(crate) struct Cluster {
    pub(crate) store: Arc<EmbeddedStore>,
    tables: watch::Sender<Arc<RoutingTable>>,
    _dir: tempfile::TempDir,
    last_incarnation: u64,
}

/// A router process.
pub(crate) struct RouterProcess {
    pub(crate) incarnation: Incarnation,
    pub(crate) address: SocketAddr,
    pub(crate) slots: Arc<Slots>,
    runtime: Option<Runtime>,
}

struct Nobody;

impl Gathering for Nobody {
    fn opened(&self, _: LaneId, _: u16) {}
    fn level(&self, _: LaneId, _: u64) {}
    fn closed(&self, _: LaneId) {}
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { fsync: false, ..StoreOptions::new(Arc::new(|| NOW)) };
        let store = EmbeddedStore::open(dir.path(), options).unwrap();
        let nothing = RoutingTable {
            version: 1,
            depth: DepthRules::default(),
            slots: Slot::all().map(|_| SlotOwner::default()).collect(),
            members: Arc::new([]),
        };
        let (tables, _) = watch::channel(Arc::new(nothing));
        Self { store, tables, _dir: dir, last_incarnation: 0 }
    }

    fn next_incarnation(&mut self) -> Incarnation {
        self.last_incarnation += 1;
        Incarnation(self.last_incarnation)
    }

    pub(crate) fn tables(&self) -> TableStream {
        Box::pin(WatchStream::new(self.tables.subscribe()))
    }

    pub(crate) fn table(&self) -> Arc<RoutingTable> {
        self.tables.borrow().clone()
    }

    /// Starts a router that is loaded with what the store has, and serves nothing yet.
    pub(crate) fn router(&mut self) -> RouterProcess {
        let incarnation = self.next_incarnation();
        let limits = Limits::of(Profile::Standard);
        let clock = || tokio::time::Instant::now().into_std();
        let accounts = Arc::new(Accounts::new(limits.into(), clock()));
        let behaviour = Behaviour::of(Profile::Standard);
        let options = Options { behaviour, accounts, queue_rates: false, clock };
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let deliveries = Arc::new(Deliveries::new(|_| ()));
        let router = Arc::new(Router::new(options, self.store.clone(), deliveries.clone(), metrics));
        router.warm_up().unwrap();
        let slots = Arc::new(Slots::new(clock()));
        slots.extend_lease(clock() + Duration::from_secs(3600));
        let server = RoutingServer {
            router: incarnation,
            slots: slots.clone(),
            lanes: Arc::new(move |wake| Box::new(Lane::new(router.clone(), wake))),
            deliveries,
            gathering: Arc::new(Nobody),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let routes = server.add_service(Routes::default());
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
        });
        RouterProcess { incarnation, address, slots, runtime: Some(runtime) }
    }

    /// Gives each slot to the router that `owner` chooses, in the next epoch where that is another than before; and tells all.
    pub(crate) fn assign(&self, routers: &[&RouterProcess], owner: impl Fn(Slot) -> Incarnation) {
        let before = self.table();
        let owned = Slot::all().map(|slot| {
            let before = before.slot(slot);
            let owner = Some(owner(slot));
            let epoch = before.epoch + u64::from(before.owner != owner);
            SlotOwner { owner, next: None, standby: None, epoch }
        });
        let slots: Arc<[SlotOwner]> = owned.collect();
        for router in routers {
            for slot in Slot::all() {
                let SlotOwner { owner, epoch, .. } = slots[usize::from(slot.index())];
                let serving = if owner == Some(router.incarnation) { Serving::Yes } else { Serving::No };
                router.slots.set(slot, serving, epoch);
            }
        }
        let member = |router: &&RouterProcess| Member {
            incarnation: router.incarnation,
            role: Role::Router,
            address: router.address.to_string(),
            phase: Phase::Serving,
        };
        let members = routers.iter().map(member).collect();
        let table = RoutingTable { version: before.version + 1, depth: before.depth.clone(), slots, members };
        self.tables.send_replace(Arc::new(table));
    }

    /// A gateway with one core.
    pub(crate) fn gateway(&mut self) -> Gateway {
        let (inbox, bell) = (Arc::new(Inbox::default()), Arc::new(Bell::default()));
        let client = RoutingClient::start(ClientOptions {
            incarnation: self.next_incarnation(),
            core: 0,
            cores: 1,
            channel: Arc::new(|address| {
                let endpoint = Endpoint::from_shared(format!("http://{address}"));
                Ok(traced(endpoint.map_err(|error| error.to_string())?.connect_lazy()))
            }),
            delivery: inbox.clone(),
            wake: bell.clone(),
            tables: self.tables().boxed(),
            dropped: Arc::new(|_| ()),
            lanes: gateway::Options::default(),
        });
        Gateway { client, inbox, bell, events: Vec::new(), next_ticket: 0, generation: 0 }
    }

    /// Makes a persistent session.
    pub(crate) async fn claim(&self, client_id: &str) -> Claimed {
        let bell = Arc::new(Bell::default());
        let mut lane = self.store.lane(bell.clone());
        let claim = Claim {
            ticket: Ticket(1),
            scope: scope(),
            client_id: client_id.into(),
            token: OwnerToken { incarnation: 1, counter: 1 },
            owner_address: 1,
            clean_start: false,
            session_expiry: 3600,
            protocol_level: 5,
            cross_version_resume: false,
            queue_bounds: QueueBounds { messages: 1_000_000, bytes: 1 << 30, secs: None },
            will: None,
            principal: None,
            now: NOW,
        };
        lane.submit(&mut vec![Request::Claim(Box::new(claim))]);
        let mut completions = Vec::new();
        loop {
            lane.drain(&mut completions);
            match completions.pop() {
                Some(Completion::Claimed { result, .. }) => return *result.unwrap(),
                Some(other) => panic!("{other:?}"),
                None => bell.0.notified().await,
            }
        }
    }
}

impl RouterProcess {
    /// The process dies: its connections end, its tasks go on no further.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for RouterProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Default)]
pub(crate) struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// What was pushed to a gateway core.
#[derive(Default)]
pub(crate) struct Inbox {
    pushes: Mutex<Vec<Push>>,
    changed: Notify,
}

impl Delivery for Inbox {
    fn push(&self, core: u16, pushes: &mut Vec<Push>) {
        assert_eq!(core, 0);
        self.pushes.lock().append(pushes);
        self.changed.notify_one();
    }
}

/// One gateway core.
pub(crate) struct Gateway {
    pub(crate) client: RoutingClient,
    pub(crate) inbox: Arc<Inbox>,
    bell: Arc<Bell>,
    pub(crate) events: Vec<RoutingEvent>,
    next_ticket: u64,
    generation: u32,
}

impl Gateway {
    pub(crate) fn submit(&mut self, request: RoutingRequest) {
        self.client.submit(&mut vec![request]);
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Waits for the answers that `wanted` chooses until there is one; returns it.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(&RoutingEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                self.client.drain(&mut self.events);
                let found = self.events.iter().enumerate();
                if let Some((at, found)) = found.filter_map(|(at, event)| Some((at, wanted(event)?))).next() {
                    self.events.remove(at);
                    return found;
                }
                self.bell.0.notified().await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("an answer within the deadline")
    }

    /// Attaches a session; returns where it is.
    pub(crate) fn attach(&mut self, session: SessionId, persistent: bool) -> Address {
        self.generation += 1;
        let (address, credit) = (Address::new(0, session.0 as u32, self.generation), Credit::default());
        self.submit(RoutingRequest::Attach { session, scope: scope(), persistent, address, credit });
        address
    }

    /// Subscribes, and waits for the answer: whether the filter was new.
    pub(crate) async fn subscribe(&mut self, session: SessionId, filter: &str, qos: QoS) -> bool {
        let ticket = self.ticket();
        let subscriptions = vec![subscription(filter, qos)];
        self.submit(RoutingRequest::Subscribe { ticket, session, subscriptions, exact: false });
        self.event(|event| match event {
            RoutingEvent::Subscribed { ticket: of, new, .. } if *of == ticket => Some(new[0]),
            _ => None,
        })
        .await
    }

    pub(crate) fn publish(&mut self, message: Message, ticket: Option<Ticket>) {
        let message = Arc::new(message);
        self.submit(RoutingRequest::Publish { ticket, message, from: None, once: None, fence: None });
    }

    /// Publishes, and waits for the answer: whether anyone matched.
    pub(crate) async fn publish_acknowledged(&mut self, message: Message) -> bool {
        let ticket = self.ticket();
        self.publish(message, Some(ticket));
        self.event(|event| match event {
            RoutingEvent::Published { ticket: of, matched, result } if *of == ticket => {
                assert_eq!(*result, Ok(()));
                Some(*matched)
            }
            _ => None,
        })
        .await
    }

    /// Waits until pushes have come that `enough` is content with; returns what it has made of them.
    pub(crate) async fn pushed<T>(&self, enough: impl Fn(&[Push]) -> Option<T>) -> T {
        let found = async {
            loop {
                let changed = self.inbox.changed.notified();
                if let Some(found) = enough(&self.inbox.pushes.lock()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("pushes within the deadline")
    }
}

pub(crate) fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

pub(crate) fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: filter.into(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    }
}

thread_local! {
    static PUBLISHER: Arc<Publisher> = Arc::new(Publisher {
        scope: scope(),
        client_id: Some("publisher".into()),
        principal: None,
        source_ip: Some("192.0.2.7".parse().unwrap()),
        trace: 7,
    });
}

pub(crate) fn message(topic: &str, qos: QoS, payload: &str) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.to_owned().into_bytes().into(),
        qos,
        retain: false,
        properties: None,
        received_at: NOW,
        expires_at: None,
        sequence: 1,
        hops: 0,
        publisher: PUBLISHER.with(Arc::clone),
    }
}
