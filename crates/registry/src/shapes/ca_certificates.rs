//! CA certificates (security.md section 3).

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CertificateMode, Tag, Validity, timestamp};

/// A CA certificate's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum CaCertificateStatus {
    /// Certificates cannot be registered under it.
    Inactive = 0,
    /// Certificates can be registered under it.
    Active = 1,
}

/// Whether devices may register themselves by connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum AutoRegistrationStatus {
    /// They may not.
    Disable = 0,
    /// They may.
    Enable = 1,
}

/// How a device that registers itself is provisioned: a template body with a role, or the name of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationConfig {
    /// At most 10 240 characters.
    pub template_body: Option<String>,
    /// The role for `template_body`.
    pub role_arn: Option<String>,
    /// 1 to 36 of `0-9A-Za-z_-`.
    pub template_name: Option<String>,
}

/// Arguments of RegisterCACertificate, after the caller has verified both certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterCaCertificate {
    /// 64 lower-case hexadecimal digits: SHA-256 of the DER certificate.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
    /// The subject in any canonical text form, always the same one: what same-subject CAs are found by.
    pub subject: String,
    /// Validity.
    pub validity: Validity,
    /// Common name of the verification certificate, which the CA's key has signed; `None`: none was given.
    pub verification_common_name: Option<String>,
    /// Start ACTIVE.
    pub set_as_active: bool,
    /// Start with auto-registration enabled.
    pub allow_auto_registration: bool,
    /// Template of just-in-time provisioning.
    pub registration_config: Option<RegistrationConfig>,
    /// Mode, inherited by certificates registered under it.
    pub certificate_mode: CertificateMode,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Arguments of UpdateCACertificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCaCertificate {
    /// Which CA certificate.
    pub certificate_id: String,
    /// `newStatus`.
    pub new_status: Option<CaCertificateStatus>,
    /// `newAutoRegistrationStatus`.
    pub new_auto_registration_status: Option<AutoRegistrationStatus>,
    /// `registrationConfig`.
    pub registration_config: Option<RegistrationConfig>,
    /// `removeAutoRegistration`: disables auto-registration and forgets its configuration.
    pub remove_auto_registration: bool,
}

/// Answer of DescribeCACertificate. `ownedBy` is the scope's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaCertificateDescription {
    /// ARN.
    pub certificate_arn: String,
    /// Id.
    pub certificate_id: String,
    /// Status.
    pub status: CaCertificateStatus,
    /// PEM.
    pub certificate_pem: String,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// `lastModifiedDate`.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// `autoRegistrationStatus`.
    pub auto_registration_status: AutoRegistrationStatus,
    /// 1 at creation, one more at each change.
    pub customer_version: u32,
    /// Changes with each registration of the same certificate.
    pub generation_id: String,
    /// Validity.
    pub validity: Validity,
    /// Mode.
    pub certificate_mode: CertificateMode,
    /// `registrationConfig`.
    pub registration_config: Option<RegistrationConfig>,
}

/// An item of ListCACertificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaCertificateSummary {
    /// ARN.
    pub certificate_arn: String,
    /// Id.
    pub certificate_id: String,
    /// Status.
    pub status: CaCertificateStatus,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}
