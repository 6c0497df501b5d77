//! Identifiers that the store gives out or compares.

pub use fleethaven_types::{EntryId, GroupId, Held, SessionId, Share};

/// Who owns a client id: compared for equality by every request that writes to the session. Unique for ever:
/// the gateway's incarnation (new at each start) and a counter within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerToken {
    /// Incarnation of the gateway process.
    pub incarnation: u64,
    /// Number of this claim within the incarnation.
    pub counter: u64,
}

/// Ties a completion to its request. Chosen by the caller, returned unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);
