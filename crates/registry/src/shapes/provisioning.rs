//! Provisioning: what is provisioned at once, and templates for it (provisioning.md section 7).

use std::collections::BTreeMap;

use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use super::{OwnershipToken, RegisterCertificate, RegisterIssuedCertificate, Tag, timestamp};
use crate::template::Plan;

/// Arguments of Provision: what RegisterThing does once the caller has resolved the template and has dealt with the
/// certificate's signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// What is to be made.
    pub plan: Plan,
    /// How the plan's certificate is registered; one that is registered already is taken as it is.
    pub certificate: Option<CertificateRegistration>,
}

/// How a certificate is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateRegistration {
    /// It must be registered already, under this id.
    Existing(String),
    /// Our CA has issued it. The status is the plan's.
    Issued(RegisterIssuedCertificate),
    /// A registered CA has signed it. The status is the plan's.
    Signed(RegisterCertificate),
}

/// Answer of Provision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// The thing's name.
    pub thing_name: Option<String>,
    /// The certificate, PEM.
    pub certificate_pem: Option<String>,
    /// ARNs by the resources' logical names.
    pub resource_arns: BTreeMap<String, String>,
}

/// Arguments of ProvisionDevice: RegisterThing as a device asks for it over MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionDevice {
    /// By which template, in its default version.
    pub template_name: String,
    /// Parameters, with what the hook has overridden.
    pub parameters: BTreeMap<String, String>,
    /// Which certificate, and the right to have it provisioned. Good for one success.
    pub token: OwnershipToken,
    /// Which hook has allowed it. It must be the template's.
    pub allowed_by: Option<ProvisioningHook>,
}

/// Answer of ProvisionDevice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedDevice {
    /// The thing's name.
    pub thing_name: Option<String>,
    /// `DeviceConfiguration` of the template.
    pub device_configuration: BTreeMap<String, String>,
}

/// Arguments of FirstConnect: a device has connected with a certificate that is not registered, or waits for its activation. The
/// caller has verified its signature and validity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstConnect {
    /// The certificate and its CA. What status is asked for does not count.
    pub certificate: RegisterCertificate,
    /// Attributes of its subject by their names in templates: `Country`, `CommonName` and so on.
    pub subject: BTreeMap<String, String>,
}

/// Answer of FirstConnect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstConnected {
    /// The certificate waits for its activation, and who is to decide was told.
    Registered,
    /// Everything that the CA's template says is there; the thing's name.
    Provisioned(Option<String>),
    /// The certificate waits for its activation, as the template could not be carried out: why.
    NotProvisioned(String),
}

/// A registered CA that lets devices register themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuingAuthority {
    /// Where.
    pub scope: Scope,
    /// Its id.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
}

/// The certificate that an ownership token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedCertificate {
    /// Id.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
}

/// What a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum TemplateType {
    /// Devices provision themselves over MQTT.
    FleetProvisioning = 0,
    /// Devices are provisioned when they first connect with a certificate of a registered CA.
    Jitp = 1,
}

/// `preProvisioningHook`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningHook {
    /// `payloadVersion`.
    pub payload_version: String,
    /// `targetArn`: whom to ask.
    pub target_arn: String,
}

/// Arguments of CreateProvisioningTemplate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateProvisioningTemplate {
    /// 1 to 36 of `a-zA-Z0-9_-`.
    pub template_name: String,
    /// At most 500 characters.
    pub description: Option<String>,
    /// JSON: version 1.
    pub template_body: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// `provisioningRoleArn`.
    pub provisioning_role_arn: String,
    /// Who is asked before anything is provisioned.
    pub pre_provisioning_hook: Option<ProvisioningHook>,
    /// What it is for.
    pub template_type: TemplateType,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Answer of CreateProvisioningTemplate and CreateProvisioningTemplateVersion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTemplateVersion {
    /// ARN of the template.
    pub template_arn: String,
    /// Name of the template.
    pub template_name: String,
    /// Number of the version.
    pub version_id: u64,
    /// Whether it is the default version.
    pub is_default_version: bool,
}

/// Arguments of UpdateProvisioningTemplate; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateProvisioningTemplate {
    /// Which template.
    pub template_name: String,
    /// The new description.
    pub description: Option<String>,
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// The new default version.
    pub default_version_id: Option<u64>,
    /// The new role.
    pub provisioning_role_arn: Option<String>,
    /// The new hook.
    pub pre_provisioning_hook: Option<ProvisioningHook>,
    /// Takes the hook away.
    pub remove_pre_provisioning_hook: bool,
}

/// Arguments of CreateProvisioningTemplateVersion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTemplateVersion {
    /// Which template.
    pub template_name: String,
    /// JSON.
    pub template_body: String,
    /// Make it the default version.
    pub set_as_default: bool,
}

/// A version of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateVersionName {
    /// Which template.
    pub template_name: String,
    /// Which version.
    pub version_id: u64,
}

/// Answer of DescribeProvisioningTemplate, and an item of ListProvisioningTemplates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningTemplateDescription {
    /// ARN.
    pub template_arn: String,
    /// Name.
    pub template_name: String,
    /// Description.
    pub description: Option<String>,
    /// When it was created.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// The default version.
    pub default_version_id: u64,
    /// Its body; `None` in listings.
    pub template_body: Option<String>,
    /// Whether it may be used.
    pub enabled: bool,
    /// Role.
    pub provisioning_role_arn: String,
    /// Hook.
    pub pre_provisioning_hook: Option<ProvisioningHook>,
    /// What it is for.
    pub template_type: TemplateType,
}

/// Answer of DescribeProvisioningTemplateVersion, and an item of ListProvisioningTemplateVersions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateVersionDescription {
    /// Number.
    pub version_id: u64,
    /// When it was created.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// JSON; `None` in listings.
    pub template_body: Option<String>,
    /// Whether it is the default version.
    pub is_default_version: bool,
}
