//! The messages of `fleethaven.connections.v1`.

use std::time::Duration;

use fleethaven_fabric::connections::{
    ConnectionState, Departure, DirectMessage, Error as ConnectionsError, Presence, SubscriptionState,
};
use fleethaven_types::{QoS, Scope, Timestamp, Utf8Bytes};
use tonic::{Code, Status};

use super::Error;
use crate::generated::connections as wire;
use crate::generated::connections::find_response::Presence as WirePresence;
use crate::routing::{pack_message, read_message};

pub(crate) fn client_out(scope: Scope, client_id: &Utf8Bytes) -> wire::Client {
    let (account, region) = (scope.account.to_string(), scope.region.to_string());
    wire::Client { account, region, client_id: client_id.to_string() }
}

pub(crate) fn client(client: Option<wire::Client>) -> Result<(Scope, Utf8Bytes), Error> {
    let wire::Client { account, region, client_id } = client.ok_or(Error::Missing("client"))?;
    let account = account.parse().map_err(|_| Error::Invalid("account"))?;
    let region = region.parse().map_err(|_| Error::Invalid("region"))?;
    Ok((Scope { account, region }, client_id.into()))
}

pub(crate) fn status(error: ConnectionsError) -> Status {
    let code = match &error {
        ConnectionsError::NotFound => Code::NotFound,
        ConnectionsError::Offline => Code::FailedPrecondition,
        ConnectionsError::ReceiverDenied => Code::PermissionDenied,
        ConnectionsError::Busy => Code::ResourceExhausted,
        ConnectionsError::TooLarge => Code::OutOfRange,
        ConnectionsError::Timeout => Code::DeadlineExceeded,
        ConnectionsError::Unavailable(_) => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

pub(crate) fn error(status: Status) -> ConnectionsError {
    match status.code() {
        Code::NotFound => ConnectionsError::NotFound,
        Code::FailedPrecondition => ConnectionsError::Offline,
        Code::PermissionDenied => ConnectionsError::ReceiverDenied,
        Code::ResourceExhausted => ConnectionsError::Busy,
        Code::OutOfRange => ConnectionsError::TooLarge,
        Code::DeadlineExceeded => ConnectionsError::Timeout,
        _ => ConnectionsError::Unavailable(status.message().to_owned()),
    }
}

pub(crate) fn state_out(state: ConnectionState) -> wire::FindResponse {
    let ConnectionState { presence, thing_name, clean_session, session_expiry, keep_alive } = state;
    let presence = match presence {
        Presence::Connected { since, socket: (peer, local) } => WirePresence::Connected(wire::Connected {
            since: since.0,
            peer: peer.to_string(),
            local: local.map(|local| local.to_string()),
        }),
        Presence::Disconnected(left) => {
            let (at, reason) = left.map(|left| (left.at.0, left.reason.into_owned())).unzip();
            WirePresence::Disconnected(wire::Disconnected { at, reason: reason.unwrap_or_default() })
        }
    };
    let (presence, keep_alive) = (Some(presence), keep_alive.map(u32::from));
    wire::FindResponse { presence, thing_name, clean_session, session_expiry, keep_alive }
}

/// An answer that cannot be read is no answer.
pub(crate) fn state(response: wire::FindResponse) -> Result<ConnectionState, ConnectionsError> {
    read_state(response).map_err(|error| ConnectionsError::Unavailable(error.to_string()))
}

fn read_state(response: wire::FindResponse) -> Result<ConnectionState, Error> {
    let wire::FindResponse { presence, thing_name, clean_session, session_expiry, keep_alive } = response;
    let presence = match presence.ok_or(Error::Missing("presence"))? {
        WirePresence::Connected(wire::Connected { since, peer, local }) => {
            let address = |text: String| text.parse().map_err(|_| Error::Invalid("address"));
            let socket = (address(peer)?, local.map(address).transpose()?);
            Presence::Connected { since: Timestamp(since), socket }
        }
        WirePresence::Disconnected(wire::Disconnected { at, reason }) => {
            let left = |at| Departure { at: Timestamp(at), reason: reason.into() };
            Presence::Disconnected(at.map(left))
        }
    };
    let keep_alive = keep_alive.map(u16::try_from).transpose().map_err(|_| Error::Invalid("keep-alive"))?;
    Ok(ConnectionState { presence, thing_name, clean_session, session_expiry, keep_alive })
}

pub(crate) fn subscription_out(subscription: SubscriptionState) -> wire::Subscription {
    let SubscriptionState { filter, qos } = subscription;
    wire::Subscription { filter: filter.to_string(), qos: u32::from(qos as u8) }
}

pub(crate) fn subscription(subscription: wire::Subscription) -> Result<SubscriptionState, ConnectionsError> {
    let wire::Subscription { filter, qos } = subscription;
    let qos = u8::try_from(qos).ok().and_then(QoS::from_bits);
    let unread = || ConnectionsError::Unavailable(Error::Invalid("QoS").to_string());
    Ok(SubscriptionState { filter: filter.into(), qos: qos.ok_or_else(unread)? })
}

pub(crate) fn direct_out(direct: &DirectMessage) -> wire::SendDirectRequest {
    let millis = |within: Duration| u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    wire::SendDirectRequest {
        client_id: direct.client_id.to_string(),
        message: pack_message(&direct.message),
        confirm_within: direct.confirm_within.map(millis),
    }
}

pub(crate) fn direct(request: wire::SendDirectRequest) -> Result<DirectMessage, Error> {
    let wire::SendDirectRequest { client_id, message, confirm_within } = request;
    let confirm_within = confirm_within.map(|millis| Duration::from_millis(millis.into()));
    Ok(DirectMessage { client_id: client_id.into(), message: read_message(message)?, confirm_within })
}
