//! Policies, their versions and attachments.

use prost::Message;

/// A policy.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Policy {
    /// The version in force.
    #[prost(uint64, tag = "1")]
    pub default_version: u64,
    /// The highest version number ever given.
    #[prost(uint64, tag = "2")]
    pub last_version: u64,
    /// When it was created.
    #[prost(uint64, tag = "3")]
    pub created_at: u64,
    /// When its default version last changed.
    #[prost(uint64, tag = "4")]
    pub modified_at: u64,
    /// A UUID of this creation.
    #[prost(string, tag = "5")]
    pub generation_id: String,
}

/// A version of a policy.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PolicyVersion {
    /// JSON as it was given.
    #[prost(string, tag = "1")]
    pub document: String,
    /// When it was created.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
}

/// A policy's attachment to a target.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PolicyAttachment {
    /// When it was made.
    #[prost(uint64, tag = "1")]
    pub attached_at: u64,
}
