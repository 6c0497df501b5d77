//! How long a QoS 1 delivery is tried (AWS: "Maximum retry interval for delivering QoS 1 messages", an hour): one that the
//! client has not acknowledged by then is given up. On a live connection nothing is sent twice [MQTT-4.4.0-1]; the time goes on
//! over reconnects, as far as the ends of connections were recorded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleethaven_types::{EntryId, QoS, Timestamp};

use crate::outbound::{DropCause, Step};
use crate::session::{Now, Session};

/// When deliveries were first sent: those that wait for PUBACK, and those of earlier connections that are yet to be sent again.
#[derive(Debug)]
pub(crate) struct Retries {
    within: Duration,
    first_sent: BTreeMap<EntryId, Timestamp>,
    /// None of those that wait for PUBACK is over before.
    next: Option<Instant>,
}

impl Retries {
    /// For deliveries tried for `secs`; `earlier` is what a connection before left.
    pub(crate) fn new(secs: u32, earlier: Vec<(EntryId, Timestamp)>) -> Box<Self> {
        let within = Duration::from_secs(u64::from(secs));
        Box::new(Self { within, first_sent: earlier.into_iter().collect(), next: None })
    }

    pub(crate) fn started(&mut self, entry: EntryId, now: Now) {
        let first = *self.first_sent.entry(entry).or_insert(now.wall);
        let over = now.instant + self.left(first, now.wall);
        self.next = Some(self.next.map_or(over, |next| next.min(over)));
    }

    pub(crate) fn finished(&mut self, entry: EntryId) {
        self.first_sent.remove(&entry);
    }

    pub(crate) fn is_over(&self, entry: EntryId, now: Timestamp) -> bool {
        self.first_sent.get(&entry).is_some_and(|first| self.left(*first, now).is_zero())
    }

    fn left(&self, first: Timestamp, now: Timestamp) -> Duration {
        self.within.saturating_sub(now.since(first))
    }

    /// Takes out what is over of the entries up to `sent`.
    fn take_over(&mut self, sent: EntryId, now: Now) -> Vec<EntryId> {
        if self.next.is_none_or(|next| next > now.instant) {
            return Vec::new();
        }
        let mut over = Vec::new();
        self.next = None;
        for (entry, first) in self.first_sent.range(..=sent) {
            match self.within.saturating_sub(now.wall.since(*first)) {
                Duration::ZERO => over.push(*entry),
                left => {
                    let at = now.instant + left;
                    self.next = Some(self.next.map_or(at, |next| next.min(at)));
                }
            }
        }
        over.iter().for_each(|entry| self.finished(*entry));
        over
    }
}

impl Session {
    /// Gives up deliveries that were tried for too long.
    pub(crate) fn give_up(&mut self, now: Now) {
        let sent = self.outbound.position();
        let Some(retries) = &mut self.outbound.retries else { return };
        for entry in retries.take_over(sent, now) {
            let packet_id = entry.packet_id();
            if self.outbound.step(packet_id) == Some(Step::Published(QoS::AtLeastOnce)) {
                self.outbound.drop_one(DropCause::GivenUp);
                self.done(packet_id, now);
            }
        }
    }

    pub(crate) fn give_up_deadline(&self) -> Option<Instant> {
        self.outbound.retries.as_ref().and_then(|retries| retries.next)
    }

    /// When the entries that are to be sent again were first sent.
    pub(crate) fn first_sent(&mut self) -> Vec<(EntryId, Timestamp)> {
        let sent = self.outbound.position();
        let Some(retries) = self.outbound.retries.take().filter(|_| self.outbound.queue.is_some()) else {
            return Vec::new();
        };
        // One that was passed over when the queue was read is gone.
        let waits = |entry: EntryId| entry > sent || self.outbound.uses(entry.packet_id());
        retries.first_sent.into_iter().filter(|(entry, _)| waits(*entry)).collect()
    }
}
