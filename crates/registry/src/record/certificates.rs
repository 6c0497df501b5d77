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
    /// The account that has transferred it to this one.
    #[prost(uint64, optional, tag = "12")]
    pub previous_owner: Option<u64>,
    /// Its last transfer from or to this account.
    #[prost(message, optional, tag = "13")]
    pub transfer: Option<Transfer>,
}

/// A certificate's transfer between two accounts.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Transfer {
    /// The other account.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
    /// What the source says.
    #[prost(string, optional, tag = "2")]
    pub message: Option<String>,
    /// Why the target does not want it.
    #[prost(string, optional, tag = "3")]
    pub reject_reason: Option<String>,
    /// When it was offered.
    #[prost(uint64, tag = "4")]
    pub offered_at: u64,
    /// When it was accepted.
    #[prost(uint64, optional, tag = "5")]
    pub accepted_at: Option<u64>,
    /// When it was rejected.
    #[prost(uint64, optional, tag = "6")]
    pub rejected_at: Option<u64>,
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

/// A certificate provider.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CertificateProvider {
    /// The function that signs.
    #[prost(string, tag = "1")]
    pub lambda_function_arn: String,
    /// `clientToken` of the request that made it.
    #[prost(string, optional, tag = "2")]
    pub client_token: Option<String>,
    /// When it was made.
    #[prost(uint64, tag = "3")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "4")]
    pub modified_at: u64,
}
