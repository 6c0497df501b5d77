//! What a gateway core sends on its lane, but for publishes.

use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_lanes::frame::Control;
use fleethaven_storage::{SessionId, Subscription};
use fleethaven_types::{QoS, Scope, Utf8Bytes};

use super::Error;
use crate::generated::routing as wire;
use crate::generated::routing::lane_request::Request;
use crate::routing::{pack_shares, read_shares};

pub(crate) fn to_wire(control: Control) -> wire::LaneRequest {
    let request = match control {
        Control::Attach { session, scope, persistent, address, room, owner } => {
            Request::Attach(wire::Attach {
                session: session.0,
                account: scope.account.to_string(),
                region: scope.region.to_string(),
                persistent,
                address: address.to_u64(),
                room,
                owner: owner.0,
            })
        }
        Control::Detach { session, address, persistent } => {
            Request::Detach(wire::Detach { session: session.0, address: address.to_u64(), persistent })
        }
        Control::Forget { session } => Request::Forget(wire::Forget { session: session.0 }),
        Control::Ready { session, returned, room, received } => {
            Request::Ready(wire::Ready { session: session.0, returned, room, received })
        }
        Control::Return { session, shares, refused } => {
            Request::Return(wire::Return { session: session.0, refused, shares: pack_shares(&shares) })
        }
        Control::Subscribe { ticket, session, subscriptions, exact, version, owner } => {
            let subscriptions = subscriptions.into_iter().map(subscription_to_wire).collect();
            let (session, owner) = (session.0, owner.0);
            Request::Subscribe(wire::Subscribe { ticket, session, subscriptions, exact, owner, version })
        }
        Control::Unsubscribe { ticket, session, filters, owner } => {
            let filters = filters.iter().map(ToString::to_string).collect();
            Request::Unsubscribe(wire::Unsubscribe { ticket, session: session.0, filters, owner: owner.0 })
        }
        Control::Level { version } => Request::Level(wire::Level { version }),
    };
    wire::LaneRequest { request: Some(request) }
}

/// `None` for a publish or `open`, which are not read here.
pub(crate) fn from_wire(request: Request) -> Result<Option<Control>, Error> {
    Ok(Some(match request {
        Request::Open(_) | Request::Publish(_) => return Ok(None),
        Request::Attach(wire::Attach { session, account, region, persistent, address, room, owner }) => {
            let account = account.parse().map_err(|_| Error::Invalid("account"))?;
            let region = region.parse().map_err(|_| Error::Invalid("region"))?;
            Control::Attach {
                session: SessionId(session),
                scope: Scope { account, region },
                persistent,
                address: Address::from_u64(address),
                room,
                owner: OwnerNumber(owner),
            }
        }
        Request::Detach(wire::Detach { session, address, persistent }) => {
            Control::Detach { session: SessionId(session), address: Address::from_u64(address), persistent }
        }
        Request::Forget(wire::Forget { session }) => Control::Forget { session: SessionId(session) },
        Request::Ready(wire::Ready { session, returned, room, received }) => {
            Control::Ready { session: SessionId(session), returned, room, received }
        }
        Request::Return(wire::Return { session, refused, shares }) => {
            Control::Return { session: SessionId(session), shares: read_shares(shares)?, refused }
        }
        Request::Subscribe(wire::Subscribe { ticket, session, subscriptions, exact, owner, version }) => {
            let subscriptions = subscriptions.into_iter().map(subscription).collect::<Result<_, _>>()?;
            let (session, owner) = (SessionId(session), OwnerNumber(owner));
            Control::Subscribe { ticket, session, subscriptions, exact, version, owner }
        }
        Request::Unsubscribe(wire::Unsubscribe { ticket, session, filters, owner }) => {
            let filters = filters.into_iter().map(Utf8Bytes::from).collect();
            let (session, owner) = (SessionId(session), OwnerNumber(owner));
            Control::Unsubscribe { ticket, session, filters, owner }
        }
        Request::Level(wire::Level { version }) => Control::Level { version },
    }))
}

fn subscription_to_wire(subscription: Subscription) -> wire::Subscription {
    let Subscription { filter, qos, no_local, retain_as_published, retain_handling, identifier } =
        subscription;
    wire::Subscription {
        filter: filter.to_string(),
        qos: u32::from(qos as u8),
        no_local,
        retain_as_published,
        retain_handling: u32::from(retain_handling),
        identifier,
    }
}

fn subscription(subscription: wire::Subscription) -> Result<Subscription, Error> {
    let wire::Subscription { filter, qos, no_local, retain_as_published, retain_handling, identifier } =
        subscription;
    let qos = u8::try_from(qos).ok().and_then(QoS::from_bits).ok_or(Error::Invalid("QoS"))?;
    let retain_handling = u8::try_from(retain_handling).map_err(|_| Error::Invalid("Retain Handling"))?;
    Ok(Subscription {
        filter: filter.into(),
        qos,
        no_local,
        retain_as_published,
        retain_handling,
        identifier,
    })
}
