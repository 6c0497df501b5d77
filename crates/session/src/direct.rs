//! Direct messages (AWS: SendDirectMessage): to this client alone, past its subscriptions and its queue, at QoS 0 or, with
//! an acknowledgement that somebody waits for, at QoS 1.

use fleethaven_mqtt::PacketId;
use fleethaven_topics::{filter, split_shared};
use fleethaven_types::{EntryId, QoS};

use crate::encoded::Encoded;
use crate::outbound::{Delivery, Outbound};
use crate::session::{Action, Now, Session};

/// Identifiers tried for a direct message before the client counts as busy.
const TRIES: u64 = 64;
/// How far ahead of the queue's identifiers those of direct messages begin.
const AHEAD: u64 = 32_768;

/// Names a direct message that is to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectTicket(pub u64);

/// Why a direct message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectRefused {
    /// The connection is not open.
    NotConnected,
    /// The client leaves too much unread or unacknowledged.
    Busy,
    /// It is larger than the client takes.
    TooLarge,
}

/// Direct messages that the client has not acknowledged. Their identifiers stay taken until it does, for as long as the
/// connection lasts.
#[derive(Debug, Default)]
pub(crate) struct Directs(Vec<(PacketId, DirectTicket)>);

impl Directs {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn uses(&self, packet_id: PacketId) -> bool {
        self.0.iter().any(|(used, _)| *used == packet_id)
    }

    fn acknowledge(&mut self, packet_id: PacketId) -> Option<DirectTicket> {
        let index = self.0.iter().position(|(used, _)| *used == packet_id)?;
        Some(self.0.swap_remove(index).1)
    }
}

impl Outbound {
    /// An entry number whose identifier nothing uses, and the queue will not come to soon.
    fn free_number(&self) -> Option<EntryId> {
        let first = self.position().0 + AHEAD;
        let mut candidates = (first..first + TRIES).map(EntryId);
        candidates.find(|entry| {
            let packet_id = entry.packet_id();
            !self.directs.uses(packet_id) && !self.uses(packet_id)
        })
    }
}

impl Session {
    /// Sends a direct message: with a ticket at QoS 1, and [`Action::DirectAcknowledged`] follows; otherwise at QoS 0.
    pub fn deliver_direct(
        &mut self,
        encoded: &mut Encoded,
        ticket: Option<DirectTicket>,
        now: Now,
    ) -> Result<(), DirectRefused> {
        if !self.is_connected() {
            return Err(DirectRefused::NotConnected);
        }
        let room = if ticket.is_some() { self.has_room() } else { !self.output_is_full() };
        if !room {
            return Err(DirectRefused::Busy);
        }
        let numbered = match ticket {
            Some(ticket) => Some((self.outbound.free_number().ok_or(DirectRefused::Busy)?, ticket)),
            None => None,
        };
        let qos = if numbered.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let delivery = Delivery { qos, retain: false, identifiers: &[] };
        let entry = numbered.map(|(entry, _)| entry);
        if !self.write_publish(encoded, &delivery, entry, false, now.wall) {
            return Err(DirectRefused::TooLarge);
        }
        if let Some((entry, ticket)) = numbered {
            self.outbound.directs.0.push((entry.packet_id(), ticket));
        }
        Ok(())
    }

    /// Delivers the answer to what the client has asked by publishing, where one of its subscriptions matches: to this client
    /// alone, and past its queue. `ticket` names it where the client is to acknowledge it.
    pub fn deliver_answer(&mut self, encoded: &mut Encoded, ticket: DirectTicket, now: Now) {
        let Some(granted) = self.granted(&encoded.message().topic) else { return };
        let qos = granted.min(encoded.message().qos).min(QoS::AtLeastOnce);
        let is_numbered_by_queue = self.outbound.queue.is_some();
        if qos == QoS::AtLeastOnce
            && is_numbered_by_queue
            && self.deliver_direct(encoded, Some(ticket), now).is_ok()
        {
            return;
        }
        self.deliver(encoded, &Delivery { qos, retain: false, identifiers: &[] }, now);
    }

    /// The highest QoS that a subscription has which matches `topic`.
    fn granted(&self, topic: &str) -> Option<QoS> {
        let parents = self.settings.behaviour.hash_matches_parent;
        let matching = self.subscriptions().filter(|(filter, _)| {
            let shared = split_shared(filter).map(|(_, inner)| inner);
            filter::matches(shared.unwrap_or(filter.as_str()), topic, parents)
        });
        matching.map(|(_, qos)| qos).max()
    }

    /// Whether PUBACK was for a direct message.
    pub(crate) fn acknowledge_direct(&mut self, packet_id: PacketId) -> bool {
        let Some(ticket) = self.outbound.directs.acknowledge(packet_id) else { return false };
        self.push_action(Action::DirectAcknowledged { ticket });
        true
    }
}
