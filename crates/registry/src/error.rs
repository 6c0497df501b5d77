//! AWS's exceptions as the control plane answers them (security.md section 10, botocore's `iot` model).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of an exception of the `iot` service model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The request breaks a rule that its own content shows: 400.
    InvalidRequestException,
    /// A named resource does not exist: 404.
    ResourceNotFoundException,
    /// What is asked about was never set: 404.
    NotConfiguredException,
    /// The name is taken by something else: 409, with the id and ARN of what exists.
    ResourceAlreadyExistsException,
    /// The resource is still in use: 409.
    DeleteConflictException,
    /// `expectedVersion` is not the stored version: 409.
    VersionConflictException,
    /// A policy has as many versions as it may have: 409.
    VersionsLimitExceededException,
    /// The certificate's status does not allow it: 406.
    CertificateStateException,
    /// Several CA certificates with one subject could have signed it: 409.
    CertificateConflictException,
    /// The certificate is not acceptable: 400.
    CertificateValidationException,
    /// The verification certificate does not carry the registration code: 400.
    RegistrationCodeValidationException,
    /// The policy document is no policy: 400.
    MalformedPolicyException,
    /// A quota is used up: 410.
    LimitExceededException,
    /// A rule's SQL or a substitution template does not parse: 400.
    SqlParseException,
    /// Not allowed, or (rules) not existing: 401.
    UnauthorizedException,
    /// The certificate is being transferred: 409.
    TransferConflictException,
    /// The transfer has been completed: 410.
    TransferAlreadyCompletedException,
    /// Another update is under way: 409.
    ConflictingResourceUpdateException,
    /// The shadow's version is not the request's: 409.
    ConflictException,
    /// The shadow would be larger than it may be: 413.
    RequestEntityTooLargeException,
    /// The shadow document is not UTF-8: 415.
    UnsupportedDocumentEncodingException,
    /// What a template says cannot be provisioned: 400.
    ResourceRegistrationFailureException,
    /// A function's answer cannot be used: 400.
    InvalidResponseException,
    /// Too many requests: 400 in the control plane.
    ThrottlingException,
    /// Not ready: 503.
    ServiceUnavailableException,
    /// Our own failure, such as a stored record that cannot be read: 500.
    InternalFailureException,
}

impl ErrorCode {
    /// The HTTP status that the control plane answers with.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequestException
            | Self::CertificateValidationException
            | Self::RegistrationCodeValidationException
            | Self::MalformedPolicyException
            | Self::SqlParseException
            | Self::ResourceRegistrationFailureException
            | Self::InvalidResponseException
            | Self::ThrottlingException => 400,
            Self::UnauthorizedException => 401,
            Self::ResourceNotFoundException | Self::NotConfiguredException => 404,
            Self::CertificateStateException => 406,
            Self::ResourceAlreadyExistsException
            | Self::DeleteConflictException
            | Self::VersionConflictException
            | Self::VersionsLimitExceededException
            | Self::CertificateConflictException
            | Self::TransferConflictException
            | Self::ConflictException
            | Self::ConflictingResourceUpdateException => 409,
            Self::LimitExceededException | Self::TransferAlreadyCompletedException => 410,
            Self::RequestEntityTooLargeException => 413,
            Self::UnsupportedDocumentEncodingException => 415,
            Self::InternalFailureException => 500,
            Self::ServiceUnavailableException => 503,
        }
    }

    /// The name as in AWS's `x-amzn-ErrorType` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequestException => "InvalidRequestException",
            Self::ResourceNotFoundException => "ResourceNotFoundException",
            Self::NotConfiguredException => "NotConfiguredException",
            Self::ResourceAlreadyExistsException => "ResourceAlreadyExistsException",
            Self::DeleteConflictException => "DeleteConflictException",
            Self::VersionConflictException => "VersionConflictException",
            Self::VersionsLimitExceededException => "VersionsLimitExceededException",
            Self::CertificateStateException => "CertificateStateException",
            Self::CertificateConflictException => "CertificateConflictException",
            Self::CertificateValidationException => "CertificateValidationException",
            Self::RegistrationCodeValidationException => "RegistrationCodeValidationException",
            Self::MalformedPolicyException => "MalformedPolicyException",
            Self::LimitExceededException => "LimitExceededException",
            Self::SqlParseException => "SqlParseException",
            Self::UnauthorizedException => "UnauthorizedException",
            Self::TransferConflictException => "TransferConflictException",
            Self::TransferAlreadyCompletedException => "TransferAlreadyCompletedException",
            Self::ConflictingResourceUpdateException => "ConflictingResourceUpdateException",
            Self::ConflictException => "ConflictException",
            Self::RequestEntityTooLargeException => "RequestEntityTooLargeException",
            Self::UnsupportedDocumentEncodingException => "UnsupportedDocumentEncodingException",
            Self::ResourceRegistrationFailureException => "ResourceRegistrationFailureException",
            Self::InvalidResponseException => "InvalidResponseException",
            Self::ThrottlingException => "ThrottlingException",
            Self::ServiceUnavailableException => "ServiceUnavailableException",
            Self::InternalFailureException => "InternalFailureException",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a command or query was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// Which exception.
    pub code: ErrorCode,
    /// What is wrong, naming the offending input.
    pub message: String,
    /// `resourceId` and `resourceArn` of what exists already, on
    /// [`ErrorCode::ResourceAlreadyExistsException`].
    pub resource: Option<(String, String)>,
}

impl Error {
    /// An exception without a resource.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), resource: None }
    }

    /// `InvalidRequestException`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequestException, message)
    }

    /// `ResourceNotFoundException` for the `kind` called `name`.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(ErrorCode::ResourceNotFoundException, format!("{kind} '{name}' does not exist"))
    }

    /// `ResourceAlreadyExistsException` with what exists.
    pub fn exists(message: impl Into<String>, id: impl Into<String>, arn: impl Into<String>) -> Self {
        let resource = Some((id.into(), arn.into()));
        Self { code: ErrorCode::ResourceAlreadyExistsException, message: message.into(), resource }
    }

    /// `LimitExceededException`.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::LimitExceededException, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InternalFailureException, message)
    }
}
