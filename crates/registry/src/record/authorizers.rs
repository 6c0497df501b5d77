//! Custom authorizers and role aliases.

use std::collections::BTreeMap;

use prost::Message;

use crate::shapes::AuthorizerStatus;

/// A custom authorizer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Authorizer {
    /// `authorizerFunctionArn`.
    #[prost(string, tag = "1")]
    pub function_arn: String,
    /// `tokenKeyName`.
    #[prost(string, optional, tag = "2")]
    pub token_key_name: Option<String>,
    /// `tokenSigningPublicKeys`, PEM by name.
    #[prost(btree_map = "string, string", tag = "3")]
    pub public_keys: BTreeMap<String, String>,
    /// Whether it may be asked.
    #[prost(enumeration = "AuthorizerStatus", tag = "4")]
    pub status: i32,
    /// Tokens need no signature.
    #[prost(bool, tag = "5")]
    pub signing_disabled: bool,
    /// Answers hold for further requests on the same HTTP connection.
    #[prost(bool, tag = "6")]
    pub caching_for_http: bool,
    /// When it was created.
    #[prost(uint64, tag = "7")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "8")]
    pub modified_at: u64,
}

/// The authorizer that is asked where nothing else says which.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DefaultAuthorizer {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A role alias.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RoleAlias {
    /// `roleArn`.
    #[prost(string, tag = "1")]
    pub role_arn: String,
    /// `credentialDurationSeconds`.
    #[prost(uint64, tag = "2")]
    pub duration_secs: u64,
    /// When it was created.
    #[prost(uint64, tag = "3")]
    pub created_at: u64,
    /// When it was last changed.
    #[prost(uint64, tag = "4")]
    pub modified_at: u64,
}
