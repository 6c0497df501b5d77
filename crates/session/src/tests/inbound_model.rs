//! QoS 2 from the client against a model of the store: whatever happens to connections and to the broker, every message is
//! published exactly once.

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_mqtt::{Connect, Packet, PacketId, Publish, QoS, ReasonCode, Version};
use fleethaven_types::{EntryId, Profile};
use proptest::prelude::*;

use super::pair::{Pair, connect, id, pubrel, settings};
use crate::{Action, Close};

#[derive(Debug, Clone)]
enum Op {
    /// The client publishes under a free identifier.
    Publish(u16),
    /// The client repeats what it has sent, as 3.1.1 allows.
    Repeat(prop::sample::Index),
    /// The store carries out what it was asked first.
    Serve,
    /// The connection breaks; what was asked is carried out.
    Break,
    /// The broker dies; what was asked is not.
    Crash,
    Resume,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6_u16).prop_map(Op::Publish),
        1 => any::<prop::sample::Index>().prop_map(Op::Repeat),
        10 => Just(Op::Serve),
        1 => Just(Op::Break),
        1 => Just(Op::Crash),
        2 => Just(Op::Resume),
    ]
}

/// How far the client is with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Published,
    Released,
}

struct World {
    version: Version,
    pair: Option<Pair>,
    /// The client's exchanges: identifier, number of the message and step. They outlive connections.
    exchanges: BTreeMap<u16, (u64, Step)>,
    started: u64,
    /// What the store holds.
    recorded: BTreeSet<PacketId>,
    published: Vec<u64>,
}

impl World {
    fn new(version: Version) -> Self {
        let (exchanges, recorded, published) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let mut world = Self { version, pair: None, exchanges, started: 0, recorded, published };
        world.resume();
        world
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Publish(number) => self.publish(*number),
            Op::Repeat(which) if self.version == Version::V311 && !self.exchanges.is_empty() => {
                let number = *self.exchanges.keys().nth(which.index(self.exchanges.len())).unwrap();
                self.send(number);
            }
            Op::Repeat(_) => {}
            Op::Serve => self.serve(),
            Op::Break => self.end(true),
            Op::Crash => self.end(false),
            Op::Resume => self.resume(),
        }
    }

    fn publish(&mut self, number: u16) {
        if self.pair.is_some() && !self.exchanges.contains_key(&number) {
            self.started += 1;
            self.exchanges.insert(number, (self.started, Step::Published));
            self.send(number);
        }
    }

    /// Sends what an exchange is at.
    fn send(&mut self, number: u16) {
        let Some((message, step)) = self.exchanges.get(&number).copied() else { return };
        let packet = match step {
            Step::Published => Packet::Publish(Publish {
                qos: QoS::ExactlyOnce,
                packet_id: Some(id(number)),
                ..Publish::new("t", message.to_string())
            }),
            Step::Released => pubrel(number),
        };
        let Some(pair) = &mut self.pair else { return };
        pair.send(packet);
        self.listen();
    }

    /// The client reads what came, and goes on.
    fn listen(&mut self) {
        let Some(pair) = &mut self.pair else { return };
        let mut next = Vec::new();
        for packet in pair.received() {
            match packet {
                Packet::Pubrec(ack) => {
                    assert!(!ack.reason.is_error(), "{ack:?}");
                    if let Some(exchange) = self.exchanges.get_mut(&ack.packet_id.get()) {
                        exchange.1 = Step::Released;
                        next.push(ack.packet_id.get());
                    }
                }
                Packet::Pubcomp(ack) => {
                    let ended = self.exchanges.remove(&ack.packet_id.get());
                    assert!(ended.is_none_or(|(_, step)| step == Step::Released), "PUBCOMP before PUBREL");
                }
                other => panic!("{other:?}"),
            }
        }
        next.into_iter().for_each(|number| self.send(number));
    }

    /// Carries out the first request.
    fn serve(&mut self) {
        let Some(pair) = self.pair.as_mut().filter(|pair| !pair.held.is_empty()) else { return };
        let action = pair.held.remove(0);
        match Self::store(&mut self.recorded, &mut self.published, &action) {
            Some(packet_id) => pair.session.forgotten(&[packet_id]),
            None => {
                let Action::Publish { ack: Some(ack), .. } = action else { panic!("{action:?}") };
                pair.session.publish_done(ack, ReasonCode::Success);
            }
        }
        self.listen();
    }

    /// What the store does; the identifier that it forgot.
    fn store(
        recorded: &mut BTreeSet<PacketId>,
        published: &mut Vec<u64>,
        action: &Action,
    ) -> Option<PacketId> {
        match action {
            Action::Publish { message, received, .. } => {
                if recorded.insert(received.expect("the session lasts")) {
                    published.push(std::str::from_utf8(&message.payload).unwrap().parse().unwrap());
                }
                None
            }
            Action::Forget { packet_id } => {
                recorded.remove(packet_id);
                Some(*packet_id)
            }
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, served: bool) {
        let Some(mut pair) = self.pair.take() else { return };
        if served {
            for action in &pair.held {
                Self::store(&mut self.recorded, &mut self.published, action);
            }
            pair.session.close(Close::lost("reset"));
        }
    }

    /// The client comes back and sends again what was not answered, in its order [MQTT-4.4.0-1].
    fn resume(&mut self) {
        if self.pair.is_some() {
            return;
        }
        let settings = settings(Profile::Standard, |_, limits| limits.keep_alive_max = 0);
        let mut pair = Pair::new(settings, self.version);
        pair.queue = Some(pair.store.state(EntryId::NONE));
        pair.recorded = self.recorded.clone();
        pair.send(Packet::Connect(Box::new(Connect { clean_start: false, ..connect(self.version) })));
        assert!(matches!(pair.received()[..], [Packet::Connack(_)]));
        pair.serving = false;
        self.pair = Some(pair);
        let numbers: Vec<u16> = self.exchanges.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.send(number));
    }

    fn drain(&mut self) {
        self.resume();
        while self.pair.as_ref().is_some_and(|pair| !pair.held.is_empty()) {
            self.serve();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_a_client_publishes_is_published_exactly_once(
        ops in prop::collection::vec(op(), 0..120),
        v5 in any::<bool>(),
    ) {
        let mut world = World::new(if v5 { Version::V5 } else { Version::V311 });
        for op in &ops {
            world.apply(op);
        }
        world.drain();
        assert_eq!(world.exchanges, BTreeMap::new(), "every exchange ends");
        assert_eq!(world.recorded, BTreeSet::new());
        world.published.sort_unstable();
        assert!(world.published.iter().copied().eq(1..=world.started), "{:?}", world.published);
    }
}
