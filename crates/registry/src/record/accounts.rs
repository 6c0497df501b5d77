//! Accounts, access keys and issuing CAs. None of them prints its secret.

use std::fmt;

use prost::Message;

/// An account.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct Account {
    /// What people call it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
    /// Key of the HMAC in its page tokens.
    #[prost(string, tag = "3")]
    pub pagination_secret: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An access key.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct AccessKey {
    /// The account's number.
    #[prost(uint64, tag = "1")]
    pub account: u64,
    /// The secret.
    #[prost(string, tag = "2")]
    pub secret_access_key: String,
    /// When it was made.
    #[prost(uint64, tag = "3")]
    pub created_at: u64,
    /// Whether requests that it signs are refused.
    #[prost(bool, tag = "4")]
    pub inactive: bool,
    /// Whose it is: a user of the account; nothing: the account's own.
    #[prost(string, tag = "5")]
    pub user_name: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("account", &self.account).finish_non_exhaustive()
    }
}

/// The CA that issues certificates for an account.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct IssuingCa {
    /// PEM.
    #[prost(string, tag = "1")]
    pub certificate_pem: String,
    /// PEM, of stores from before keys were sealed; empty where the key is sealed or elsewhere.
    #[prost(string, tag = "2")]
    pub private_key_pem: String,
    /// What the external signer calls the key, where it is there.
    #[prost(string, tag = "3")]
    pub external_key: String,
    /// The key, sealed; empty where it is elsewhere.
    #[prost(string, tag = "4")]
    pub sealed_key: String,
    /// The id of what seals it.
    #[prost(string, tag = "5")]
    pub sealed_under: String,
}

impl fmt::Debug for IssuingCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuingCa").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}
