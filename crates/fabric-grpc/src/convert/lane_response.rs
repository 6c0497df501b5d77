//! What a router answers on a lane, but for packed answers and deliveries.

use fleethaven_lanes::frame::{Refusal, Reply};
use fleethaven_topics::Slot;

use super::Error;
use crate::generated::routing as wire;
use crate::generated::routing::lane_response::Response;
use crate::generated::routing::slot_refused::Reason;

/// `None` for the answers to publishes, which are packed.
pub(crate) fn to_wire(reply: Reply) -> Option<wire::LaneResponse> {
    let response = match reply {
        Reply::Answered { .. } | Reply::Taken { .. } => return None,
        Reply::Refused { slot, run, from_stamp, epoch, reason } => {
            let reason = match reason {
                Refusal::NotOwner => Reason::NotOwner,
                Refusal::Warming => Reason::Warming,
                Refusal::Gap => Reason::Gap,
                Refusal::Fenced => Reason::Fenced,
            };
            let (slot, reason) = (u32::from(slot.index()), reason.into());
            Response::SlotRefused(wire::SlotRefused { slot, reason, run, from_stamp, epoch })
        }
        Reply::Subscribed { ticket, new, over_quota } => {
            // There are at most as many as one SUBSCRIBE has filters.
            let over_quota = over_quota.into_iter().filter_map(|index| u32::try_from(index).ok()).collect();
            Response::Subscribed(wire::Subscribed { ticket, new, over_quota })
        }
        Reply::Unsubscribed { ticket, existed } => {
            Response::Unsubscribed(wire::Unsubscribed { ticket, existed })
        }
    };
    Some(wire::LaneResponse { response: Some(response) })
}

/// `None` for what is not read here.
pub(crate) fn from_wire(response: Response) -> Result<Option<Reply>, Error> {
    Ok(Some(match response {
        Response::Opened(_) | Response::Answers(_) | Response::Delivery(_) => return Ok(None),
        Response::SlotRefused(refused) => {
            let reason = match refused.reason() {
                Reason::Unspecified => return Err(Error::Invalid("reason")),
                Reason::NotOwner => Refusal::NotOwner,
                Reason::Warming => Refusal::Warming,
                Reason::Gap => Refusal::Gap,
                Reason::Fenced => Refusal::Fenced,
            };
            let wire::SlotRefused { slot, run, from_stamp, epoch, .. } = refused;
            let slot = u16::try_from(slot).ok().and_then(Slot::new).ok_or(Error::Invalid("slot"))?;
            Reply::Refused { slot, run, from_stamp, epoch, reason }
        }
        Response::Subscribed(wire::Subscribed { ticket, new, over_quota }) => {
            let over_quota = over_quota.into_iter().map(|index| index as usize).collect();
            Reply::Subscribed { ticket, new, over_quota }
        }
        Response::Unsubscribed(wire::Unsubscribed { ticket, existed }) => {
            Reply::Unsubscribed { ticket, existed }
        }
    }))
}
