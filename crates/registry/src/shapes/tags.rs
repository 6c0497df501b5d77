//! Tags (provisioning.md section 9).

use serde::{Deserialize, Serialize};

/// A tag of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// 1 to 128 characters, not starting with `aws:`.
    #[serde(rename = "Key")]
    pub key: String,
    /// 0 to 256 characters.
    #[serde(rename = "Value", default)]
    pub value: String,
}

/// Arguments of TagResource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagResource {
    /// Which resource.
    pub resource_arn: String,
    /// Added, or replacing tags of the same key.
    pub tags: Vec<Tag>,
}

/// Arguments of UntagResource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntagResource {
    /// Which resource.
    pub resource_arn: String,
    /// Keys to remove; those it does not have are ignored.
    pub tag_keys: Vec<String>,
}
