//! Calls of functions that AWS would run as Lambda: authorizers, provisioning hooks, certificate providers, rules. What is
//! called where an ARN is named is the account's to say (`fleethaven function put`).

use std::time::Duration;

use bytes::Bytes;
use fleethaven_types::Scope;

use crate::metadata::BoxFuture;
use crate::traces::TraceContext;

/// One call of a function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Whose function.
    pub scope: Scope,
    /// Its ARN, with a version or alias or without.
    pub function_arn: String,
    /// The event: JSON.
    pub payload: Bytes,
    /// What calls.
    pub source: Source,
    /// ARN of the resource that names the function: a rule, an authorizer, a provisioning template, a certificate
    /// provider, a domain configuration.
    pub source_arn: String,
    /// The trace that the call belongs to.
    pub trace_id: Option<String>,
    /// The step that the call is below, where the trace is recorded: what is called may go on with it.
    pub below: Option<TraceContext>,
    /// How long the whole call may take, tries included.
    pub deadline: Duration,
}

/// What calls a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A rule's action or SQL.
    Rule,
    /// A custom authorizer.
    Authorizer,
    /// A pre-provisioning hook.
    ProvisioningHook,
    /// A certificate provider.
    CertificateProvider,
    /// The check of client certificates that a domain configuration names.
    CertificateCallback,
    /// The OCSP responder that a domain configuration names.
    OcspResponder,
}

impl Source {
    /// Its name in metrics, logs and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Authorizer => "authorizer",
            Self::ProvisioningHook => "provisioning-hook",
            Self::CertificateProvider => "certificate-provider",
            Self::CertificateCallback => "certificate-callback",
            Self::OcspResponder => "ocsp-responder",
        }
    }
}

/// Why a function gave no answer. None of them holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// The account does not say what to call.
    #[error("nothing is mapped to {0}: see `fleethaven function put`")]
    Unmapped(String),
    /// It cannot be reached, or has failed so often that it is left alone for a moment.
    #[error("the function is unavailable: {0}")]
    Unavailable(String),
    /// There was no answer within the deadline.
    #[error("the function did not answer in time")]
    TimedOut,
    /// It has too much to do, there or here.
    #[error("the function is busy")]
    Throttled,
    /// It was called and failed, or refused the call.
    #[error("the function failed: {0}")]
    Failed(String),
    /// The event or the answer cannot be sent: too large, no address that may be called.
    #[error("the function cannot be called: {0}")]
    Invalid(String),
}

impl FunctionError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut | Self::Throttled)
    }
}

/// Calls functions.
pub trait Functions: Send + Sync + 'static {
    /// Calls and waits: the function's answer.
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>>;

    /// Calls without waiting for what the function makes of it: it was accepted.
    fn send(&self, call: Invocation) -> BoxFuture<'_, Result<(), FunctionError>>;
}
