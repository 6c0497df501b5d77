//! What the failure of a call says.

use tonic::{Code, Status};

/// Whether the call certainly did not reach its server: there was no connection to send it on. tonic answers `Unavailable` also
/// when a connection broke under a call, which may have been carried out.
pub(crate) fn was_not_sent(status: &Status) -> bool {
    status.code() == Code::Unavailable && is_connect_error(status)
}

fn is_connect_error(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.downcast_ref::<tonic::ConnectError>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}
