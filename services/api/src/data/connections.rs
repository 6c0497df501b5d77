//! GetConnection, DeleteConnection and ListSubscriptions (broker.md section 15).

use fleethaven_fabric::connections::{Disconnection, Error as ConnectionError, Presence};
use fleethaven_policy::{Action, CustomKeys};
use fleethaven_types::Utf8Bytes;
use serde_json::Value;

use super::authorization::{Asked, On, authorize};
use super::page::Page;
use crate::answer::{Answer, Outcome, list as list_of, members_of};
use crate::call::Call;
use crate::error::Error;

/// Characters of a client id in these operations' paths.
const CLIENT_ID_CHARACTERS: usize = 128;
/// Condition key that tells whether a request asks for addresses and ports.
const INCLUDE_SOCKET: &str = "iot:IncludeSocketInformation";

/// The client id of the path. Ids that begin with `$` are the broker's own.
pub(super) fn client_id(call: &Call<'_>) -> Result<Utf8Bytes, Error> {
    let id = call.input.label("clientId")?;
    if id.starts_with('$') {
        return Err(Error::invalid("'clientId' must not start with '$'"));
    }
    // The profile may allow clients longer ids than AWS does.
    let most = call.limits().client_id_bytes.max(CLIENT_ID_CHARACTERS);
    if id.len() > most || id.contains('\0') {
        return Err(Error::invalid(format!("'clientId' must have 1 to {most} characters")));
    }
    Ok(id.into())
}

/// The operations of the connections API, each with a rate of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rated {
    Get,
    Delete,
    ListSubscriptions,
    SendDirectMessage,
}

/// Counts a request to one of them.
pub(super) fn count(call: &Call<'_>, operation: Rated) -> Result<(), Error> {
    call.count(|account| account.connection_requests.as_ref()?.get(operation as usize))
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::NotFound => Self::NotFound("the client is not connected".to_owned()),
            ConnectionError::Offline => {
                Self::NotFound("the client has a persistent session and is not connected".to_owned())
            }
            ConnectionError::ReceiverDenied => Self::Forbidden(error.to_string()),
            ConnectionError::Busy => Self::Throttled,
            ConnectionError::TooLarge => Self::TooLargeForReceiver,
            ConnectionError::Timeout => Self::GatewayTimeout(error.to_string()),
            // These operations have no 503.
            ConnectionError::Unavailable(reason) => Self::Internal(reason),
        }
    }
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let client_id = client_id(call)?;
    let with_socket = call.input.query_boolean("includeSocketInformation")?;
    let mut custom = CustomKeys::new();
    custom.insert(INCLUDE_SOCKET, with_socket.to_string());
    let asked =
        Asked { custom: Some(&custom), ..Asked::new(&[Action::GetConnection], On::Client(&client_id)) };
    authorize(call, &asked).await?;
    count(call, Rated::Get)?;
    let state = call.state.connections.find(call.scope, client_id.clone()).await?;
    let (mut since, mut left, mut socket) = (Value::Null, None, None);
    match state.presence {
        Presence::Connected { since: at, socket: ends } => {
            since = at.as_millis().into();
            socket = with_socket.then_some(ends);
        }
        Presence::Disconnected(departure) => left = departure,
    }
    let (peer, local) = socket.map_or((None, None), |(peer, local)| (Some(peer), local));
    let ip = |address: std::net::SocketAddr| address.ip().to_canonical().to_string();
    Ok(Answer::of([
        ("connected", (!since.is_null()).into()),
        ("clientId", client_id.as_str().into()),
        ("thingName", state.thing_name.into()),
        ("cleanSession", state.clean_session.into()),
        ("sourceIp", peer.map(ip).into()),
        ("sourcePort", peer.map(|peer| peer.port()).into()),
        ("targetIp", local.map(ip).into()),
        ("targetPort", local.map(|local| local.port()).into()),
        ("keepAliveDuration", state.keep_alive.into()),
        ("sessionExpiry", state.session_expiry.into()),
        ("connectedSince", since),
        ("disconnectedSince", left.as_ref().map(|left| left.at.as_millis()).into()),
        ("disconnectReason", left.map(|left| left.reason).into()),
    ]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let client_id = client_id(call)?;
    let clean_session = call.input.query_boolean("cleanSession")?;
    let prevent_will = call.input.query_boolean("preventWillMessage")?;
    authorize(call, &Asked::new(&[Action::DeleteConnection], On::Client(&client_id))).await?;
    count(call, Rated::Delete)?;
    let how = Disconnection { clean_session, prevent_will };
    call.state.connections.disconnect(call.scope, client_id, how).await?;
    Ok(Answer::Empty)
}

pub(super) async fn list_subscriptions(call: &Call<'_>) -> Outcome {
    let client_id = client_id(call)?;
    let page = Page::read(&call.input)?;
    authorize(call, &Asked::new(&[Action::ListSubscriptions], On::Client(&client_id))).await?;
    count(call, Rated::ListSubscriptions)?;
    let after = page.after.as_deref().map(Utf8Bytes::from);
    let held = call.state.connections.subscriptions(call.scope, client_id, after, page.limit + 1);
    let mut held = held.await?;
    let next_token = page.next_token(&mut held, |held| &held.filter);
    let listed = list_of(&held, |held| {
        members_of([("topicFilter", held.filter.as_str().into()), ("qos", (held.qos as u8).into())])
    });
    Ok(Answer::of([("subscriptions", listed), ("nextToken", next_token)]))
}
