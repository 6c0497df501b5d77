//! What clients saw, and what must have come of it.

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_storage::SessionId;
use fleethaven_topics::filter::matches;
use fleethaven_types::{Message, QoS};

use crate::Violation;
use crate::store::State;
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

pub(crate) struct Sent {
    pub(crate) topic: &'static str,
    pub(crate) qos: QoS,
    pub(crate) at: Micros,
    pub(crate) acknowledged: Option<Micros>,
}

/// A time in which a persistent session was certainly subscribed.
pub(crate) struct Stretch {
    session: SessionId,
    filter: &'static str,
    from: Micros,
    until: Option<Micros>,
}

/// All that clients know.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) sent: BTreeMap<MessageId, Sent>,
    subscribed: Vec<Stretch>,
    /// What connections without a queue were sent, by session.
    pub(crate) delivered: BTreeMap<SessionId, Vec<MessageId>>,
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

    /// A persistent session has its SUBACK.
    pub(crate) fn subscribed(&mut self, session: SessionId, filter: &'static str, at: Micros) {
        let known = |stretch: &Stretch| {
            stretch.session == session && stretch.filter == filter && stretch.until.is_none()
        };
        if !self.subscribed.iter().any(known) {
            self.subscribed.push(Stretch { session, filter, from: at, until: None });
        }
    }

    /// A persistent session asks to be subscribed no more.
    pub(crate) fn unsubscribing(&mut self, session: SessionId, filter: &'static str, at: Micros) {
        for stretch in &mut self.subscribed {
            if stretch.session == session && stretch.filter == filter {
                stretch.until.get_or_insert(at);
            }
        }
    }

    /// A message went to a connection without a queue.
    pub(crate) fn delivered(&mut self, session: SessionId, id: MessageId) -> Result<(), Violation> {
        let before = self.delivered.entry(session).or_default();
        let repeatable = self.sent.get(&id).is_some_and(|sent| sent.qos != QoS::AtMostOnce);
        if !repeatable && before.contains(&id) {
            return Err(Violation(format!("{id:?} at QoS 0 came to {session:?} twice")));
        }
        before.push(id);
        Ok(())
    }

    /// What must hold of the queues when all is over.
    pub(crate) fn check(&self, store: &State) -> Result<(), Violation> {
        self.nothing_is_missing(store)?;
        for (session, queue) in &store.queues {
            self.in_order(*session, queue)?;
            self.once(*session, queue)?;
        }
        Ok(())
    }

    /// Why the session must have the message: it was subscribed before that was sent, and until it was acknowledged.
    fn due(&self, session: SessionId, sent: &Sent) -> Option<&Stretch> {
        let acknowledged = sent.acknowledged?;
        self.subscribed.iter().find(|stretch| {
            let ended = stretch.until.is_some_and(|until| until < acknowledged);
            stretch.session == session
                && stretch.from <= sent.at
                && !ended
                && matches(stretch.filter, sent.topic, true)
        })
    }

    fn nothing_is_missing(&self, store: &State) -> Result<(), Violation> {
        for (session, queue) in &store.queues {
            let held: BTreeSet<MessageId> = queue.iter().copied().collect();
            for (id, sent) in self.sent.iter().filter(|(_, sent)| sent.qos != QoS::AtMostOnce) {
                let Some(Stretch { filter, from, .. }) = self.due(*session, sent) else { continue };
                if !held.contains(id) {
                    return Err(Violation(format!(
                        "{id:?} to {} was sent at {} and acknowledged at {:?}, and is not in the queue of {session:?}, \
                         subscribed to {filter} since {from}",
                        sent.topic, sent.at, sent.acknowledged
                    )));
                }
            }
        }
        Ok(())
    }

    /// First occurrences of one publisher's messages to one topic at one QoS come in the order in which they were published
    /// [MQTT-4.6.0-6]. What was sent before the session subscribed is left out: sent again it may match.
    fn in_order(&self, session: SessionId, queue: &[MessageId]) -> Result<(), Violation> {
        let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
        for id in queue {
            let Some(sent) = self.sent.get(id).filter(|sent| self.due(session, sent).is_some()) else {
                continue;
            };
            if !seen.insert(*id) {
                continue;
            }
            let before =
                last.insert((id.publisher, sent.topic, sent.qos as u8), id.number).unwrap_or_default();
            if before > id.number {
                return Err(Violation(format!(
                    "{session:?} has {id:?} to {} at {:?} after number {before} of the same publisher",
                    sent.topic, sent.qos
                )));
            }
        }
        Ok(())
    }

    fn once(&self, session: SessionId, queue: &[MessageId]) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        let once = |id: &MessageId| self.sent.get(id).is_some_and(|sent| sent.qos == QoS::ExactlyOnce);
        match queue.iter().find(|id| once(id) && !seen.insert(**id)) {
            Some(id) => Err(Violation(format!("{session:?} has {id:?} at QoS 2 twice"))),
            None => Ok(()),
        }
    }
}
