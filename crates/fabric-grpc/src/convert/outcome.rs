//! `Refused`, `Unavailable` and `Unknown`: the ways in which a command or query is not answered.

use fleethaven_fabric::metadata::Error as CallError;

use super::{Error, from_json, to_json};
use crate::generated::metadata as wire;

/// The three ways as messages.
pub(crate) enum Failure {
    Refused(wire::Refused),
    Unavailable(wire::Unavailable),
    Unknown(wire::Unknown),
}

pub(crate) fn to_wire(error: CallError) -> Result<Failure, Error> {
    Ok(match error {
        CallError::Refused(error) => {
            Failure::Refused(wire::Refused { error_json: to_json("registry error", &error)? })
        }
        CallError::Unavailable(reason) => Failure::Unavailable(wire::Unavailable { reason }),
        CallError::Unknown => Failure::Unknown(wire::Unknown {}),
    })
}

pub(crate) fn from_wire(failure: Failure) -> Result<CallError, Error> {
    Ok(match failure {
        Failure::Refused(refused) => CallError::Refused(from_json("registry error", &refused.error_json)?),
        Failure::Unavailable(wire::Unavailable { reason }) => CallError::Unavailable(reason),
        Failure::Unknown(wire::Unknown {}) => CallError::Unknown,
    })
}
