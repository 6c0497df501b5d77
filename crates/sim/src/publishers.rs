//! Clients that publish numbered messages, and send again what was not acknowledged. What they ask of a gateway goes straight to
//! its lanes.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_storage::{Error, Once, OwnerToken, SessionId};
use fleethaven_types::{Message, Publisher, QoS};

use crate::clients::{TOPICS, claim, scope};
use crate::connections::Pending;
use crate::history::{MessageId, id};
use crate::world::{MILLI, Node, World};
use crate::{Bug, Violation};

/// Messages that a publisher leaves unacknowledged.
const IN_FLIGHT: usize = 8;
/// How many percent of the messages at QoS 2 to its own topic a publisher has retained. At QoS 1 a gateway that the publisher has left
/// may send one again, which then counts as the last.
const RETAINED: u64 = 50;

/// Where a publisher is connected.
#[derive(Debug, Clone, Copy)]
struct At {
    gateway: usize,
    life: u64,
    session: SessionId,
    token: OwnerToken,
}

#[derive(Debug, Clone, Copy)]
struct Unacknowledged {
    number: u64,
    topic: &'static str,
    qos: QoS,
    retain: bool,
}

pub(crate) struct PublisherClient {
    identity: Arc<Publisher>,
    at: Option<At>,
    connections: u64,
    last: u64,
    /// The number of the last one that is to be retained; all are of one topic, which nobody else has anything retained of.
    retained: Option<u64>,
    unacknowledged: VecDeque<Unacknowledged>,
}

impl PublisherClient {
    /// The number of its last message.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn gateway_lost(&mut self, gateway: usize) {
        self.at.take_if(|at| at.gateway == gateway);
    }

    /// What it waits for.
    pub(crate) fn restless(&self) -> Option<String> {
        let first = self.unacknowledged.front()?;
        Some(format!("publisher {} waits for {first:?}", self.identity.trace))
    }
}

impl World {
    pub(crate) fn start_publisher(&mut self, index: usize) {
        let (scope, client_id) = (scope(), Some(format!("p{index}").as_str().into()));
        let identity = Publisher { scope, client_id, principal: None, source_ip: None, trace: index as u64 };
        self.publishers.push(PublisherClient {
            identity: Arc::new(identity),
            at: None,
            connections: 0,
            last: 0,
            retained: None,
            unacknowledged: VecDeque::new(),
        });
        let soon = self.random.between(0, 200 * MILLI);
        self.after(soon, Node::Store, move |world| world.publisher_acts(index));
    }

    fn publisher_acts(&mut self, index: usize) {
        let (pause, topic) = (self.random.between(5 * MILLI, 60 * MILLI), self.random.pick(&TOPICS));
        let qos = match self.random.between(0, 100) {
            0..15 => QoS::AtMostOnce,
            15..80 => QoS::AtLeastOnce,
            // Reads of these wait for the replica, which hides what else is read from the primary alone.
            _ if self.bug == Some(Bug::NumbersReused) => QoS::AtLeastOnce,
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

    pub(crate) fn publish_new(&mut self, index: usize, topic: &'static str, qos: QoS) {
        let (now, retains) = (self.now, self.random.percent(RETAINED));
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        publisher.last += 1;
        let retain = retains && TOPICS.get(index) == Some(&topic) && qos == QoS::ExactlyOnce;
        let next = Unacknowledged { number: publisher.last, topic, qos, retain };
        if retain {
            publisher.retained = Some(next.number);
        }
        if qos != QoS::AtMostOnce {
            publisher.unacknowledged.push_back(next);
        }
        self.history.sent(MessageId { publisher: index, number: next.number }, topic, qos, now);
        self.publish(index, next);
    }

    /// Connects, which happens at one moment here, and sends again what was not acknowledged, in order.
    fn publisher_connects(&mut self, index: usize) {
        let Some(gateway) = self.some_gateway() else { return };
        let wall = self.time().wall;
        let Some(host) = self.gateways.get_mut(gateway) else { return };
        let (life, Some(process)) = (host.life, &mut host.process) else { return };
        let Some(me) = process.me else { return };
        process.last_token += 1;
        let token = OwnerToken { incarnation: me.0, counter: process.last_token };
        let mut store = self.store.lock();
        let claimed = store.model.claim(claim(&format!("p{index}"), token, wall));
        store.written_through();
        drop(store);
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        publisher.connections += 1;
        publisher.at = Some(At { gateway, life, session: claimed.session, token });
        let again = publisher.unacknowledged.clone();
        again.into_iter().for_each(|message| self.publish(index, message));
    }

    fn publish(&mut self, index: usize, message: Unacknowledged) {
        let wall = self.time().wall;
        let Some(publisher) = self.publishers.get(index) else { return };
        let Some(At { gateway, life, session, token }) = publisher.at else { return };
        let Unacknowledged { number, topic, qos, retain } = message;
        let (identity, connection) = (publisher.identity.clone(), publisher.connections);
        let message = Message {
            topic: topic.into(),
            payload: MessageId { publisher: index, number }.payload(),
            qos,
            retain,
            properties: None,
            received_at: wall,
            expires_at: None,
            sequence: number,
            hops: 0,
            publisher: identity,
        };
        let packet_id = NonZeroU16::new(number as u16).filter(|_| qos == QoS::ExactlyOnce);
        let once = packet_id.map(|packet_id| Once::Received { session, token, packet_id });
        let pending = Pending::Publish { publisher: index, number, connection };
        let Some(process) = self.gateway_of(gateway, life) else { return };
        let ticket = (qos != QoS::AtMostOnce).then(|| process.expect(pending));
        let (message, from, fence) = (Arc::new(message), Some(session), None);
        self.route(gateway, RoutingRequest::Publish { ticket, message, from, once, fence });
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
        if publisher.at.is_none() || publisher.connections != connection {
            return;
        }
        let acknowledged = matches!(result, Ok(()) | Err(Error::AlreadyDone));
        match result {
            Ok(()) | Err(Error::AlreadyDone) => {
                publisher.unacknowledged.retain(|waiting| waiting.number != number);
                self.history.acknowledged(MessageId { publisher: index, number }, now);
            }
            // The gateway closes the connection; the client sends it again on its next one.
            Err(_) => publisher.at = None,
        }
        self.note(format_args!("p{index} is answered to {number}: {acknowledged}"));
    }

    /// What is retained of each topic is what was published last, as all of it is acknowledged.
    pub(crate) fn check_retained(&self) -> Result<(), Violation> {
        let store = self.store.lock();
        for (index, (publisher, topic)) in self.publishers.iter().zip(TOPICS).enumerate() {
            let wanted = publisher.retained.map(|number| MessageId { publisher: index, number });
            let kept = store.model.retained.get(scope(), topic).map(|message| id(message));
            if kept != wanted {
                return Err(Violation(format!("{kept:?} is retained of {topic} instead of {wanted:?}")));
            }
        }
        Ok(())
    }

    pub(crate) fn publisher_disconnects(&mut self) {
        let index = self.random.index(self.publishers.len());
        if let Some(publisher) = self.publishers.get_mut(index) {
            publisher.at = None;
        }
    }
}
