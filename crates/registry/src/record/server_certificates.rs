//! Server certificates. They do not print their keys.

use std::fmt;

use prost::Message;

/// What servers show for an ARN.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct ServerCertificate {
    /// PEM chain, the server's certificate first.
    #[prost(string, tag = "1")]
    pub certificate_chain: String,
    /// PEM key. Secret.
    #[prost(string, tag = "2")]
    pub private_key: String,
    /// The DNS names that it is for, in lower case.
    #[prost(string, repeated, tag = "3")]
    pub names: Vec<String>,
    /// Until when the chain is valid.
    #[prost(uint64, tag = "4")]
    pub not_after: u64,
    /// When it was put.
    #[prost(uint64, tag = "5")]
    pub put_at: u64,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
