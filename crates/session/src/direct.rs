//! Direct messages (AWS: SendDirectMessage): to this client alone, past its subscriptions and its queue, at QoS 0 or, with
//! an acknowledgement that somebody waits for, at QoS 1.

use fleethaven_mqtt::PacketId;
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

    /// Whether PUBACK was for a direct message.
    pub(crate) fn acknowledge_direct(&mut self, packet_id: PacketId) -> bool {
        let Some(ticket) = self.outbound.directs.acknowledge(packet_id) else { return false };
        self.push_action(Action::DirectAcknowledged { ticket });
        true
    }
}
