//! Routers and gateway cores that know each other by addresses only: each router has a runtime of its own, and dies with it.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::delivery::{Address, Credit, Push};
use fleethaven_fabric::membership::{Incarnation, Phase, Role, TableStream};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_fabric::{Delivery, Membership, Routing, RoutingEvent, RoutingRequest, RoutingTable, Traces};
use fleethaven_fabric_grpc::channel::traced;
use fleethaven_fabric_grpc::routing::{ClientOptions, Deliveries, RoutingClient, RoutingServer};
use fleethaven_lanes::gateway;
use fleethaven_lanes::router::Slots;
use fleethaven_membership::{Cluster as State, Command};
use fleethaven_quotas::Accounts;
use fleethaven_router::metrics::Metrics;
use fleethaven_router::slots::{SlotKeeper, Standing, gatherer};
use fleethaven_router::{Lane, Options, Router};
use fleethaven_storage::{
    Claim, Claimed, Completion, EntryId, GroupId, OwnerToken, QueueBounds, Request, SessionId, SessionStore,
    Subscription, Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options as StoreOptions};
use fleethaven_topics::Slot;
use fleethaven_types::{Behaviour, Limits, Message, Profile, Publisher, QoS, Scope, Timestamp};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);
const TOKEN: OwnerToken = OwnerToken { incarnation: 1, counter: 1 };

/// A store that all routers and gateways share, and who keeps the routing table.
pub(crate) struct Cluster {
    pub(crate) store: Arc<EmbeddedStore>,
    metastore: Arc<Metastore>,
    _dir: tempfile::TempDir,
}

/// The cluster's members and slots, without leases: who is dead is [removed](Self::remove).
struct Metastore {
    state: Mutex<State>,
    tables: watch::Sender<Arc<RoutingTable>>,
}

impl Metastore {
    fn new() -> Self {
        let state = State::new(1000);
        let (tables, _) = watch::channel(Arc::new(state.table()));
        Self { state: Mutex::new(state), tables }
    }

    fn apply(&self, command: &Command) -> Result<Option<Incarnation>, Error> {
        let mut state = self.state.lock();
        let joined = state.apply(command).map_err(|refusal| Error::Unavailable(refusal.to_string()))?;
        self.tables.send_replace(Arc::new(state.table()));
        Ok(joined)
    }

    fn join(&self, role: Role, address: String) -> Incarnation {
        self.apply(&Command::Join { role, address, version: "1".to_owned() }).unwrap().unwrap()
    }

    fn remove(&self, incarnation: Incarnation) {
        self.apply(&Command::Remove { incarnation }).unwrap();
    }
}

impl Membership for Metastore {
    fn join(&self, role: Role, address: String, _: String) -> BoxFuture<'_, Result<Incarnation, Error>> {
        Box::pin(std::future::ready(Ok(self.join(role, address))))
    }

    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        let known = self.state.lock().members.contains_key(&incarnation);
        let gone = || Error::Unavailable("it is a member no more".to_owned());
        Box::pin(std::future::ready(known.then_some(()).ok_or_else(gone)))
    }

    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>> {
        let done = self.apply(&Command::SetPhase { incarnation, phase }).map(|_| ());
        Box::pin(std::future::ready(done))
    }

    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        let slots = slots.into_iter().map(|(slot, epoch)| (slot.index(), epoch)).collect();
        let done = self.apply(&Command::Release { incarnation, slots }).map(|_| ());
        Box::pin(std::future::ready(done))
    }

    fn ready_for_depth(&self, incarnation: Incarnation, version: u64) -> BoxFuture<'_, Result<(), Error>> {
        let done = self.apply(&Command::ReadyForDepth { incarnation, version }).map(|_| ());
        Box::pin(std::future::ready(done))
    }

    fn set_depth(&self, prefix: String, depth: Option<u64>) -> BoxFuture<'_, Result<(), Error>> {
        let depth = depth.map(|depth| depth.try_into().unwrap());
        let done = self.apply(&Command::SetDepth { prefix, depth }).map(|_| ());
        Box::pin(std::future::ready(done))
    }

    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        self.remove(incarnation);
        Box::pin(std::future::ready(Ok(())))
    }

    fn table(&self) -> TableStream {
        Box::pin(WatchStream::new(self.tables.subscribe()))
    }
}

/// A router process.
pub(crate) struct RouterProcess {
    pub(crate) incarnation: Incarnation,
    metastore: Arc<Metastore>,
    standing: watch::Receiver<Standing>,
    runtime: Option<Runtime>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { fsync: false, ..StoreOptions::new(Arc::new(|| NOW)) };
        let store = EmbeddedStore::open(dir.path(), options).unwrap();
        Self { store, metastore: Arc::new(Metastore::new()), _dir: dir }
    }

    /// Starts a router, and waits until it serves.
    pub(crate) async fn router(&self) -> RouterProcess {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let incarnation = self.metastore.join(Role::Router, listener.local_addr().unwrap().to_string());
        let clock = || tokio::time::Instant::now().into_std();
        let accounts = Arc::new(Accounts::new(Limits::of(Profile::Standard).into(), clock()));
        let behaviour = Behaviour::of(Profile::Standard);
        let traces = Traces::off();
        let logs = fleethaven_logging::Logs::off();
        let options = Options { behaviour, accounts, queue_rates: false, clock, traces, logs };
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let deliveries = Arc::new(Deliveries::new(|_| ()));
        let router = Arc::new(Router::new(options, self.store.clone(), deliveries.clone(), metrics));
        let slots = Arc::new(Slots::new(clock()));
        let (gatherer, gathered) = gatherer();
        let lanes = router.clone();
        let server = RoutingServer {
            router: incarnation,
            slots: slots.clone(),
            lanes: Arc::new(move |wake| Box::new(Lane::new(lanes.clone(), wake))),
            deliveries,
            gathering: Arc::new(gatherer),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let keeper = {
            let _runtime = runtime.enter();
            SlotKeeper::start(incarnation, self.metastore.clone(), router, slots, gathered)
        };
        let standing = keeper.standing();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let routes = server.add_service(Routes::default());
            let incoming = TcpListenerStream::new(listener);
            let _keeper = keeper;
            Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
        });
        let metastore = self.metastore.clone();
        let mut process = RouterProcess { incarnation, metastore, standing, runtime: Some(runtime) };
        process.until(|standing| standing.serving > 0).await;
        process
    }

    /// Starts a gateway with one core.
    pub(crate) fn gateway(&self) -> Gateway {
        let (inbox, bell) = (Arc::new(Inbox::default()), Arc::new(Bell::default()));
        let incarnation = self.metastore.join(Role::Gateway, "nobody calls".to_owned());
        self.metastore.apply(&Command::SetPhase { incarnation, phase: Phase::Serving }).unwrap();
        let client = RoutingClient::start(ClientOptions {
            incarnation,
            core: 0,
            cores: 1,
            channel: Arc::new(|address| {
                let endpoint = Endpoint::from_shared(format!("http://{address}"));
                Ok(traced(endpoint.map_err(|error| error.to_string())?.connect_lazy()))
            }),
            delivery: inbox.clone(),
            wake: bell.clone(),
            tables: self.metastore.table(),
            dropped: Arc::new(|_| ()),
            lanes: gateway::Options::default(),
        });
        Gateway {
            client,
            inbox,
            bell,
            events: Vec::new(),
            credit: Credit::default(),
            next_ticket: 0,
            generation: 0,
        }
    }

    /// What waits in the queue of a session.
    pub(crate) async fn queue(&self, session: SessionId) -> Vec<Arc<Message>> {
        let (max_entries, max_bytes) = (usize::MAX, usize::MAX);
        let request = Request::ReadQueue {
            ticket: Ticket(1),
            session,
            token: TOKEN,
            after: EntryId::NONE,
            max_entries,
            max_bytes,
        };
        match self.ask(request).await {
            Completion::QueueRead { result, .. } => {
                result.unwrap().0.into_iter().map(|queued| queued.message).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// What waits in the queue of a group.
    pub(crate) async fn shares(&self, group: GroupId) -> Vec<Arc<Message>> {
        let (max_entries, max_bytes) = (usize::MAX, usize::MAX);
        let request = Request::ClaimShares { ticket: Ticket(1), group, max_entries, max_bytes };
        match self.ask(request).await {
            Completion::SharesClaimed { result, .. } => {
                result.unwrap().entries.into_iter().map(|queued| queued.message).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, request: Request) -> Completion {
        let bell = Arc::new(Bell::default());
        let mut lane = self.store.lane(bell.clone());
        lane.submit(&mut vec![request]);
        let mut completions = Vec::new();
        loop {
            lane.drain(&mut completions);
            match completions.pop() {
                Some(completion) => return completion,
                None => bell.0.notified().await,
            }
        }
    }

    /// Makes a persistent session.
    pub(crate) async fn claim(&self, client_id: &str) -> Claimed {
        let claim = Claim {
            ticket: Ticket(1),
            scope: scope(),
            client_id: client_id.into(),
            token: TOKEN,
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
        match self.ask(Request::Claim(Box::new(claim))).await {
            Completion::Claimed { result, .. } => *result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Records subscriptions of a persistent session, as its gateway does before it tells the routers.
    pub(crate) async fn record(&self, session: SessionId, subscriptions: Vec<Subscription>) {
        let request = Request::Subscribe { ticket: Ticket(1), session, token: TOKEN, subscriptions };
        match self.ask(request).await {
            Completion::Done { result, .. } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

impl RouterProcess {
    /// Waits until the router stands as wanted.
    pub(crate) async fn until(&mut self, wanted: impl FnMut(&Standing) -> bool) {
        let standing = tokio::time::timeout(DEADLINE, self.standing.wait_for(wanted));
        standing.await.expect("within the deadline").unwrap();
    }

    /// The process dies: its connections end, its tasks go on no further; and the metastore notices.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            self.metastore.remove(self.incarnation);
        }
    }

    /// The router hands over what it owns, and goes.
    pub(crate) async fn drain(&mut self) {
        self.metastore.set_phase(self.incarnation, Phase::Leaving).await.unwrap();
        self.until(|standing| standing.owns_nothing).await;
        self.kill();
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
    /// Of all its sessions.
    pub(crate) credit: Credit,
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
        let (address, credit) = (Address::new(0, session.0 as u32, self.generation), self.credit.clone());
        self.submit(RoutingRequest::Attach {
            session,
            scope: scope(),
            persistent,
            address,
            credit,
            owner: OwnerNumber::UNKNOWN,
        });
        address
    }

    /// Subscribes, and waits for the answer: whether the filter was new.
    pub(crate) async fn subscribe(&mut self, session: SessionId, filter: &str, qos: QoS) -> bool {
        let ticket = self.ticket();
        let subscriptions = vec![subscription(filter, qos)];
        self.submit(RoutingRequest::Subscribe {
            ticket,
            session,
            subscriptions,
            exact: None,
            owner: OwnerNumber::UNKNOWN,
        });
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
