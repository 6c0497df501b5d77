//! `QueryRequest` and `QueryResponse`.

use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_registry::{Query, QueryReply};

use super::outcome::{self, Failure};
use super::{Error, from_json, to_json};
use crate::generated::metadata as wire;
use crate::generated::metadata::query_response::Outcome;

pub(crate) fn request(query: &Query) -> Result<wire::QueryRequest, Error> {
    Ok(wire::QueryRequest { query_json: to_json("query", query)? })
}

pub(crate) fn query(request: &wire::QueryRequest) -> Result<Query, Error> {
    from_json("query", &request.query_json)
}

pub(crate) fn response(result: Result<QueryReply, CallError>) -> Result<wire::QueryResponse, Error> {
    let outcome = match result {
        Ok(reply) => Outcome::ReplyJson(to_json("query reply", &reply)?),
        Err(error) => match outcome::to_wire(error)? {
            Failure::Refused(refused) => Outcome::Refused(refused),
            Failure::Unavailable(unavailable) => Outcome::Unavailable(unavailable),
            Failure::Unknown(unknown) => Outcome::Unknown(unknown),
        },
    };
    Ok(wire::QueryResponse { outcome: Some(outcome) })
}

pub(crate) fn result(response: wire::QueryResponse) -> Result<Result<QueryReply, CallError>, Error> {
    let failure = match response.outcome.ok_or(Error::Missing("outcome"))? {
        Outcome::ReplyJson(reply) => return from_json("query reply", &reply).map(Ok),
        Outcome::Refused(refused) => Failure::Refused(refused),
        Outcome::Unavailable(unavailable) => Failure::Unavailable(unavailable),
        Outcome::Unknown(unknown) => Failure::Unknown(unknown),
    };
    outcome::from_wire(failure).map(Err)
}
