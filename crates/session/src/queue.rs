//! The durable queue of a persistent session: the reading position, pushes, and the pace of stored messages.
//!
//! A push from the router is a hint: it is delivered when it continues what the session holds, and the queue is read
//! otherwise (`docs/architecture.md`, "a push is a hint"). At most one read is on its way; what arrives meanwhile is read
//! next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_types::{EntryId, Message, QoS, Timestamp};

use crate::encoded::Encoded;
use crate::outbound::Delivery;
use crate::session::{Action, Now, Session};

/// Where the durable queue of a persistent session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Everything up to here is acknowledged.
    pub trimmed: EntryId,
    /// The last entry there is.
    pub tail: EntryId,
    /// Up to here entries may have been sent before: they carry DUP.
    pub sent: EntryId,
}

/// The reading position of a persistent session in its durable queue; what was sent last is `Outbound::last`.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Highest entry known to exist.
    tail: EntryId,
    /// A read is on its way; `tail` as it was known when the read was asked for.
    reading: Option<EntryId>,
    /// Pushes may have been lost: read though `tail` says that there is nothing.
    unsure: bool,
    sent_before: EntryId,
    pace: Option<Pace>,
}

/// Stored messages are delivered at most `rate` a second (AWS: mqtt, persistent sessions).
#[derive(Debug)]
struct Pace {
    rate: u32,
    /// Entries up to here were stored when the session was resumed; later ones are live.
    stored: EntryId,
    /// Sent within the second that ends at `until`.
    sent: u32,
    /// One second after the last one was sent, or after the last look.
    until: Instant,
}

impl Pace {
    const SECOND: Duration = Duration::from_secs(1);

    fn refill(&mut self, now: Instant) {
        if self.until <= now {
            self.sent = 0;
            self.until = now + Self::SECOND;
        }
    }

    fn is_exhausted(&self) -> bool {
        self.sent >= self.rate
    }

    /// Whether one more may be sent now.
    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.is_exhausted() {
            return false;
        }
        self.sent += 1;
        self.until = now + Self::SECOND;
        true
    }
}

impl Cursor {
    /// Starts at the trim point; a read is on its way when the queue has entries.
    pub(crate) fn new(state: QueueState, drain_rate: Option<u32>, now: Instant) -> Self {
        let stored = state.tail > state.trimmed;
        let pace = drain_rate.filter(|_| stored).map(|rate| Pace {
            rate: rate.max(1),
            stored: state.tail,
            sent: 0,
            until: now + Pace::SECOND,
        });
        let reading = stored.then_some(state.tail);
        Self { tail: state.tail, reading, unsure: false, sent_before: state.sent, pace }
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    pub(crate) fn sent_before(&self) -> EntryId {
        self.sent_before
    }

    /// Whether `entry` may be sent now as far as the pace of stored messages goes.
    fn take(&mut self, entry: EntryId, now: Instant) -> bool {
        if self.pace.as_ref().is_some_and(|pace| entry > pace.stored) {
            self.pace = None;
        }
        self.pace.as_mut().is_none_or(|pace| pace.take(now))
    }

    /// A read came back: the store's word on the tail stands, unless later entries were heard of meanwhile.
    fn finish_read(&mut self, tail: EntryId, last: EntryId) {
        self.pace.take_if(|pace| pace.stored <= last);
        let asked = self.reading.take();
        let heard_of_more = asked.is_none_or(|known| self.tail > known);
        self.tail = if heard_of_more { self.tail.max(tail) } else { tail };
    }

    fn wants_read(&self, last: EntryId) -> bool {
        let paced = self.pace.as_ref().is_some_and(Pace::is_exhausted);
        !self.is_reading() && !paced && (self.unsure || self.tail > last)
    }

    fn start_read(&mut self) {
        self.reading = Some(self.tail);
        self.unsure = false;
    }

    /// The next look at the pace: at least every second while stored messages are left, so that a shell whose timer was
    /// set at the resume need not move it forward.
    fn deadline(&self) -> Option<Instant> {
        self.pace.as_ref().map(|pace| pace.until)
    }
}

impl Session {
    /// A push from the durable queue: `entry` follows `previous`. Delivered if the session holds `previous`; otherwise the
    /// queue is read.
    pub fn deliver_queued(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        (entry, previous): (EntryId, EntryId),
        now: Now,
    ) {
        if !self.is_connected() {
            return;
        }
        let last = self.outbound.position();
        let Some(cursor) = &mut self.outbound.queue else { return };
        let level = cursor.tail <= last && !cursor.is_reading();
        cursor.tail = cursor.tail.max(entry);
        if level && entry > last && previous == last && self.may_send(entry) {
            self.send_entry(encoded, delivery, entry, now);
        } else {
            self.read_on();
        }
    }

    /// A push from the durable queue that the client may not receive: it counts as delivered and acknowledged.
    pub fn skip_queued(&mut self, (entry, previous): (EntryId, EntryId)) {
        let last = self.outbound.position();
        let Some(cursor) = &mut self.outbound.queue else { return };
        let level = cursor.tail <= last && !cursor.is_reading();
        cursor.tail = cursor.tail.max(entry);
        if level && entry > last && previous == last {
            self.outbound.skip_to(entry);
            self.push_action(Action::Acknowledged { entry });
        }
        self.read_on();
    }

    /// A push from the durable queue that the client may not receive and that another one is to get: passed over, and left
    /// in the queue until that one has it.
    pub fn pass_queued(&mut self, (entry, previous): (EntryId, EntryId)) {
        let last = self.outbound.position();
        let Some(cursor) = &mut self.outbound.queue else { return };
        let level = cursor.tail <= last && !cursor.is_reading();
        cursor.tail = cursor.tail.max(entry);
        if level && entry > last && previous == last {
            self.outbound.skip_to(entry);
        }
        self.read_on();
    }

    /// Whether the durable queue has entries that were not sent yet.
    pub(crate) fn is_behind(&self) -> bool {
        let last = self.outbound.position();
        self.outbound.queue.as_ref().is_some_and(|cursor| cursor.is_reading() || cursor.tail > last)
    }

    /// The entries that [`Action::ReadQueue`] asked for, in order, and the queue's tail when they were read. No entries
    /// means that there are none above the one the read was to start after.
    pub fn queue_read<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (EntryId, Arc<Message>, Delivery<'a>)>,
        tail: EntryId,
        now: Now,
    ) {
        if !self.is_connected() {
            return;
        }
        let mut empty = true;
        for (entry, message, delivery) in entries {
            if entry <= self.outbound.position() {
                continue;
            }
            empty = false;
            if !self.take_entry(entry, message, &delivery, now) {
                break;
            }
        }
        if empty {
            // What was between here and the tail is gone (expired, or acknowledged before the resume).
            self.outbound.skip_to(tail);
        }
        let last = self.outbound.position();
        if let Some(cursor) = &mut self.outbound.queue {
            cursor.finish_read(tail, last);
        }
        self.read_on();
    }

    /// Sends an entry that was read; `false` when it has to wait.
    fn take_entry(
        &mut self,
        entry: EntryId,
        message: Arc<Message>,
        delivery: &Delivery<'_>,
        now: Now,
    ) -> bool {
        if !self.may_send(entry) {
            // Nothing lies between the last entry and this one, so the span of identifiers counts from here.
            self.outbound.skip_to(EntryId(entry.0.saturating_sub(1)));
            return false;
        }
        let mut encoded = Encoded::new(message, now.wall);
        let worth = self.is_worth_sending(&encoded, delivery, entry, now.wall);
        let cursor = self.outbound.queue.as_mut();
        if worth && !cursor.is_none_or(|cursor| cursor.take(entry, now.instant)) {
            return false;
        }
        self.send_entry(&mut encoded, delivery, entry, now);
        true
    }

    /// An exchange that may have begun is carried to its end though its message has expired: the client would take a later
    /// message under the identifier for a repeat.
    fn is_worth_sending(
        &self,
        encoded: &Encoded,
        delivery: &Delivery<'_>,
        entry: EntryId,
        now: Timestamp,
    ) -> bool {
        let sent_before = self.outbound.queue.as_deref().map_or(EntryId::NONE, Cursor::sent_before);
        let given_up = self.outbound.retries.as_ref().is_some_and(|retries| retries.is_over(entry, now));
        !(encoded.is_expired() || given_up) || (delivery.qos == QoS::ExactlyOnce && entry <= sent_before)
    }

    fn send_entry(&mut self, encoded: &mut Encoded, delivery: &Delivery<'_>, entry: EntryId, now: Now) {
        let sent_before = self.outbound.queue.as_deref().map_or(EntryId::NONE, Cursor::sent_before);
        let dup = entry <= sent_before && self.settings.behaviour.dup_flag_on_redelivery;
        let unacknowledged = delivery.qos == QoS::AtMostOnce;
        self.outbound.start(entry, delivery.qos, now);
        let gone = !self.is_worth_sending(encoded, delivery, entry, now.wall)
            || !self.write_publish(encoded, delivery, Some(entry).filter(|_| !unacknowledged), dup, now.wall);
        if gone || unacknowledged {
            self.outbound.finish(entry.packet_id());
            self.push_action(Action::Acknowledged { entry });
        }
    }

    /// Asks for more of the queue when there is more, the client may get it, and no read is on its way.
    pub(crate) fn read_on(&mut self) {
        let after = self.outbound.position();
        let room = self.is_connected() && self.has_room();
        let Some(cursor) = &mut self.outbound.queue else { return };
        if room && cursor.wants_read(after) {
            cursor.start_read();
            self.push_action(Action::ReadQueue { after });
        }
    }

    /// Tells the session of its queue's tail; it reads on if it was behind. Pushes can get lost with the router that sent
    /// them, so the shell asks the store for tails from time to time.
    pub fn queue_tail(&mut self, tail: EntryId) {
        if let Some(cursor) = &mut self.outbound.queue {
            cursor.tail = cursor.tail.max(tail);
        }
        self.read_on();
    }

    /// The last entry that the session knows of, to be compared with the store; `None` without a queue, and while a read
    /// that will tell is on its way.
    pub fn queue_tail_known(&self) -> Option<EntryId> {
        self.outbound.queue.as_ref().filter(|cursor| !cursor.is_reading()).map(|cursor| cursor.tail)
    }

    /// Pushes may have been lost: a persistent session looks at its queue. A read that is on its way may have missed what
    /// was lost, so another one follows it.
    pub fn resync(&mut self) {
        if let Some(cursor) = &mut self.outbound.queue {
            cursor.unsure = true;
        }
        self.read_on();
    }

    /// When the pace of stored messages allows the next ones.
    pub(crate) fn pace_deadline(&self) -> Option<Instant> {
        self.outbound.queue.as_deref().and_then(Cursor::deadline)
    }

    /// Time passed: stored messages may go on.
    pub(crate) fn handle_pace(&mut self, now: Instant) {
        if let Some(pace) = self.outbound.queue.as_mut().and_then(|cursor| cursor.pace.as_mut()) {
            pace.refill(now);
            self.read_on();
        }
    }
}
