//! Accounts, their access keys and their issuing CA: ours, as AWS has none of them in `iot`.

use fleethaven_types::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Secret, UserDescription, timestamp};

/// Arguments of BootstrapAccount and CreateAccount; the account id is the scope's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateAccount {
    /// What people call it.
    pub name: String,
    /// Its first access key.
    pub access_key: AccessKey,
    /// The CA that issues certificates for it.
    pub issuing_ca: IssuingCa,
    /// Key of the HMAC in its page tokens: 32 random bytes in hexadecimal.
    pub pagination_secret: Secret,
}

/// A key pair that signs requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// 16 to 128 of `A-Z0-9_a-z`, unique among all accounts.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: Secret,
    /// Whose it is: a user of the account, whose policies decide; otherwise the account's own, which may do everything in it.
    #[serde(default)]
    pub user_name: Option<String>,
}

/// An access key's secret and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyOwner {
    /// The account.
    pub account: AccountId,
    /// The secret.
    pub secret_access_key: Secret,
    /// Whether it may sign requests.
    pub active: bool,
    /// The user that it belongs to; `None`: the account itself.
    #[serde(default)]
    pub user: Option<UserDescription>,
}

/// Arguments of UpdateAccessKey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAccessKey {
    /// Which key, of the scope's account.
    pub access_key_id: String,
    /// Whether it may sign requests from now on.
    pub active: bool,
}

/// An item of ListAccessKeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyDescription {
    /// Its id.
    pub access_key_id: String,
    /// Whether it may sign requests.
    pub active: bool,
    /// The user that it belongs to.
    #[serde(default)]
    pub user_name: Option<String>,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// A CA with its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuingCa {
    /// PEM.
    pub certificate_pem: String,
    /// Its key.
    #[serde(flatten)]
    pub key: IssuingKey,
    /// Of an answer with an opened key: the id of what seals it where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_under: Option<String>,
}

/// Where the key of an issuing CA is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuingKey {
    /// Here: PEM (PKCS #8). It is kept only sealed.
    PrivateKeyPem(Secret),
    /// With an external signer, which calls it so.
    ExternalKey(String),
    /// Sealed, as it is kept.
    SealedKey(SealedKey),
}

/// A private key that whoever keeps it cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// The id of what seals it.
    pub under: String,
    /// The sealed key, in base64.
    pub sealed: String,
}

/// An item of the list of accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDescription {
    /// Id.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}
