//! Where rule actions go. It does not print its secrets.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;

/// A system that rule actions may use.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct Connection {
    /// The type of action that it is for, or `aws`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its address; empty for AWS's own.
    #[prost(string, tag = "2")]
    pub endpoint: String,
    /// The region that requests are signed for; empty for the rule's.
    #[prost(string, tag = "3")]
    pub region: String,
    /// Access key or user; empty for none.
    #[prost(string, tag = "4")]
    pub id: String,
    /// The secret that goes with it.
    #[prost(string, tag = "5")]
    pub secret: String,
    /// Patterns of roles.
    #[prost(string, repeated, tag = "6")]
    pub roles: Vec<String>,
    /// Patterns of names of rules.
    #[prost(string, repeated, tag = "7")]
    pub rules: Vec<String>,
    /// What else it is told.
    #[prost(btree_map = "string, string", tag = "8")]
    pub options: BTreeMap<String, String>,
    /// When it was put first.
    #[prost(uint64, tag = "9")]
    pub created_at: u64,
    /// Certificate authorities in PEM; empty for the workers' own.
    #[prost(string, tag = "10")]
    pub authorities: String,
    /// Client certificate in PEM; empty for none.
    #[prost(string, tag = "11")]
    pub certificate: String,
    /// Its private key in PEM.
    #[prost(string, tag = "12")]
    pub key: String,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("kind", &self.kind)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
