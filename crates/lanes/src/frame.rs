//! What travels on the stream between a gateway core and a router, in either direction in the order sent.

use std::sync::Arc;

use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::routing::{OwnerNumber, SharedDelivery};
use fleethaven_storage::{Error, Once, SessionId, Subscription};
use fleethaven_topics::Slot;
use fleethaven_types::{Message, Scope, Utf8Bytes};

/// One publish in the lane of its slot.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Its topic's slot.
    pub slot: Slot,
    /// The slot's epoch as the gateway knows it: another one is refused.
    pub epoch: u64,
    /// Grows each time the lane starts anew; what a refusal left behind on the stream is of an older run.
    pub run: u32,
    /// Number in the lane of (gateway core, slot): 1, 2, 3, …
    pub stamp: u64,
    /// Stamps right before this one that are answered or void, and not sent in this run.
    pub skipped: u64,
    /// An answer is waited for.
    pub acknowledge: bool,
    /// The message.
    pub message: Arc<Message>,
    /// The publishing session, for No Local.
    pub from: Option<SessionId>,
    /// What makes sure that it happens once.
    pub once: Option<Once>,
}

/// Everything but publishes that a gateway core asks of a router. What it means is said at
/// [`RoutingRequest`](fleethaven_fabric::RoutingRequest).
#[derive(Debug, Clone)]
pub enum Control {
    /// A connection owns this session.
    Attach {
        /// The session.
        session: SessionId,
        /// Account and region.
        scope: Scope,
        /// Its messages are queued in the session store.
        persistent: bool,
        /// The connection, with the gateway's number of its core.
        address: Address,
        /// What it can take as the member of groups.
        room: i32,
        /// Which of the session's owners this is.
        owner: OwnerNumber,
    },
    /// The connection is gone.
    Detach {
        /// The session.
        session: SessionId,
        /// The connection that ended.
        address: Address,
        /// The session goes on without a connection.
        persistent: bool,
    },
    /// The session was wiped or has expired.
    Forget {
        /// The session.
        session: SessionId,
    },
    /// A member of groups has other room than before.
    Ready {
        /// The session.
        session: SessionId,
        /// Its groups' queues have new entries.
        returned: bool,
        /// What it can take now, if it has a connection; `received` of what this router pushed is known there.
        room: Option<i32>,
        /// Shares at QoS ≥ 1 that this router has pushed to it and that have arrived.
        received: u64,
    },
    /// A member's shares that it does not take.
    Return {
        /// The member.
        session: SessionId,
        /// Oldest first.
        shares: Vec<SharedDelivery>,
        /// It may not receive them.
        refused: bool,
    },
    /// Install subscriptions → [`Reply::Subscribed`].
    Subscribe {
        /// Returned with the answer.
        ticket: u64,
        /// The session.
        session: SessionId,
        /// Each replaces the one with the same filter.
        subscriptions: Vec<Subscription>,
        /// The session has no others that this router holds: what else it finds under its name is left over.
        exact: bool,
        /// The version of the table by which it is told. It is answered when no other router than those by it, or a later one, can
        /// acknowledge anything without these.
        version: u64,
        /// Which of the session's owners says so.
        owner: OwnerNumber,
    },
    /// Remove subscriptions → [`Reply::Unsubscribed`].
    Unsubscribe {
        /// Returned with the answer.
        ticket: u64,
        /// The session.
        session: SessionId,
        /// The filters.
        filters: Vec<Utf8Bytes>,
        /// Which of the session's owners says so.
        owner: OwnerNumber,
    },
    /// Everything that the router must hold of this core's sessions by this version of the table has been sent.
    Level {
        /// Version of the table.
        version: u64,
    },
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable wherever it must be.
    Durable {
        /// Whether anyone matched.
        matched: bool,
    },
    /// It must not be acknowledged.
    Failed(Error),
}

/// Why a router does not take the publishes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not own the slot in the epoch of the frame.
    NotOwner,
    /// It is about to serve it, and is not ready yet.
    Warming,
    /// A stamp is missing before this one.
    Gap,
    /// It was taken, and the slot or the store was lost before the answer left: whether it is durable is unknown.
    Fenced,
}

/// What a router answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To one publish.
    Answered {
        /// Its slot.
        slot: Slot,
        /// Its stamp.
        stamp: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// All publishes of the slot's current run up to this stamp were taken; those that no answer is waited for are done.
    Taken {
        /// The slot.
        slot: Slot,
        /// The last one.
        stamp: u64,
    },
    /// From this stamp on the publishes of this run were not taken, or ([`Refusal::Fenced`]) are unknown.
    Refused {
        /// The slot.
        slot: Slot,
        /// The run.
        run: u32,
        /// The first one.
        from_stamp: u64,
        /// The slot's epoch as the router knows it.
        epoch: u64,
        /// Why.
        reason: Refusal,
    },
    /// To [`Control::Subscribe`].
    Subscribed {
        /// Of the request.
        ticket: u64,
        /// For each subscription, whether the filter was new to the session.
        new: Vec<bool>,
        /// Subscriptions (by index) that were not installed.
        over_quota: Vec<usize>,
    },
    /// To [`Control::Unsubscribe`].
    Unsubscribed {
        /// Of the request.
        ticket: u64,
        /// For each filter, whether there was a subscription.
        existed: Vec<bool>,
    },
}
