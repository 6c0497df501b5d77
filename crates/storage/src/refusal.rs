//! What requests weigh while they wait, and how one is answered that was not carried out.

use crate::{Completion, DurablePublish, Error, Request};

/// What every request weighs, and what it weighs more for each queue or subscription that it names.
const REQUEST: usize = 128;
const NAMED: usize = 64;

impl Request {
    /// What it counts against a lane's byte bound.
    pub fn weight(&self) -> usize {
        let variable = match self {
            Self::Publish(publish) => {
                publish.message.topic.len() + publish.message.payload.len() + NAMED * publish.queues.len()
            }
            Self::Trim { entries, .. }
            | Self::Release { entries, .. }
            | Self::AcknowledgeShares { entries, .. }
            | Self::ReleaseShares { entries, .. } => 8 * entries.len(),
            Self::ForgetReceived { packet_ids, .. } => 2 * packet_ids.len(),
            Self::CompareTails { known, .. } => 16 * known.len(),
            Self::CheckOwners { owners, .. } => 24 * owners.len(),
            Self::RaiseFence { slots, .. } => 16 * slots.len(),
            Self::Subscribe { subscriptions, .. } => NAMED * subscriptions.len(),
            Self::FindRetained { filters, .. } => NAMED * filters.len(),
            _ => 0,
        };
        REQUEST + variable
    }

    /// The completion of a request that was not carried out, or of which nobody knows whether it was; `None` for one that has
    /// none.
    pub fn refuse(&self, error: &Error) -> Option<Completion> {
        let error = error.clone();
        Some(match self {
            Self::Claim(claim) => Completion::Claimed { ticket: claim.ticket, result: Err(error) },
            Self::Subscribe { ticket, .. }
            | Self::Unsubscribe { ticket, .. }
            | Self::Release { ticket, .. }
            | Self::ForgetReceived { ticket, .. }
            | Self::RaiseFence { ticket, .. } => Completion::Done { ticket: *ticket, result: Err(error) },
            Self::End(end) => Completion::Done { ticket: end.ticket, result: Err(error) },
            Self::Publish(publish) => {
                let DurablePublish { ticket, message, once, .. } = &**publish;
                let (ticket, message, once) = (*ticket, message.clone(), *once);
                Completion::Published { ticket, message, once, result: Err(error) }
            }
            Self::ReadQueue { ticket, .. } => Completion::QueueRead { ticket: *ticket, result: Err(error) },
            Self::FindRetained { ticket, .. } => {
                Completion::RetainedFound { ticket: *ticket, result: Err(error) }
            }
            Self::ReadRetained { ticket, .. } => Completion::Retained { ticket: *ticket, result: Err(error) },
            Self::OpenGroup(open) => Completion::GroupOpened { ticket: open.ticket, result: Err(error) },
            Self::ClaimShares { ticket, group, .. } => {
                Completion::SharesClaimed { ticket: *ticket, group: *group, result: Err(error) }
            }
            Self::HeldShares { ticket, group, .. } => {
                Completion::SharesHeld { ticket: *ticket, group: *group, result: Err(error) }
            }
            Self::CompareTails { ticket, .. } => Completion::Tails { ticket: *ticket, result: Err(error) },
            Self::CheckOwners { ticket, .. } => Completion::Owners { ticket: *ticket, result: Err(error) },
            Self::Trim { .. }
            | Self::WithdrawWill { .. }
            | Self::CloseGroup { .. }
            | Self::AcknowledgeShares { .. }
            | Self::ReleaseShares { .. } => return None,
        })
    }
}

impl Completion {
    /// Turns it into one that says that what was done could not be made durable.
    pub fn fail(&mut self, error: &Error) {
        let error = error.clone();
        match self {
            Self::Claimed { result, .. } => *result = Err(error),
            Self::Done { result, .. } => *result = Err(error),
            Self::Published { result, .. } => *result = Err(error),
            Self::QueueRead { result, .. } => *result = Err(error),
            Self::GroupOpened { result, .. } => *result = Err(error),
            Self::SharesClaimed { result, .. } => *result = Err(error),
            Self::SharesHeld { result, .. } => *result = Err(error),
            Self::RetainedFound { result, .. } => *result = Err(error),
            Self::Retained { result, .. } => *result = Err(error),
            Self::Tails { result, .. } => *result = Err(error),
            Self::Owners { result, .. } => *result = Err(error),
        }
    }
}
