//! Seam: where sessions, offline queues, retained messages and the rules queue live. On one machine that is
//! `storage-embedded` (local disk), in a cluster Redis; both pass the suite in [`suite`].
//!
//! - [`id`]: session, entry and owner identifiers
//! - [`request`]: what a core asks of the store ([`Request`]) and what comes back ([`Completion`])
//! - [`group`]: the queues of shared subscriptions
//! - [`fence`]: what keeps a router that lost a topic slot from writing
//! - [`lane`]: [`Lane`], the synchronous, batched door that the publish path uses; [`SessionStore`] opens lanes
//! - [`rule_queue`]: [`RuleQueue`], the door of the rules workers
//! - [`retained`]: [`RetainedStore`], reading retained messages
//! - [`record`]: the bytes in which stores keep messages, subscriptions, wills and rule entries
//! - [`suite`]: the behaviour every store must show
//!
//! The hot door is synchronous on purpose: a gateway core hands over one batch per turn and drains completions in a
//! later one. No future, box or channel per message (`docs/architecture.md`, "one event loop per core").
#![warn(missing_docs)]

pub mod fence;
pub mod group;
pub mod id;
pub mod lane;
pub mod record;
mod refusal;
pub mod request;
pub mod retained;
pub mod rule_queue;
pub mod suite;

pub use fence::Fence;
pub use group::{ClaimedShares, GroupRecord, OpenGroup};
pub use id::{EntryId, GroupId, Held, OwnerToken, SessionId, Share, Ticket};
pub use lane::{Lane, SessionStore, Wake};
pub use request::{
    Append, Appended, Claim, Claimed, ClientRecord, Completion, ConnectionEnd, Dead, Departure, DueWill,
    DurablePublish, Once, PreviousOwner, QueueBounds, QueuedMessage, Request, RetainedChange, RuleRef,
    SessionRecord, StoredWill, Subscription,
};
pub use retained::{RetainedStore, RetainedTopic};
pub use rule_queue::{DeadLetter, RuleEntry, RuleEntryId, RuleQueue};

/// Why the store could not do what was asked. What was asked may or may not have happened unless the variant says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The session is owned by another connection now; nothing was written.
    #[error("the session has another owner")]
    NotOwner,
    /// No such session; nothing was written.
    #[error("no such session")]
    NoSession,
    /// What was to happen once has happened before, or was called off; nothing was written.
    #[error("it has been done before, or was called off")]
    AlreadyDone,
    /// Another router owns the topic's slot by now; nothing was written, or, while the fence was being raised, at most a part
    /// that is written again by the slot's owner.
    #[error("the topic's slot has another owner")]
    Fenced,
    /// The store is shutting down or its disk failed; the outcome is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
