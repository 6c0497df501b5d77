//! Client certificates (security.md section 2, provisioning.md section 2).

use fleethaven_types::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Tag, timestamp};

/// A certificate's status (security.md section 2.3). The number is the stored one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, prost::Enumeration,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum CertificateStatus {
    /// Cannot authenticate.
    Inactive = 0,
    /// Can authenticate.
    Active = 1,
    /// Can never authenticate again.
    Revoked = 2,
    /// Offered to another account.
    PendingTransfer = 3,
    /// Registered by a device's own doing, waiting to be activated.
    PendingActivation = 4,
    /// Deprecated in AWS's model; never stored.
    RegisterInactive = 5,
}

/// Whether the client must send SNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum CertificateMode {
    /// Issued by us, or by a CA registered in this mode.
    Default = 0,
    /// Registered without a CA, or by a CA in this mode: the account is found from SNI.
    SniOnly = 1,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// `notBefore`.
    #[serde(with = "timestamp")]
    pub not_before: Timestamp,
    /// `notAfter`.
    #[serde(with = "timestamp")]
    pub not_after: Timestamp,
}

/// A certificate that our CA has issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterIssuedCertificate {
    /// 64 lower-case hexadecimal digits: SHA-256 of the DER certificate.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
    /// `Active`, `Inactive` or (fleet provisioning) `PendingActivation`.
    pub status: CertificateStatus,
    /// Validity.
    pub validity: Validity,
    /// Whom it is for.
    pub issued_for: IssuedFor,
}

/// Whom a certificate is issued for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IssuedFor {
    /// Whoever asked by the API.
    Caller,
    /// A device that is to have it provisioned, and is given a token for that. The certificate is
    /// `PENDING_ACTIVATION`, and goes when the token expires unless something has been made of it.
    Device(OwnershipToken),
    /// A trusted user, who provisions a device by this template. It may be used for nothing else, is not listed, and
    /// goes when it is not valid any more.
    Claim(String),
}

/// What is kept of a token that lets a device have its certificate provisioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipToken {
    /// SHA-256 of the token: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Who may use it: the certificate id or user of the client that was given it; empty for an anonymous client.
    pub claimant: String,
}

/// Arguments of RegisterCertificate, after the caller has verified the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterCertificate {
    /// 64 lower-case hexadecimal digits: SHA-256 of the DER certificate.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
    /// Validity.
    pub validity: Validity,
    /// The registered CA certificate whose key verified the signature.
    pub ca_certificate_id: String,
    /// Whether the request named the CA (`caCertificatePem`). Without, several CAs of one subject are a
    /// conflict.
    pub ca_certificate_given: bool,
    /// `ACTIVE`, `INACTIVE` or `REVOKED`; wins over `set_as_active`.
    pub status: Option<CertificateStatus>,
    /// `setAsActive`.
    pub set_as_active: bool,
}

/// Arguments of RegisterCertificateWithoutCA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterCertificateWithoutCa {
    /// 64 lower-case hexadecimal digits: SHA-256 of the DER certificate.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
    /// Validity.
    pub validity: Validity,
    /// `ACTIVE`, `INACTIVE` (default) or `REVOKED`.
    pub status: Option<CertificateStatus>,
}

/// Answer of the calls that register a certificate or CA certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredCertificate {
    /// ARN: `cert/…` or `cacert/…`.
    pub certificate_arn: String,
    /// Id.
    pub certificate_id: String,
}

/// Arguments of UpdateCertificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCertificate {
    /// Which certificate.
    pub certificate_id: String,
    /// `ACTIVE`, `INACTIVE` or `REVOKED`.
    pub new_status: CertificateStatus,
}

/// Arguments of DeleteCertificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteCertificate {
    /// Which certificate.
    pub certificate_id: String,
    /// Detach its policies.
    pub force_delete: bool,
}

/// Arguments of TransferCertificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCertificate {
    /// Which certificate: inactive, and attached to nothing.
    pub certificate_id: String,
    /// To whom.
    pub target_account: AccountId,
    /// At most 128 characters.
    pub transfer_message: Option<String>,
}

/// Arguments of AcceptCertificateTransfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptCertificateTransfer {
    /// Which certificate.
    pub certificate_id: String,
    /// `setAsActive`.
    pub set_as_active: bool,
}

/// Arguments of RejectCertificateTransfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectCertificateTransfer {
    /// Which certificate.
    pub certificate_id: String,
    /// At most 128 characters.
    pub reject_reason: Option<String>,
}

/// `transferData`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferData {
    /// `transferMessage`.
    pub message: Option<String>,
    /// Why it was rejected.
    pub reject_reason: Option<String>,
    /// `transferDate`.
    #[serde(with = "timestamp")]
    pub offered_at: Timestamp,
    /// `acceptDate`.
    #[serde(with = "timestamp::optional")]
    pub accepted_at: Option<Timestamp>,
    /// `rejectDate`.
    #[serde(with = "timestamp::optional")]
    pub rejected_at: Option<Timestamp>,
}

/// An item of ListOutgoingCertificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingCertificate {
    /// ARN.
    pub certificate_arn: String,
    /// Id.
    pub certificate_id: String,
    /// The account that it is offered to.
    pub transferred_to: String,
    /// When it was offered.
    #[serde(with = "timestamp")]
    pub transferred_at: Timestamp,
    /// What was said.
    pub transfer_message: Option<String>,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// Answer of DescribeCertificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDescription {
    /// ARN.
    pub certificate_arn: String,
    /// Id.
    pub certificate_id: String,
    /// The registered CA it was registered with.
    pub ca_certificate_id: Option<String>,
    /// Status.
    pub status: CertificateStatus,
    /// PEM.
    pub certificate_pem: String,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// `lastModifiedDate`.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// 1 at creation, one more at each change.
    pub customer_version: u32,
    /// Changes with each registration of the same certificate.
    pub generation_id: String,
    /// Validity.
    pub validity: Validity,
    /// Mode.
    pub certificate_mode: CertificateMode,
    /// Whose it is: while it is offered to the scope's account, another's.
    pub owned_by: AccountId,
    /// Who has transferred it to the scope's account.
    pub previous_owner: Option<AccountId>,
    /// Its last transfer.
    pub transfer: Option<TransferData>,
}

/// An item of ListCertificates and ListCertificatesByCA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSummary {
    /// ARN.
    pub certificate_arn: String,
    /// Id.
    pub certificate_id: String,
    /// Status.
    pub status: CertificateStatus,
    /// Mode.
    pub certificate_mode: CertificateMode,
    /// `creationDate`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// Arguments of CreateCertificateProvider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateCertificateProvider {
    /// 1 to 128 of `\w=,@-`.
    pub certificate_provider_name: String,
    /// Who signs.
    pub lambda_function_arn: String,
    /// `CreateCertificateFromCsr` and nothing else.
    pub account_default_for_operations: Vec<String>,
    /// 36 to 64 characters: the same request has the same.
    pub client_token: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Arguments of UpdateCertificateProvider; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCertificateProvider {
    /// Which provider.
    pub certificate_provider_name: String,
    /// Who signs.
    pub lambda_function_arn: Option<String>,
    /// `CreateCertificateFromCsr` and nothing else.
    pub account_default_for_operations: Option<Vec<String>>,
}

/// Answer of DescribeCertificateProvider, and an item of ListCertificateProviders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateProviderDescription {
    /// ARN.
    pub certificate_provider_arn: String,
    /// Name.
    pub certificate_provider_name: String,
    /// Who signs.
    pub lambda_function_arn: String,
    /// What for.
    pub account_default_for_operations: Vec<String>,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
}

/// Answer of our own query for the ends of certificates: a part of those of all accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateEnds {
    /// Of those that are ACTIVE.
    pub ends: Vec<CertificateEnd>,
    /// Where the next part begins; `None` after the last one.
    pub next: Option<String>,
}

/// Until when a certificate is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateEnd {
    /// Whose it is.
    pub account: AccountId,
    /// The end of its validity.
    #[serde(with = "timestamp")]
    pub not_after: Timestamp,
}
