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
    /// When it was carried out.
    #[prost(uint64, tag = "3")]
    pub at: u64,
    /// How many were written before it; its slot is this modulo the number of slots.
    #[prost(uint64, tag = "4")]
    pub number: u64,
}
