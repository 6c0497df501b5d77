//! What answers of the store and the router are waited for.

use std::sync::Arc;

use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_mqtt::PacketId;
use fleethaven_session::ConnectRequest;
use fleethaven_storage::{ConnectionEnd, EntryId, OwnerToken, SessionId, Subscription};
use fleethaven_types::{Message, Publisher, Utf8Bytes};
use tokio::sync::oneshot;

use crate::lifecycle::{Client, Happened};
use crate::retained::Reading;

/// What an answer of the store or the router is waited for.
pub(crate) enum Pending {
    /// The claim of a client id.
    Claim(Box<PendingClaim>),
    /// Queue entries.
    Queue,
    /// Subscriptions: first durable, then installed.
    Subscribe { session: SessionId, owner: OwnerNumber, packet_id: PacketId, granted: Vec<Subscription> },
    /// Subscriptions being removed: first durably, then in the router.
    Unsubscribe { session: SessionId, owner: OwnerNumber, packet_id: u16, filters: Vec<Utf8Bytes> },
    /// QoS 2 entries that the client has being recorded as such.
    Released(Vec<EntryId>),
    /// QoS 2 exchanges that the client has ended being forgotten.
    Forgotten(Vec<PacketId>),
    /// The end of an owned session.
    End(Box<PendingEnd>),
    /// For which of these new subscriptions there are retained messages.
    FindRetained(Vec<Subscription>),
    /// Retained messages for a new subscription.
    Retained(Box<Reading>),
    /// The tails of these connections' queues.
    Tails(Vec<Address>),
    /// Whether these connections' sessions are still theirs.
    Owners(Vec<Address>),
    /// A retained message on its way through the queue of a persistent session.
    RetainedQueued,
}

/// A CONNECT that is allowed and waits for its session.
pub(crate) struct PendingClaim {
    pub(crate) request: ConnectRequest,
    pub(crate) assigned: Option<Utf8Bytes>,
    pub(crate) token: OwnerToken,
    pub(crate) publisher: Arc<Publisher>,
}

/// A session whose connection is over.
pub(crate) struct PendingEnd {
    /// What is to be recorded.
    pub(crate) end: Box<ConnectionEnd>,
    /// It could not be recorded before.
    pub(crate) again: bool,
    /// The session goes on without a connection.
    pub(crate) persistent: bool,
    /// The will that is to be published once the end is recorded, and its number.
    pub(crate) will: Option<(Arc<Message>, SessionId)>,
    /// What is told of an accepted connection.
    pub(crate) ended: Option<Ended>,
}

/// The end of an accepted connection, as others learn of it.
pub(crate) struct Ended {
    pub(crate) client: Client,
    pub(crate) happened: Happened,
    /// Who waits until the end is recorded.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
}
