//! The queues of shared subscriptions (`$share/{name}/{filter}`) that have, or had, a persistent member.
//!
//! What a group gets is durable in one of two places: in the group's own queue, or in the queue of the persistent member
//! that it was given to, marked with its [`Share`](crate::Share). It changes places by [`DurablePublish::replaces`], in one
//! write. When a persistent member goes offline, or its session ends, the store itself moves its marked entries back to the
//! front of the group's queue, in their order. Only a QoS 2 entry that may have been sent stays: its exchange is completed
//! with the same client or not at all [MQTT-4.8.2-4, MQTT-4.8.2-5].
//!
//! Entries of a group's queue are given out once, by [`Request::ClaimShares`] or to a connected clean session by its
//! [`Append`](crate::Append), and then held in memory only: until they are acknowledged, replaced or released, or the process
//! dies, after which they are there to be given out again; except those that an append held for a clean session at QoS 2:
//! they may have been sent to it, and nobody else may get them.
//!
//! [`DurablePublish::replaces`]: crate::DurablePublish::replaces
//! [`Request::ClaimShares`]: crate::Request::ClaimShares

use fleethaven_types::{GroupId, Scope, Utf8Bytes};

use crate::{QueuedMessage, Ticket};

/// A queue for a group, asked for when its first persistent member joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGroup {
    /// Returned with the completion.
    pub ticket: Ticket,
    /// Account and region.
    pub scope: Scope,
    /// Share name and filter: `{name}/{filter}`.
    pub key: Utf8Bytes,
    /// Most messages and bytes that wait; above, the newest is dropped. What comes back from a member is not counted.
    pub bounds: (u64, u64),
    /// Messages that the broker received this many seconds ago are dropped.
    pub retention_secs: u32,
}

/// A group's queue as a router needs it after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// The group.
    pub group: GroupId,
    /// Account and region.
    pub scope: Scope,
    /// Share name and filter: `{name}/{filter}`.
    pub key: Utf8Bytes,
}

/// What a claim of shares got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimedShares {
    /// Oldest first. Their QoS is the one they were published with, as no member was chosen yet.
    pub entries: Vec<QueuedMessage>,
    /// Whether there are more that nobody holds.
    pub more: bool,
}
