//! What stands for a Lambda function. It does not print its secrets.

use std::fmt;

use prost::Message;

/// What is called where AWS would run a Lambda function.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct Function {
    /// Where it is.
    #[prost(string, tag = "1")]
    pub url: String,
    /// Whether Lambda's Invoke API is spoken there; else it is a webhook.
    #[prost(bool, tag = "2")]
    pub lambda: bool,
    /// Key of the HMAC that signs what a webhook is sent.
    #[prost(string, tag = "3")]
    pub signing_secret: String,
    /// Access key that signs requests to Lambda's Invoke API; empty for none.
    #[prost(string, tag = "4")]
    pub access_key_id: String,
    /// Its secret.
    #[prost(string, tag = "5")]
    pub secret_access_key: String,
    /// When it was put first.
    #[prost(uint64, tag = "6")]
    pub created_at: u64,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("url", &self.url)
            .field("lambda", &self.lambda)
            .finish_non_exhaustive()
    }
}
