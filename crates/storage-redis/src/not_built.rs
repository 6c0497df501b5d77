//! What is refused.

use fleethaven_storage::{Error, Request};

/// Why there are no queues of groups: what a member leaves behind would have to go to its group's queue in one write,
/// and the two are in different Redis slots.
pub(crate) fn no_groups() -> Error {
    Error::Unavailable("the queues of shared subscriptions are not built on Redis".to_owned())
}

/// Why nothing that must happen once is taken: exchanges of QoS 2, and wills of ended connections. Its record would have to be
/// written together with the message's queues, which are in other Redis slots.
pub(crate) fn no_exactly_once() -> Error {
    Error::Unavailable("QoS 2 exchanges and the wills of ended connections are not built on Redis".to_owned())
}

/// Whether a request can only be refused.
pub(crate) fn is_refused(request: &Request) -> bool {
    match request {
        Request::Release { .. } | Request::ForgetReceived { .. } => true,
        Request::Publish(publish) => publish.once.is_some(),
        Request::End(end) => end.will_delay.is_some(),
        _ => false,
    }
}
