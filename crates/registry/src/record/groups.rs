//! Thing groups, billing groups and what is in them.

use std::collections::BTreeMap;

use prost::Message;

/// A static thing group.
#[derive(Clone, PartialEq, Message)]
pub struct ThingGroup {
    /// A UUID: another one when a group of the same name is made later.
    #[prost(string, tag = "1")]
    pub thing_group_id: String,
    /// Its ancestors, the root first and the parent last; they never change.
    #[prost(message, repeated, tag = "2")]
    pub ancestors: Vec<GroupName>,
    /// Description.
    #[prost(string, optional, tag = "3")]
    pub description: Option<String>,
    /// Attributes; no value is empty.
    #[prost(btree_map = "string, string", tag = "4")]
    pub attributes: BTreeMap<String, String>,
    /// 1 at creation, one more at each update.
    #[prost(uint64, tag = "5")]
    pub version: u64,
    /// When it was created.
    #[prost(uint64, tag = "6")]
    pub created_at: u64,
}

/// A group by its name and its id.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GroupName {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Id.
    #[prost(string, tag = "2")]
    pub id: String,
}

/// A thing's membership in a thing group. Once the group is deleted it counts no more, whether it is there or not.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ThingGroupMembership {
    /// The group's id.
    #[prost(string, tag = "1")]
    pub thing_group_id: String,
    /// Ids of the group's ancestors.
    #[prost(string, repeated, tag = "2")]
    pub ancestor_ids: Vec<String>,
    /// When the thing was added.
    #[prost(uint64, tag = "3")]
    pub joined_at: u64,
}

/// A billing group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BillingGroup {
    /// A UUID: another one when a group of the same name is made later.
    #[prost(string, tag = "1")]
    pub billing_group_id: String,
    /// Description.
    #[prost(string, optional, tag = "2")]
    pub description: Option<String>,
    /// 1 at creation, one more at each update.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// When it was created.
    #[prost(uint64, tag = "4")]
    pub created_at: u64,
}
