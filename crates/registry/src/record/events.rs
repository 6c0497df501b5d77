//! Which registry events are published.

use std::collections::BTreeMap;

use prost::Message;

/// The event configurations of an account and region.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EventConfigurations {
    /// By the event type's name; what is not here is as it is at first.
    #[prost(btree_map = "string, bool", tag = "1")]
    pub enabled: BTreeMap<String, bool>,
    /// When they were first changed.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
    /// When they were last changed.
    #[prost(uint64, tag = "3")]
    pub modified_at: u64,
}
