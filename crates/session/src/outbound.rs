//! PUBLISH to the client: the in-flight window, packet identifiers, what waits for the window, sizes.
//!
//! Every QoS ≥ 1 delivery has an [`EntryId`], and its packet identifier follows from it. For a persistent session the id is
//! the position in its durable queue ([`crate::queue`]), so a redelivery after a crash uses the original identifier
//! [MQTT-4.4.0-1]; for others the session counts for itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use fleethaven_mqtt::PacketId;
use fleethaven_types::{EntryId, Message, QoS};

use crate::aliases::Aliases;
use crate::direct::Directs;
use crate::encoded::Encoded;
use crate::queue::{Cursor, QueueState};
use crate::retries::Retries;
use crate::session::{Now, Session};

/// Output above this many unwritten bytes: QoS 0 is dropped, QoS ≥ 1 waits.
const OUTPUT_BOUND: usize = 1 << 20;
/// Payloads below this size are copied out of their receive buffer before they wait.
const DETACH_BELOW: usize = 4096;
/// Entry ids in flight may span at most so many, so that packet identifiers stay unique.
const MAX_SPAN: u64 = 65_534;

/// How to deliver one message to one client.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// Lower of publish and granted QoS.
    pub qos: QoS,
    /// RETAIN flag to send.
    pub retain: bool,
    /// Subscription Identifiers to send.
    pub identifiers: &'a [u32],
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    qos: QoS,
    retain: bool,
    identifiers: Box<[u32]>,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) entry: EntryId,
    pub(crate) step: Step,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// PUBLISH was sent: PUBACK or, at QoS 2, PUBREC is to come.
    Published(QoS),
    /// PUBREC came, and is being recorded.
    Receiving,
    /// PUBREL was sent: PUBCOMP is to come.
    Released,
    Done,
}

/// What the session knows of its deliveries.
#[derive(Debug)]
pub(crate) struct Outbound {
    window: usize,
    max_packet: usize,
    /// Of a client that takes topic aliases.
    pub(crate) aliases: Option<Box<Aliases>>,
    /// In entry order; those that are done leave from the front.
    in_flight: VecDeque<InFlight>,
    unacknowledged: usize,
    /// Last entry sent (persistent) or numbered (otherwise).
    last: EntryId,
    /// Messages of a session without a durable queue that wait for the window.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Of a persistent session.
    pub(crate) queue: Option<Box<Cursor>>,
    pub(crate) directs: Directs,
    /// Where deliveries at QoS 1 are tried for a bounded time only.
    pub(crate) retries: Option<Box<Retries>>,
    /// The shell holds back what must be acknowledged.
    held: bool,
    pub(crate) written: u64,
    pub(crate) pieces: u64,
    dropped: u64,
    last_drop: Option<DropCause>,
}

/// Why a delivery was dropped at its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// The client does not read what it is sent.
    Unread,
    /// The client does not acknowledge, and what may wait for it is full.
    Unacknowledged,
    /// The message is larger than the client takes.
    TooLarge,
    /// The client has not acknowledged it for as long as deliveries are tried.
    GivenUp,
}

impl DropCause {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unread => "the client does not read",
            Self::Unacknowledged => "the client does not acknowledge",
            Self::TooLarge => "larger than the client's Maximum Packet Size",
            Self::GivenUp => "not acknowledged within qos1-retry-secs",
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            window: usize::from(u16::MAX),
            max_packet: usize::MAX,
            aliases: None,
            in_flight: VecDeque::new(),
            unacknowledged: 0,
            last: EntryId::NONE,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            queue: None,
            directs: Directs::default(),
            retries: None,
            held: false,
            written: 0,
            pieces: 0,
            dropped: 0,
            last_drop: None,
        }
    }
}

impl Outbound {
    pub(crate) fn set_window(&mut self, window: u16) {
        self.window = usize::from(window);
    }

    pub(crate) fn set_max_packet(&mut self, bytes: Option<u32>) {
        self.max_packet = bytes.map_or(usize::MAX, |bytes| bytes as usize);
    }

    /// Starts at the queue's trim point; `true` when a read is to be asked for.
    pub(crate) fn resume(&mut self, queue: Option<QueueState>, rate: Option<u32>, now: Instant) -> bool {
        let Some(state) = queue else { return false };
        self.last = state.trimmed;
        let cursor = Cursor::new(state, rate, now);
        let reading = cursor.is_reading();
        self.queue = Some(Box::new(cursor));
        reading
    }

    /// The last entry that was dealt with.
    pub(crate) fn position(&self) -> EntryId {
        self.last
    }

    /// The highest entry that this connection or one before may have sent.
    pub(crate) fn sent(&self) -> EntryId {
        self.queue.as_ref().map_or(self.last, |cursor| cursor.sent_before().max(self.last))
    }

    /// Nothing is left to send up to `entry`.
    pub(crate) fn skip_to(&mut self, entry: EntryId) {
        self.last = self.last.max(entry);
    }

    /// Whether the window has room, and packet identifiers stay unique if `next` is sent.
    fn has_room_for(&self, next: EntryId) -> bool {
        let span = self.in_flight.front().map_or(0, |oldest| next.0.saturating_sub(oldest.entry.0));
        let window = self.unacknowledged + self.directs.len() < self.window;
        window && span <= MAX_SPAN && !self.directs.uses(next.packet_id())
    }

    /// Whether a delivery in flight has this identifier.
    pub(crate) fn uses(&self, packet_id: PacketId) -> bool {
        self.place_of(packet_id).is_some()
    }

    /// Where the delivery of this identifier is in `in_flight`. What earlier connections released may be further apart than
    /// identifiers tell: where the store has failed over since, numbers are of another generation.
    fn place_of(&self, packet_id: PacketId) -> Option<usize> {
        let (oldest, newest) = (self.in_flight.front()?.entry, self.in_flight.back()?.entry);
        if newest.0 - oldest.0 > MAX_SPAN {
            return self.in_flight.iter().position(|slot| slot.entry.packet_id() == packet_id);
        }
        let entry = entry_of(packet_id, oldest);
        self.in_flight.binary_search_by_key(&entry, |slot| slot.entry).ok()
    }

    pub(crate) fn drop_one(&mut self, cause: DropCause) {
        self.dropped += 1;
        self.last_drop = Some(cause);
    }

    fn next(&self) -> EntryId {
        EntryId(self.last.0 + 1)
    }

    pub(crate) fn max_packet(&self) -> usize {
        self.max_packet
    }

    pub(crate) fn start(&mut self, entry: EntryId, qos: QoS, now: Now) {
        self.last = entry;
        if let Some(retries) = self.retries.as_mut().filter(|_| qos == QoS::AtLeastOnce) {
            retries.started(entry, now);
        }
        self.insert(InFlight { entry, step: Step::Published(qos) });
    }

    /// Below entries that an earlier connection released, there may be some that are sent again.
    pub(crate) fn insert(&mut self, delivery: InFlight) {
        let index = self.in_flight.partition_point(|slot| slot.entry < delivery.entry);
        self.in_flight.insert(index, delivery);
        self.unacknowledged += 1;
    }

    /// The delivery that `packet_id` names, unless it is done.
    pub(crate) fn delivery(&mut self, packet_id: PacketId) -> Option<&mut InFlight> {
        let index = self.place_of(packet_id)?;
        self.in_flight.get_mut(index).filter(|slot| slot.step != Step::Done)
    }

    pub(crate) fn step(&mut self, packet_id: PacketId) -> Option<Step> {
        self.delivery(packet_id).map(|delivery| delivery.step)
    }

    /// The entry that `packet_id` names, now done.
    pub(crate) fn finish(&mut self, packet_id: PacketId) -> Option<EntryId> {
        let delivery = self.delivery(packet_id)?;
        delivery.step = Step::Done;
        let entry = delivery.entry;
        if let Some(retries) = &mut self.retries {
            retries.finished(entry);
        }
        self.unacknowledged -= 1;
        while self.in_flight.front().is_some_and(|slot| slot.step == Step::Done) {
            self.in_flight.pop_front();
        }
        Some(entry)
    }
}

impl Session {
    /// Whether anything that is to be acknowledged may be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.may_send(self.outbound.next())
    }

    /// Whether `entry` may be sent now.
    pub(crate) fn may_send(&self, entry: EntryId) -> bool {
        !self.outbound.held && self.outbound.has_room_for(entry) && !self.output_is_full()
    }

    /// Whether the client leaves so much unread that QoS 0 is dropped and the rest waits.
    pub fn output_is_full(&self) -> bool {
        self.output.len() >= OUTPUT_BOUND
    }

    /// Nothing that must be acknowledged is sent until [`Session::release`]: it waits as if the window were full.
    pub fn hold(&mut self) {
        self.outbound.held = true;
    }

    /// Ends [`Session::hold`].
    pub fn release(&mut self, now: Now) {
        if std::mem::take(&mut self.outbound.held) {
            self.send_waiting(now);
        }
    }

    /// Delivers a message that stands in no durable queue: QoS 0, or any QoS for a session that is not persistent.
    ///
    /// The queue of a persistent session numbers its packets, so what did not pass through it goes out at QoS 0.
    pub fn deliver(&mut self, encoded: &mut Encoded, delivery: &Delivery<'_>, now: Now) {
        if !self.is_connected() || encoded.is_expired() {
            return;
        }
        if delivery.qos == QoS::AtMostOnce || self.outbound.queue.is_some() {
            self.deliver_unacknowledged(encoded, delivery, now);
        } else if self.outbound.waiting.is_empty() && self.has_room() {
            self.send_numbered(encoded, delivery, now);
        } else {
            self.wait(encoded.message(), delivery);
        }
    }

    pub(crate) fn deliver_unacknowledged(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        now: Now,
    ) {
        if self.output_is_full() {
            return self.outbound.drop_one(DropCause::Unread);
        }
        let delivery = Delivery { qos: QoS::AtMostOnce, ..delivery.clone() };
        self.write_publish(encoded, &delivery, None, false, now.wall);
    }

    /// Sends under the next number of a session that counts for itself; `None` when the client cannot take the message.
    pub(crate) fn send_numbered(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        now: Now,
    ) -> Option<EntryId> {
        let entry = self.outbound.next();
        self.outbound.start(entry, delivery.qos, now);
        let sent = self.write_publish(encoded, delivery, Some(entry), false, now.wall);
        if !sent {
            self.outbound.finish(entry.packet_id());
        }
        sent.then_some(entry)
    }

    /// Keeps a message until the client acknowledges earlier ones; drops the newest at the bound.
    fn wait(&mut self, message: &Arc<Message>, delivery: &Delivery<'_>) {
        let limits = &self.settings.limits;
        let size = size_of_waiting(message);
        let full = self.outbound.waiting.len() as u64 >= limits.session_queued_messages
            || (self.outbound.waiting_bytes + size) as u64 > limits.session_queued_bytes;
        if full {
            return self.outbound.drop_one(DropCause::Unacknowledged);
        }
        self.outbound.waiting_bytes += size;
        self.outbound.waiting.push_back(Waiting {
            message: detached(message),
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers.into(),
        });
    }

    /// The window opened or the output drained: sends what waits, reads on where the queue has more.
    pub fn send_waiting(&mut self, now: Now) {
        while self.is_connected() && self.has_room() {
            let Some(waiting) = self.outbound.waiting.pop_front() else { break };
            self.outbound.waiting_bytes -= size_of_waiting(&waiting.message);
            let mut encoded = Encoded::new(waiting.message, now.wall);
            if encoded.is_expired() {
                continue;
            }
            let delivery =
                Delivery { qos: waiting.qos, retain: waiting.retain, identifiers: &waiting.identifiers };
            self.send_numbered(&mut encoded, &delivery, now);
        }
        self.send_waiting_shares(now);
        self.read_on();
    }

    /// Deliveries dropped so far: QoS 0 to a client that does not read, messages above its packet size, a full window and
    /// a full buffer behind it.
    pub fn dropped(&self) -> u64 {
        self.outbound.dropped
    }

    /// Why the last of [`Session::dropped`] was dropped.
    pub fn last_drop(&self) -> Option<DropCause> {
        self.outbound.last_drop
    }

    /// PUBLISH packets written so far.
    pub fn delivered(&self) -> u64 {
        self.outbound.written
    }

    /// What PUBLISH packets were written so far, as AWS counts messages: [`Message::pieces`].
    pub fn delivered_pieces(&self) -> u64 {
        self.outbound.pieces
    }

    /// How many more deliveries may wait for an acknowledgement.
    pub fn window_left(&self) -> usize {
        self.outbound.window.saturating_sub(self.outbound.unacknowledged + self.outbound.directs.len())
    }

    /// Messages that wait for the window.
    pub(crate) fn waiting_count(&self) -> usize {
        self.outbound.waiting.len() + self.waiting_shares()
    }

    /// Deliveries that wait for an acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.outbound.unacknowledged
    }
}

/// The entry that `packet_id` names when `oldest` is the oldest in flight.
fn entry_of(packet_id: PacketId, oldest: EntryId) -> EntryId {
    let distance = (65_535 + u64::from(packet_id.get()) - u64::from(oldest.packet_id().get())) % 65_535;
    EntryId(oldest.0 + distance)
}

/// What a waiting message counts against [`fleethaven_types::Limits::session_queued_bytes`].
fn size_of_waiting(message: &Message) -> usize {
    message.payload.len() + message.topic.len()
}

/// A message that may wait for long: a small payload must not keep the buffer alive that it was received in.
pub(crate) fn detached(message: &Arc<Message>) -> Arc<Message> {
    if message.payload.len() >= DETACH_BELOW {
        return message.clone();
    }
    let payload = bytes::Bytes::copy_from_slice(&message.payload);
    Arc::new(Message { topic: message.topic.compact(), payload, ..(**message).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_of_two_generations_are_told_apart() {
        let (old, new) = (EntryId(3), EntryId((1 << 48) + 7));
        let mut outbound = Outbound::default();
        outbound.insert(InFlight { entry: new, step: Step::Released });
        outbound.insert(InFlight { entry: old, step: Step::Published(QoS::AtLeastOnce) });
        assert_eq!(outbound.step(new.packet_id()), Some(Step::Released));
        assert_eq!(outbound.step(old.packet_id()), Some(Step::Published(QoS::AtLeastOnce)));
        assert!(outbound.uses(new.packet_id()) && !outbound.uses(EntryId(8).packet_id().saturating_add(1)));
        assert_eq!(outbound.finish(new.packet_id()), Some(new));
        assert_eq!(outbound.finish(old.packet_id()), Some(old));
        assert_eq!(outbound.step(new.packet_id()), None);
    }
}
