//! Addresses that rules may call. They do not print the token.

use std::fmt;

use prost::Message;

/// An address.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct RuleDestination {
    /// Rules may call it and what is below it.
    #[prost(string, tag = "1")]
    pub confirmation_url: String,
    /// `ENABLED`, `IN_PROGRESS`, `DISABLED` or `ERROR`.
    #[prost(string, tag = "2")]
    pub status: String,
    /// Why; empty for no reason.
    #[prost(string, tag = "3")]
    pub status_reason: String,
    /// What its owner is asked with; empty once that was answered.
    #[prost(string, tag = "4")]
    pub token: String,
    /// When the token was made.
    #[prost(uint64, tag = "5")]
    pub asked_at: u64,
    /// Whether its owner has ever confirmed it.
    #[prost(bool, tag = "6")]
    pub confirmed: bool,
    /// When it was made.
    #[prost(uint64, tag = "7")]
    pub created_at: u64,
    /// When it changed last.
    #[prost(uint64, tag = "8")]
    pub last_updated_at: u64,
}

impl fmt::Debug for RuleDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleDestination")
            .field("confirmation_url", &self.confirmation_url)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
