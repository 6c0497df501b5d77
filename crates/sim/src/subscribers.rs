//! Clients that subscribe: they speak MQTT 5 with the sessions of their gateways, acknowledge what they get in their own time,
//! leave, and come back elsewhere.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::BytesMut;
use fleethaven_mqtt::{
    Ack, Connect, ConnectProperties, DecodeLimits, Decoder, Disconnect, Packet, PacketId, Publish, QoS,
    ReasonCode, Subscribe, Subscription, Unsubscribe, Version,
};
use fleethaven_session::{Close, Session, Settings};
use fleethaven_types::{Behaviour, Limits, Profile};

use crate::Violation;
use crate::clients::{APART, LASTS, scope};
use crate::history::{MessageId, Stay};
use crate::members;
use crate::wills::{self, Fate};
use crate::world::{MILLI, Micros, Node, World};

/// A client's connection, as the client has it.
struct At {
    gateway: usize,
    life: u64,
    /// Where the gateway keeps it.
    slot: u32,
    /// CONNACK has come.
    connected: bool,
    decoder: Decoder,
    buffer: BytesMut,
}

/// What a client has asked for and had no answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Subscribe(&'static str),
    Unsubscribe(&'static str),
}

pub(crate) struct SubscriberClient {
    index: usize,
    persistent: bool,
    /// What it may subscribe to.
    choice: &'static [&'static str],
    /// At which QoS.
    qos: QoS,
    at: Option<At>,
    connections: u64,
    last_packet: u16,
    asked: Option<(PacketId, Asked)>,
    /// What it is subscribed to.
    filters: BTreeSet<&'static str>,
    /// It has asked not to be subscribed, and had no answer yet: it asks again.
    unwanted: Option<&'static str>,
    /// Identifiers of QoS 2 messages that it has and that are not released.
    received: BTreeSet<PacketId>,
    /// Most messages that it takes unacknowledged.
    window: NonZeroU16,
    /// Most milliseconds it takes to acknowledge something.
    slowness: u64,
    /// When it gives the last answer that it owes.
    answers_at: Micros,
    settings: Arc<Settings>,
}

impl SubscriberClient {
    pub(crate) fn client_id(&self) -> String {
        format!("s{}", self.index)
    }

    /// What its messages are counted for: its session, which for a clean one is the connection.
    pub(crate) fn stay(&self) -> Stay {
        (self.index, if self.persistent { 0 } else { self.connections })
    }

    pub(crate) fn choice(&self) -> &'static [&'static str] {
        self.choice
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &'static str> {
        self.filters.iter().copied()
    }

    /// Whether it was connected to that gateway.
    pub(crate) fn gateway_lost(&mut self, gateway: usize) -> bool {
        let lost = self.at.as_ref().is_some_and(|at| at.gateway == gateway);
        if lost {
            self.lost();
        }
        lost
    }

    fn lost(&mut self) {
        self.at = None;
        self.asked = None;
        if !self.persistent {
            self.filters.clear();
            self.received.clear();
            self.unwanted = None;
        }
    }

    /// What it waits for.
    pub(crate) fn restless(&self) -> Option<String> {
        let connected = self.at.as_ref().is_some_and(|at| at.connected);
        let waits = !connected || self.asked.is_some() || self.unwanted.is_some();
        waits.then(|| {
            format!("subscriber {} is connected: {connected}, waits for {:?}", self.index, self.asked)
        })
    }

    fn next_packet(&mut self) -> PacketId {
        self.last_packet = self.last_packet % u16::MAX + 1;
        PacketId::MIN.saturating_add(self.last_packet - 1)
    }
}

impl World {
    pub(crate) fn start_subscriber(&mut self, index: usize, choice: &'static [&'static str]) {
        let window = NonZeroU16::MIN.saturating_add(self.random.between(1, 20) as u16);
        let slowness = if self.random.percent(30) { 100 } else { 10 };
        let (behaviour, limits) = (Behaviour::of(Profile::Standard), Limits::of(Profile::Standard));
        self.subscribers.push(SubscriberClient {
            index,
            persistent: members::is_persistent(index),
            choice,
            qos: members::qos(index),
            at: None,
            connections: 0,
            last_packet: 0,
            asked: None,
            filters: BTreeSet::new(),
            unwanted: None,
            received: BTreeSet::new(),
            window,
            slowness,
            answers_at: 0,
            settings: Arc::new(Settings::new(behaviour, limits, scope())),
        });
        let soon = self.random.between(0, 200 * MILLI);
        self.after(soon, Node::Client(index), move |world| world.subscriber_acts(index));
    }

    fn subscriber_acts(&mut self, index: usize) {
        let pause = self.random.between(50 * MILLI, 500 * MILLI);
        self.after(pause, Node::Client(index), move |world| world.subscriber_acts(index));
        let act = self.random.between(0, 100);
        let choice = self.subscribers.get(index).map_or(&[][..], |subscriber| subscriber.choice);
        let filter = self.random.pick(choice);
        let mended = self.mended;
        let unsubscribes = if members::is_member(index) { 50 } else { 65 };
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let Some(at) = &subscriber.at else { return self.subscriber_connects(index) };
        if !at.connected || subscriber.asked.is_some() {
            return;
        }
        if let Some(filter) = subscriber.unwanted {
            return self.unsubscribe(index, filter);
        }
        if mended {
            return;
        }
        match (act, filter) {
            (0..45, Some(filter)) => self.subscribe(index, filter),
            (45..65, Some(filter)) if act < unsubscribes => self.unsubscribe(index, filter),
            (65..75, _) => self.subscriber_leaves(index),
            (75..85, _) => self.subscriber_connects(index),
            _ => {}
        }
    }

    /// Connects, and closes the connection it had, which the new one overtakes now and then: then a persistent session is taken
    /// over. A clean one begins anew.
    fn subscriber_connects(&mut self, index: usize) {
        let Some(gateway) = self.some_gateway() else { return };
        let now = self.time();
        self.subscriber_goes(index);
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.connections += 1;
        let session = Session::new(subscriber.settings.clone(), now);
        let (number, persistent) = (subscriber.connections, subscriber.persistent);
        let properties = ConnectProperties {
            session_expiry_interval: Some(if persistent { LASTS } else { 0 }),
            receive_maximum: Some(subscriber.window),
            ..ConnectProperties::default()
        };
        let connect = Connect {
            version: Version::V5,
            clean_start: !persistent,
            keep_alive: 0,
            client_id: subscriber.client_id().into(),
            will: wills::of_connect(index, number),
            username: None,
            password: None,
            properties,
        };
        let Some(host) = self.gateways.get_mut(gateway) else { return };
        let (life, Some(process)) = (host.life, &mut host.process) else { return };
        let slot = process.open(index, number, session);
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let decoder = Decoder::client(Version::V5, DecodeLimits::default());
        subscriber.at = Some(At { gateway, life, slot, connected: false, decoder, buffer: BytesMut::new() });
        self.note(format_args!("s{index} connects to gateway {gateway}"));
        if index < APART {
            let now = self.now;
            self.history.has_will(index, number, now);
        }
        self.client_sends(index, Packet::Connect(Box::new(connect)));
    }

    fn client_sends(&mut self, index: usize, packet: Packet) {
        let Some(subscriber) = self.subscribers.get(index) else { return };
        let Some(At { gateway, life, slot, .. }) = subscriber.at else { return };
        let number = subscriber.connections;
        self.stream(Node::Client(index), Node::Gateway(gateway), number, move |world| {
            let now = world.time();
            if let Some(process) = world.gateway_of(gateway, life) {
                process.received(slot, packet, now);
                world.gateway_turn(gateway);
            }
        });
    }

    /// In order, or as if the network had failed.
    fn subscriber_leaves(&mut self, index: usize) {
        self.note(format_args!("s{index} disconnects"));
        if self.random.percent(50) {
            self.connection_over(index, Fate::Left);
            self.client_sends(index, Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)));
        }
        self.subscriber_goes(index);
    }

    /// A subscriber with a session that goes on is gone, and its gateway does not hear of it.
    pub(crate) fn subscriber_vanishes(&mut self) {
        let lasting: Vec<usize> =
            (0..self.subscribers.len()).filter(|index| members::is_persistent(*index)).collect();
        let Some(index) = self.random.pick(&lasting) else { return };
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let Some(At { gateway, life, slot, .. }) = subscriber.at else { return };
        subscriber.lost();
        self.connection_over(index, Fate::Lost);
        self.unheard.insert((gateway, life, slot));
        self.note(format_args!("s{index} vanishes from gateway {gateway}"));
    }

    /// It closes its connection, if it has one.
    fn subscriber_goes(&mut self, index: usize) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let number = subscriber.connections;
        let Some(At { gateway, life, slot, .. }) = subscriber.at else { return };
        subscriber.lost();
        self.connection_over(index, Fate::Lost);
        self.stream(Node::Client(index), Node::Gateway(gateway), number, move |world| {
            let now = world.time();
            if let Some(process) = world.gateway_of(gateway, life) {
                process.close(slot, Close::lost("the client is gone"), now);
                world.gateway_turn(gateway);
            }
        });
    }

    fn subscribe(&mut self, index: usize, filter: &'static str) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let packet_id = subscriber.next_packet();
        subscriber.asked = Some((packet_id, Asked::Subscribe(filter)));
        let filters = vec![Subscription::new(filter.to_owned(), subscriber.qos)];
        let (subscription_id, user_properties) = (None, Vec::new());
        self.client_sends(
            index,
            Packet::Subscribe(Subscribe { packet_id, subscription_id, user_properties, filters }),
        );
    }

    fn unsubscribe(&mut self, index: usize, filter: &'static str) {
        let now = self.now;
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let packet_id = subscriber.next_packet();
        subscriber.asked = Some((packet_id, Asked::Unsubscribe(filter)));
        subscriber.unwanted = Some(filter);
        subscriber.filters.remove(filter);
        self.note(format_args!("s{index} unsubscribes from {filter}"));
        self.history.unsubscribing(index, filter, now);
        let (user_properties, filters) = (Vec::new(), vec![filter.to_owned().into()]);
        self.client_sends(index, Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters }));
    }

    /// Bytes have come from a gateway.
    pub(crate) fn client_receives(&mut self, index: usize, number: u64, bytes: &[u8]) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        if subscriber.connections != number {
            return;
        }
        let Some(at) = &mut subscriber.at else { return };
        at.buffer.extend_from_slice(bytes);
        let mut packets = Vec::new();
        loop {
            match at.decoder.decode(&mut at.buffer) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => {
                    return self.violated(format!("s{index} cannot read what it was sent: {error}"));
                }
            }
        }
        packets.into_iter().for_each(|packet| self.client_gets(index, packet));
    }

    /// The gateway has closed a connection.
    pub(crate) fn client_closed(&mut self, index: usize, number: u64) {
        if let Some(subscriber) = self.subscribers.get_mut(index).filter(|one| one.connections == number) {
            subscriber.lost();
            self.connection_over(index, Fate::Lost);
        }
    }

    /// The client has lost the connection that it had last, or left.
    pub(crate) fn connection_over(&mut self, index: usize, fate: Fate) {
        let number = self.subscribers.get(index).map_or(0, |one| one.connections);
        self.history.will(index, number, fate);
    }

    fn client_gets(&mut self, index: usize, packet: Packet) {
        let now = self.now;
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let asked = subscriber.asked;
        match packet {
            Packet::Connack(connack) => {
                let accepted = connack.reason == ReasonCode::Success;
                if accepted {
                    self.history.will(index, subscriber.connections, Fate::There);
                }
                subscriber.at.iter_mut().for_each(|at| at.connected = accepted);
                if accepted && !connack.session_present {
                    // What the server has forgotten, the client forgets.
                    subscriber.received.clear();
                }
            }
            Packet::Suback(suback) => match asked {
                Some((packet_id, Asked::Subscribe(filter))) if packet_id == suback.packet_id => {
                    subscriber.asked = None;
                    subscriber.filters.insert(filter);
                    if subscriber.persistent {
                        self.history.subscribed(index, filter, now);
                    }
                    self.note(format_args!("s{index} is subscribed to {filter}"));
                }
                _ => {}
            },
            Packet::Unsuback(unsuback) => match asked {
                Some((packet_id, Asked::Unsubscribe(_))) if packet_id == unsuback.packet_id => {
                    (subscriber.asked, subscriber.unwanted) = (None, None);
                }
                _ => {}
            },
            Packet::Publish(publish) => self.client_gets_message(index, &publish),
            Packet::Pubrel(pubrel) => {
                subscriber.received.remove(&pubrel.packet_id);
                self.client_answers(index, Packet::Pubcomp(Ack::ok(pubrel.packet_id)));
            }
            _ => {}
        }
    }

    fn client_gets_message(&mut self, index: usize, publish: &Publish) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let Some(id) = MessageId::of_payload(&publish.payload) else {
            return self.violated(format!("s{index} got what nobody sent: {publish:?}"));
        };
        let fresh = match (publish.qos, publish.packet_id) {
            (QoS::ExactlyOnce, Some(packet_id)) => subscriber.received.insert(packet_id),
            _ => true,
        };
        let (qos, packet_id, dup) = (publish.qos, publish.packet_id, publish.dup);
        self.note(format_args!(
            "s{index} gets {id:?} at {qos:?} as {packet_id:?}, again: {dup}, new: {fresh}"
        ));
        let Some(subscriber) = self.subscribers.get(index) else { return };
        if fresh {
            let (stay, connection) = (subscriber.stay(), subscriber.connections);
            if let Err(Violation(what)) = self.history.deliver(stay, connection, id) {
                self.violated(what);
            }
        }
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                self.client_answers(index, Packet::Puback(Ack::ok(packet_id)))
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                self.client_answers(index, Packet::Pubrec(Ack::ok(packet_id)))
            }
            _ => {}
        }
    }

    /// In its own time, in the order in which it got what it answers [MQTT-4.6.0-2], while the connection lasts.
    fn client_answers(&mut self, index: usize, packet: Packet) {
        let Some(slowness) = self.subscribers.get(index).map(|subscriber| subscriber.slowness) else {
            return;
        };
        // Who reads one message at a time would be at what piled up for longer than is waited for.
        let slowness = if self.mended { slowness.min(10) } else { slowness };
        let at = self.now + self.random.between(0, slowness * MILLI);
        let now = self.now;
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.answers_at = subscriber.answers_at.max(at);
        let (number, delay) = (subscriber.connections, subscriber.answers_at - now);
        self.after(delay, Node::Client(index), move |world| {
            if world.subscribers.get(index).is_some_and(|one| one.connections == number) {
                world.client_sends(index, packet);
            }
        });
    }
}
