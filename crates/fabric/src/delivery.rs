//! A router's way to push messages to connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use fleethaven_storage::{EntryId, SessionId, Share};
use fleethaven_types::{Message, QoS};

use crate::routing::QueuePosition;

/// A live connection: core, slot in the core's table, and the slot's generation. `Address::NONE` is nowhere.
///
/// A gateway numbers its cores; a router numbers the cores of all gateways that have a lane to it, and knows connections by
/// those numbers. [`at_core`](Self::at_core) turns one into the other at the router's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u64);

impl Address {
    /// No connection.
    pub const NONE: Self = Self(0);

    /// How many cores can be told apart.
    pub const CORES: u16 = 1 << 12;

    /// The connection in `slot` (below 2²⁰) of `core` (below [`CORES`](Self::CORES)), in the slot's `generation` (from 1).
    pub fn new(core: u16, slot: u32, generation: u32) -> Self {
        Self((u64::from(core) << 52) | (u64::from(slot & 0x000f_ffff) << 32) | u64::from(generation))
    }

    /// The same slot and generation at `core`.
    pub fn at_core(self, core: u16) -> Self {
        Self::new(core, self.slot(), self.generation())
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
    pub fn core(self) -> u16 {
        (self.0 >> 52) as u16
    }

    /// The slot in the core's connection table.
    pub fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & 0x000f_ffff
    }

    /// The slot's generation.
    pub fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// Whose messages a receiver gets. No Local counts for each subscription by itself [MQTT5 section 3.8.3.1], so where a
/// session has matching subscriptions of both kinds, it is a receiver of others' messages and another one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Everybody's.
    Any,
    /// Not those that the session itself published [MQTT-3.8.3-3].
    Others,
    /// Only those that the session itself published.
    Own,
}

impl Origin {
    /// Whether the receiver gets a message that its session published, or did not.
    pub fn accepts(self, own: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Others => !own,
            Self::Own => own,
        }
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
    /// Whose messages it gets.
    pub origin: Origin,
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
    /// One member's share of what a group gets [MQTT5 section 4.8.2], for a member without a queue or at QoS 0. What the
    /// gateway cannot deliver, or the client leaves unacknowledged, goes back with
    /// [`RoutingRequest::Return`](crate::RoutingRequest::Return).
    Shared {
        /// The message.
        message: Arc<Message>,
        /// The member's connection when it was chosen.
        address: Address,
        /// The member.
        session: SessionId,
        /// QoS of the delivery. At QoS ≥ 1 it cost the member credit.
        qos: QoS,
        /// RETAIN flag of the delivery.
        retain: bool,
        /// Subscription Identifiers to send along.
        identifiers: Vec<u32>,
        /// The group.
        share: Share,
        /// The entry of the group's queue that holds it until it is acknowledged.
        held: Option<EntryId>,
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
        /// It is the session's share of what a group gets.
        share: Option<Share>,
        /// Where it stands in the queue.
        position: QueuePosition,
    },
}

impl Push {
    /// The member whose credit it cost where it was chosen.
    pub fn charged(&self) -> Option<SessionId> {
        match self {
            Self::Queued { session, share: Some(_), .. } => Some(*session),
            Self::Shared { session, qos, .. } if *qos != QoS::AtMostOnce => Some(*session),
            _ => None,
        }
    }
}

/// How many more messages a connection can take as the member of groups: kept by its gateway, drawn on by routers.
///
/// One value, shared, as both are in one process; between processes a copy on each side that frames of the stream keep in
/// step.
#[derive(Debug, Clone, Default)]
pub struct Credit(Arc<CreditState>);

#[derive(Debug, Default)]
struct CreditState {
    room: AtomicI32,
    wanted: AtomicBool,
}

impl Credit {
    /// Takes one; `false` when there is none.
    pub fn take(&self) -> bool {
        let one_less = |room: i32| (room > 0).then(|| room - 1);
        self.0.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }

    /// Gives one back that was not used.
    pub fn give_back(&self) {
        self.0.room.fetch_add(1, Ordering::SeqCst);
    }

    /// What is left; below zero when the connection has become busier than it was when credit was taken.
    pub fn room(&self) -> i32 {
        self.0.room.load(Ordering::SeqCst)
    }

    /// Asks to be told when there is some. To be followed by a look at [`room`](Self::room): what came in between is not
    /// told.
    pub fn want(&self) {
        self.0.wanted.store(true, Ordering::SeqCst);
    }

    /// The gateway's side: changes what is left. `true` when a router is to be told that there is some.
    #[must_use]
    pub fn adjust(&self, change: i32) -> bool {
        let room = self.0.room.fetch_add(change, Ordering::SeqCst).saturating_add(change);
        room > 0 && self.0.wanted.load(Ordering::SeqCst) && self.0.wanted.swap(false, Ordering::SeqCst)
    }

    /// The gateway's side: what is left, when it has lost count.
    pub fn reset(&self, room: i32) {
        self.0.room.store(room, Ordering::SeqCst);
    }
}

/// Gateways as a router sees them.
pub trait Delivery: Send + Sync + 'static {
    /// Pushes to the connections of one core and wakes it once; the vector is left empty with its capacity. Never
    /// blocks: at its bound the core's mailbox drops direct QoS 0 pushes first and counts them, and a dropped queued push
    /// is read from the store later.
    fn push(&self, core: u16, pushes: &mut Vec<Push>);

    /// Pushes to connections of this core may have got lost: what persistent sessions should have is to be looked up in
    /// their queues.
    fn lost(&self, _core: u16) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_parts() {
        let address = Address::new(0xfed, 0x000a_bcde, u32::MAX);
        assert_eq!((address.core(), address.slot(), address.generation()), (0xfed, 0x000a_bcde, u32::MAX));
        assert_eq!(address.at_core(3), Address::new(3, 0x000a_bcde, u32::MAX));
        assert_eq!(Address::from_u64(address.to_u64()), address);
    }

    #[test]
    fn credit_is_taken_while_there_is_some_and_told_of_once() {
        let credit = Credit::default();
        assert!(!credit.take() && !credit.adjust(1), "nobody asked");
        assert!(credit.take() && !credit.take());
        credit.want();
        assert!(!credit.adjust(-1) && !credit.adjust(1), "still none");
        assert!(credit.adjust(2) && !credit.adjust(1));
        assert_eq!(credit.room(), 3);
    }
}
