//! What clients saw, and what must have come of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fleethaven_topics::filter::matches;
use fleethaven_types::{Message, QoS};

use crate::Violation;
use crate::clients::SUBSCRIBERS;
use crate::members;
use crate::wills::{self, Fate};
use crate::world::Micros;

/// Who published a message, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageId {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

/// Which message this is.
pub(crate) fn id(message: &Message) -> MessageId {
    MessageId { publisher: message.publisher.trace as usize, number: message.sequence }
}

impl MessageId {
    /// What the message says.
    pub(crate) fn payload(self) -> Bytes {
        format!("{} {}", self.publisher, self.number).into()
    }

    pub(crate) fn of_payload(payload: &[u8]) -> Option<Self> {
        let (publisher, number) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
        Some(Self { publisher: publisher.parse().ok()?, number: number.parse().ok()? })
    }
}

/// A subscriber's session: its number, and for a clean one which connection it is; 0 for one that goes on.
pub(crate) type Stay = (usize, u64);

pub(crate) struct Sent {
    pub(crate) topic: &'static str,
    pub(crate) qos: QoS,
    pub(crate) at: Micros,
    pub(crate) acknowledged: Option<Micros>,
}

/// A time in which a subscriber with a persistent session was certainly subscribed.
pub(crate) struct Stretch {
    subscriber: usize,
    filter: &'static str,
    from: Micros,
    until: Option<Micros>,
}

/// All that clients know.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) sent: BTreeMap<MessageId, Sent>,
    subscribed: Vec<Stretch>,
    /// What subscribers got, with the connection by which it came.
    delivered: BTreeMap<Stay, Vec<(MessageId, u64)>>,
    /// What became of connections that had wills, by the will.
    pub(crate) wills: BTreeMap<MessageId, Fate>,
}

impl History {
    pub(crate) fn sent(&mut self, id: MessageId, topic: &'static str, qos: QoS, at: Micros) {
        self.sent.entry(id).or_insert(Sent { topic, qos, at, acknowledged: None });
    }

    pub(crate) fn acknowledged(&mut self, id: MessageId, at: Micros) {
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.acknowledged.get_or_insert(at);
        }
    }

    /// A subscriber with a persistent session has its SUBACK.
    pub(crate) fn subscribed(&mut self, subscriber: usize, filter: &'static str, at: Micros) {
        let known = |stretch: &Stretch| {
            stretch.subscriber == subscriber && stretch.filter == filter && stretch.until.is_none()
        };
        if !self.subscribed.iter().any(known) {
            self.subscribed.push(Stretch { subscriber, filter, from: at, until: None });
        }
    }

    /// A subscriber asks to be subscribed no more.
    pub(crate) fn unsubscribing(&mut self, subscriber: usize, filter: &'static str, at: Micros) {
        for stretch in &mut self.subscribed {
            if stretch.subscriber == subscriber && stretch.filter == filter {
                stretch.until.get_or_insert(at);
            }
        }
    }

    /// A subscriber got a message, which at QoS 2 it has taken for new.
    pub(crate) fn deliver(&mut self, stay: Stay, connection: u64, id: MessageId) -> Result<(), Violation> {
        let before = self.delivered.entry(stay).or_default();
        let twice = match self.sent.get(&id).map(|sent| sent.qos) {
            Some(QoS::AtLeastOnce) => false,
            Some(QoS::AtMostOnce) => before.contains(&(id, connection)),
            // A message that does not stand in a queue is sent again by another router: see what is not promised.
            Some(QoS::ExactlyOnce) => {
                members::is_persistent(stay.0) && before.iter().any(|(known, _)| *known == id)
            }
            None => return Err(Violation(format!("s{} got {id:?}, which nobody sent", stay.0))),
        };
        if twice {
            return Err(Violation(format!("{id:?} came to s{} twice", stay.0)));
        }
        before.push((id, connection));
        Ok(())
    }

    /// What a subscriber got, in order.
    pub(crate) fn delivered(&self, stay: Stay) -> impl Iterator<Item = MessageId> {
        self.delivered.get(&stay).into_iter().flatten().map(|(id, _)| *id)
    }

    /// How often a message came to a session by one connection: by the next it comes again where it was not acknowledged.
    pub(crate) fn times_at_once(&self, stay: Stay, id: MessageId) -> usize {
        let mut times = BTreeMap::<u64, usize>::new();
        let got = self.delivered.get(&stay).into_iter().flatten();
        for (_, connection) in got.filter(|(known, _)| *known == id) {
            *times.entry(*connection).or_default() += 1;
        }
        times.into_values().max().unwrap_or_default()
    }

    /// Whether a subscriber got a message.
    pub(crate) fn has(&self, stay: Stay, id: MessageId) -> bool {
        self.delivered(stay).any(|known| known == id)
    }

    /// How often a subscriber got a message, whatever session it had.
    pub(crate) fn times(&self, subscriber: usize, id: MessageId) -> usize {
        let stays = self.delivered.range((subscriber, 0)..=(subscriber, u64::MAX));
        stays.flat_map(|(_, got)| got).filter(|(known, _)| *known == id).count()
    }

    pub(crate) fn came_to(&self, subscriber: usize, id: MessageId) -> bool {
        self.times(subscriber, id) > 0
    }

    /// Whether somebody with a persistent session was certainly subscribed at each moment from then on.
    pub(crate) fn had_members(&self, filter: &str, from: Micros) -> bool {
        let mut sure_until = from;
        loop {
            let goes_on = |stretch: &&Stretch| {
                stretch.filter == filter
                    && stretch.from <= sure_until
                    && stretch.until.is_none_or(|until| until > sure_until)
            };
            match self.subscribed.iter().find(goes_on).map(|stretch| stretch.until) {
                Some(Some(until)) => sure_until = until,
                Some(None) => return true,
                None => return false,
            }
        }
    }

    pub(crate) fn forget_deliveries(&mut self) {
        self.delivered.clear();
    }

    /// A client connects with a will.
    pub(crate) fn has_will(&mut self, client: usize, connection: u64, at: Micros) {
        let will = wills::id(client, connection);
        self.sent(will, wills::TOPIC, QoS::ExactlyOnce, at);
        self.wills.insert(will, Fate::Unknown);
    }

    /// What becomes of a connection with a will, which is over once only; whether it was ever there is known from CONNACK.
    pub(crate) fn will(&mut self, client: usize, connection: u64, fate: Fate) {
        if let Some(known) = self.wills.get_mut(&wills::id(client, connection)) {
            let next = matches!((*known, fate), (Fate::Unknown, Fate::There) | (Fate::There, _));
            if next {
                *known = fate;
            }
        }
    }

    /// Whether a subscriber with a persistent session was subscribed to a topic from then on.
    pub(crate) fn was_subscribed(&self, subscriber: usize, topic: &str, from: Micros) -> bool {
        self.subscribed.iter().any(|stretch| {
            stretch.subscriber == subscriber
                && stretch.from <= from
                && stretch.until.is_none()
                && matches(stretch.filter, topic, true)
        })
    }

    /// What must hold of what subscribers with persistent sessions got, when all is over.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        for subscriber in 0..SUBSCRIBERS.0 {
            let got: Vec<MessageId> = self.delivered((subscriber, 0)).collect();
            self.nothing_is_missing(subscriber, &got)?;
            self.in_order(subscriber, &got)?;
        }
        Ok(())
    }

    /// Why the subscriber must have the message: it was subscribed before that was sent, and until it was acknowledged.
    fn due(&self, subscriber: usize, sent: &Sent) -> Option<&Stretch> {
        let acknowledged = sent.acknowledged?;
        self.subscribed.iter().find(|stretch| {
            let ended = stretch.until.is_some_and(|until| until < acknowledged);
            stretch.subscriber == subscriber
                && stretch.from <= sent.at
                && !ended
                && matches(stretch.filter, sent.topic, true)
        })
    }

    fn nothing_is_missing(&self, subscriber: usize, got: &[MessageId]) -> Result<(), Violation> {
        let got: BTreeSet<MessageId> = got.iter().copied().collect();
        for (id, sent) in self.sent.iter().filter(|(_, sent)| sent.qos != QoS::AtMostOnce) {
            let Some(Stretch { filter, from, .. }) = self.due(subscriber, sent) else { continue };
            if !got.contains(id) {
                return Err(Violation(format!(
                    "{id:?} to {} was sent at {} and acknowledged at {:?}, and never came to s{subscriber}, subscribed to \
                     {filter} since {from}",
                    sent.topic, sent.at, sent.acknowledged
                )));
            }
        }
        Ok(())
    }

    /// First occurrences of one publisher's messages to one topic at one QoS come in the order in which they were published
    /// [MQTT-4.6.0-6]. What was sent before the session subscribed is left out: sent again it may match.
    fn in_order(&self, subscriber: usize, got: &[MessageId]) -> Result<(), Violation> {
        let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
        for id in got {
            let Some(sent) = self.sent.get(id).filter(|sent| self.due(subscriber, sent).is_some()) else {
                continue;
            };
            if !seen.insert(*id) {
                continue;
            }
            let before =
                last.insert((id.publisher, sent.topic, sent.qos as u8), id.number).unwrap_or_default();
            if before > id.number {
                return Err(Violation(format!(
                    "s{subscriber} has {id:?} to {} at {:?} after number {before} of the same publisher",
                    sent.topic, sent.qos
                )));
            }
        }
        Ok(())
    }
}
