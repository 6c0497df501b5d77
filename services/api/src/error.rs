//! Every refusal, with AWS's exception name, HTTP status and message.

use fleethaven_fabric::metadata;
use fleethaven_registry::ErrorCode;

use crate::operations::{Operation, Service};

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not signed, or not rightly.
    #[error(transparent)]
    Authentication(#[from] fleethaven_sigv4::Error),
    /// Evaluated and refused.
    #[error("{}", .0.message)]
    Refused(#[from] fleethaven_registry::Error),
    /// A certificate or CSR is not acceptable.
    #[error(transparent)]
    Certificate(#[from] fleethaven_pki::Error),
    /// The request breaks a rule that its own content shows.
    #[error("{0}")]
    Invalid(String),
    /// The principal may not do this. The reason is for logs; the caller is not told.
    #[error("Forbidden")]
    Forbidden(String),
    /// The operator's policies do not allow it. The message is the caller's; the log is told which statement denied, too.
    #[error("{message}")]
    AccessDenied {
        /// Who may not do what to what, and why.
        message: String,
        /// The statement that denied.
        by: Option<String>,
    },
    /// What is asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// Somebody who was waited for did not answer in time.
    #[error("{0}")]
    GatewayTimeout(String),
    /// More bytes than allowed.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// More bytes than a direct message's receiver takes.
    #[error("the message is larger than the receiver takes")]
    TooLargeForReceiver,
    /// The body did not arrive in time.
    #[error("the request body did not arrive in time")]
    Timeout,
    /// The operation exists at AWS and not yet here.
    #[error("the operation {0} is not built yet")]
    NotBuilt(&'static str),
    /// No operation has such a path.
    #[error("no operation of this service has the path '{0}'")]
    UnknownOperation(String),
    /// The query protocol's form names no operation of the service.
    #[error("Could not find operation {action} for version {version}")]
    UnknownAction {
        /// What the form names.
        action: String,
        /// The service's, as its model has it.
        version: &'static str,
    },
    /// The path's operations have other methods.
    #[error("the method {method} is not allowed on '{path}'")]
    MethodNotAllowed {
        /// Method of the request.
        method: String,
        /// Its path.
        path: String,
    },
    /// Too many requests.
    #[error("Rate exceeded")]
    Throttled,
    /// Not ready; trying again can help.
    #[error("the service is unavailable: {0}")]
    Unavailable(String),
    /// Our own failure.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The metastore answered a question that was not asked.
    pub(crate) fn unexpected_reply() -> Self {
        Self::Internal("the metadata store gave an answer of another kind".to_owned())
    }

    /// The exception's name, as in `x-amzn-ErrorType`.
    pub(crate) fn code(&self, operation: Option<&Operation>) -> &'static str {
        let internal = internal_name(operation);
        match self {
            Self::Authentication(error) => error.aws_code(),
            Self::Refused(error) if error.code == ErrorCode::InternalFailureException => internal,
            Self::Refused(error) => error.code.as_str(),
            Self::Certificate(error) if error.aws_code() == "InternalFailureException" => internal,
            Self::Certificate(error) => error.aws_code(),
            Self::Invalid(_) => "InvalidRequestException",
            Self::Forbidden(_) => "ForbiddenException",
            Self::AccessDenied { .. } => match operation.map(|operation| operation.service) {
                Some(Service::Data | Service::Jobs) => "ForbiddenException",
                _ => "AccessDeniedException",
            },
            Self::NotFound(_) => "ResourceNotFoundException",
            Self::GatewayTimeout(_) => "GatewayTimeoutException",
            Self::TooLarge(_) | Self::TooLargeForReceiver => "RequestEntityTooLargeException",
            Self::Timeout => "RequestTimeoutException",
            Self::NotBuilt(_) => "NotImplementedException",
            Self::UnknownOperation(_) => "UnknownOperationException",
            Self::UnknownAction { .. } => "InvalidAction",
            Self::MethodNotAllowed { .. } => "MethodNotAllowedException",
            Self::Throttled => "ThrottlingException",
            Self::Unavailable(_) => "ServiceUnavailableException",
            Self::Internal(_) => internal,
        }
    }

    /// The HTTP status. Throttling is 400 in the control plane and where the query protocol is spoken, and 429 elsewhere.
    pub(crate) fn status(&self, service: Service) -> u16 {
        let throttled = if service == Service::Control || service.is_query() { 400 } else { 429 };
        match self {
            Self::Authentication(error) => error.status(),
            Self::Refused(error) if error.code == ErrorCode::ThrottlingException => throttled,
            Self::Refused(error)
                if error.code == ErrorCode::LimitExceededException && service == Service::Iam =>
            {
                409
            }
            Self::Refused(error) => error.code.http_status(),
            Self::Certificate(error) if error.aws_code() == "InternalFailureException" => 500,
            Self::Certificate(_) | Self::Invalid(_) | Self::UnknownAction { .. } => 400,
            Self::Forbidden(_) | Self::AccessDenied { .. } => 403,
            Self::UnknownOperation(_) | Self::NotFound(_) => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::Timeout => 408,
            Self::TooLarge(_) | Self::TooLargeForReceiver => 413,
            Self::Throttled => throttled,
            Self::Internal(_) => 500,
            Self::NotBuilt(_) => 501,
            Self::Unavailable(_) => 503,
            Self::GatewayTimeout(_) => 504,
        }
    }

    /// `resourceId` and `resourceArn` of what exists already.
    pub(crate) fn resource(&self) -> Option<&(String, String)> {
        match self {
            Self::Refused(error) => error.resource.as_ref(),
            _ => None,
        }
    }

    /// What the caller may not read and the operator should: the log's reason.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Forbidden(reason) => reason.clone(),
            Self::AccessDenied { message, by: Some(by) } => format!("{message} ({by})"),
            other => other.to_string(),
        }
    }
}

/// The model's name of our own failure: operations of rules and of logging have one of their own.
fn internal_name(operation: Option<&Operation>) -> &'static str {
    match operation {
        Some(operation) if operation.name.contains("TopicRule") || operation.name.contains("Logging") => {
            "InternalException"
        }
        _ => "InternalFailureException",
    }
}

impl From<metadata::Error> for Error {
    fn from(error: metadata::Error) -> Self {
        match error {
            metadata::Error::Refused(error) => Self::Refused(error),
            metadata::Error::Unavailable(reason) => Self::Unavailable(reason),
            metadata::Error::Unknown => {
                Self::Internal("the metadata store did not answer in time".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_differ_in_throttling_and_rules_in_internal_errors() {
        assert_eq!(Error::Throttled.status(Service::Control), 400);
        assert_eq!(Error::Throttled.status(Service::Data), 429);
        let rule = Operation::all(Service::Control).find(|o| o.name == "GetTopicRule");
        assert_eq!(Error::Internal(String::new()).code(rule.as_ref()), "InternalException");
        assert_eq!(Error::Internal(String::new()).code(None), "InternalFailureException");
    }

    #[test]
    fn the_caller_of_what_is_forbidden_is_told_nothing() {
        let error = Error::Forbidden("no policy allows it".to_owned());
        assert_eq!(error.to_string(), "Forbidden");
        assert_eq!(error.reason(), "no policy allows it");
    }
}
