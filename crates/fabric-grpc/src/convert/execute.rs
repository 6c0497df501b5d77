//! `ExecuteRequest` and `ExecuteResponse`.

use fleethaven_fabric::metadata::{Error as CallError, Executed};
use fleethaven_registry::{Command, IdempotencyKey};

use super::outcome::{self, Failure};
use super::{Error, from_json, to_json};
use crate::generated::metadata as wire;
use crate::generated::metadata::execute_response::Outcome;

pub(crate) fn request(command: &Command) -> Result<wire::ExecuteRequest, Error> {
    let idempotency_key = command.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default();
    Ok(wire::ExecuteRequest {
        command_json: to_json("command", command)?,
        idempotency_key: idempotency_key.into(),
    })
}

pub(crate) fn command(request: &wire::ExecuteRequest) -> Result<Command, Error> {
    let mut command: Command = from_json("command", &request.command_json)?;
    if !request.idempotency_key.is_empty() {
        let key = IdempotencyKey::from_bytes(&request.idempotency_key);
        command.key = Some(key.ok_or(Error::Key(request.idempotency_key.len()))?);
    }
    Ok(command)
}

pub(crate) fn response(result: Result<Executed, CallError>) -> Result<wire::ExecuteResponse, Error> {
    let outcome = match result {
        Ok(Executed { reply, revision }) => {
            Outcome::Executed(wire::Executed { reply_json: to_json("reply", &reply)?, revision })
        }
        Err(error) => match outcome::to_wire(error)? {
            Failure::Refused(refused) => Outcome::Refused(refused),
            Failure::Unavailable(unavailable) => Outcome::Unavailable(unavailable),
            Failure::Unknown(unknown) => Outcome::Unknown(unknown),
        },
    };
    Ok(wire::ExecuteResponse { outcome: Some(outcome) })
}

/// An answer that cannot be read may belong to a command that was carried out.
pub(crate) fn result(response: wire::ExecuteResponse) -> Result<Result<Executed, CallError>, Error> {
    let failure = match response.outcome.ok_or(Error::Missing("outcome"))? {
        Outcome::Executed(wire::Executed { reply_json, revision }) => {
            return Ok(Ok(Executed { reply: from_json("reply", &reply_json)?, revision }));
        }
        Outcome::Refused(refused) => Failure::Refused(refused),
        Outcome::Unavailable(unavailable) => Failure::Unavailable(unavailable),
        Outcome::Unknown(unknown) => Failure::Unknown(unknown),
    };
    outcome::from_wire(failure).map(Err)
}
