//! Thing groups and billing groups (provisioning.md section 9).

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AttributePayload, Attributes, PageRequest, Tag, timestamp};

/// `thingGroupProperties` of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingGroupProperties {
    /// `thingGroupDescription`: at most 2028 printable characters. Updates without it keep the stored one.
    pub description: Option<String>,
    /// Attributes; `None`: as they are.
    pub attribute_payload: Option<AttributePayload>,
}

/// Arguments of CreateThingGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateThingGroup {
    /// 1 to 128 of `a-zA-Z0-9:_-`.
    pub thing_group_name: String,
    /// Its parent for ever; `None`: it is a root.
    pub parent_group_name: Option<String>,
    /// Description and attributes.
    pub properties: ThingGroupProperties,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Answer of CreateThingGroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedThingGroup {
    /// Name.
    pub thing_group_name: String,
    /// ARN.
    pub thing_group_arn: String,
    /// Id: a UUID.
    pub thing_group_id: String,
}

/// Arguments of UpdateThingGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateThingGroup {
    /// Which group.
    pub thing_group_name: String,
    /// What changes.
    pub properties: ThingGroupProperties,
    /// Refuse unless this is the stored version.
    pub expected_version: Option<u64>,
}

/// Arguments of DeleteThingGroup and DeleteBillingGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteGroup {
    /// Which group.
    pub group_name: String,
    /// Refuse unless this is the stored version.
    pub expected_version: Option<u64>,
}

/// A thing and a group, each by name or by ARN: arguments of AddThingToThingGroup, RemoveThingFromThingGroup,
/// AddThingToBillingGroup and RemoveThingFromBillingGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingAndGroup {
    /// Name of the group.
    pub group_name: Option<String>,
    /// ARN of the group.
    pub group_arn: Option<String>,
    /// Name of the thing.
    pub thing_name: Option<String>,
    /// ARN of the thing.
    pub thing_arn: Option<String>,
}

/// Arguments of UpdateThingGroupsForThing: first the thing leaves groups, then it joins others, or nothing changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateThingGroupsForThing {
    /// The thing.
    pub thing_name: String,
    /// Names of groups that it joins.
    pub add: Vec<String>,
    /// Names of groups that it leaves.
    pub remove: Vec<String>,
}

/// Arguments of ListThingGroups: filters apply together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListThingGroups {
    /// Only groups below this one.
    pub parent_group: Option<String>,
    /// Only groups whose names begin so.
    pub name_prefix: Option<String>,
    /// All groups below instead of the children; unless given, all groups without a parent, children with one.
    pub recursive: Option<bool>,
    /// Which page.
    pub page: PageRequest,
}

/// A group in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNameAndArn {
    /// Name.
    pub group_name: String,
    /// ARN.
    pub group_arn: String,
}

/// Answer of DescribeThingGroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingGroupDescription {
    /// Name.
    pub thing_group_name: String,
    /// Id: a UUID.
    pub thing_group_id: String,
    /// ARN.
    pub thing_group_arn: String,
    /// 1 at creation, one more at each update.
    pub version: u64,
    /// `thingGroupDescription`.
    pub description: Option<String>,
    /// Attributes.
    pub attributes: Attributes,
    /// Its ancestors, the root first and the parent last.
    pub root_to_parent: Vec<GroupNameAndArn>,
    /// When it was created.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// Arguments of CreateBillingGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateBillingGroup {
    /// 1 to 128 of `a-zA-Z0-9:_-`.
    pub billing_group_name: String,
    /// `billingGroupDescription`: at most 2028 printable characters.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Answer of CreateBillingGroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBillingGroup {
    /// Name.
    pub billing_group_name: String,
    /// ARN.
    pub billing_group_arn: String,
    /// Id: a UUID.
    pub billing_group_id: String,
}

/// Arguments of UpdateBillingGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateBillingGroup {
    /// Which group.
    pub billing_group_name: String,
    /// The new description; `None`: as it is.
    pub description: Option<String>,
    /// Refuse unless this is the stored version.
    pub expected_version: Option<u64>,
}

/// Answer of DescribeBillingGroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingGroupDescription {
    /// Name.
    pub billing_group_name: String,
    /// Id: a UUID.
    pub billing_group_id: String,
    /// ARN.
    pub billing_group_arn: String,
    /// 1 at creation, one more at each update.
    pub version: u64,
    /// `billingGroupDescription`.
    pub description: Option<String>,
    /// When it was created.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}
