//! A router's way to push messages to connections.

use std::sync::Arc;

use fleethaven_storage::{EntryId, SessionId};
use fleethaven_types::{Message, QoS};

use crate::routing::QueuePosition;

/// A live connection: gateway, core, slot in the core's table, and the slot's generation. `Address::NONE` is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u64);

impl Address {
    /// No connection.
    pub const NONE: Self = Self(0);

    /// The connection in `slot` (below 2²⁴) of `core` (below 2⁸), in the slot's `generation` (1 to 2³¹).
    pub fn new(core: u8, slot: u32, generation: u32) -> Self {
        Self((u64::from(core) << 56) | (u64::from(slot & 0x00ff_ffff) << 32) | u64::from(generation))
    }

    /// As one number, for stores that keep addresses as they are.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// From such a number.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The core.
    pub fn core(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The slot in the core's connection table.
    pub fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & 0x00ff_ffff
    }

    /// The slot's generation.
    pub fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// One receiver of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The connection.
    pub address: Address,
    /// The session that is expected there.
    pub session: SessionId,
    /// Granted QoS of the subscription: the delivery has the lower of this and the message's.
    pub qos: QoS,
    /// Keep the message's RETAIN flag (Retain As Published); otherwise it is delivered with RETAIN 0.
    pub retain_as_published: bool,
    /// Do not deliver to the publisher itself.
    pub no_local: bool,
    /// Subscription Identifiers to send along.
    pub identifiers: Box<[u32]>,
}

/// A message for connections of one core.
#[derive(Debug, Clone)]
pub enum Push {
    /// Not queued anywhere: for sessions without a queue, and for QoS 0.
    Direct {
        /// The message.
        message: Arc<Message>,
        /// Who gets it; the list is shared by all messages of the same topic.
        targets: Arc<[Target]>,
        /// The publishing session, for No Local.
        from: Option<SessionId>,
    },
    /// The queue of one persistent session reaches to `tail`: its owner reads on if it has less.
    Tail {
        /// The connection that owns the session.
        address: Address,
        /// The session.
        session: SessionId,
        /// Last entry of the queue.
        tail: EntryId,
    },
    /// Held by the queue of one persistent session; this push is a hint.
    Queued {
        /// The message.
        message: Arc<Message>,
        /// The connection that owned the session when the push left.
        address: Address,
        /// The session.
        session: SessionId,
        /// QoS of the delivery.
        qos: QoS,
        /// RETAIN flag of the delivery.
        retain: bool,
        /// Subscription Identifiers to send along.
        identifiers: Vec<u32>,
        /// Where it stands in the queue.
        position: QueuePosition,
    },
}

/// Gateways as a router sees them.
pub trait Delivery: Send + Sync + 'static {
    /// Pushes to the connections of one core and wakes it once; the vector is left empty with its capacity. Never
    /// blocks: at its bound the core's mailbox drops direct QoS 0 pushes first and counts them, and a dropped queued push
    /// is read from the store later.
    fn push(&self, core: u8, pushes: &mut Vec<Push>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_parts() {
        let address = Address::new(3, 0x00ab_cdef, 77);
        assert_eq!((address.core(), address.slot(), address.generation()), (3, 0x00ab_cdef, 77));
        assert_eq!(Address::from_u64(address.to_u64()), address);
    }
}
