//! What is recorded of a call.

use serde::{Deserialize, Serialize};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// The caller was not known, or not allowed to.
    Denied,
    /// It was refused for what it asked.
    Refused,
    /// We failed.
    Failed,
}

/// One call. Keys are only ever added: programs depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it came, in milliseconds since the epoch.
    pub at: u64,
    /// Whose: the caller's account, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The region that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `iot`, `iotdata`, `sts`, …
    pub service: String,
    /// The operation; `unknown` where none was meant.
    pub operation: String,
    /// The caller: the ARN of an operator, a certificate's id; absent where nobody was believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The access key that signed, or was claimed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Where it came from.
    pub source_ip: String,
    /// `User-Agent`, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// As the answer's `x-amzn-RequestId`.
    pub request_id: String,
    /// Path of the request, shortened: it names what was asked about.
    pub path: String,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status.
    pub status: u16,
    /// The exception's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
