//! What is called where AWS would run a Lambda function: ours, as Lambda is none of our services.

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Secret, timestamp};

/// Arguments of PutFunction: from now on `target` is called where `function_arn` is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutFunction {
    /// `arn:aws:lambda:<region>:<account>:function:<name>[:<version or alias>]`, of any region and account.
    pub function_arn: String,
    /// What is called.
    pub target: FunctionTarget,
}

/// Where a function is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionTarget {
    /// `https://…` or `http://…`: of a webhook the whole address, of a Lambda-Invoke-compatible endpoint its origin.
    pub url: String,
    /// What is spoken there.
    pub kind: FunctionKind,
}

/// How a function is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionKind {
    /// A POST of the event, signed with the secret.
    Webhook {
        /// Key of the HMAC-SHA256. `None`: the secret stays as it is, where the function was a webhook before; otherwise it is
        /// made.
        signing_secret: Option<Secret>,
    },
    /// Lambda's Invoke API.
    Lambda {
        /// What signs requests (SigV4); `None`: they are not signed.
        credentials: Option<FunctionCredentials>,
    },
}

/// An access key for Lambda's Invoke API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCredentials {
    /// Its id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
}

/// A function as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionDescription {
    /// Its ARN.
    pub function_arn: String,
    /// What is called. A webhook's secret is always there.
    pub target: FunctionTarget,
    /// When it was put first.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}
