//! Operators of an account: users, roles and their policies; ours, in IAM's words.

use fleethaven_types::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Secret, Tag, timestamp};

/// Whose a policy is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyHolder {
    /// A user, by name.
    User(String),
    /// A role, by name.
    Role(String),
}

impl PolicyHolder {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Role(name) => name,
        }
    }

    /// `user` or `role`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Role(_) => "role",
        }
    }
}

/// Arguments of PutOperatorPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutOperatorPolicy {
    /// Whose it is.
    pub holder: PolicyHolder,
    /// 1 to 128 of `\w+=,.@-`.
    pub policy_name: String,
    /// JSON, in the language of IAM's identity policies.
    pub policy_document: String,
}

/// A policy of a user or role, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPolicyName {
    /// Whose it is.
    pub holder: PolicyHolder,
    /// Its name.
    pub policy_name: String,
}

/// What of an account's operators has tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tagged {
    /// A user, by name.
    User(String),
    /// A role, by name.
    Role(String),
    /// A managed policy, by name.
    Policy(String),
}

/// Arguments of TagOperator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagOperator {
    /// What gets them.
    pub tagged: Tagged,
    /// Added, or in place of tags of the same key; letter case of keys does not matter.
    pub tags: Vec<Tag>,
}

/// Arguments of UntagOperator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntagOperator {
    /// What loses them.
    pub tagged: Tagged,
    /// Keys to remove; those it does not have are ignored.
    pub tag_keys: Vec<String>,
}

/// Arguments of CreateUser.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateUser {
    /// 1 to 64 of `\w+=,.@-`.
    pub user_name: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Arguments of DeleteUser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteUser {
    /// The user.
    pub user_name: String,
    /// With its access keys and policies; otherwise it may have none.
    pub force: bool,
}

/// Arguments of CreateRole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRole {
    /// 1 to 64 of `\w+=,.@-`.
    pub role_name: String,
    /// Who may assume it: JSON, a trust policy.
    pub assume_role_policy_document: String,
    /// How long its sessions may last: 3600 to 43200 seconds, 3600 unless said.
    pub max_session_duration: Option<u64>,
    /// What people say of it, up to 1000 characters.
    pub description: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Arguments of UpdateRole; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRole {
    /// The role.
    pub role_name: String,
    /// Who may assume it.
    pub assume_role_policy_document: Option<String>,
    /// How long its sessions may last.
    pub max_session_duration: Option<u64>,
    /// What people say of it.
    pub description: Option<String>,
}

/// Arguments of DeleteRole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRole {
    /// The role.
    pub role_name: String,
    /// With its policies; otherwise it may have none.
    pub force: bool,
}

/// A policy of a user or role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPolicy {
    /// Its name.
    pub policy_name: String,
    /// JSON as it was given.
    pub policy_document: String,
}

/// A user with all that decides what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDescription {
    /// Its account.
    pub account: AccountId,
    /// Its name.
    pub user_name: String,
    /// `AIDA…`
    pub user_id: String,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// Its policies, by name.
    pub policies: Vec<OperatorPolicy>,
    /// Managed policies that it has, by name; what counts of them.
    #[serde(default)]
    pub attached: Vec<OperatorPolicy>,
    /// In the order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl UserDescription {
    /// `arn:aws:iam::<account>:user/<name>`
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.account, self.user_name)
    }
}

/// A role with all that decides what its sessions may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDescription {
    /// Its account.
    pub account: AccountId,
    /// Its name.
    pub role_name: String,
    /// `AROA…`
    pub role_id: String,
    /// Who may assume it.
    pub assume_role_policy_document: String,
    /// How long its sessions may last, in seconds.
    pub max_session_duration: u64,
    /// What people say of it.
    pub description: String,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// Its policies, by name.
    pub policies: Vec<OperatorPolicy>,
    /// Managed policies that it has, by name; what counts of them.
    #[serde(default)]
    pub attached: Vec<OperatorPolicy>,
    /// In the order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl RoleDescription {
    /// `arn:aws:iam::<account>:role/<name>`
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:role/{}", self.account, self.role_name)
    }
}

/// Arguments of CreateManagedPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateManagedPolicy {
    /// 1 to 128 of `\w+=,.@-`.
    pub policy_name: String,
    /// JSON, in the language of IAM's identity policies.
    pub policy_document: String,
    /// What people say of it, up to 1000 characters.
    pub description: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Arguments of CreateManagedPolicyVersion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateManagedPolicyVersion {
    /// The policy.
    pub policy_name: String,
    /// JSON, in the language of IAM's identity policies.
    pub policy_document: String,
    /// Whether it is the one that counts from now on.
    pub set_as_default: bool,
}

/// A version of a managed policy, by its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicyVersionName {
    /// The policy.
    pub policy_name: String,
    /// From 1.
    pub version: u64,
}

/// A managed policy with all of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicyDescription {
    /// Its account.
    pub account: AccountId,
    /// Its name.
    pub policy_name: String,
    /// `ANPA…`
    pub policy_id: String,
    /// What people say of it.
    pub description: String,
    /// The number of the version that counts.
    pub default_version: u64,
    /// In the order in which they were made.
    pub versions: Vec<ManagedPolicyVersionDescription>,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When its versions last changed.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// Users that have it, by name.
    pub users: Vec<String>,
    /// Roles that have it, by name.
    pub roles: Vec<String>,
    /// In the order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl ManagedPolicyDescription {
    /// `arn:aws:iam::<account>:policy/<name>`
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:policy/{}", self.account, self.policy_name)
    }
}

/// A version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicyVersionDescription {
    /// From 1; never used twice.
    pub number: u64,
    /// JSON as it was given.
    pub document: String,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// A key that sessions are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// Which one.
    pub number: u64,
    /// 32 bytes in hexadecimal.
    pub secret: Secret,
}
