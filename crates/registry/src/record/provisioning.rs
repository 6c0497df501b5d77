//! Provisioning templates and their versions, and who may provision what.

use prost::Message;

use crate::shapes::TemplateType;

/// A provisioning template.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ProvisioningTemplate {
    /// Description.
    #[prost(string, optional, tag = "1")]
    pub description: Option<String>,
    /// Whether it may be used.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
    /// `provisioningRoleArn`.
    #[prost(string, tag = "3")]
    pub provisioning_role_arn: String,
    /// `preProvisioningHook`.
    #[prost(message, optional, tag = "4")]
    pub hook: Option<Hook>,
    /// What it is for.
    #[prost(enumeration = "TemplateType", tag = "5")]
    pub template_type: i32,
    /// The version that counts.
    #[prost(uint64, tag = "6")]
    pub default_version: u64,
    /// The highest version number ever given.
    #[prost(uint64, tag = "7")]
    pub last_version: u64,
    /// When it was created.
    #[prost(uint64, tag = "8")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "9")]
    pub modified_at: u64,
}

/// Who is asked before anything is provisioned.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Hook {
    /// `payloadVersion`.
    #[prost(string, tag = "1")]
    pub payload_version: String,
    /// `targetArn`.
    #[prost(string, tag = "2")]
    pub target_arn: String,
}

/// A version of a provisioning template.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ProvisioningTemplateVersion {
    /// JSON as it was given.
    #[prost(string, tag = "1")]
    pub body: String,
    /// When it was created.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
}

/// What is known of a token that lets a device provision its certificate.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OwnershipToken {
    /// The certificate.
    #[prost(string, tag = "1")]
    pub certificate_id: String,
    /// Who was given it: certificate id or user; empty for an anonymous client.
    #[prost(string, tag = "2")]
    pub claimant: String,
    /// From when on it is good for nothing.
    #[prost(uint64, tag = "3")]
    pub expires_at: u64,
}
