//! Client certificates, CA certificates and the registration code.

use prost::Message;

use crate::shapes::{AutoRegistrationStatus, CaCertificateStatus, CertificateMode, CertificateStatus};

/// A client certificate.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Certificate {
    /// PEM.
    #[prost(string, tag = "1")]
    pub certificate_pem: String,
    /// Status.
    #[prost(enumeration = "CertificateStatus", tag = "2")]
    pub status: i32,
    /// Mode.
    #[prost(enumeration = "CertificateMode", tag = "3")]
    pub mode: i32,
    /// The CA it was registered with.
    #[prost(string, optional, tag = "4")]
    pub ca_certificate_id: Option<String>,
    /// When it was registered.
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "6")]
    pub modified_at: u64,
    /// 1 at creation, one more at each change.
    #[prost(uint32, tag = "7")]
    pub customer_version: u32,
    /// A UUID of this registration.
    #[prost(string, tag = "8")]
    pub generation_id: String,
    /// Start of validity.
    #[prost(uint64, tag = "9")]
    pub not_before: u64,
    /// End of validity.
    #[prost(uint64, tag = "10")]
    pub not_after: u64,
    /// The template that it is a claim for, and may be used for alone.
    #[prost(string, optional, tag = "11")]
    pub claim_template: Option<String>,
}

/// A CA certificate.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CaCertificate {
    /// PEM.
    #[prost(string, tag = "1")]
    pub certificate_pem: String,
    /// Status.
    #[prost(enumeration = "CaCertificateStatus", tag = "2")]
    pub status: i32,
    /// Mode.
    #[prost(enumeration = "CertificateMode", tag = "3")]
    pub mode: i32,
    /// Whether devices may register themselves.
    #[prost(enumeration = "AutoRegistrationStatus", tag = "4")]
    pub auto_registration_status: i32,
    /// When it was registered.
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "6")]
    pub modified_at: u64,
    /// 1 at creation, one more at each change.
    #[prost(uint32, tag = "7")]
    pub customer_version: u32,
    /// A UUID of this registration.
    #[prost(string, tag = "8")]
    pub generation_id: String,
    /// Start of validity.
    #[prost(uint64, tag = "9")]
    pub not_before: u64,
    /// End of validity.
    #[prost(uint64, tag = "10")]
    pub not_after: u64,
    /// SHA-256 of the subject in hexadecimal.
    #[prost(string, tag = "11")]
    pub subject_hash: String,
    /// `registrationConfig`.
    #[prost(message, optional, tag = "12")]
    pub registration_config: Option<RegistrationTemplate>,
}

/// `registrationConfig` of a CA certificate.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RegistrationTemplate {
    /// Template text.
    #[prost(string, optional, tag = "1")]
    pub template_body: Option<String>,
    /// Role.
    #[prost(string, optional, tag = "2")]
    pub role_arn: Option<String>,
    /// Or the name of a template.
    #[prost(string, optional, tag = "3")]
    pub template_name: Option<String>,
}

/// The registration code.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RegistrationCode {
    /// 64 hexadecimal digits.
    #[prost(string, tag = "1")]
    pub code: String,
}
