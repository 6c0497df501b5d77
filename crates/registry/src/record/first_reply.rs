//! What commands replied, for those that come again.

use bytes::Bytes;
use prost::Message;

/// The reply to a keyed command that was carried out.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FirstReply {
    /// SHA-256 of the command.
    #[prost(bytes = "bytes", tag = "1")]
    pub command: Bytes,
    /// Its [`Reply`](crate::Reply).
    #[prost(bytes = "bytes", tag = "2")]
    pub reply_json: Bytes,
    /// When it was carried out, as [`FirstReplies::time`] counts.
    #[prost(uint64, tag = "3")]
    pub at: u64,
    /// How many were written before it; its slot is this modulo the number of slots.
    #[prost(uint64, tag = "4")]
    pub number: u64,
}

/// How many replies were written, and by what time they age.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FirstReplies {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Milliseconds that have passed for them.
    #[prost(uint64, tag = "2")]
    pub time: u64,
    /// What the leader's clock showed when the last one was written, in milliseconds.
    #[prost(uint64, tag = "3")]
    pub wall: u64,
}
