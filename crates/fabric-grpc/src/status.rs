//! What the failure of a call says.

use std::error::Error;

use tonic::{Code, Status};

/// Whether the call certainly did not reach its server: there was no connection to send it on. tonic answers `Unavailable` also
/// when a connection broke under a call, which may have been carried out.
pub(crate) fn was_not_sent(status: &Status) -> bool {
    let is_connect_error = |error: &(dyn Error + 'static)| error.is::<tonic::ConnectError>();
    status.code() == Code::Unavailable && causes(status).any(is_connect_error)
}

/// Whether the connection failed, rather than that the server answered with this status.
pub(crate) fn is_connection(status: &Status) -> bool {
    causes(status).next().is_some()
}

/// What a status came of: nothing, when it came from the server.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Error::source(status), |&error| error.source())
}
