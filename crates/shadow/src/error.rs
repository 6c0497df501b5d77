//! Why a request is not carried out: AWS's codes and messages (shadow.md section 5).

/// What is wrong with a request. `Display` gives AWS's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is no JSON, or its root is no object.
    #[error("Invalid JSON")]
    InvalidJson,
    /// There is no `state`.
    #[error("Missing required node: state")]
    MissingState,
    /// `state` is neither an object nor null.
    #[error("State node must be an object")]
    StateNotObject,
    /// `state.desired` is neither an object nor null.
    #[error("Desired node must be an object")]
    DesiredNotObject,
    /// `state.reported` is neither an object nor null.
    #[error("Reported node must be an object")]
    ReportedNotObject,
    /// `version` is no whole number from 0 on.
    #[error("Invalid version")]
    InvalidVersion,
    /// `clientToken` is no string, or longer than 64 bytes.
    #[error("Invalid clientToken")]
    InvalidClientToken,
    /// A section nests deeper than the limit, which is given.
    #[error("JSON contains too many levels of nesting; maximum is {0}")]
    TooDeep(usize),
    /// An array holds null, or `state` holds something besides its two sections.
    #[error("State contains an invalid node")]
    InvalidNode,
    /// There is no such shadow: the thing's name for a classic one.
    #[error("No shadow exists with name: '{0}'")]
    NoShadow(String),
    /// The request's `version` is not the stored one.
    #[error("Version conflict")]
    VersionConflict,
    /// The merged state would be larger than the limit.
    #[error("The payload exceeds the maximum size allowed")]
    TooLarge,
    /// The body is not UTF-8. (AWS's words.)
    #[error("Unsupported documented encoding; supported encoding is UTF-8")]
    NotUtf8,
}

impl Error {
    /// The code in `…/rejected`, which is also the HTTP status.
    pub fn code(&self) -> u16 {
        match self {
            Self::InvalidJson
            | Self::MissingState
            | Self::StateNotObject
            | Self::DesiredNotObject
            | Self::ReportedNotObject
            | Self::InvalidVersion
            | Self::InvalidClientToken
            | Self::TooDeep(_)
            | Self::InvalidNode => 400,
            Self::NoShadow(_) => 404,
            Self::VersionConflict => 409,
            Self::TooLarge => 413,
            Self::NotUtf8 => 415,
        }
    }
}

/// A request that cannot be read, and what its answer echoes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// What is wrong.
    pub error: Error,
    /// The request's `clientToken`, where one could be read.
    pub client_token: Option<String>,
}
