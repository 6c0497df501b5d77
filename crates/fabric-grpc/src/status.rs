//! What the failure of a call says.

use std::error::Error;

use tonic::{Code, Status};

use crate::convert;

/// Whether the call certainly did not reach its server: there was no connection to send it on. tonic answers `Unavailable` also
/// when a connection broke under a call, which may have been carried out.
pub(crate) fn was_not_sent(status: &Status) -> bool {
    let is_connect_error = |error: &(dyn Error + 'static)| error.is::<tonic::ConnectError>();
    status.code() == Code::Unavailable && causes(status).any(is_connect_error)
}

/// Whether a call that asks for a change certainly changed nothing: it was not sent, or the server would not take it, because of who
/// asks or because it cannot read what is asked.
pub(crate) fn was_not_carried_out(status: &Status) -> bool {
    let refusals =
        [Code::PermissionDenied, Code::Unauthenticated, Code::Unimplemented, Code::InvalidArgument];
    was_not_sent(status) || (!is_connection(status) && refusals.contains(&status.code()))
}

/// What a command was answered with cannot be written down. It was taken: this must not look like a refusal.
pub(crate) fn unanswered(error: convert::Error) -> Status {
    Status::internal(error.to_string())
}

/// Whether the connection failed, rather than that the server answered with this status.
pub(crate) fn is_connection(status: &Status) -> bool {
    causes(status).next().is_some()
}

/// What a status came of: nothing, when it came from the server.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Error::source(status), |&error| error.source())
}
