//! Custom authorizers (security.md section 6.1).

use std::collections::BTreeMap;

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Tag, timestamp};

/// Whether an authorizer may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum AuthorizerStatus {
    /// It may not: whoever names it is refused.
    Inactive = 0,
    /// It may.
    Active = 1,
}

/// Arguments of CreateAuthorizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateAuthorizer {
    /// 1 to 128 of `\w=,@-`.
    pub authorizer_name: String,
    /// The function that decides.
    pub authorizer_function_arn: String,
    /// Under which name clients pass their token; required unless signing is disabled.
    pub token_key_name: Option<String>,
    /// Keys that tokens are signed with, PEM, by name; the caller has checked that they are RSA keys of at least 2048 bits.
    pub token_signing_public_keys: BTreeMap<String, String>,
    /// Whether it may be asked.
    pub status: AuthorizerStatus,
    /// Tokens need no signature; this never changes.
    pub signing_disabled: bool,
    /// Answers hold for further requests on the same HTTP connection.
    pub enable_caching_for_http: bool,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Arguments of UpdateAuthorizer; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAuthorizer {
    /// Which authorizer.
    pub authorizer_name: String,
    /// The new function.
    pub authorizer_function_arn: Option<String>,
    /// The new name of tokens.
    pub token_key_name: Option<String>,
    /// The new keys, instead of all that there were.
    pub token_signing_public_keys: Option<BTreeMap<String, String>>,
    /// Whether it may be asked.
    pub status: Option<AuthorizerStatus>,
    /// Whether answers hold for further requests on the same HTTP connection.
    pub enable_caching_for_http: Option<bool>,
}

/// Answer of CreateAuthorizer, UpdateAuthorizer and SetDefaultAuthorizer, and an item of ListAuthorizers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizerSummary {
    /// Name.
    pub authorizer_name: String,
    /// ARN.
    pub authorizer_arn: String,
}

/// Answer of DescribeAuthorizer and DescribeDefaultAuthorizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizerDescription {
    /// Name.
    pub authorizer_name: String,
    /// ARN.
    pub authorizer_arn: String,
    /// The function that decides.
    pub authorizer_function_arn: String,
    /// Under which name clients pass their token.
    pub token_key_name: Option<String>,
    /// Keys that tokens are signed with, PEM, by name.
    pub token_signing_public_keys: BTreeMap<String, String>,
    /// Whether it may be asked.
    pub status: AuthorizerStatus,
    /// When it was created.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// Tokens need no signature.
    pub signing_disabled: bool,
    /// Answers hold for further requests on the same HTTP connection.
    pub enable_caching_for_http: bool,
}
