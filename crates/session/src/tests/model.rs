//! A persistent session against a model of its queue: whatever happens to pushes, acknowledgements and connections, the
//! client gets every message in order, at QoS 1 at least once and at QoS 2 exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleethaven_mqtt::{Connect, Packet, Publish, QoS, Version};
use fleethaven_types::{EntryId, Message, Profile};
use proptest::prelude::*;

use super::pair::{Pair, START, connect, message, puback, pubcomp, pubrec, settings};
use super::store::{AT_LEAST_ONCE, Store};
use crate::{Action, Close, Delivery, Encoded, Now, Settings};

#[derive(Debug, Clone)]
enum Op {
    /// A message is appended, perhaps one that expires soon.
    Publish {
        push: Push,
        expires: bool,
        qos: QoS,
    },
    /// A delayed push arrives.
    Arrive(prop::sample::Index),
    /// The client acknowledges one of the messages it has not.
    Acknowledge(prop::sample::Index),
    /// The client acknowledges something.
    AcknowledgeAny(u16),
    /// The store carries out the read that was asked for.
    Read,
    /// What was read reaches the session.
    Return,
    /// The store forgets what was acknowledged.
    Trim,
    /// The shell learns the tail, or that pushes were lost.
    Tail,
    Resync,
    Elapse(u16),
    /// The client leaves; the shell finishes its work.
    Disconnect,
    /// The gateway dies with all it knew.
    Crash,
    Resume,
}

#[derive(Debug, Clone, Copy)]
enum Push {
    AtOnce,
    Delayed,
    Lost,
}

fn op() -> impl Strategy<Value = Op> {
    let push = prop_oneof![3 => Just(Push::AtOnce), 1 => Just(Push::Delayed), 1 => Just(Push::Lost)];
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    prop_oneof![
        8 => (push, prop::bool::weighted(0.2), qos)
            .prop_map(|(push, expires, qos)| Op::Publish { push, expires, qos }),
        3 => any::<prop::sample::Index>().prop_map(Op::Arrive),
        8 => any::<prop::sample::Index>().prop_map(Op::Acknowledge),
        1 => (1..30_u16).prop_map(Op::AcknowledgeAny),
        5 => Just(Op::Read),
        5 => Just(Op::Return),
        4 => Just(Op::Trim),
        1 => Just(Op::Tail),
        1 => Just(Op::Resync),
        2 => (0..3000_u16).prop_map(Op::Elapse),
        1 => Just(Op::Disconnect),
        1 => Just(Op::Crash),
        3 => Just(Op::Resume),
    ]
}

type Page = (Vec<(EntryId, Arc<Message>, Delivery<'static>)>, EntryId);

/// What the client knows.
#[derive(Debug, Default)]
struct Client {
    seen: BTreeSet<u64>,
    /// Packet identifier, entry and level, of this connection.
    unacknowledged: BTreeMap<u16, (u64, QoS)>,
    /// Entries of QoS 2 that were taken and not released, by identifier; they outlive connections.
    taken: BTreeMap<u16, u64>,
    /// Highest entry of this connection.
    last: u64,
}

struct World {
    settings: Arc<Settings>,
    window: u16,
    store: Store,
    /// Everything up to here may have been sent, as far as the store's side knows.
    sent: EntryId,
    /// Highest tail at a crash: what is sent again from below may or may not have been sent before.
    unsure: u64,
    now: Option<Now>,
    pair: Option<Pair>,
    client: Client,
    /// Entries that may expire.
    expiring: BTreeSet<u64>,
    /// What the store has forgotten: never to be delivered again.
    trimmed: BTreeSet<u64>,
    delayed: Vec<(EntryId, EntryId)>,
    asked: Option<EntryId>,
    page: Option<Page>,
    to_trim: Vec<EntryId>,
    to_release: Vec<EntryId>,
}

impl World {
    fn new(profile: Profile, window: u16, page: usize) -> Self {
        let mut world = Self {
            settings: settings(profile, |_, limits| limits.keep_alive_max = 0),
            window,
            store: Store::with_page(page),
            sent: EntryId::NONE,
            unsure: 0,
            now: None,
            pair: None,
            client: Client::default(),
            expiring: BTreeSet::new(),
            trimmed: BTreeSet::new(),
            delayed: Vec::new(),
            asked: None,
            page: None,
            to_trim: Vec::new(),
            to_release: Vec::new(),
        };
        world.resume();
        world
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Publish { push, expires, qos } => self.publish(*push, *expires, *qos),
            Op::Arrive(which) if !self.delayed.is_empty() => {
                self.push_delayed(which.index(self.delayed.len()));
            }
            Op::Acknowledge(which) if !self.client.unacknowledged.is_empty() => {
                let nth = which.index(self.client.unacknowledged.len());
                let id = *self.client.unacknowledged.keys().nth(nth).unwrap();
                self.acknowledge(id);
            }
            // A PUBACK for a QoS 2 message would end the connection.
            Op::AcknowledgeAny(id) if !self.is_exactly_once(*id) => self.acknowledge(*id),
            Op::AcknowledgeAny(_) => {}
            Op::Read => self.read(),
            Op::Return => self.return_page(),
            Op::Trim => self.trim(),
            Op::Tail => {
                let tail = self.store.tail();
                self.with(|pair| pair.session.queue_tail(tail));
            }
            Op::Resync => self.with(|pair| pair.session.resync()),
            Op::Elapse(ms) => self.with(|pair| pair.elapse(Duration::from_millis(u64::from(*ms)))),
            Op::Disconnect => self.disconnect(),
            Op::Crash => self.crash(),
            Op::Resume => self.resume(),
            Op::Arrive(_) | Op::Acknowledge(_) => {}
        }
    }

    /// Does something with the session, if there is one, and takes in what follows.
    fn with(&mut self, act: impl FnOnce(&mut Pair)) {
        let Some(mut pair) = self.pair.take() else { return };
        act(&mut pair);
        let received = pair.received();
        self.now = Some(pair.now);
        assert!(pair.session.is_connected());
        for action in pair.held.drain(..) {
            self.take_action(action);
        }
        assert!(pair.session.in_flight() <= usize::from(self.window));
        self.pair = Some(pair);
        self.receive(received);
    }

    fn receive(&mut self, packets: Vec<Packet>) {
        let mut released = Vec::new();
        for packet in packets {
            match packet {
                Packet::Publish(publish) => self.check_delivery(&publish),
                Packet::Pubrel(ack) => released.push(ack.packet_id.get()),
                other => panic!("{other:?}"),
            }
        }
        for id in released {
            self.client.taken.remove(&id);
            self.client.unacknowledged.remove(&id);
            self.with(|pair| pair.send(pubcomp(id)));
        }
    }

    fn is_exactly_once(&self, id: u16) -> bool {
        let open = self.client.unacknowledged.get(&id).is_some_and(|(_, qos)| *qos == QoS::ExactlyOnce);
        open || self.client.taken.contains_key(&id)
    }

    fn take_action(&mut self, action: Action) {
        match action {
            Action::ReadQueue { after } => {
                assert!(self.asked.is_none() && self.page.is_none(), "one read at a time");
                self.asked = Some(after);
            }
            Action::Acknowledged { entry } => {
                assert!(!self.to_trim.contains(&entry), "{entry:?} is acknowledged twice");
                self.to_trim.push(entry);
            }
            Action::Release { entry } => self.to_release.push(entry),
            other => panic!("{other:?}"),
        }
    }

    fn check_delivery(&mut self, publish: &Publish) {
        let entry: u64 = publish.topic.parse().unwrap();
        let id = publish.packet_id.unwrap();
        assert_eq!(id, EntryId(entry).packet_id(), "the original identifier");
        assert!(!self.trimmed.contains(&entry), "{entry} was done with");
        assert!(entry > self.client.last, "{entry} after {} on one connection", self.client.last);
        self.client.last = entry;
        let first = !self.client.seen.contains(&entry);
        let in_order = self.client.seen.last().is_none_or(|highest| entry > *highest);
        // A crash forgets that it was passed over for being expired, and QoS 2 that may have been sent does not expire.
        let passed_over = entry <= self.unsure && self.expiring.contains(&entry);
        assert!(!first || in_order || passed_over, "{entry} comes first after {:?}", self.client.seen.last());
        if !self.settings.behaviour.dup_flag_on_redelivery {
            assert!(!publish.dup);
        } else {
            assert!(publish.dup || first, "{entry} is a redelivery");
            assert!(!publish.dup || !first || entry <= self.unsure, "{entry} was never sent before");
        }
        if publish.qos == QoS::ExactlyOnce {
            let known = self.client.taken.insert(id.get(), entry);
            assert!(known.is_none_or(|known| known == entry), "{entry} would be taken for {known:?}");
            assert!(first || known.is_some(), "{entry} is delivered twice");
        }
        self.client.seen.insert(entry);
        let clash = self.client.unacknowledged.insert(id.get(), (entry, publish.qos));
        assert_eq!(clash, None, "packet identifier {id} is in use");
        assert!(self.client.unacknowledged.len() <= usize::from(self.window), "over the window");
    }

    fn publish(&mut self, push: Push, expires: bool, qos: QoS) {
        let number = self.store.tail().0 + 1;
        let now = self.now.map_or(START, |now| now.wall);
        if expires {
            self.expiring.insert(number);
        }
        let expires_at = expires.then(|| now.after(Duration::from_secs(2)));
        let message = Message { expires_at, qos, ..message(&number.to_string(), "x") };
        let position = self.store.append(Arc::new(message));
        match push {
            Push::AtOnce => self.push(position),
            Push::Delayed => self.delayed.push(position),
            Push::Lost => {}
        }
    }

    fn push(&mut self, position: (EntryId, EntryId)) {
        let message = self.store.message(position.0);
        let message = message.unwrap_or_else(|| Arc::new(message_of(position.0)));
        self.with(|pair| {
            let mut encoded = Encoded::new(message, pair.now.wall);
            let delivery = Delivery { qos: encoded.message().qos, ..AT_LEAST_ONCE };
            pair.session.deliver_queued(&mut encoded, &delivery, position, pair.now);
        });
    }

    fn push_delayed(&mut self, which: usize) {
        let position = self.delayed.remove(which);
        self.push(position);
    }

    fn acknowledge(&mut self, id: u16) {
        if self.pair.is_none() {
            return;
        }
        if self.is_exactly_once(id) {
            // Until PUBCOMP it counts against the window.
            self.with(|pair| pair.send(pubrec(id)));
        } else {
            self.client.unacknowledged.remove(&id);
            self.with(|pair| pair.send(puback(id)));
        }
    }

    fn read(&mut self) {
        if let Some(after) = self.asked.take() {
            self.page = Some(self.store.read(after));
        }
    }

    fn return_page(&mut self) {
        if let Some((entries, tail)) = self.page.take() {
            self.with(|pair| pair.session.queue_read(entries, tail, pair.now));
        }
    }

    fn trim(&mut self) {
        self.release();
        for entry in self.to_trim.drain(..) {
            assert!(self.store.trim(entry), "{entry:?} was trimmed before");
            self.trimmed.insert(entry.0);
        }
    }

    fn release(&mut self) {
        let entries = std::mem::take(&mut self.to_release);
        for entry in &entries {
            self.store.release(*entry);
        }
        self.with(|pair| pair.session.released(&entries));
    }

    fn disconnect(&mut self) {
        if let Some(mut pair) = self.pair.take() {
            pair.session.close(Close::lost("reset"));
            self.sent = pair.ended().unwrap().sent;
            self.trim();
        }
        self.forget();
    }

    fn crash(&mut self) {
        if self.pair.take().is_some() {
            // Nobody knows what was sent.
            self.sent = self.store.tail();
            self.unsure = self.sent.0;
        }
        self.forget();
    }

    fn forget(&mut self) {
        (self.asked, self.page) = (None, None);
        self.to_trim.clear();
        self.to_release.clear();
    }

    fn resume(&mut self) {
        if self.pair.is_some() {
            return;
        }
        let Client { seen, taken, .. } = std::mem::take(&mut self.client);
        self.client = Client { seen, taken, ..Client::default() };
        let mut pair = Pair::new(self.settings.clone(), Version::V5);
        pair.now = *self.now.get_or_insert(pair.now);
        pair.serving = false;
        pair.queue = Some(self.store.state(self.sent));
        pair.store = self.store.clone();
        let mut connect = Connect { clean_start: false, keep_alive: 0, ..connect(Version::V5) };
        connect.properties.receive_maximum = self.window.try_into().ok();
        pair.send(Packet::Connect(Box::new(connect)));
        let request = pair.held.remove(0);
        pair.carry_out(request);
        let mut received = pair.received();
        assert!(matches!(received.remove(0), Packet::Connack(_)));
        self.pair = Some(pair);
        self.receive(received);
        self.with(|_| {});
    }

    /// The network and the store behave: everything must arrive.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.read();
            self.return_page();
            self.release();
            if let Some(id) = self.client.unacknowledged.keys().next().copied() {
                self.acknowledge(id);
            } else if self.asked.is_none() {
                let pair = self.pair.as_ref().unwrap();
                let deadline = pair.session.poll_timeout();
                let waits = deadline.is_some_and(|at| at < pair.now.instant + Duration::from_secs(5));
                if !waits {
                    break;
                }
                self.with(|pair| pair.elapse(Duration::from_millis(500)));
            }
        }
        self.trim();
    }

    fn check_everything_arrived(&self, unexpiring: &BTreeSet<u64>) {
        assert_eq!(self.store.len(), 0, "not done with: {:?}", self.store.read(EntryId::NONE));
        let missing: Vec<_> = unexpiring.difference(&self.client.seen).collect();
        assert!(missing.is_empty(), "never delivered: {missing:?}");
    }
}

fn message_of(entry: EntryId) -> Message {
    message(&entry.0.to_string(), "x")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn at_least_or_exactly_once_in_order(
        ops in prop::collection::vec(op(), 0..150),
        window in 1..6_u16,
        page in 1..5_usize,
        aws in any::<bool>(),
        reconnects in any::<bool>(),
    ) {
        let mut world = World::new(if aws { Profile::Aws } else { Profile::Standard }, window, page);
        let mut unexpiring = BTreeSet::new();
        for op in &ops {
            if let Op::Publish { expires: false, .. } = op {
                unexpiring.insert(world.store.tail().0 + 1);
            }
            world.apply(op);
        }
        if reconnects {
            world.disconnect();
        }
        world.resume();
        while !world.delayed.is_empty() {
            world.push_delayed(0);
        }
        if ops.iter().any(|op| matches!(op, Op::Publish { push: Push::Lost, .. })) {
            // The shell's sweep finds out.
            world.with(|pair| pair.session.resync());
        }
        world.drain();
        world.check_everything_arrived(&unexpiring);
    }
}
