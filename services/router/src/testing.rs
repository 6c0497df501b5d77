//! A session store in memory, a delivery that records, and requests in few words, for the tests of this crate.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleethaven_fabric::delivery::{Address, Credit, Delivery, Push};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest, Traces};
use fleethaven_quotas::Accounts;
use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{
    Append, Appended, ClientRecord, Completion, Dead, Departure, DurablePublish, EntryId, Error, GroupId,
    GroupRecord, Lane as StoreLane, Once, OpenGroup, Request, RetainedChange, RuleRef, SessionId,
    SessionRecord, SessionStore, Subscription, Ticket, Wake,
};
use fleethaven_types::{
    Behaviour, Limits, Message, Profile, Publisher as MessagePublisher, QoS, Scope, Timestamp, Utf8Bytes,
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::metrics::Metrics;
use crate::{Lane, Options, Router};

/// Queues hold so many entries; then they overflow.
pub(crate) const QUEUE_BOUND: usize = 3;

/// What a [`FakeStore`] was asked to make durable.
#[derive(Default)]
pub(crate) struct Kept {
    /// Queues of the sessions there are.
    pub(crate) queues: FxHashMap<SessionId, Vec<(Append, Arc<Message>)>>,
    /// The rules queue.
    pub(crate) rules: Vec<(Arc<Message>, Vec<RuleRef>)>,
    /// Packet identifiers of QoS 2 messages.
    pub(crate) received: HashSet<u16>,
    /// Changes of retained messages.
    pub(crate) retained: Vec<(Utf8Bytes, RetainedChange)>,
}

/// A store whose requests complete at once, durably in memory.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) kept: Mutex<Kept>,
    pub(crate) records: Mutex<Vec<SessionRecord>>,
    /// Publishes fail.
    pub(crate) broken: AtomicBool,
    /// Lanes say that they are congested.
    pub(crate) congested: AtomicBool,
    /// Publishes that it was asked for.
    pub(crate) publishes: AtomicUsize,
}

struct FakeLane {
    store: Arc<FakeStore>,
    wake: Arc<dyn Wake>,
    completions: Vec<Completion>,
}

impl FakeStore {
    fn publish(&self, publish: DurablePublish) -> Completion {
        self.publishes.fetch_add(1, Ordering::SeqCst);
        let DurablePublish { ticket, message, queues, rules, retained, once, .. } = publish;
        if let Some(Once::Received { packet_id, .. }) = once
            && !self.kept.lock().received.insert(packet_id.get())
        {
            return Completion::Published { ticket, message, once, result: Err(Error::AlreadyDone) };
        }
        if self.broken.load(Ordering::SeqCst) {
            return Completion::Published {
                ticket,
                message,
                once,
                result: Err(Error::Unavailable("broken".into())),
            };
        }
        let mut kept = self.kept.lock();
        let append = |append: Append| {
            let at = match kept.queues.get_mut(&append.session) {
                None => Appended::NoSession,
                Some(queue) if queue.len() >= QUEUE_BOUND => Appended::Overflow,
                Some(queue) => {
                    let previous = queue.len() as u64;
                    queue.push((append.clone(), message.clone()));
                    Appended::At { entry: EntryId(previous + 1), previous: EntryId(previous) }
                }
            };
            (append, at)
        };
        let appended = queues.into_iter().map(append).collect();
        if !rules.is_empty() {
            kept.rules.push((message.clone(), rules));
        }
        if retained != RetainedChange::Keep {
            kept.retained.push((message.topic.clone(), retained));
        }
        drop(kept);
        Completion::Published { ticket, message, once, result: Ok(appended) }
    }
}

/// The store of a [`Bench`], as a router holds it.
struct Handle(Arc<FakeStore>);

impl SessionStore for Handle {
    fn lane(&self, wake: Arc<dyn Wake>) -> Box<dyn StoreLane> {
        Box::new(FakeLane { store: self.0.clone(), wake, completions: Vec::new() })
    }

    fn persistent_sessions(&self, after: u64, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        let records = self.0.records.lock();
        Ok(records.iter().filter(|record| record.session.0 > after).take(limit).cloned().collect())
    }

    fn end_orphans(&self, _: Dead, _: &str, _: Timestamp) -> Result<Vec<Orphan>, Error> {
        Ok(Vec::new())
    }

    fn expire(&self, _: Timestamp, _: usize) -> Result<Vec<SessionRecord>, Error> {
        Ok(Vec::new())
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, Error> {
        Ok(Vec::new())
    }

    fn open_group(&self, _: OpenGroup) -> Result<GroupId, Error> {
        Err(Error::Unavailable("no groups".to_owned()))
    }

    fn due_wills(&self, _: Timestamp, _: usize) -> Result<Vec<DueWill>, Error> {
        Ok(Vec::new())
    }

    fn withdraw_will(&self, _: Scope, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn client(&self, _: Scope, _: &str) -> Result<Option<ClientRecord>, Error> {
        Ok(None)
    }

    fn departure(&self, _: Scope, _: &str) -> Result<Option<Departure>, Error> {
        Ok(None)
    }

    fn delete_session(&self, _: Scope, _: &str) -> Result<Option<SessionRecord>, Error> {
        Ok(None)
    }
}

impl StoreLane for FakeLane {
    fn submit(&mut self, requests: &mut Vec<Request>) {
        for request in requests.drain(..) {
            let Request::Publish(publish) = request else { panic!("the router only publishes") };
            let completion = self.store.publish(*publish);
            self.completions.push(completion);
        }
        self.wake.wake();
    }

    fn drain(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.completions);
    }

    fn is_congested(&self) -> bool {
        self.store.congested.load(Ordering::SeqCst)
    }
}

/// Records pushes.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<(u16, Push)>>);

struct Recording(Arc<Recorder>);

impl Delivery for Recording {
    fn push(&self, core: u16, pushes: &mut Vec<Push>) {
        self.0.0.lock().extend(pushes.drain(..).map(|push| (core, push)));
    }
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

fn options(behaviour: Behaviour, limits: Limits) -> Options {
    let clock = || tokio::time::Instant::now().into_std();
    let queue_rates = limits.queued_per_sec_account.is_some();
    let accounts = Arc::new(Accounts::new(limits.into(), clock()));
    Options {
        behaviour,
        accounts,
        queue_rates,
        clock,
        traces: Traces::off(),
        logs: fleethaven_logging::Logs::off(),
    }
}

/// A router with its surroundings and one lane.
pub(crate) struct Bench {
    pub(crate) store: Arc<FakeStore>,
    pub(crate) pushed: Arc<Recorder>,
    pub(crate) router: Arc<Router>,
    pub(crate) lane: Lane,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Behaviour::of(Profile::Standard))
    }

    pub(crate) fn with(behaviour: Behaviour) -> Self {
        Self::with_limits(behaviour, Limits::of(Profile::Standard))
    }

    pub(crate) fn with_limits(behaviour: Behaviour, limits: Limits) -> Self {
        let (store, pushed) = (Arc::new(FakeStore::default()), Arc::new(Recorder::default()));
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let (handle, delivery) = (Arc::new(Handle(store.clone())), Arc::new(Recording(pushed.clone())));
        let router = Arc::new(Router::new(options(behaviour, limits), handle, delivery, metrics));
        let lane = Lane::new(router.clone(), Arc::new(NoWake));
        Self { store, pushed, router, lane }
    }

    /// Another lane into the same router.
    pub(crate) fn another_lane(&self) -> Lane {
        Lane::new(self.router.clone(), Arc::new(NoWake))
    }

    pub(crate) fn submit(&mut self, request: RoutingRequest) -> Vec<RoutingEvent> {
        submit(&mut self.lane, request)
    }

    /// Attaches a session at slot `session` of `core`; a persistent one gets a queue.
    pub(crate) fn attach(&mut self, session: u64, core: u16, persistent: bool) -> Address {
        let address = Address::new(core, session as u32, 1);
        self.attach_owner(session, address, persistent, OwnerNumber(1));
        address
    }

    /// The same for one of the owners that the session has one after the other.
    pub(crate) fn attach_owner(
        &mut self,
        session: u64,
        address: Address,
        persistent: bool,
        owner: OwnerNumber,
    ) {
        let (session, credit) = (SessionId(session), Credit::default());
        if persistent {
            self.store.kept.lock().queues.entry(session).or_default();
        }
        let scope = scope();
        self.submit(RoutingRequest::Attach { session, scope, persistent, address, credit, owner });
    }

    pub(crate) fn detach(&mut self, session: u64, address: Address, persistent: bool) {
        self.submit(RoutingRequest::Detach { session: SessionId(session), address, persistent });
    }

    /// Subscribes; tells whether the filter was new.
    pub(crate) fn subscribe(&mut self, session: u64, subscription: Subscription) -> bool {
        let (ticket, session) = (Ticket(1), SessionId(session));
        let (subscriptions, exact, owner) = (vec![subscription], None, OwnerNumber(1));
        let events = self.submit(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
        let [RoutingEvent::Subscribed { new, .. }] = &events[..] else { panic!("{events:?}") };
        new[0]
    }

    /// Publishes with a ticket; returns whether it matched.
    pub(crate) fn publish(&mut self, message: Message) -> bool {
        self.publish_from(message, None).unwrap()
    }

    pub(crate) fn publish_from(&mut self, message: Message, from: Option<u64>) -> Result<bool, Error> {
        self.publish_once(message, from, None)
    }

    pub(crate) fn publish_once(
        &mut self,
        message: Message,
        from: Option<u64>,
        once: Option<Once>,
    ) -> Result<bool, Error> {
        let (ticket, message) = (Some(Ticket(7)), Arc::new(message));
        let from = from.map(SessionId);
        let events = self.submit(RoutingRequest::Publish { ticket, message, from, once, fence: None });
        let [RoutingEvent::Published { ticket: Ticket(7), matched, result }] = &events[..] else {
            panic!("{events:?}")
        };
        result.clone().map(|()| *matched)
    }

    /// What was pushed since the last call.
    pub(crate) fn pushes(&self) -> Vec<(u16, Push)> {
        std::mem::take(&mut self.pushed.0.lock())
    }

    /// Sessions that got direct pushes since the last call.
    pub(crate) fn receivers(&self) -> Vec<u64> {
        let sessions = |(_, push)| match push {
            Push::Direct { targets, .. } => targets.iter().map(|target| target.session.0).collect(),
            Push::Queued { .. } | Push::Shared { .. } | Push::Tail { .. } => Vec::new(),
        };
        let mut receivers: Vec<u64> = self.pushes().into_iter().flat_map(sessions).collect();
        receivers.sort_unstable();
        receivers
    }

    pub(crate) fn queue_len(&self, session: u64) -> usize {
        self.store.kept.lock().queues.get(&SessionId(session)).map_or(0, Vec::len)
    }

    /// Names of the rules of the last entry of the rules queue.
    pub(crate) fn last_rules(&self) -> Vec<String> {
        let kept = self.store.kept.lock();
        let rules = kept.rules.last().map(|(_, rules)| rules.iter().map(|rule| rule.name.to_string()));
        let mut rules: Vec<_> = rules.into_iter().flatten().collect();
        rules.sort_unstable();
        rules
    }

    pub(crate) fn set_rule(&self, name: &str, filter: Option<&str>) {
        let name = Utf8Bytes::from(name);
        let rule = (RuleRef { name: name.clone(), revision: 1 }, filter.map(Utf8Bytes::from));
        self.router.set_rule(scope(), &name, Some(rule));
    }
}

pub(crate) fn submit(lane: &mut Lane, request: RoutingRequest) -> Vec<RoutingEvent> {
    let mut events = Vec::new();
    lane.submit(&mut vec![request]);
    lane.drain(&mut events);
    events
}

pub(crate) fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
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

pub(crate) fn message(topic: &str, qos: QoS) -> Message {
    let publisher =
        MessagePublisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 1 };
    Message {
        topic: topic.into(),
        payload: "x".into(),
        qos,
        retain: false,
        properties: None,
        received_at: Timestamp(1),
        expires_at: None,
        sequence: 1,
        hops: 0,
        publisher: Arc::new(publisher),
    }
}
