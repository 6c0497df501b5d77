//! How a connection ends.

use std::sync::Arc;

use fleethaven_mqtt::ReasonCode;
use fleethaven_types::Message;

/// Why a connection ended, in AWS's words (`disconnectReason` of lifecycle events and of the connections API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// Authentication or authorisation failed.
    AuthError,
    /// The client sent DISCONNECT.
    ClientInitiatedDisconnect,
    /// The client broke the protocol or a limit.
    ClientError,
    /// The socket broke.
    ConnectionLost,
    /// Another connection took the client id over.
    DuplicateClientId,
    /// Nothing was received for one and a half times the keep-alive.
    MqttKeepAliveTimeout,
    /// The broker failed.
    ServerError,
    /// The broker ended it: drain, certificate no longer active.
    ServerInitiatedDisconnect,
    /// The connections API ended it.
    ApiInitiatedDisconnect,
    /// Over a rate.
    Throttled,
    /// A WebSocket connection reached its end of life.
    WebsocketTtlExpiration,
    /// A connection has lasted as long as the custom authorizer allows.
    CustomauthTtlExpiration,
}

impl DisconnectReason {
    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthError => "AUTH_ERROR",
            Self::ClientInitiatedDisconnect => "CLIENT_INITIATED_DISCONNECT",
            Self::ClientError => "CLIENT_ERROR",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::DuplicateClientId => "DUPLICATE_CLIENTID",
            Self::MqttKeepAliveTimeout => "MQTT_KEEP_ALIVE_TIMEOUT",
            Self::ServerError => "SERVER_ERROR",
            Self::ServerInitiatedDisconnect => "SERVER_INITIATED_DISCONNECT",
            Self::ApiInitiatedDisconnect => "API_INITIATED_DISCONNECT",
            Self::Throttled => "THROTTLED",
            Self::WebsocketTtlExpiration => "WEBSOCKET_TTL_EXPIRATION",
            Self::CustomauthTtlExpiration => "CUSTOMAUTH_TTL_EXPIRATION",
        }
    }
}

/// A decision to end the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// AWS's reason.
    pub reason: DisconnectReason,
    /// What an MQTT 5 client is told in DISCONNECT; `None`: nothing is sent.
    pub code: Option<ReasonCode>,
    /// The cause for the log line, and for the Reason String where the client asked for problem information.
    pub detail: String,
}

impl Close {
    /// The client broke a rule: `detail` names it.
    pub fn client_error(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { reason: DisconnectReason::ClientError, code: Some(code), detail: detail.into() }
    }

    /// The client may not do what it did.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self {
            reason: DisconnectReason::AuthError,
            code: Some(ReasonCode::NotAuthorized),
            detail: detail.into(),
        }
    }

    /// The client sent something that was refused with `code` and has no other answer in its version.
    pub(crate) fn refused(code: ReasonCode, detail: impl Into<String>) -> Self {
        let reason = match code {
            ReasonCode::NotAuthorized => DisconnectReason::AuthError,
            ReasonCode::UnspecifiedError | ReasonCode::ImplementationSpecificError => {
                DisconnectReason::ServerError
            }
            _ => DisconnectReason::ClientError,
        };
        Self { reason, code: Some(code), detail: detail.into() }
    }

    /// The socket broke, or the client closed it without DISCONNECT.
    pub fn lost(detail: impl Into<String>) -> Self {
        Self { reason: DisconnectReason::ConnectionLost, code: None, detail: detail.into() }
    }

    /// Another connection has the client id now [MQTT-3.1.4-3].
    pub fn taken_over() -> Self {
        Self {
            reason: DisconnectReason::DuplicateClientId,
            code: Some(ReasonCode::SessionTakenOver),
            detail: "another connection uses this client id".to_owned(),
        }
    }

    /// A WebSocket connection has lasted as long as it may.
    pub fn websocket_lifetime() -> Self {
        Self {
            reason: DisconnectReason::WebsocketTtlExpiration,
            code: Some(ReasonCode::MaximumConnectTime),
            detail: "the WebSocket connection has lasted as long as it may".to_owned(),
        }
    }

    /// The connection has lasted as long as the custom authorizer allows.
    pub fn authorizer_lifetime() -> Self {
        Self {
            reason: DisconnectReason::CustomauthTtlExpiration,
            code: Some(ReasonCode::MaximumConnectTime),
            detail: "the connection has lasted as long as its authorizer allows".to_owned(),
        }
    }

    /// The client's certificate has expired: it was authorised to be connected until then, and no longer.
    pub fn certificate_expired() -> Self {
        Self::server(ReasonCode::MaximumConnectTime, "the client's certificate has expired")
    }

    /// The broker ends the connection for `detail`.
    pub fn server(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { reason: DisconnectReason::ServerInitiatedDisconnect, code: Some(code), detail: detail.into() }
    }

    /// The broker cannot go on with this connection.
    pub fn server_error(detail: impl Into<String>) -> Self {
        Self {
            reason: DisconnectReason::ServerError,
            code: Some(ReasonCode::UnspecifiedError),
            detail: detail.into(),
        }
    }
}

/// What is left to do when a connection that had been accepted has ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Why it ended.
    pub close: Close,
    /// The will, if it is to be published, with its delay in seconds, which never exceeds `session_expiry`: the end of
    /// the session ends the wait [MQTT5 section 3.1.3.2.2].
    pub will: Option<(Arc<Message>, u32)>,
    /// Session Expiry Interval in force: 0 ends the session.
    pub session_expiry: u32,
    /// Highest queue entry that this connection or an earlier one sent: up to here a redelivery carries DUP.
    pub sent: fleethaven_types::EntryId,
    /// When the queue entries that are to be sent again were first sent: for [`crate::Accepted::first_sent`] of the next
    /// connection. Empty where deliveries are tried without a bound.
    pub first_sent: Vec<(fleethaven_types::EntryId, fleethaven_types::Timestamp)>,
}
