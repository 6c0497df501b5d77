//! TLS ticket keys. They do not print their secrets.

use std::fmt;

use prost::Message;

/// The generations in force.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TicketKeys {
    /// Its tickets are still read.
    #[prost(message, optional, tag = "1")]
    pub previous: Option<TicketKey>,
    /// Tickets are made with this.
    #[prost(message, optional, tag = "2")]
    pub current: Option<TicketKey>,
    /// Its time will come.
    #[prost(message, optional, tag = "3")]
    pub next: Option<TicketKey>,
    /// Since when the current one is.
    #[prost(uint64, tag = "4")]
    pub since: u64,
}

/// A key of one generation.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct TicketKey {
    /// 1, 2, …
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub secret: Vec<u8>,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("number", &self.number).finish_non_exhaustive()
    }
}
