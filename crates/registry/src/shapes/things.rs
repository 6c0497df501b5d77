//! Things (provisioning.md section 8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PageRequest;

/// A thing's attributes: name to value.
pub type Attributes = BTreeMap<String, String>;

/// Attributes of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributePayload {
    /// Attributes; an empty value removes (or never stores) its attribute.
    pub attributes: Attributes,
    /// Keep stored attributes that are not named; without it they are replaced. Only for updates.
    pub merge: bool,
}

/// Arguments of CreateThing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateThing {
    /// 1 to 128 of `a-zA-Z0-9:_-`.
    pub thing_name: String,
    /// Its type, which must exist and not be deprecated.
    pub thing_type_name: Option<String>,
    /// Attributes.
    pub attributes: Attributes,
    /// Its billing group, which must exist.
    pub billing_group_name: Option<String>,
}

/// Answer of CreateThing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedThing {
    /// Name.
    pub thing_name: String,
    /// ARN.
    pub thing_arn: String,
    /// Id: a UUID.
    pub thing_id: String,
}

/// Arguments of UpdateThing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateThing {
    /// Which thing.
    pub thing_name: String,
    /// The new type.
    pub thing_type_name: Option<String>,
    /// Changed attributes; `None`: as they are.
    pub attribute_payload: Option<AttributePayload>,
    /// Refuse unless this is the stored version.
    pub expected_version: Option<u64>,
    /// Take its type away.
    pub remove_thing_type: bool,
}

/// Arguments of DeleteThing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteThing {
    /// Which thing.
    pub thing_name: String,
    /// Refuse unless this is the stored version.
    pub expected_version: Option<u64>,
}

/// Arguments of ListThings: filters apply together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListThings {
    /// Only things with this attribute.
    pub attribute_name: Option<String>,
    /// …of this value.
    pub attribute_value: Option<String>,
    /// …or of a value that starts so.
    pub use_prefix_attribute_value: bool,
    /// Only things of this type.
    pub thing_type_name: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

/// Answer of DescribeThing. `defaultClientId` is the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingDescription {
    /// Name.
    pub thing_name: String,
    /// Id: a UUID.
    pub thing_id: String,
    /// ARN.
    pub thing_arn: String,
    /// Type.
    pub thing_type_name: Option<String>,
    /// Attributes.
    pub attributes: Attributes,
    /// 1 at creation, one more at each update.
    pub version: u64,
    /// Billing group.
    pub billing_group_name: Option<String>,
}

/// An item of ListThings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingSummary {
    /// Name.
    pub thing_name: String,
    /// Type.
    pub thing_type_name: Option<String>,
    /// ARN.
    pub thing_arn: String,
    /// Attributes.
    pub attributes: Attributes,
    /// Version.
    pub version: u64,
}
