//! PUBLISH to the client: the in-flight window, packet identifiers, the queue cursor, expiry, sizes.
//!
//! Every QoS ≥ 1 delivery has an [`EntryId`], and its packet identifier follows from it. For a persistent session the id is
//! the position in its durable queue, so a redelivery after a crash uses the original identifier [MQTT-4.4.0-1]; for others
//! the session counts for itself. A push from the router is a hint: it is delivered when it continues what the session holds,
//! and the queue is read otherwise (`docs/architecture.md`, "a push is a hint").

use std::collections::VecDeque;
use std::sync::Arc;

use fleethaven_mqtt::{PacketId, Version, encode};
use fleethaven_types::{EntryId, Message, QoS, Timestamp};

use crate::encoded::{self, Encoded};
use crate::output::Output;
use crate::session::{Action, Now, Session};

/// Output above this many unwritten bytes: QoS 0 is dropped, QoS ≥ 1 waits.
const OUTPUT_BOUND: usize = 1 << 20;
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

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    qos: QoS,
    retain: bool,
    identifiers: Box<[u32]>,
}

#[derive(Debug)]
struct InFlight {
    entry: EntryId,
    acknowledged: bool,
}

/// What the session knows of its deliveries.
#[derive(Debug)]
pub(crate) struct Outbound {
    window: usize,
    max_packet: usize,
    /// In entry order; acknowledged ones leave from the front.
    in_flight: VecDeque<InFlight>,
    unacknowledged: usize,
    /// Last entry sent (persistent) or numbered (otherwise).
    last: EntryId,
    /// Messages of a session without a durable queue that wait for the window.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    queue: Option<Cursor>,
    dropped: u64,
}

/// The reading position of a persistent session in its durable queue.
#[derive(Debug)]
struct Cursor {
    /// Highest entry known to exist.
    tail: EntryId,
    /// A read is on its way.
    reading: bool,
    sent_before: EntryId,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            window: usize::from(u16::MAX),
            max_packet: usize::MAX,
            in_flight: VecDeque::new(),
            unacknowledged: 0,
            last: EntryId::NONE,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            queue: None,
            dropped: 0,
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

    /// Starts at the queue's trim point; `true` when there is something to read.
    pub(crate) fn resume(&mut self, queue: Option<QueueState>) -> bool {
        let Some(state) = queue else { return false };
        let reading = state.tail > state.trimmed;
        self.last = state.trimmed;
        self.queue = Some(Cursor { tail: state.tail, reading, sent_before: state.sent });
        reading
    }

    pub(crate) fn position(&self) -> EntryId {
        self.last
    }

    fn has_room(&self) -> bool {
        let span = self.in_flight.front().map_or(0, |oldest| self.last.0.saturating_sub(oldest.entry.0));
        self.unacknowledged < self.window && span < MAX_SPAN
    }

    fn start(&mut self, entry: EntryId) {
        self.last = entry;
        self.in_flight.push_back(InFlight { entry, acknowledged: false });
        self.unacknowledged += 1;
    }

    /// The entry that `packet_id` names, now acknowledged.
    fn acknowledge(&mut self, packet_id: PacketId) -> Option<EntryId> {
        let oldest = self.in_flight.front()?.entry;
        let distance = (65_535 + u64::from(packet_id.get()) - u64::from(oldest.packet_id().get())) % 65_535;
        let entry = EntryId(oldest.0 + distance);
        let index = self.in_flight.binary_search_by_key(&entry, |slot| slot.entry).ok()?;
        let slot = self.in_flight.get_mut(index).filter(|slot| !slot.acknowledged)?;
        slot.acknowledged = true;
        self.unacknowledged -= 1;
        while self.in_flight.front().is_some_and(|slot| slot.acknowledged) {
            self.in_flight.pop_front();
        }
        Some(entry)
    }
}

impl Session {
    /// Delivers a message that stands in no durable queue: QoS 0, or any QoS for a session that is not persistent.
    pub fn deliver(&mut self, encoded: &mut Encoded, delivery: &Delivery<'_>, now: Now) {
        if !self.is_connected() || encoded.is_expired() {
            return;
        }
        if delivery.qos == QoS::AtMostOnce {
            if self.output.len() < OUTPUT_BOUND {
                self.write_publish(encoded, delivery, None, false, now.wall);
            } else {
                self.outbound.dropped += 1;
            }
        } else if self.outbound.waiting.is_empty()
            && self.outbound.has_room()
            && self.output.len() < OUTPUT_BOUND
        {
            let entry = EntryId(self.outbound.last.0 + 1);
            self.outbound.start(entry);
            if !self.write_publish(encoded, delivery, Some(entry), false, now.wall) {
                self.outbound.acknowledge(entry.packet_id());
            }
        } else {
            self.wait(encoded.message(), delivery);
        }
    }

    /// Keeps a message until the client acknowledges earlier ones; drops the newest at the bound.
    fn wait(&mut self, message: &Arc<Message>, delivery: &Delivery<'_>) {
        let limits = &self.settings.limits;
        let size = message.payload.len() + message.topic.len();
        let full = self.outbound.waiting.len() as u64 >= limits.session_queued_messages
            || (self.outbound.waiting_bytes + size) as u64 > limits.session_queued_bytes;
        if full {
            self.outbound.dropped += 1;
            return;
        }
        self.outbound.waiting_bytes += size;
        self.outbound.waiting.push_back(Waiting {
            message: message.clone(),
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers.into(),
        });
    }

    /// A push from the durable queue: `entry` follows `previous`. Delivered if the session holds `previous`; otherwise the
    /// queue is read.
    pub fn deliver_queued(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        (entry, previous): (EntryId, EntryId),
        now: Now,
    ) {
        let last = self.outbound.last;
        let Some(cursor) = &mut self.outbound.queue else { return };
        let level = cursor.tail <= last;
        cursor.tail = cursor.tail.max(entry);
        if cursor.reading || !self.is_connected() || entry <= last {
            return;
        }
        if level && previous == last && self.outbound.has_room() && self.output.len() < OUTPUT_BOUND {
            self.send_entry(encoded, delivery, entry, now.wall);
        } else {
            self.read_on();
        }
    }

    /// The entries that [`Action::ReadQueue`] asked for, in order, and the queue's tail when they were read.
    pub fn queue_read<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (EntryId, Arc<Message>, Delivery<'a>)>,
        tail: EntryId,
        now: Now,
    ) {
        let mut complete = true;
        for (entry, message, delivery) in entries {
            if entry <= self.outbound.last {
                continue;
            }
            if !self.outbound.has_room() || self.output.len() >= OUTPUT_BOUND {
                complete = false;
                break;
            }
            let mut encoded = Encoded::new(message, now.wall);
            self.send_entry(&mut encoded, &delivery, entry, now.wall);
        }
        let last = self.outbound.last;
        if let Some(cursor) = &mut self.outbound.queue {
            cursor.reading = false;
            cursor.tail = cursor.tail.max(tail);
        }
        if complete && tail > last && self.outbound.queue.as_ref().is_some_and(|cursor| cursor.tail == tail) {
            // Entries between here and the tail are gone (expired): nothing below the tail is left to read.
            self.outbound.last = tail;
        }
        self.read_on();
    }

    /// Asks for more of the queue when there is more and the window has room.
    fn read_on(&mut self) {
        let room = self.outbound.has_room() && self.output.len() < OUTPUT_BOUND;
        let last = self.outbound.last;
        let Some(cursor) = &mut self.outbound.queue else { return };
        if !cursor.reading && cursor.tail > last && room {
            cursor.reading = true;
            self.push_action(Action::ReadQueue { after: last });
        }
    }

    fn send_entry(&mut self, encoded: &mut Encoded, delivery: &Delivery<'_>, entry: EntryId, now: Timestamp) {
        let sent_before = self.outbound.queue.as_ref().map_or(EntryId::NONE, |cursor| cursor.sent_before);
        let dup = entry <= sent_before && self.settings.behaviour.dup_flag_on_redelivery;
        self.outbound.start(entry);
        let gone = encoded.is_expired() || !self.write_publish(encoded, delivery, Some(entry), dup, now);
        if gone {
            self.outbound.acknowledge(entry.packet_id());
            self.push_action(Action::Acknowledged { entry });
        }
    }

    /// Writes one PUBLISH; `false` when the client's Maximum Packet Size does not allow it [MQTT-3.1.2-25].
    fn write_publish(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        entry: Option<EntryId>,
        dup: bool,
        now: Timestamp,
    ) -> bool {
        let packet_id = entry.map(EntryId::packet_id);
        let max = self.outbound.max_packet;
        let written = if delivery.identifiers.is_empty() || self.version == Version::V311 {
            let template = encoded.template(self.version, delivery.qos, delivery.retain);
            template.filter(|template| template.encoded_len() <= max).is_some_and(|template| {
                let head = template.write_head_to(packet_id, dup, self.output.buffer());
                self.output.put_payload(template.payload());
                head.is_ok()
            })
        } else {
            let message = encoded.message();
            let mut publish = encoded::publish(
                message,
                delivery.qos,
                delivery.retain,
                delivery.identifiers,
                now,
                self.version,
            );
            (publish.packet_id, publish.dup) = (packet_id, dup);
            encode::publish_len(self.version, &publish) <= max
                && write_one(&publish, self.version, &mut self.output)
        };
        if !written {
            self.outbound.dropped += 1;
            tracing::debug!(client_id = %self.client_id, topic = %encoded.message().topic, "message too large for the client");
        }
        written
    }

    pub(crate) fn handle_puback(&mut self, packet_id: PacketId, now: Now) {
        let Some(entry) = self.outbound.acknowledge(packet_id) else {
            // Not in flight: a duplicate, or an identifier the client made up. Neither harms [MQTT5 4.3.2].
            return;
        };
        if self.outbound.queue.is_some() {
            self.push_action(Action::Acknowledged { entry });
        }
        self.send_waiting(now);
    }

    /// The window opened or the output drained: sends what waits, reads on where the queue has more.
    pub fn send_waiting(&mut self, now: Now) {
        while self.outbound.has_room() && self.output.len() < OUTPUT_BOUND {
            let Some(waiting) = self.outbound.waiting.pop_front() else { break };
            self.outbound.waiting_bytes -= waiting.message.payload.len() + waiting.message.topic.len();
            let mut encoded = Encoded::new(waiting.message, now.wall);
            if encoded.is_expired() {
                continue;
            }
            let delivery =
                Delivery { qos: waiting.qos, retain: waiting.retain, identifiers: &waiting.identifiers };
            let entry = EntryId(self.outbound.last.0 + 1);
            self.outbound.start(entry);
            if !self.write_publish(&mut encoded, &delivery, Some(entry), false, now.wall) {
                self.outbound.acknowledge(entry.packet_id());
            }
        }
        self.read_on();
    }

    /// Tells the session of its queue's tail; it reads on if it was behind. Pushes can get lost with the router that sent
    /// them, so the shell asks the store for tails from time to time.
    pub fn queue_tail(&mut self, tail: EntryId) {
        if let Some(cursor) = &mut self.outbound.queue {
            cursor.tail = cursor.tail.max(tail);
        }
        self.read_on();
    }

    /// Deliveries dropped so far: QoS 0 to a client that does not read, messages above its packet size, a full window and
    /// a full buffer behind it.
    pub fn dropped(&self) -> u64 {
        self.outbound.dropped
    }

    /// Deliveries that wait for an acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.outbound.unacknowledged
    }
}

fn write_one(publish: &fleethaven_mqtt::Publish, version: Version, output: &mut Output) -> bool {
    encode::encode_publish(publish, version, output.buffer()).is_ok()
}
