//! Answers to requests that were not carried out, and what requests weigh while they wait.

use fleethaven_storage::{Completion, DurablePublish, Error, Request};

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

/// What a request counts against a lane's byte bound.
pub(crate) fn weight(request: &Request) -> usize {
    let variable = match request {
        Request::Publish(publish) => {
            publish.message.topic.len() + publish.message.payload.len() + 64 * publish.queues.len()
        }
        Request::Trim { entries, .. } | Request::Release { entries, .. } => 8 * entries.len(),
        Request::ForgetReceived { packet_ids, .. } => 2 * packet_ids.len(),
        Request::CompareTails { known, .. } => 16 * known.len(),
        Request::Subscribe { subscriptions, .. } => 64 * subscriptions.len(),
        _ => 0,
    };
    128 + variable
}

/// The completion of a request that was not carried out, or of which nobody knows whether it was.
pub(crate) fn refusal(request: Request, error: &Error) -> Option<Completion> {
    let error = error.clone();
    Some(match request {
        Request::Claim(claim) => Completion::Claimed { ticket: claim.ticket, result: Err(error) },
        Request::Subscribe { ticket, .. }
        | Request::Unsubscribe { ticket, .. }
        | Request::Release { ticket, .. }
        | Request::ForgetReceived { ticket, .. } => Completion::Done { ticket, result: Err(error) },
        Request::End(end) => Completion::Done { ticket: end.ticket, result: Err(error) },
        Request::Publish(publish) => {
            let DurablePublish { ticket, message, once, .. } = *publish;
            Completion::Published { ticket, message, once, result: Err(error) }
        }
        Request::ReadQueue { ticket, .. } => Completion::QueueRead { ticket, result: Err(error) },
        Request::ReadRetained { ticket, .. } => Completion::Retained { ticket, result: Err(error) },
        Request::OpenGroup(open) => Completion::GroupOpened { ticket: open.ticket, result: Err(error) },
        Request::ClaimShares { ticket, group, .. } => {
            Completion::SharesClaimed { ticket, group, result: Err(error) }
        }
        Request::CompareTails { ticket, .. } => Completion::Tails { ticket, result: Err(error) },
        Request::Trim { .. }
        | Request::WithdrawWill { .. }
        | Request::CloseGroup { .. }
        | Request::AcknowledgeShares { .. }
        | Request::ReleaseShares { .. } => return None,
    })
}
