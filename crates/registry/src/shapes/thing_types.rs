//! Thing types (provisioning.md section 8).

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Tag, timestamp};

/// What a user property added to a thing's messages takes its value from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagatedValue {
    /// `thingAttribute`: an attribute of the thing.
    ThingAttribute(String),
    /// `connectionAttribute`: `iot:ClientId` or `iot:Thing.ThingName`.
    ConnectionAttribute(String),
}

/// One user property added to the messages of a type's things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropagatingAttribute {
    /// Name of the MQTT 5 user property: 1 to 128 of `a-zA-Z0-9:$.`.
    pub user_property_key: String,
    /// Its value.
    pub value: PropagatedValue,
}

/// `thingTypeProperties`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingTypeProperties {
    /// `thingTypeDescription`, at most 2028 printable characters.
    pub description: Option<String>,
    /// `searchableAttributes`, at most three.
    pub searchable_attributes: Vec<String>,
    /// `mqtt5Configuration.propagatingAttributes`; `None`: no such configuration.
    pub propagating_attributes: Option<Vec<PropagatingAttribute>>,
}

/// Arguments of CreateThingType.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateThingType {
    /// 1 to 128 of `a-zA-Z0-9:_-`.
    pub thing_type_name: String,
    /// Properties.
    pub properties: ThingTypeProperties,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Answer of CreateThingType.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedThingType {
    /// Name.
    pub thing_type_name: String,
    /// ARN.
    pub thing_type_arn: String,
    /// Id: a UUID.
    pub thing_type_id: String,
}

/// Arguments of UpdateThingType: only `mqtt5Configuration` can change. Other members must be absent or as
/// stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateThingType {
    /// Which type.
    pub thing_type_name: String,
    /// `thingTypeProperties` of the request.
    pub properties: ThingTypeProperties,
}

/// Arguments of DeprecateThingType.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeprecateThingType {
    /// Which type.
    pub thing_type_name: String,
    /// Make it usable again.
    pub undo_deprecate: bool,
}

/// Answer of DescribeThingType; an item of ListThingTypes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingTypeDescription {
    /// Name.
    pub thing_type_name: String,
    /// Id: a UUID.
    pub thing_type_id: String,
    /// ARN.
    pub thing_type_arn: String,
    /// Properties.
    pub properties: ThingTypeProperties,
    /// `deprecationDate`; `None`: not deprecated.
    #[serde(with = "timestamp::optional")]
    pub deprecated_at: Option<Timestamp>,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}
