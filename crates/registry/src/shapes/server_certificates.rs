//! Server certificates of domain configurations: ours, as AWS's certificate manager is none of our services.

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Secret, timestamp};

/// Arguments of PutServerCertificate: from now on the chain is shown where `server_certificate_arn` is named. Who sends it has
/// checked that chain and key go together and may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutServerCertificate {
    /// `arn:aws:acm:<region>:<account>:certificate/<id>`, of any region and account.
    pub server_certificate_arn: String,
    /// PEM chain, the server's certificate first.
    pub certificate_chain: String,
    /// PEM key.
    pub private_key: Secret,
    /// The DNS names that it is for, in lower case: exact ones, or with `*` as the first label.
    pub names: Vec<String>,
    /// Until when the chain is valid.
    #[serde(with = "timestamp")]
    pub not_after: Timestamp,
}

/// A server certificate as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCertificateDescription {
    /// Its ARN.
    pub server_certificate_arn: String,
    /// The DNS names that it is for.
    pub names: Vec<String>,
    /// Until when the chain is valid.
    #[serde(with = "timestamp")]
    pub not_after: Timestamp,
    /// When it was put.
    #[serde(with = "timestamp")]
    pub put_at: Timestamp,
    /// The domains that show it.
    pub domains: Vec<String>,
}

/// How it stands with a certificate that a domain configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCertificateSummary {
    /// Its ARN.
    pub server_certificate_arn: String,
    /// What is wrong with it.
    pub fault: Option<String>,
}
