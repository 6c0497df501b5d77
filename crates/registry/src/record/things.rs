//! Things, thing types and what principals things have.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use crate::shapes::ThingPrincipalType;

/// A thing.
#[derive(Clone, PartialEq, Message)]
pub struct Thing {
    /// A UUID.
    #[prost(string, tag = "1")]
    pub thing_id: String,
    /// Its type.
    #[prost(string, optional, tag = "2")]
    pub thing_type_name: Option<String>,
    /// Attributes; no value is empty.
    #[prost(btree_map = "string, string", tag = "3")]
    pub attributes: BTreeMap<String, String>,
    /// 1 at creation, one more at each update.
    #[prost(uint64, tag = "4")]
    pub version: u64,
    /// Its billing group.
    #[prost(string, optional, tag = "5")]
    pub billing_group_name: Option<String>,
    /// When it was created.
    #[prost(uint64, tag = "6")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "7")]
    pub modified_at: u64,
    /// The billing group's id: once that group is deleted, the thing is in none.
    #[prost(string, optional, tag = "8")]
    pub billing_group_id: Option<String>,
}

/// A thing type.
#[derive(Clone, PartialEq, Message)]
pub struct ThingType {
    /// A UUID.
    #[prost(string, tag = "1")]
    pub thing_type_id: String,
    /// Description.
    #[prost(string, optional, tag = "2")]
    pub description: Option<String>,
    /// Searchable attributes.
    #[prost(string, repeated, tag = "3")]
    pub searchable_attributes: Vec<String>,
    /// `mqtt5Configuration`.
    #[prost(message, optional, tag = "4")]
    pub mqtt5_configuration: Option<Mqtt5Configuration>,
    /// When it was created.
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// When it was deprecated.
    #[prost(uint64, optional, tag = "6")]
    pub deprecated_at: Option<u64>,
}

/// `mqtt5Configuration` of a thing type.
#[derive(Clone, PartialEq, Message)]
pub struct Mqtt5Configuration {
    /// User properties added to messages.
    #[prost(message, repeated, tag = "1")]
    pub propagating_attributes: Vec<PropagatingAttribute>,
}

/// A user property added to messages.
#[derive(Clone, PartialEq, Message)]
pub struct PropagatingAttribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub user_property_key: String,
    /// Where its value comes from.
    #[prost(oneof = "PropagatingValue", tags = "2, 3")]
    pub value: Option<PropagatingValue>,
}

/// Where a user property's value comes from.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum PropagatingValue {
    /// An attribute of the thing.
    #[prost(string, tag = "2")]
    ThingAttribute(String),
    /// A property of the connection.
    #[prost(string, tag = "3")]
    ConnectionAttribute(String),
}

/// A principal's attachment to a thing.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ThingPrincipal {
    /// Exclusive or not.
    #[prost(enumeration = "ThingPrincipalType", tag = "1")]
    pub thing_principal_type: i32,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub attached_at: u64,
}
