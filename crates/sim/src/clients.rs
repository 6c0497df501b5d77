//! Clients: some publish numbered messages, some subscribe; all of them go from gateway to gateway.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_storage::{Error, Once, OwnerToken, SessionId, SessionRecord, Subscription, Ticket};
use fleethaven_topics::filter::matches;
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

use crate::Bug;
use crate::Violation;
use crate::gateway::Pending;
use crate::history::MessageId;
use crate::world::{MILLI, Node, World};

/// Of different slots, but for the last two.
const TOPICS: [&str; 5] = ["t/0/0", "t/0/1", "t/1/0", "t/1/1", "t/1/1/deep"];
const FILTERS: [&str; 8] = ["t/0/0", "t/0/1", "t/1/1/#", "t/1/0/+", "t/#", "t/+/1", "+/1/1/deep", "#"];
const PUBLISHERS: usize = 3;
/// Of persistent sessions, and of clean ones.
const SUBSCRIBERS: (usize, usize) = (4, 2);
/// Messages that a publisher leaves unacknowledged.
const IN_FLIGHT: usize = 8;
/// Ticket of requests whose answer nobody waits for.
const NOBODY: Ticket = Ticket(u64::MAX);

/// Where a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    gateway: usize,
    life: u64,
    address: Address,
    token: OwnerToken,
    /// Among the client's.
    number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Unacknowledged {
    number: u64,
    topic: &'static str,
    qos: QoS,
}

pub(crate) struct PublisherClient {
    session: SessionId,
    identity: Arc<Publisher>,
    at: Option<Connection>,
    connections: u64,
    last: u64,
    unacknowledged: VecDeque<Unacknowledged>,
}

pub(crate) struct SubscriberClient {
    session: SessionId,
    persistent: bool,
    at: Option<Connection>,
    connections: u64,
    /// What a session without a queue is subscribed to.
    filters: BTreeSet<&'static str>,
    /// It waits for an answer.
    busy: bool,
    /// It has asked not to be subscribed, and had no answer yet: it asks again.
    unwanted: Option<&'static str>,
    probes: BTreeMap<&'static str, usize>,
}

impl SubscriberClient {
    fn waits(&self) -> bool {
        self.busy || self.unwanted.is_some()
    }
}

fn scope() -> Option<Scope> {
    Some(Scope { account: "123456789012".parse().ok()?, region: "eu-central-1".parse().ok()? })
}

fn subscription(filter: &str) -> Subscription {
    Subscription {
        filter: filter.into(),
        qos: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    }
}

impl World {
    pub(crate) fn start_clients(&mut self) {
        let Some(scope) = scope() else { return };
        for index in 0..PUBLISHERS {
            let session = self.new_session();
            let client_id = Some(format!("p{index}").as_str().into());
            let identity =
                Publisher { scope, client_id, principal: None, source_ip: None, trace: index as u64 };
            self.publishers.push(PublisherClient {
                session,
                identity: Arc::new(identity),
                at: None,
                connections: 0,
                last: 0,
                unacknowledged: VecDeque::new(),
            });
            let soon = self.random.between(0, 200 * MILLI);
            self.after(soon, Node::Store, move |world| world.publisher_acts(index));
        }
        for index in 0..SUBSCRIBERS.0 + SUBSCRIBERS.1 {
            let (session, persistent) = (self.new_session(), index < SUBSCRIBERS.0);
            if persistent {
                let (client_id, subscriptions, live) =
                    (format!("s{index}").as_str().into(), Vec::new(), false);
                let record = SessionRecord { session, scope, client_id, subscriptions, live };
                let mut store = self.store.lock();
                store.records.insert(session, record);
                store.queues.insert(session, Vec::new());
            }
            self.sessions.insert(session, index);
            self.subscribers.push(SubscriberClient {
                session,
                persistent,
                at: None,
                connections: 0,
                filters: BTreeSet::new(),
                busy: false,
                unwanted: None,
                probes: BTreeMap::new(),
            });
            let soon = self.random.between(0, 200 * MILLI);
            self.after(soon, Node::Store, move |world| world.subscriber_acts(index));
        }
    }

    fn new_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    /// A connection to a gateway that is there, and the ownership of the session with it.
    fn connect(&mut self, session: SessionId, number: u64) -> Option<Connection> {
        let up = |(index, host): (usize, &crate::gateway::GatewayHost)| {
            let process = host.process.as_ref()?;
            process.me.filter(|_| !self.is_asleep(Node::Gateway(index))).map(|_| index)
        };
        let up: Vec<usize> = self.gateways.iter().enumerate().filter_map(up).collect();
        let gateway = self.random.pick(&up)?;
        let host = self.gateways.get_mut(gateway)?;
        let process = host.process.as_mut()?;
        process.last_address += 1;
        process.last_token += 1;
        let address = Address::new(0, process.last_address, 1);
        let token = OwnerToken { incarnation: process.me?.0, counter: process.last_token };
        self.store.lock().owners.insert(session, token);
        Some(Connection { gateway, life: host.life, address, token, number })
    }

    /// All connections to a gateway are gone.
    pub(crate) fn connections_lost(&mut self, gateway: usize) {
        let here = |at: &mut Connection| at.gateway == gateway;
        for publisher in &mut self.publishers {
            publisher.at.take_if(here);
        }
        for subscriber in &mut self.subscribers {
            if subscriber.at.take_if(here).is_some() {
                subscriber.busy = false;
            }
        }
    }

    pub(crate) fn restless_clients(&self) -> Option<String> {
        let waits = |publisher: &&PublisherClient| !publisher.unacknowledged.is_empty();
        if let Some(publisher) = self.publishers.iter().find(waits) {
            let trace = publisher.identity.trace;
            return Some(format!("publisher {trace} waits for {:?}", publisher.unacknowledged.front()));
        }
        self.subscribers.iter().any(SubscriberClient::waits).then(|| "a subscriber waits".to_owned())
    }
}

/// Publishers.
impl World {
    fn publisher_acts(&mut self, index: usize) {
        let (pause, topic) = (self.random.between(5 * MILLI, 60 * MILLI), self.random.pick(&TOPICS));
        let qos = match self.random.between(0, 100) {
            0..15 => QoS::AtMostOnce,
            15..80 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        self.after(pause, Node::Store, move |world| world.publisher_acts(index));
        let mended = self.mended;
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        if publisher.at.is_none() {
            return self.publisher_connects(index);
        }
        if mended || publisher.unacknowledged.len() >= IN_FLIGHT {
            return;
        }
        if let Some(topic) = topic {
            self.publish_new(index, topic, qos);
        }
    }

    fn publish_new(&mut self, index: usize, topic: &'static str, qos: QoS) {
        let now = self.now;
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        publisher.last += 1;
        let next = Unacknowledged { number: publisher.last, topic, qos };
        if qos != QoS::AtMostOnce {
            publisher.unacknowledged.push_back(next);
        }
        self.history.sent(MessageId { publisher: index, number: next.number }, topic, qos, now);
        self.publish(index, next);
    }

    /// Connects, and sends again what was not acknowledged, in order.
    fn publisher_connects(&mut self, index: usize) {
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        publisher.connections += 1;
        let (session, number) = (publisher.session, publisher.connections);
        let at = self.connect(session, number);
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        publisher.at = at;
        if at.is_some() {
            let again = publisher.unacknowledged.clone();
            again.into_iter().for_each(|message| self.publish(index, message));
        }
    }

    fn publish(&mut self, index: usize, message: Unacknowledged) {
        let Some(publisher) = self.publishers.get(index) else { return };
        let Some(at) = publisher.at else { return };
        let Unacknowledged { number, topic, qos } = message;
        let (session, identity) = (publisher.session, publisher.identity.clone());
        let message = Message {
            topic: topic.into(),
            payload: "x".into(),
            qos,
            retain: false,
            properties: None,
            received_at: Timestamp(1),
            expires_at: None,
            sequence: number,
            hops: 0,
            publisher: identity,
        };
        let packet_id = NonZeroU16::new(number as u16).filter(|_| qos == QoS::ExactlyOnce);
        let once = packet_id.map(|packet_id| Once::Received { session, token: at.token, packet_id });
        let pending = Pending::Publish { publisher: index, number, connection: at.number };
        let Some(process) = self.gateway_of(at.gateway, at.life) else { return };
        let ticket = (qos != QoS::AtMostOnce).then(|| process.expect(pending));
        let (message, from, fence) = (Arc::new(message), Some(session), None);
        self.route(at.gateway, RoutingRequest::Publish { ticket, message, from, once, fence });
    }

    /// The gateway has an answer to a PUBLISH.
    pub(crate) fn published(
        &mut self,
        index: usize,
        number: u64,
        connection: u64,
        result: Result<(), Error>,
    ) {
        let now = self.now;
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        if publisher.at.is_none_or(|at| at.number != connection) {
            return;
        }
        match result {
            Ok(()) | Err(Error::AlreadyDone) => {
                publisher.unacknowledged.retain(|waiting| waiting.number != number);
                self.history.acknowledged(MessageId { publisher: index, number }, now);
            }
            // The gateway closes the connection; the client sends it again on its next one.
            Err(_) => publisher.at = None,
        }
    }

    pub(crate) fn publisher_disconnects(&mut self) {
        let index = self.random.index(self.publishers.len());
        if let Some(publisher) = self.publishers.get_mut(index) {
            publisher.at = None;
        }
    }
}

/// Subscribers.
impl World {
    fn subscriber_acts(&mut self, index: usize) {
        let pause = self.random.between(50 * MILLI, 500 * MILLI);
        self.after(pause, Node::Store, move |world| world.subscriber_acts(index));
        let (act, filter) = (self.random.between(0, 100), self.random.pick(&FILTERS));
        let mended = self.mended;
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        match (subscriber.at, filter) {
            (None, _) => self.subscriber_connects(index),
            _ if subscriber.busy => {}
            (Some(at), _) if subscriber.unwanted.is_some() => {
                if let Some(filter) = subscriber.unwanted {
                    self.unsubscribe(index, at, filter);
                }
            }
            _ if mended => {}
            (Some(at), Some(filter)) => match act {
                0..45 => self.subscribe(index, at, filter),
                45..65 => self.unsubscribe(index, at, filter),
                65..75 => self.subscriber_leaves(index),
                75..85 => self.subscriber_connects(index),
                _ => {}
            },
            (Some(_), None) => {}
        }
    }

    /// Connects; a session with a connection elsewhere is taken over.
    fn subscriber_connects(&mut self, index: usize) {
        let fresh = self.new_session();
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let previous = subscriber.at.take();
        let old = subscriber.session;
        if !subscriber.persistent {
            subscriber.session = fresh;
            subscriber.filters.clear();
            subscriber.unwanted = None;
        }
        subscriber.connections += 1;
        subscriber.busy = false;
        let (session, number, persistent) =
            (subscriber.session, subscriber.connections, subscriber.persistent);
        self.sessions.insert(session, index);
        if let Some(previous) = previous {
            let told = self.random.between(MILLI, 40 * MILLI);
            self.after(told, Node::Gateway(previous.gateway), move |world| {
                world.detach(previous, old, persistent)
            });
        }
        let Some(at) = self.connect(session, number) else { return };
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.at = Some(at);
        self.note(format_args!("{session:?} connects to gateway {}", at.gateway));
        let Some(scope) = scope() else { return };
        let (address, credit) = (at.address, Credit::default());
        let record = self.store.lock().records.get(&session).cloned();
        self.route(at.gateway, RoutingRequest::Attach { session, scope, persistent, address, credit });
        let subscriptions = record.map(|record| record.subscriptions).unwrap_or_default();
        if !subscriptions.is_empty() {
            let (ticket, exact) = (NOBODY, false);
            self.route(at.gateway, RoutingRequest::Subscribe { ticket, session, subscriptions, exact });
        }
    }

    fn subscriber_leaves(&mut self, index: usize) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let (session, persistent) = (subscriber.session, subscriber.persistent);
        if let Some(at) = subscriber.at.take() {
            self.note(format_args!("{session:?} disconnects"));
            self.detach(at, session, persistent);
        }
    }

    fn detach(&mut self, at: Connection, session: SessionId, persistent: bool) {
        if self.gateway_of(at.gateway, at.life).is_some() {
            let address = at.address;
            self.route(at.gateway, RoutingRequest::Detach { session, address, persistent });
        }
    }

    fn subscribe(&mut self, index: usize, at: Connection, filter: &'static str) {
        let (bug, now) = (self.bug, self.now);
        let stored = self.random.between(MILLI, 10 * MILLI);
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.busy = true;
        let session = subscriber.session;
        if subscriber.persistent {
            let mut store = self.store.lock();
            let Some(record) = store.records.get_mut(&session) else { return };
            record.subscriptions.retain(|held| &*held.filter != filter);
            record.subscriptions.push(subscription(filter));
            if bug == Some(Bug::EarlySuback) {
                self.history.subscribed(session, filter, now);
            }
        } else {
            subscriber.filters.insert(filter);
        }
        // Routed when the store has it, though the connection may be gone by then.
        self.after(stored, Node::Gateway(at.gateway), move |world| {
            let Some(process) = world.gateway_of(at.gateway, at.life) else { return };
            let ticket = process.expect(Pending::Subscribe { session, filter, connection: at.number });
            let (subscriptions, exact) = (vec![subscription(filter)], false);
            world.route(at.gateway, RoutingRequest::Subscribe { ticket, session, subscriptions, exact });
        });
    }

    pub(crate) fn subscribed(&mut self, session: SessionId, filter: &'static str, connection: u64) {
        let now = self.now;
        self.note(format_args!("{session:?} is subscribed to {filter}"));
        let Some(subscriber) = self.answered_subscriber(session, connection) else { return };
        if subscriber.persistent {
            self.history.subscribed(session, filter, now);
        }
    }

    fn unsubscribe(&mut self, index: usize, at: Connection, filter: &'static str) {
        let now = self.now;
        let stored = self.random.between(MILLI, 10 * MILLI);
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.busy = true;
        subscriber.unwanted = Some(filter);
        subscriber.filters.remove(filter);
        let session = subscriber.session;
        self.note(format_args!("{session:?} unsubscribes from {filter}"));
        self.history.unsubscribing(session, filter, now);
        if let Some(record) = self.store.lock().records.get_mut(&session) {
            record.subscriptions.retain(|held| &*held.filter != filter);
        }
        self.after(stored, Node::Gateway(at.gateway), move |world| {
            let Some(process) = world.gateway_of(at.gateway, at.life) else { return };
            let ticket = process.expect(Pending::Unsubscribe { session, connection: at.number });
            let filters = vec![filter.into()];
            world.route(at.gateway, RoutingRequest::Unsubscribe { ticket, session, filters });
        });
    }

    pub(crate) fn unsubscribed(&mut self, session: SessionId, connection: u64) {
        if let Some(subscriber) = self.answered_subscriber(session, connection) {
            subscriber.unwanted = None;
        }
    }

    /// The client that an answer is for, if it is still there.
    fn answered_subscriber(&mut self, session: SessionId, connection: u64) -> Option<&mut SubscriberClient> {
        let index = *self.sessions.get(&session)?;
        let subscriber = self.subscribers.get_mut(index)?;
        let there = subscriber.at.is_some_and(|at| at.number == connection);
        if !there || subscriber.session != session {
            return None;
        }
        subscriber.busy = false;
        Some(subscriber)
    }

    /// A message has come for a connection.
    pub(crate) fn deliver(&mut self, gateway: usize, session: SessionId, address: Address, id: MessageId) {
        let Some(subscriber) = self.sessions.get(&session).and_then(|index| self.subscribers.get_mut(*index))
        else {
            return;
        };
        let there = subscriber.at.is_some_and(|at| at.gateway == gateway && at.address == address);
        if !there || subscriber.session != session {
            return;
        }
        if let Err(Violation(what)) = self.history.delivered(session, id) {
            self.violated(what);
        }
    }
}

/// Whether, when nothing happens any more, everybody gets what they are subscribed to, once.
impl World {
    pub(crate) fn probe(&mut self) {
        self.history.delivered.clear();
        for topic in TOPICS {
            for subscriber in &mut self.subscribers {
                subscriber.probes.insert(topic, 0);
            }
            self.publish_new(0, topic, QoS::AtLeastOnce);
        }
    }

    pub(crate) fn check_probes(&self) -> Result<(), Violation> {
        let Some(publisher) = self.publishers.first() else { return Ok(()) };
        let store = self.store.lock();
        for (number, topic) in (publisher.last + 1 - TOPICS.len() as u64..).zip(TOPICS) {
            let probe = MessageId { publisher: 0, number };
            let acknowledged = |sent: &crate::history::Sent| sent.acknowledged.is_some();
            if !self.history.sent.get(&probe).is_some_and(acknowledged) {
                return Err(Violation(format!("the probe to {topic} was not acknowledged")));
            }
            for (index, subscriber) in self.subscribers.iter().enumerate() {
                let session = subscriber.session;
                let (filters, got): (Vec<String>, _) = if subscriber.persistent {
                    let held = store.records.get(&session).map(|record| &record.subscriptions);
                    let filters = held.into_iter().flatten().map(|held| held.filter.to_string());
                    (filters.collect(), store.queues.get(&session))
                } else {
                    let filters = subscriber.filters.iter().map(|filter| (*filter).to_owned());
                    (filters.collect(), self.history.delivered.get(&session))
                };
                let got = got.map_or(0, |got| got.iter().filter(|id| **id == probe).count());
                let due = usize::from(filters.iter().any(|filter| matches(filter, topic, true)));
                // Who was subscribed once may still get something: see what is not promised, in docs/simulation.md.
                if got < due || (due == 1 && got > 1) {
                    return Err(Violation(format!(
                        "subscriber {index} ({session:?}, persistent: {}, subscribed to {filters:?}) got the probe to \
                         {topic} {got} times instead of {due}",
                        subscriber.persistent
                    )));
                }
            }
        }
        Ok(())
    }
}
