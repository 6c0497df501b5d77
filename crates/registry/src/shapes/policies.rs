//! IoT policies, their versions and what they are attached to (security.md section 9.1).

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Tag, timestamp};

/// Arguments of CreatePolicy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePolicy {
    /// 1 to 128 of `\w+=,.@-`.
    pub policy_name: String,
    /// JSON, kept as it is.
    pub policy_document: String,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Answer of CreatePolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedPolicy {
    /// Name.
    pub policy_name: String,
    /// ARN.
    pub policy_arn: String,
    /// JSON.
    pub policy_document: String,
    /// `"1"`.
    pub policy_version_id: String,
}

/// Arguments of CreatePolicyVersion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePolicyVersion {
    /// Which policy.
    pub policy_name: String,
    /// JSON, kept as it is.
    pub policy_document: String,
    /// Put it into force.
    pub set_as_default: bool,
}

/// Answer of CreatePolicyVersion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedPolicyVersion {
    /// ARN of the policy.
    pub policy_arn: String,
    /// JSON.
    pub policy_document: String,
    /// Decimal digits.
    pub policy_version_id: String,
    /// Whether it is in force.
    pub is_default_version: bool,
}

/// A version of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersionName {
    /// Which policy.
    pub policy_name: String,
    /// Decimal digits.
    pub version_id: String,
}

/// A policy and what it is attached to or detached from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyTarget {
    /// Which policy.
    pub policy_name: String,
    /// Certificate ARN, thing-group ARN or identity id.
    pub target: String,
}

/// Answer of GetPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDescription {
    /// Name.
    pub policy_name: String,
    /// ARN.
    pub policy_arn: String,
    /// JSON of the default version.
    pub policy_document: String,
    /// Decimal digits.
    pub default_version_id: String,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// `lastModifiedDate`.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// Changes with each creation of a policy of this name.
    pub generation_id: String,
}

/// Answer of GetPolicyVersion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersionDescription {
    /// ARN of the policy.
    pub policy_arn: String,
    /// Name of the policy.
    pub policy_name: String,
    /// JSON.
    pub policy_document: String,
    /// Decimal digits.
    pub policy_version_id: String,
    /// Whether it is in force.
    pub is_default_version: bool,
    /// `creationDate`; a version never changes, so `lastModifiedDate` too.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// As of the policy.
    pub generation_id: String,
}

/// An item of ListPolicyVersions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersionSummary {
    /// Decimal digits.
    pub version_id: String,
    /// Whether it is in force.
    pub is_default_version: bool,
    /// `createDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// An item of ListPolicies, ListAttachedPolicies and ListPrincipalPolicies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySummary {
    /// Name.
    pub policy_name: String,
    /// ARN.
    pub policy_arn: String,
}

/// A policy that counts for a principal or a thing: its default version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectivePolicy {
    /// Name.
    pub policy_name: String,
    /// ARN.
    pub policy_arn: String,
    /// JSON.
    pub policy_document: String,
}
