//! A session, its connection, and a group as stored.

use bytes::Bytes;

use super::{DepartureRow, FirstSentRow, MessageRow, WillRow};

/// A session and, while it is owned, its connection.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionRow {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) client_id: Bytes,
    #[prost(bool, tag = "2")]
    pub(crate) persistent: bool,
    #[prost(uint32, tag = "3")]
    pub(crate) expiry_secs: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) protocol_level: u32,
    #[prost(uint64, tag = "5")]
    pub(crate) version: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) bound_messages: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) bound_bytes: u64,
    #[prost(uint64, optional, tag = "8")]
    pub(crate) expires_at: Option<u64>,
    #[prost(message, optional, tag = "9")]
    pub(crate) connection: Option<ConnectionRow>,
    #[prost(uint64, tag = "10")]
    pub(crate) sent: u64,
    #[prost(uint32, optional, tag = "11")]
    pub(crate) bound_secs: Option<u32>,
    #[prost(message, optional, tag = "12")]
    pub(crate) left: Option<DepartureRow>,
    #[prost(message, optional, tag = "13")]
    pub(crate) first_sent: Option<FirstSentRow>,
}

/// What is left of a client's session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DepartedRow {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) client_id: Bytes,
    #[prost(uint64, tag = "2")]
    pub(crate) version: u64,
    /// When the session went, in milliseconds.
    #[prost(fixed64, tag = "3")]
    pub(crate) at: u64,
    #[prost(message, optional, tag = "4")]
    pub(crate) departure: Option<DepartureRow>,
}

/// The connection that owns a session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConnectionRow {
    #[prost(fixed64, tag = "1")]
    pub(crate) incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) counter: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) address: u64,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) principal: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub(crate) will: Option<WillRow>,
}

/// A will whose connection has ended.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WaitingWillRow {
    #[prost(message, optional, tag = "1")]
    pub(crate) message: Option<MessageRow>,
    /// When it is to be published, in milliseconds.
    #[prost(fixed64, tag = "2")]
    pub(crate) due: u64,
    /// The session whose last connection left it; 0 once another has followed. An earlier version, which wrote none, kept the
    /// will of a session's last connection under the session's number.
    #[prost(fixed64, optional, tag = "3")]
    pub(crate) session: Option<u64>,
    /// It had no delay: nothing calls it off.
    #[prost(bool, tag = "4")]
    pub(crate) at_once: bool,
}

/// The queue of a group.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GroupRow {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(uint64, tag = "2")]
    pub(crate) bound_messages: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) bound_bytes: u64,
    #[prost(uint32, tag = "4")]
    pub(crate) retention_secs: u32,
}
