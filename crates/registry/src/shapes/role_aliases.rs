//! Role aliases (security.md section 8).

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Tag, timestamp};

/// Arguments of CreateRoleAlias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRoleAlias {
    /// 1 to 128 of `\w=,@-`.
    pub role_alias: String,
    /// The role that credentials are given out for.
    pub role_arn: String,
    /// How long credentials are valid, 900 to 43200 s; `None`: 3600 s.
    pub credential_duration_seconds: Option<u64>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Arguments of UpdateRoleAlias; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRoleAlias {
    /// Which alias.
    pub role_alias: String,
    /// The new role.
    pub role_arn: Option<String>,
    /// How long credentials are valid from now on.
    pub credential_duration_seconds: Option<u64>,
}

/// Answer of CreateRoleAlias and UpdateRoleAlias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAliasNameAndArn {
    /// Name.
    pub role_alias: String,
    /// ARN.
    pub role_alias_arn: String,
}

/// Answer of DescribeRoleAlias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAliasDescription {
    /// Name.
    pub role_alias: String,
    /// ARN.
    pub role_alias_arn: String,
    /// The role that credentials are given out for.
    pub role_arn: String,
    /// How long credentials are valid, in seconds.
    pub credential_duration_seconds: u64,
    /// When it was created.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
}
