//! Generated types to the fabric's and back, one file per message. Only these modules name both.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) mod admin;
pub(crate) mod connections;
pub(crate) mod event;
pub(crate) mod execute;
pub(crate) mod lane_request;
pub(crate) mod lane_response;
pub(crate) mod membership;
pub(crate) mod outcome;
pub(crate) mod position;
pub(crate) mod query;
pub(crate) mod raft;

/// A message that is not what the contract says, or a value that cannot be put into one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field that is always set is absent.
    #[error("the message has no {0}")]
    Missing(&'static str),
    /// A packed frame cannot be read.
    #[error(transparent)]
    Packed(#[from] crate::routing::PackError),
    /// An idempotency key of another length.
    #[error("an idempotency key has 32 bytes, not {0}")]
    Key(usize),
    /// A value that the field cannot have.
    #[error("the message has no valid {0}")]
    Invalid(&'static str),
    /// JSON of the registry's vocabulary that does not fit it: a peer of another release.
    #[error("the {what} cannot be read or written: {source}")]
    Json {
        /// Which field.
        what: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// A value of the registry's vocabulary as it travels in v1.
fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|source| Error::Json { what, source })
}

/// Such a value as it arrived.
fn from_json<T: DeserializeOwned>(what: &'static str, json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|source| Error::Json { what, source })
}
