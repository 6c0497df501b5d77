//! Shared subscriptions against the embedded store: random joins, departures, acknowledgements, refusals and crashes. What
//! was acknowledged to a publisher reaches a member of a durable group; nothing comes twice unless somebody left with it;
//! and nothing waits while a member has room.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_fabric::delivery::{Address, Credit, Delivery, Push};
use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::routing::{OwnerNumber, SharedDelivery};
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest, Traces};
use fleethaven_lanes::router::{Serving, Slots};
use fleethaven_quotas::Accounts;
use fleethaven_router::metrics::Metrics;
use fleethaven_router::{Lane, Options, Router};
use fleethaven_storage::{
    Append, Claim, Claimed, Completion, ConnectionEnd, Dead, DurablePublish, EntryId, Error, GroupId, Held,
    Lane as StoreLane, Once, OpenGroup, OwnerToken, QueueBounds, Request, RetainedChange, SessionId,
    SessionStore, Share, Subscription, Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options as StoreOptions};
use fleethaven_topics::Slot;
use fleethaven_types::{Behaviour, Limits, Message, Profile, Publisher, QoS, Scope, Timestamp};
use parking_lot::Mutex;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000);
const FILTER: &str = "$share/g/t";
/// Clients 0 to 2 are persistent, the others clean. Client 0 is a member all the time, and keeps the group durable.
const CLIENTS: usize = 6;
const WINDOW: i32 = 3;

#[derive(Default)]
struct Mailbox(Mutex<Vec<Push>>);

struct ToMailbox(Arc<Mailbox>);

impl Delivery for ToMailbox {
    fn push(&self, _: u16, pushes: &mut Vec<Push>) {
        self.0.0.lock().append(pushes);
    }
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// Something that a client has not acknowledged.
enum Open {
    Pushed(SharedDelivery),
    Queued(EntryId),
}

struct Connection {
    session: SessionId,
    token: OwnerToken,
    address: Address,
    credit: Credit,
    open: BTreeMap<u64, Open>,
}

/// A broker with its clients.
struct World<'a> {
    dir: &'a Path,
    incarnation: u64,
    counter: u64,
    store: Arc<EmbeddedStore>,
    lane: Lane,
    store_lane: Box<dyn StoreLane>,
    mailbox: Arc<Mailbox>,
    clients: Vec<Option<Connection>>,
    members: BTreeSet<usize>,
    deaf: BTreeSet<usize>,
    published: u64,
    /// So often the queues of groups were looked into, since this moment.
    sweeps: u32,
    began: Instant,
    /// The session of the client that publishes at QoS 2, on its present connection.
    publisher: Option<(SessionId, OwnerToken)>,
    /// How often each message came, and how often somebody left with it.
    delivered: BTreeMap<u64, usize>,
    left_with: BTreeMap<u64, usize>,
    acknowledged: BTreeSet<u64>,
}

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn message(qos: QoS) -> Message {
    let publisher = Publisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 0 };
    Message {
        topic: "t".into(),
        payload: "x".into(),
        qos,
        retain: false,
        properties: None,
        received_at: NOW,
        expires_at: None,
        sequence: 0,
        hops: 0,
        publisher: Arc::new(publisher),
    }
}

fn open(dir: &Path) -> (Arc<EmbeddedStore>, Lane, Arc<Mailbox>) {
    let (store, router, mailbox) = open_router(dir);
    (store, Lane::new(router, Arc::new(NoWake)), mailbox)
}

fn open_router(dir: &Path) -> (Arc<EmbeddedStore>, Arc<Router>, Arc<Mailbox>) {
    let options = StoreOptions { fsync: false, ..StoreOptions::new(Arc::new(|| NOW)) };
    let store = EmbeddedStore::open(dir, options).unwrap();
    let mailbox = Arc::new(Mailbox::default());
    let limits = Limits::of(Profile::Standard);
    let clock = || tokio::time::Instant::now().into_std();
    let accounts = Arc::new(Accounts::new(limits.into(), clock()));
    let options = Options {
        behaviour: Behaviour::of(Profile::Standard),
        accounts,
        queue_rates: false,
        clock,
        traces: Traces::off(),
        logs: fleethaven_logging::Logs::off(),
    };
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let delivery = Arc::new(ToMailbox(mailbox.clone()));
    let router = Arc::new(Router::new(options, store.clone(), delivery, metrics));
    router.warm_up().unwrap();
    (store, router, mailbox)
}

impl<'a> World<'a> {
    fn new(dir: &'a Path) -> Self {
        Self::with(dir, open(dir))
    }

    /// With a router that is one of several, and owns everything.
    fn in_cluster(dir: &'a Path) -> Self {
        Self::with_router(dir).0
    }

    fn with_router(dir: &'a Path) -> (Self, Arc<Router>) {
        let (store, router, mailbox) = open_router(dir);
        let slots = Arc::new(Slots::new(tokio::time::Instant::now().into_std()));
        Slot::all().for_each(|slot| slots.set(slot, Serving::Yes, 1));
        router.in_cluster(Incarnation(1), slots);
        let lane = Lane::new(router.clone(), Arc::new(NoWake));
        (Self::with(dir, (store, lane, mailbox)), router)
    }

    fn with(dir: &'a Path, (store, lane, mailbox): (Arc<EmbeddedStore>, Lane, Arc<Mailbox>)) -> Self {
        let store_lane = store.lane(Arc::new(NoWake));
        let mut world = Self {
            dir,
            incarnation: 1,
            counter: 0,
            store,
            lane,
            store_lane,
            mailbox,
            clients: (0..CLIENTS).map(|_| None).collect(),
            members: BTreeSet::new(),
            deaf: BTreeSet::new(),
            published: 0,
            sweeps: 0,
            began: tokio::time::Instant::now().into_std(),
            publisher: None,
            delivered: BTreeMap::new(),
            left_with: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        };
        world.connect(0);
        world.join(0);
        world
    }

    fn is_persistent(client: usize) -> bool {
        client < 3
    }

    fn route(&mut self, request: RoutingRequest) -> Vec<RoutingEvent> {
        self.lane.submit(&mut vec![request]);
        self.settle()
    }

    /// Lets everything happen that is on its way.
    fn settle(&mut self) -> Vec<RoutingEvent> {
        let mut events = Vec::new();
        let mut quiet = 0;
        // A claim leads to an append, and that to a push.
        while quiet < 4 {
            self.fence();
            self.lane.drain(&mut events);
            let pushes = std::mem::take(&mut *self.mailbox.0.lock());
            quiet = if pushes.is_empty() { quiet + 1 } else { 0 };
            pushes.into_iter().for_each(|push| self.receive(push));
        }
        events
    }

    /// Waits until everything that was submitted has been answered: calls of the store are answered before the lanes' requests
    /// of the same batch.
    fn fence(&self) {
        (0..2).for_each(|_| drop(self.store.groups().unwrap()));
    }

    fn ask_store(&mut self, request: Request) -> Completion {
        self.store_lane.submit(&mut vec![request]);
        let mut completions = Vec::new();
        while completions.is_empty() {
            self.store.groups().unwrap();
            self.store_lane.drain(&mut completions);
        }
        completions.pop().unwrap()
    }

    fn claim(&mut self, client_id: &str, persistent: bool) -> (Claimed, OwnerToken) {
        self.counter += 1;
        let token = OwnerToken { incarnation: self.incarnation, counter: self.counter };
        let claim = Claim {
            ticket: Ticket(0),
            scope: scope(),
            client_id: client_id.into(),
            token,
            owner_address: 0,
            clean_start: false,
            session_expiry: if persistent { 3600 } else { 0 },
            protocol_level: 5,
            cross_version_resume: true,
            queue_bounds: QueueBounds { messages: 1000, bytes: 1 << 20, secs: None },
            will: None,
            principal: None,
            now: NOW,
        };
        let Completion::Claimed { result: Ok(claimed), .. } = self.ask_store(Request::Claim(Box::new(claim)))
        else {
            panic!("not claimed")
        };
        (*claimed, token)
    }

    fn connect(&mut self, client: usize) {
        let persistent = Self::is_persistent(client);
        let (Claimed { session, tail, trimmed, .. }, token) = self.claim(&format!("c{client}"), persistent);
        assert_eq!(tail, trimmed, "shares went back when it left");
        let address = Address::new(0, client as u32, self.counter as u32);
        let credit = Credit::default();
        self.clients[client] =
            Some(Connection { session, token, address, credit: credit.clone(), open: BTreeMap::new() });
        let _ = credit.adjust(WINDOW);
        self.route(RoutingRequest::Attach {
            session,
            scope: scope(),
            persistent,
            address,
            credit,
            owner: OwnerNumber::UNKNOWN,
        });
    }

    fn join(&mut self, client: usize) {
        let Some(connection) = &self.clients[client] else { return };
        let (session, token) = (connection.session, connection.token);
        let ticket = Ticket(9);
        let [join, _] = subscription(session, FILTER);
        if let RoutingRequest::Subscribe { subscriptions, .. } = &join
            && Self::is_persistent(client)
        {
            let subscriptions = subscriptions.clone();
            self.ask_store(Request::Subscribe { ticket, session, token, subscriptions });
        }
        let events = self.route(join);
        assert!(matches!(&events[..], [RoutingEvent::Subscribed { .. }]), "{events:?}");
        self.members.insert(client);
    }

    fn leave_group(&mut self, client: usize) {
        let Some(connection) = &self.clients[client] else { return };
        let (session, token) = (connection.session, connection.token);
        let (ticket, filters) = (Ticket(8), vec![FILTER.into()]);
        if Self::is_persistent(client) {
            let filters = filters.clone();
            self.ask_store(Request::Unsubscribe { ticket, session, token, filters });
        }
        self.route(RoutingRequest::Unsubscribe { ticket, session, filters, owner: OwnerNumber::UNKNOWN });
        self.members.remove(&client);
    }

    fn disconnect(&mut self, client: usize) {
        let Some(connection) = self.clients[client].take() else { return };
        let Connection { session, token, address, open, .. } = connection;
        for id in open.keys() {
            *self.left_with.entry(*id).or_default() += 1;
        }
        self.lane.submit(&mut vec![RoutingRequest::Detach { session, address, persistent: true }]);
        let pushed = |open| match open {
            Open::Pushed(delivery) => Some(delivery),
            Open::Queued(_) => None,
        };
        let shares: Vec<_> = open.into_values().filter_map(pushed).collect();
        self.route(RoutingRequest::Return { session, shares, refused: false });
        let persistent = Self::is_persistent(client);
        let end = ConnectionEnd {
            will_delay: None,
            departure: None,
            first_sent: Vec::new(),
            ticket: Ticket(0),
            session,
            token,
            session_expiry: if persistent { 3600 } else { 0 },
            sent: EntryId::NONE,
            now: NOW,
        };
        self.ask_store(Request::End(Box::new(end)));
        if persistent {
            self.route(RoutingRequest::Ready { session, returned: true });
        } else {
            self.route(RoutingRequest::Forget { session });
            self.members.remove(&client);
        }
    }

    fn crash(&mut self) {
        for connection in self.clients.iter_mut().filter_map(Option::take) {
            for id in connection.open.keys() {
                *self.left_with.entry(*id).or_default() += 1;
            }
        }
        self.members.retain(|client| Self::is_persistent(*client));
        // The old store goes first: a directory is opened once.
        self.store.close();
        let (lane, store_lane) = (&mut self.lane, &mut self.store_lane);
        let parked = tempfile::tempdir().unwrap();
        let (store, parked_lane, mailbox) = open(parked.path());
        (*lane, *store_lane) = (parked_lane, store.lane(Arc::new(NoWake)));
        (self.store, self.mailbox) = (store, mailbox);
        let (store, lane, mailbox) = open(self.dir);
        self.store_lane = store.lane(Arc::new(NoWake));
        (self.store, self.lane, self.mailbox) = (store, lane, mailbox);
        self.incarnation += 1;
        self.publisher = None;
        self.store.end_orphans(Dead::AllBut(self.incarnation), "SERVER_ERROR", NOW).unwrap();
    }

    /// Publishes; what is to happen once is asked for twice, as after a takeover.
    fn publish(&mut self, once: bool) {
        self.published += 1;
        let qos = if once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let message = Message { sequence: self.published, ..message(qos) };
        let once = once.then(|| self.received());
        let request = || {
            let (ticket, message) = (Some(Ticket(7)), Arc::new(message.clone()));
            RoutingRequest::Publish { ticket, message, from: None, once, fence: None }
        };
        let count = if once.is_some() { 2 } else { 1 };
        self.lane.submit(&mut (0..count).map(|_| request()).collect());
        let events = self.settle();
        let results = events.iter().map(|event| match event {
            RoutingEvent::Published { matched: true, result, .. } => result.clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(results.collect::<Vec<_>>(), [Ok(()), Err(Error::AlreadyDone)][..count]);
    }

    /// The record of one more QoS 2 message.
    fn received(&mut self) -> Once {
        if self.publisher.is_none() {
            let (claimed, token) = self.claim("publisher", true);
            self.publisher = Some((claimed.session, token));
        }
        let (session, token) = self.publisher.unwrap();
        Once::Received {
            session,
            token,
            packet_id: u16::try_from(self.published).unwrap().try_into().unwrap(),
        }
    }

    fn receive(&mut self, push: Push) {
        let (address, session, message, open, share) = match push {
            Push::Shared { message, address, session, share, held, .. } => {
                let held = held.map(Held::Group);
                let delivery = SharedDelivery { message: message.clone(), share: share.clone(), held };
                (address, session, message, Open::Pushed(delivery), share)
            }
            Push::Queued { message, address, session, share, position, .. } => {
                (address, session, message, Open::Queued(position.entry), share.unwrap())
            }
            Push::Tail { .. } => return,
            Push::Direct { .. } => panic!("no plain subscription"),
        };
        let client = address.slot() as usize;
        let connection = self.clients[client].as_mut().filter(|connection| connection.address == address);
        let Some(connection) = connection else {
            if let Open::Pushed(delivery) = open {
                let shares = vec![delivery];
                self.lane.submit(&mut vec![RoutingRequest::Return { session, shares, refused: false }]);
            }
            return;
        };
        if self.deaf.contains(&client) {
            let _ = connection.credit.adjust(1);
            let delivery = match open {
                Open::Pushed(delivery) => delivery,
                Open::Queued(entry) => {
                    SharedDelivery { message, share, held: Some(Held::Member(session, entry)) }
                }
            };
            let shares = vec![delivery];
            self.lane.submit(&mut vec![RoutingRequest::Return { session, shares, refused: true }]);
            return;
        }
        let before = connection.open.insert(message.sequence, open);
        assert!(before.is_none(), "twice to the same client");
        assert!(connection.open.len() <= WINDOW as usize, "more than its window");
        *self.delivered.entry(message.sequence).or_default() += 1;
    }

    fn acknowledge(&mut self, client: usize) {
        let Some(connection) = self.clients[client].as_mut() else { return };
        let Some((id, open)) = connection.open.pop_first() else { return };
        let (session, token) = (connection.session, connection.token);
        let wanted = connection.credit.adjust(1);
        self.acknowledged.insert(id);
        let request = match open {
            Open::Pushed(SharedDelivery { share: Share { group, .. }, held, .. }) => match held {
                Some(Held::Group(entry)) => Request::AcknowledgeShares { group, entries: vec![entry] },
                _ => Request::AcknowledgeShares { group: GroupId(0), entries: Vec::new() },
            },
            Open::Queued(entry) => Request::Trim { session, token, entries: vec![entry] },
        };
        self.store_lane.submit(&mut vec![request]);
        self.store.groups().unwrap();
        if wanted {
            self.route(RoutingRequest::Ready { session, returned: false });
        } else {
            self.settle();
        }
    }

    /// Nothing waits while a member has room, and nothing came twice without cause.
    fn check(&self) {
        for (id, times) in &self.delivered {
            let left = self.left_with.get(id).copied().unwrap_or(0);
            assert!(*times <= 1 + left, "message {id} came {times} times, {left} left with it");
        }
        let hears = |client: &usize| self.clients[*client].is_some() && !self.deaf.contains(client);
        let connections = self.members.iter().filter(|client| hears(client));
        let room = connections.filter_map(|client| self.clients[*client].as_ref());
        if room.map(|connection| connection.credit.room()).any(|room| room > 0) {
            assert_eq!(self.missing(), [0; 0], "waits though a member has room");
        }
    }

    /// Messages that nobody has or had.
    fn missing(&self) -> Vec<u64> {
        let open: BTreeSet<u64> =
            self.clients.iter().flatten().flat_map(|c| c.open.keys().copied()).collect();
        (1..=self.published).filter(|id| !self.acknowledged.contains(id) && !open.contains(id)).collect()
    }

    /// Brings everybody back and acknowledges until nothing is left.
    fn finish(&mut self) {
        self.deaf.clear();
        if self.clients[0].is_none() {
            self.connect(0);
        }
        for _ in 0..self.published + 1 {
            (0..CLIENTS).for_each(|client| self.acknowledge(client));
        }
        assert_eq!(self.missing(), [0; 0], "lost");
        self.check();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(u8, bool),
    Connect(usize),
    Join(usize),
    LeaveGroup(usize),
    Disconnect(usize),
    Acknowledge(usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..CLIENTS;
    prop_oneof![
        5 => (1..5_u8, prop::bool::ANY).prop_map(|(count, once)| Step::Publish(count, once)),
        4 => any.clone().prop_map(Step::Connect),
        3 => any.clone().prop_map(Step::Join),
        // Client 0 stays, so that the group does.
        1 => (1..CLIENTS).prop_map(Step::LeaveGroup),
        2 => any.clone().prop_map(Step::Disconnect),
        8 => any.prop_map(Step::Acknowledge),
        1 => Just(Step::Crash),
    ]
}

fn run(steps: Vec<Step>, deaf: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.deaf.extend(deaf);
    for step in steps {
        match step {
            Step::Publish(count, once) => (0..count).for_each(|_| world.publish(once)),
            Step::Connect(client) if world.clients[client].is_none() => world.connect(client),
            Step::Connect(_) => {}
            Step::Join(client) => world.join(client),
            Step::LeaveGroup(client) => world.leave_group(client),
            Step::Disconnect(client) => world.disconnect(client),
            Step::Acknowledge(client) => world.acknowledge(client),
            Step::Crash => world.crash(),
        }
        world.check();
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_durable_group_loses_nothing_repeats_nothing_and_leaves_nothing_waiting(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(steps, &[]);
    }
}

/// The client is gone, and its gateway says no more.
fn vanish(world: &mut World<'_>, client: usize) -> Connection {
    let connection = world.clients[client].take().unwrap();
    assert!(!connection.open.is_empty(), "it has got something");
    connection.open.keys().for_each(|id| *world.left_with.entry(*id).or_default() += 1);
    world.members.remove(&client);
    connection
}

#[test]
fn what_a_member_without_a_queue_has_when_the_stream_of_its_gateway_breaks_goes_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.connect(4);
    world.join(4);
    (0..4).for_each(|_| world.publish(false));
    let Connection { session, address, .. } = vanish(&mut world, 4);
    world.route(RoutingRequest::Detach { session, address, persistent: false });
    world.check();
    world.finish();
}

#[test]
fn what_the_store_took_back_from_the_members_of_a_dead_gateway_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::in_cluster(dir.path());
    world.incarnation = 2;
    world.connect(1);
    world.join(1);
    (0..4).for_each(|_| world.publish(false));
    // What the other one has got is acknowledged: it has room.
    (0..4).for_each(|_| world.acknowledge(0));
    let Connection { session, address, .. } = vanish(&mut world, 1);
    world.route(RoutingRequest::Detach { session, address, persistent: true });
    let dead = Dead::Left { newest: 2, living: Arc::new([1].into()) };
    world.store.end_orphans(dead, "SERVER_ERROR", NOW).unwrap();
    assert_ne!(world.missing(), [0; 0], "nobody has told the router");
    world.lane.tick(tokio::time::Instant::now().into_std());
    world.settle();
    assert_eq!(world.missing(), [0; 0]);
}

/// So many times the queues of groups are looked into.
fn sweep(world: &mut World<'_>, times: u32) -> Vec<RoutingEvent> {
    let mut events = Vec::new();
    for _ in 0..times {
        world.sweeps += 1;
        world.lane.tick(world.began + world.sweeps * Duration::from_secs(5));
        events.extend(world.settle());
    }
    events
}

#[test]
fn what_was_given_out_in_an_answer_that_got_lost_is_given_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::in_cluster(dir.path());
    (0..5).for_each(|_| world.publish(false));
    let group = world.store.groups().unwrap()[0].group;
    let claim = Request::ClaimShares { ticket: Ticket(0), group, max_entries: 10, max_bytes: usize::MAX };
    let Completion::SharesClaimed { result: Ok(lost), .. } = world.ask_store(claim) else {
        panic!("not claimed")
    };
    assert_eq!(lost.entries.len(), 2, "the others are the member's");
    (0..3).for_each(|_| world.acknowledge(0));
    assert_eq!(world.missing(), [4, 5]);
    sweep(&mut world, 3);
    assert_eq!(world.missing(), [4, 5], "an answer may still come");
    sweep(&mut world, 2);
    world.finish();
}

#[test]
fn a_message_for_a_queue_that_is_gone_waits_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, router) = World::with_router(dir.path());
    let group = world.store.groups().unwrap()[0].group;
    // By a router that took the group for ended.
    world.store_lane.submit(&mut vec![Request::CloseGroup { group, fence: None }]);
    world.fence();
    world.published = 1;
    let received = world.received();
    let message = Arc::new(Message { sequence: 1, ..message(QoS::ExactlyOnce) });
    let request = RoutingRequest::Publish {
        ticket: Some(Ticket(7)),
        message,
        from: None,
        once: Some(received),
        fence: None,
    };
    assert!(world.route(request).is_empty(), "nothing holds it");
    assert!(router.find_queues().unwrap());
    let events = sweep(&mut world, 1);
    assert!(
        matches!(&events[..], [RoutingEvent::Published { ticket: Ticket(7), result: Ok(()), .. }]),
        "{events:?}"
    );
    assert_ne!(world.store.groups().unwrap()[0].group, group);
    world.finish();
}

#[test]
fn a_group_that_is_without_members_for_a_moment_keeps_its_queue() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::in_cluster(dir.path());
    let group = world.store.groups().unwrap()[0].group;
    world.leave_group(0);
    sweep(&mut world, 2);
    world.join(0);
    assert_eq!(world.store.groups().unwrap()[0].group, group, "others may know of a member");
    world.publish(false);
    world.finish();
    world.leave_group(0);
    sweep(&mut world, 4);
    assert_eq!(world.store.groups().unwrap(), []);
    world.join(0);
    assert_ne!(world.store.groups().unwrap()[0].group, group);
    world.publish(false);
    world.finish();
}

/// A session subscribes to a filter at QoS 1, or unsubscribes.
fn subscription(session: SessionId, filter: &str) -> [RoutingRequest; 2] {
    let subscription = Subscription {
        filter: filter.into(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    let (ticket, owner) = (Ticket(9), OwnerNumber::UNKNOWN);
    let subscriptions = vec![subscription];
    let filters = vec![filter.into()];
    [
        RoutingRequest::Subscribe { ticket, session, subscriptions, exact: None, owner },
        RoutingRequest::Unsubscribe { ticket, session, filters, owner },
    ]
}

#[test]
fn a_group_that_ends_while_its_queue_is_made_begins_anew_with_one() {
    let dir = tempfile::tempdir().unwrap();
    for cluster in [false, true] {
        let dir = dir.path().join(cluster.to_string());
        std::fs::create_dir(&dir).unwrap();
        let mut world = if cluster { World::in_cluster(&dir) } else { World::new(&dir) };
        let session = world.clients[0].as_ref().unwrap().session;
        let [join, leave] = subscription(session, "$share/h/t");
        let [again, _] = subscription(session, "$share/h/t");
        world.lane.submit(&mut vec![join, leave, again]);
        world.settle();
        let queues = world.store.groups().unwrap();
        assert!(queues.iter().map(|record| &*record.key).eq(["g/t", "h/t"]), "{queues:?}");
        sweep(&mut world, 4);
        assert_eq!(world.store.groups().unwrap(), queues, "it is in use");
    }
}

#[test]
fn what_an_owner_before_left_in_a_queue_comes_to_members_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, router) = World::with_router(dir.path());
    let (scope, key, bounds) = (scope(), "h/u".into(), (10, 1 << 20));
    let open = OpenGroup { ticket: Ticket(0), scope, key, bounds, retention_secs: 3600 };
    let queue = world.store.open_group(open).unwrap();
    let left = Message { topic: "u".into(), sequence: 1, ..message(QoS::AtLeastOnce) };
    let share = Append {
        session: SessionId::NOBODY,
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Vec::new(),
        share: Some(Share::of(queue)),
    };
    let publish = DurablePublish {
        ticket: Ticket(1),
        message: Arc::new(left),
        queues: vec![share],
        rules: Vec::new(),
        retained: RetainedChange::Keep,
        replaces: None,
        once: None,
        fence: None,
    };
    world.ask_store(Request::Publish(Box::new(publish)));
    world.connect(4);
    let [join, _] = subscription(world.clients[4].as_ref().unwrap().session, "$share/h/u");
    world.route(join);
    assert!(world.delivered.is_empty(), "nobody has looked");
    assert!(router.find_queues().unwrap());
    sweep(&mut world, 1);
    assert_eq!(world.delivered, [(1, 1)].into());
}

#[test]
fn members_that_may_not_receive_pass_everything_on() {
    let hearing = [Step::Connect(1), Step::Join(1), Step::Connect(4), Step::Join(4)];
    let mut steps = hearing.to_vec();
    for _ in 0..10 {
        steps.extend([
            Step::Publish(3, true),
            Step::Acknowledge(4),
            Step::Acknowledge(4),
            Step::Acknowledge(4),
        ]);
    }
    run(steps, &[0, 1]);
}
