//! Users, roles and their policies; the keys of sessions, which do not print their secrets.

use std::fmt;

use prost::Message;

/// An operator.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct User {
    /// `AIDA…`, another one for each user that ever had the name.
    #[prost(string, tag = "1")]
    pub user_id: String,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
    /// In the order of their keys.
    #[prost(message, repeated, tag = "3")]
    pub tags: Vec<OperatorTag>,
}

/// A tag of a user, role or managed policy.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OperatorTag {
    /// Its key, as it was given last.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A role.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Role {
    /// `AROA…`, another one for each role that ever had the name.
    #[prost(string, tag = "1")]
    pub role_id: String,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
    /// Who may assume it: JSON as it was given.
    #[prost(string, tag = "3")]
    pub trust_policy: String,
    /// How long its sessions may last, in seconds.
    #[prost(uint64, tag = "4")]
    pub max_session_secs: u64,
    /// What people say of it.
    #[prost(string, tag = "5")]
    pub description: String,
    /// In the order of their keys.
    #[prost(message, repeated, tag = "6")]
    pub tags: Vec<OperatorTag>,
}

/// A policy of a user or role.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OperatorPolicy {
    /// JSON as it was given.
    #[prost(string, tag = "1")]
    pub document: String,
    /// When it was put.
    #[prost(uint64, tag = "2")]
    pub modified_at: u64,
}

/// A policy that users and roles share.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ManagedPolicy {
    /// `ANPA…`, another one for each policy that ever had the name.
    #[prost(string, tag = "1")]
    pub policy_id: String,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
    /// When its versions last changed.
    #[prost(uint64, tag = "3")]
    pub modified_at: u64,
    /// What people say of it.
    #[prost(string, tag = "4")]
    pub description: String,
    /// In the order in which they were made.
    #[prost(message, repeated, tag = "5")]
    pub versions: Vec<ManagedPolicyVersion>,
    /// The number of the version that counts.
    #[prost(uint64, tag = "6")]
    pub default_version: u64,
    /// The number that the next version will have.
    #[prost(uint64, tag = "7")]
    pub next_version: u64,
    /// In the order of their keys.
    #[prost(message, repeated, tag = "8")]
    pub tags: Vec<OperatorTag>,
}

/// A version of a managed policy.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ManagedPolicyVersion {
    /// From 1; never used twice.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// JSON as it was given.
    #[prost(string, tag = "2")]
    pub document: String,
    /// When it was made.
    #[prost(uint64, tag = "3")]
    pub created_at: u64,
}

/// A key that sessions are signed with.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct SessionKey {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub secret: Vec<u8>,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The keys of sessions.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SessionKeys {
    /// What still counts, oldest first; the last one signs.
    #[prost(message, repeated, tag = "1")]
    pub keys: Vec<SessionKey>,
    /// Since when the last one signs.
    #[prost(uint64, tag = "2")]
    pub since: u64,
}
