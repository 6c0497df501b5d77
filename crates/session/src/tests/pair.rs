//! A client and its session, joined by bytes, in virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use fleethaven_mqtt::{
    Ack, Connect, ConnectProperties, DecodeLimits, Decoder, Disconnect, Packet, PacketId, Publish, QoS,
    ReasonCode, Subscribe, Subscription, Unsubscribe, Version, Will, WillProperties, encode,
};
use fleethaven_types::{
    Behaviour, EntryId, Limits, Message, Profile, Publisher, Scope, SessionId, Timestamp, Utf8Bytes,
};

use super::store::{AT_LEAST_ONCE, Store};
use crate::{
    Accepted, AckTicket, Action, Delivery, Encoded, Ending, Now, QueueState, Session, Settings,
    SubscribeRequest, UnsubscribeRequest,
};

/// Where virtual time starts on the wall clock.
pub(super) const START: Timestamp = Timestamp(1_700_000_000_000);

pub(super) fn scope() -> Scope {
    Scope { account: "000000000001".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

/// Settings of a profile, changed.
pub(super) fn settings(profile: Profile, change: impl FnOnce(&mut Behaviour, &mut Limits)) -> Arc<Settings> {
    let (mut behaviour, mut limits) = (Behaviour::of(profile), Limits::of(profile));
    change(&mut behaviour, &mut limits);
    Arc::new(Settings::new(behaviour, limits, scope()))
}

pub(super) fn publisher() -> Arc<Publisher> {
    Arc::new(Publisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 7 })
}

pub(super) fn message(topic: &str, payload: impl Into<bytes::Bytes>) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: START,
        expires_at: None,
        sequence: 1,
        hops: 0,
        publisher: publisher(),
    }
}

pub(super) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(super) fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "dev".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

pub(super) fn will(topic: &str) -> Option<Box<Will>> {
    Some(Box::new(Will {
        topic: topic.into(),
        payload: "bye".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties::default(),
    }))
}

pub(super) fn publish(packet_id: u16, topic: &str) -> Packet {
    let (qos, packet_id) = match PacketId::new(packet_id) {
        None => (QoS::AtMostOnce, None),
        some => (QoS::AtLeastOnce, some),
    };
    Packet::Publish(Publish { qos, packet_id, ..Publish::new(topic.to_owned(), "x") })
}

pub(super) fn subscribe(packet_id: u16, filters: &[&str]) -> Packet {
    let filters = filters.iter().map(|f| Subscription::new(f.to_string(), QoS::AtLeastOnce)).collect();
    let (subscription_id, user_properties) = (None, Vec::new());
    Packet::Subscribe(Subscribe { packet_id: id(packet_id), subscription_id, user_properties, filters })
}

pub(super) fn unsubscribe(packet_id: u16, filters: &[&str]) -> Packet {
    let filters = filters.iter().map(|f| f.to_string().into()).collect();
    Packet::Unsubscribe(Unsubscribe { packet_id: id(packet_id), user_properties: Vec::new(), filters })
}

pub(super) fn puback(packet_id: u16) -> Packet {
    Packet::Puback(Ack::ok(id(packet_id)))
}

/// PUBLISH at QoS 2.
pub(super) fn publish2(packet_id: u16, topic: &str) -> Packet {
    let packet_id = Some(id(packet_id));
    Packet::Publish(Publish { qos: QoS::ExactlyOnce, packet_id, ..Publish::new(topic.to_owned(), "x") })
}

pub(super) fn pubrec(packet_id: u16) -> Packet {
    Packet::Pubrec(Ack::ok(id(packet_id)))
}

pub(super) fn pubrel(packet_id: u16) -> Packet {
    Packet::Pubrel(Ack::ok(id(packet_id)))
}

pub(super) fn pubcomp(packet_id: u16) -> Packet {
    Packet::Pubcomp(Ack::ok(id(packet_id)))
}

pub(super) fn disconnect(reason: ReasonCode) -> Packet {
    Packet::Disconnect(Disconnect::new(reason))
}

/// The two ends, and a shell between the session and a store in memory.
pub(super) struct Pair {
    pub(super) session: Session,
    /// Direct messages that the client has acknowledged.
    pub(super) directs: Vec<crate::DirectTicket>,
    server: Decoder,
    client: Decoder,
    version: Version,
    input: BytesMut,
    output: BytesMut,
    pub(super) now: Now,
    pub(super) store: Store,
    /// Identifiers of QoS 2 exchanges in the store.
    pub(super) recorded: BTreeSet<PacketId>,
    /// The session to resume; `None`: the session is not persistent.
    pub(super) queue: Option<QueueState>,
    /// The client reads what it is sent.
    pub(super) reading: bool,
    /// Actions are carried out as they come; otherwise the test does it.
    pub(super) serving: bool,
    pub(super) held: Vec<Action>,
    pub(super) published: Vec<(Arc<Message>, Option<AckTicket>)>,
    pub(super) reads: usize,
    /// Entries of a group's queue that the client has.
    pub(super) shares_done: Vec<EntryId>,
    pub(super) refused: Option<ReasonCode>,
    pub(super) closed: bool,
}

impl Pair {
    pub(super) fn new(settings: Arc<Settings>, version: Version) -> Self {
        #[expect(clippy::disallowed_methods, reason = "some instant for virtual time to start from")]
        let now = Now { instant: Instant::now(), wall: START };
        let limits = DecodeLimits { max_packet_size: settings.limits.packet_bytes };
        Self {
            session: Session::new(settings, now),
            directs: Vec::new(),
            server: Decoder::new(limits),
            client: Decoder::client(version, DecodeLimits::default()),
            version,
            input: BytesMut::new(),
            output: BytesMut::new(),
            now,
            store: Store::default(),
            recorded: BTreeSet::new(),
            queue: None,
            reading: true,
            serving: true,
            held: Vec::new(),
            published: Vec::new(),
            reads: 0,
            shares_done: Vec::new(),
            refused: None,
            closed: false,
        }
    }

    /// A connected client of a profile.
    pub(super) fn connected(profile: Profile, version: Version) -> Self {
        Self::connected_with(settings(profile, |_, _| {}), connect(version))
    }

    pub(super) fn connected_with(settings: Arc<Settings>, connect: Connect) -> Self {
        let mut pair = Self::new(settings, connect.version);
        pair.connect(connect);
        pair
    }

    /// Sends CONNECT and takes CONNACK.
    pub(super) fn connect(&mut self, connect: Connect) {
        let answer = self.ask(Packet::Connect(Box::new(connect)));
        assert!(matches!(answer.first(), Some(Packet::Connack(_))), "{answer:?}");
        assert!(self.session.is_connected());
    }

    /// A persistent client that resumes what `store` holds.
    pub(super) fn resumed(settings: Arc<Settings>, connect: Connect, store: Store, sent: EntryId) -> Self {
        let mut pair = Self::new(settings, connect.version);
        pair.queue = Some(store.state(sent));
        pair.store = store;
        pair.send(Packet::Connect(Box::new(connect)));
        pair
    }

    /// The client sends a packet; everything that follows from it happens.
    pub(super) fn send(&mut self, packet: Packet) {
        encode(&packet, self.version, &mut self.input).unwrap();
        self.run();
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.run();
    }

    /// Sends a packet; returns what the client got.
    pub(super) fn ask(&mut self, packet: Packet) -> Vec<Packet> {
        self.send(packet);
        self.received()
    }

    /// What the client has got since the last call.
    pub(super) fn received(&mut self) -> Vec<Packet> {
        self.run();
        std::iter::from_fn(|| self.client.decode(&mut self.output).unwrap()).collect()
    }

    /// What the client has got, when that is PUBLISH packets only.
    pub(super) fn delivered(&mut self) -> Vec<Publish> {
        let publish = |packet| match packet {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        };
        self.received().into_iter().map(publish).collect()
    }

    /// Reads input, carries out actions and writes output until nothing moves.
    pub(super) fn run(&mut self) {
        loop {
            let read = self.read_packet();
            let served = self.serve();
            let wrote = self.write();
            if !(read || served || wrote) {
                return;
            }
        }
    }

    fn read_packet(&mut self) -> bool {
        if !self.session.wants_input() {
            return false;
        }
        match self.server.decode(&mut self.input) {
            Ok(Some(packet)) => self.session.handle_packet(packet, self.now),
            Ok(None) => return false,
            Err(error) => self.session.handle_malformed(&error, self.server.version()),
        }
        true
    }

    fn serve(&mut self) -> bool {
        let Some(action) = self.session.poll_action() else { return false };
        match action {
            Action::Close => self.closed = true,
            Action::Refused { code, .. } => self.refused = Some(code),
            action if self.serving => self.carry_out(action),
            action => self.held.push(action),
        }
        true
    }

    pub(super) fn carry_out(&mut self, action: Action) {
        match action {
            Action::DirectAcknowledged { ticket } => self.directs.push(ticket),
            Action::Connect(request) => {
                let will = request.will.as_ref().map(|will| will.message(&publisher()));
                self.session.accept(self.accepted(&request.client_id), will, self.now);
            }
            Action::Publish { message, ack, received } => {
                if let Some(packet_id) = received {
                    assert!(self.recorded.insert(packet_id), "published twice: {packet_id}");
                }
                self.published.push((message, ack));
                if let Some(ticket) = ack {
                    self.session.publish_done(ticket, ReasonCode::Success);
                }
            }
            Action::Forget { packet_id } => {
                assert!(self.recorded.remove(&packet_id), "not recorded: {packet_id}");
                self.session.forgotten(&[packet_id]);
            }
            Action::Release { entry } => {
                self.store.release(entry);
                self.session.released(&[entry]);
            }
            Action::Subscribe(request) => self.grant(request),
            Action::Unsubscribe(request) => self.forget(request),
            Action::ReadQueue { after } => {
                self.reads += 1;
                let (entries, tail) = self.store.read(after);
                self.session.queue_read(entries, tail, self.now);
            }
            Action::Acknowledged { entry } => {
                assert!(self.store.trim(entry), "acknowledged twice: {entry:?}")
            }
            Action::ShareDone { entry, .. } => self.shares_done.push(entry),
            Action::Refused { .. } | Action::Close => unreachable!(),
        }
    }

    fn accepted(&self, client_id: &str) -> Accepted {
        Accepted {
            session: SessionId(1),
            session_present: self.queue.is_some(),
            assigned_client_id: client_id.is_empty().then(|| "$GEN/1".into()),
            publisher: publisher(),
            queue: self.queue,
            first_sent: self.store.first_sent.clone(),
            released: self.store.released(),
            received: self.recorded.iter().copied().collect(),
            subscriptions: Vec::new(),
        }
    }

    pub(super) fn grant(&mut self, request: SubscribeRequest) {
        let outcome = |filter: crate::subscribe::RequestedFilter| {
            let granted = ReasonCode::granted(filter.options.qos);
            (filter.filter, filter.verdict.err().unwrap_or(granted))
        };
        let outcomes = request.filters.into_iter().map(outcome).collect();
        self.session.subscribe_done(request.packet_id, outcomes);
    }

    fn forget(&mut self, request: UnsubscribeRequest) {
        let outcome = |filter: Utf8Bytes| {
            let existed = filter.starts_with("held");
            (filter, existed)
        };
        let outcomes = request.filters.into_iter().map(outcome).collect();
        self.session.unsubscribe_done(request.packet_id, outcomes);
    }

    fn write(&mut self) -> bool {
        let output = self.session.output();
        if !self.reading || output.is_empty() {
            return false;
        }
        while output.has_remaining() {
            let chunk = output.chunk();
            self.output.extend_from_slice(chunk);
            let written = chunk.len();
            output.advance(written);
        }
        self.session.send_waiting(self.now);
        true
    }

    /// Time passes; deadlines are met as they come.
    pub(super) fn elapse(&mut self, duration: Duration) {
        let end = self.now.instant + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.advance(at);
            self.session.handle_timeout(self.now);
            self.run();
        }
        self.advance(end);
        self.session.handle_timeout(self.now);
        self.run();
    }

    fn advance(&mut self, to: Instant) {
        let step = to.saturating_duration_since(self.now.instant);
        self.now = Now { instant: self.now.instant + step, wall: self.now.wall.after(step) };
    }

    /// A message to a session that is not persistent, or at QoS 0.
    pub(super) fn deliver(&mut self, message: Message, delivery: &Delivery<'_>) {
        let mut encoded = Encoded::new(Arc::new(message), self.now.wall);
        self.session.deliver(&mut encoded, delivery, self.now);
        self.run();
    }

    /// Appends to the queue, and pushes.
    pub(super) fn push(&mut self, message: Message) -> EntryId {
        let message = Arc::new(message);
        let position = self.store.append(message.clone());
        let mut encoded = Encoded::new(message, self.now.wall);
        self.session.deliver_queued(&mut encoded, &AT_LEAST_ONCE, position, self.now);
        self.run();
        position.0
    }

    /// The same at the message's own QoS.
    pub(super) fn push2(&mut self, message: Message) -> EntryId {
        let message = Arc::new(message);
        let position = self.store.append(message.clone());
        let delivery = Delivery { qos: message.qos, ..AT_LEAST_ONCE };
        let mut encoded = Encoded::new(message, self.now.wall);
        self.session.deliver_queued(&mut encoded, &delivery, position, self.now);
        self.run();
        position.0
    }

    /// The end: that the connection is to be closed, and what is left to do.
    pub(super) fn ended(&mut self) -> Option<Ending> {
        self.run();
        assert!(self.closed, "the connection is still open");
        self.session.ended(self.now)
    }
}
