//! Gateways as the connections API sees them: who is connected, and what can be done about it (broker.md section 15).

use std::borrow::Cow;
use std::net::SocketAddr;

use fleethaven_storage::Error as StoreError;
use fleethaven_types::{Message, QoS, Scope, Timestamp, Utf8Bytes};

use crate::delivery::Address;
use crate::membership::Incarnation;
use crate::metadata::BoxFuture;

/// Why nothing came of a question or an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody is connected under the client id, and it has no session.
    #[error("no client has this id")]
    NotFound,
    /// Nobody is connected under the client id; messages for its session wait.
    #[error("the client has a session and is not connected")]
    Offline,
    /// The receiver's policies do not let it have the message.
    #[error("the receiver may not receive on this topic")]
    ReceiverDenied,
    /// The receiver cannot take more messages now: its rate, its window, or what it leaves unread.
    #[error("the receiver takes no more messages now")]
    Busy,
    /// The message is larger than the receiver takes.
    #[error("the message is larger than the receiver takes")]
    TooLarge,
    /// The receiver did not acknowledge in time; it may have the message.
    #[error("the receiver did not acknowledge in time")]
    Timeout,
    /// The gateway or the store cannot tell now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSession => Self::NotFound,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// What is known of a client id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionState {
    /// Whether it is connected, or how it left.
    pub presence: Presence,
    /// The thing that its principal is attached to.
    pub thing_name: Option<String>,
    /// The session ends with the connection.
    pub clean_session: bool,
    /// Session Expiry Interval in seconds.
    pub session_expiry: u32,
    /// Keep-alive in force, in seconds; 0 is off. `None` when it is no longer known.
    pub keep_alive: Option<u16>,
}

/// Whether a client is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Connected {
        /// Since when.
        since: Timestamp,
        /// The two ends of its socket: the client's, and the listener's where that is known.
        socket: (SocketAddr, Option<SocketAddr>),
    },
    /// It is not; how it left is known for a while ([`fleethaven_storage::request::DEPARTURES_KEPT`]).
    Disconnected(Option<Departure>),
}

/// How a client left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// When.
    pub at: Timestamp,
    /// AWS's `disconnectReason`.
    pub reason: Cow<'static, str>,
}

/// A subscription as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// The filter, `$share/…` included.
    pub filter: Utf8Bytes,
    /// Granted QoS.
    pub qos: QoS,
}

/// How to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disconnection {
    /// The session ends too.
    pub clean_session: bool,
    /// The will is not published.
    pub prevent_will: bool,
}

/// A message for one client, past all subscriptions: not queued, not retained, not seen by rules.
#[derive(Debug)]
pub struct DirectMessage {
    /// Whom it is for.
    pub client_id: Utf8Bytes,
    /// The message.
    pub message: Message,
    /// Send it at QoS 1 and wait so long for the acknowledgement; `None`: QoS 0.
    pub confirm_within: Option<std::time::Duration>,
}

/// The other gateways, as one of them sees them.
pub trait Neighbours: Send + Sync + 'static {
    /// The session of the connection at `address` of that gateway has been taken over: it is to close it. Nobody waits for
    /// that; the store refuses whatever it writes meanwhile.
    fn taken_over(&self, gateway: Incarnation, address: Address);
}

/// Where there is one gateway.
impl Neighbours for () {
    fn taken_over(&self, _: Incarnation, _: Address) {}
}

/// The connections of all gateways.
pub trait Connections: Send + Sync + 'static {
    /// What is known of a client id.
    fn find(&self, scope: Scope, client_id: Utf8Bytes) -> BoxFuture<'_, Result<ConnectionState, Error>>;

    /// Ends the connection, or with `clean_session` the session of a client that is not connected. Returns when the end is
    /// recorded.
    fn disconnect(
        &self,
        scope: Scope,
        client_id: Utf8Bytes,
        how: Disconnection,
    ) -> BoxFuture<'_, Result<(), Error>>;

    /// The subscriptions of a client that is connected or has a session, in order of their filters: at most `limit` above
    /// `after`. Fewer than asked means that was all.
    fn subscriptions(
        &self,
        scope: Scope,
        client_id: Utf8Bytes,
        after: Option<Utf8Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubscriptionState>, Error>>;

    /// Hands a message to one connected client.
    fn send(&self, direct: DirectMessage) -> BoxFuture<'_, Result<(), Error>>;
}
