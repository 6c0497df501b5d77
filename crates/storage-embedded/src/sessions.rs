//! The table of sessions: by id, by client, in order of expiry.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::ops::Bound;
use std::time::Duration;

use fleethaven_storage::{
    ClientRecord, Dead, Departure, EntryId, OwnerToken, QueueBounds, SessionId, SessionRecord, StoredWill,
    Subscription,
};
use fleethaven_types::{Message, Scope, Timestamp, Utf8Bytes};
use rustc_hash::FxHashMap;

use crate::departed::Departures;
use crate::queue::Queue;
use crate::record::{ConnectionRow, DepartureRow, Error, FirstSentRow, SessionRow, WillRow};

/// Session Expiry Interval of a session that never expires [MQTT5 3.1.2.11.2].
const NEVER: u32 = u32::MAX;

/// A client id within its account and region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) scope: Scope,
    pub(crate) id: Utf8Bytes,
}

/// Who owns a session.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) token: OwnerToken,
    pub(crate) address: u64,
    pub(crate) principal: Option<Utf8Bytes>,
    pub(crate) will: Option<StoredWill>,
    /// Under which it waits afterwards; 0 where its gateway, which was told the number, is gone.
    pub(crate) will_number: u64,
}

/// A subscription under the number that is its key on disk.
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) subscription: Subscription,
}

/// One session.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) client: Client,
    /// Has subscriptions and a queue on disk. A clean session has neither.
    pub(crate) persistent: bool,
    /// Session Expiry Interval in force, in seconds.
    pub(crate) expiry_secs: u32,
    pub(crate) protocol_level: u8,
    pub(crate) version: u64,
    pub(crate) bounds: QueueBounds,
    /// Until then no entry at the front of its queue is too old.
    pub(crate) young_until: Timestamp,
    pub(crate) connection: Option<Connection>,
    /// How the last connection that ended did.
    pub(crate) left: Option<Box<Departure>>,
    /// When it expires; `None` while it is owned and for ever when it never does.
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether the record on disk is one that must last.
    pub(crate) lasting: bool,
    /// Highest queue entry that may have been sent.
    pub(crate) sent: u64,
    /// When entries were first sent that were not acknowledged when the last connection ended.
    pub(crate) first_sent: Vec<(EntryId, Timestamp)>,
    pub(crate) subscriptions: BTreeMap<Utf8Bytes, Numbered>,
    pub(crate) queue: Queue,
    /// Packet identifiers of QoS 2 exchanges that the client has not ended.
    pub(crate) received: BTreeSet<NonZeroU16>,
}

impl Session {
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(crate) fn is_owned_by(&self, token: OwnerToken) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.token == token)
    }

    /// Whether one more message of `cost` bytes stays within the bounds of its queue.
    pub(crate) fn has_room(&self, cost: u32) -> bool {
        self.queue.has_room(cost, &self.bounds)
    }

    /// When a message has waited for too long.
    pub(crate) fn over_at(&self, message: &Message) -> Option<Timestamp> {
        let secs = u64::from(self.bounds.secs?);
        Some(message.received_at.after(Duration::from_secs(secs)))
    }

    /// Whether it must survive a power failure: persistent sessions, and wills.
    pub(crate) fn must_last(&self) -> bool {
        self.persistent || self.connection.as_ref().is_some_and(|connection| connection.will.is_some())
    }

    pub(crate) fn subscription_list(&self) -> Vec<Subscription> {
        self.subscriptions.values().map(|numbered| numbered.subscription.clone()).collect()
    }

    pub(crate) fn record(&self) -> SessionRecord {
        SessionRecord {
            session: SessionId(self.id),
            scope: self.client.scope,
            client_id: self.client.id.clone(),
            subscriptions: self.subscription_list(),
            live: self.connection.is_some(),
            version_number: self.version,
        }
    }

    pub(crate) fn client_record(&self) -> ClientRecord {
        ClientRecord {
            record: self.record(),
            persistent: self.persistent,
            session_expiry: self.expiry_secs,
            owner: self.connection.as_ref().map(|connection| (connection.token, connection.address)),
        }
    }

    /// When a session that is left at `now` expires.
    pub(crate) fn deadline(expiry_secs: u32, now: Timestamp) -> Option<Timestamp> {
        (expiry_secs != NEVER).then(|| now.after(Duration::from_secs(u64::from(expiry_secs))))
    }

    pub(crate) fn row(&self) -> SessionRow {
        SessionRow {
            client_id: self.client.id.clone().into_bytes(),
            persistent: self.persistent,
            expiry_secs: self.expiry_secs,
            protocol_level: u32::from(self.protocol_level),
            version: self.version,
            bound_messages: self.bounds.messages,
            bound_bytes: self.bounds.bytes,
            bound_secs: self.bounds.secs,
            expires_at: self.expires_at.map(Timestamp::as_millis),
            connection: self.connection.as_ref().map(Connection::row),
            sent: self.sent,
            left: self.left.as_deref().map(DepartureRow::from),
            first_sent: FirstSentRow::of(&self.first_sent),
        }
    }

    /// The session that [`row`](Self::row) described, without subscriptions and queue.
    pub(crate) fn from_row(id: u64, scope: Scope, row: SessionRow) -> Result<Self, Error> {
        let client_id = Utf8Bytes::from_utf8(row.client_id).map_err(|_| Error::Field("client id"))?;
        let mut session = Self {
            id,
            client: Client { scope, id: client_id },
            persistent: row.persistent,
            expiry_secs: row.expiry_secs,
            protocol_level: u8::try_from(row.protocol_level).map_err(|_| Error::Field("protocol level"))?,
            version: row.version,
            bounds: QueueBounds {
                messages: row.bound_messages,
                bytes: row.bound_bytes,
                secs: row.bound_secs,
            },
            young_until: Timestamp(0),
            connection: row.connection.map(Connection::from_row).transpose()?,
            left: row.left.map(Departure::try_from).transpose()?.map(Box::new),
            expires_at: row.expires_at.map(Timestamp),
            lasting: false,
            sent: row.sent,
            first_sent: row.first_sent.map(FirstSentRow::read).unwrap_or_default(),
            subscriptions: BTreeMap::new(),
            queue: Queue::default(),
            received: BTreeSet::new(),
        };
        session.lasting = session.must_last();
        Ok(session)
    }
}

impl Connection {
    fn row(&self) -> ConnectionRow {
        ConnectionRow {
            incarnation: self.token.incarnation,
            counter: self.token.counter,
            address: self.address,
            principal: self.principal.clone().map(Utf8Bytes::into_bytes),
            will: self.will.as_ref().map(WillRow::from),
        }
    }

    fn from_row(row: ConnectionRow) -> Result<Self, Error> {
        let principal = row.principal.map(Utf8Bytes::from_utf8).transpose();
        Ok(Self {
            token: OwnerToken { incarnation: row.incarnation, counter: row.counter },
            address: row.address,
            principal: principal.map_err(|_| Error::Field("principal"))?,
            will: row.will.map(StoredWill::try_from).transpose()?,
            will_number: 0,
        })
    }
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    /// Boxed: a third of a hash table is empty, or more.
    by_id: FxHashMap<u64, Box<Session>>,
    by_client: FxHashMap<Client, u64>,
    persistent: BTreeSet<u64>,
    deadlines: BTreeSet<(Timestamp, u64)>,
    pub(crate) departures: Departures,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Session) {
        self.by_client.insert(session.client.clone(), session.id);
        if session.persistent {
            self.persistent.insert(session.id);
        }
        if let Some(at) = session.expires_at {
            self.deadlines.insert((at, session.id));
        }
        self.by_id.insert(session.id, Box::new(session));
    }

    /// Takes a session out.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Session> {
        self.set_deadline(id, None);
        let session = *self.by_id.remove(&id)?;
        self.by_client.remove(&session.client);
        self.persistent.remove(&id);
        Some(session)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Session> {
        self.by_id.get(&id).map(|session| &**session)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Session> {
        self.by_id.get_mut(&id).map(|session| &mut **session)
    }

    /// The session, if `token` owns it.
    pub(crate) fn owned(
        &mut self,
        id: SessionId,
        token: OwnerToken,
    ) -> Result<&mut Session, fleethaven_storage::Error> {
        let session = self.by_id.get_mut(&id.0).ok_or(fleethaven_storage::Error::NoSession)?;
        if session.is_owned_by(token) { Ok(session) } else { Err(fleethaven_storage::Error::NotOwner) }
    }

    /// Which of these sessions are gone, or somebody else's, by their index.
    pub(crate) fn not_owned(&self, owners: &[(SessionId, OwnerToken)]) -> Vec<usize> {
        let owns = |(id, token): &(SessionId, OwnerToken)| {
            self.by_id.get(&id.0).is_some_and(|session| session.is_owned_by(*token))
        };
        owners.iter().enumerate().filter(|(_, owner)| !owns(owner)).map(|(index, _)| index).collect()
    }

    pub(crate) fn find(&self, client: &Client) -> Option<u64> {
        self.by_client.get(client).copied()
    }

    /// Changes when a session expires.
    pub(crate) fn set_deadline(&mut self, id: u64, at: Option<Timestamp>) {
        let Some(session) = self.by_id.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut session.expires_at, at) {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, id));
        }
    }

    /// At most `limit` sessions whose deadline has passed, the longest overdue first.
    pub(crate) fn overdue(&self, now: Timestamp, limit: usize) -> Vec<u64> {
        self.deadlines.range(..=(now, u64::MAX)).map(|(_, id)| *id).take(limit).collect()
    }

    /// At most `limit` persistent sessions with ids above `after`.
    pub(crate) fn persistent_above(&self, after: u64, limit: usize) -> impl Iterator<Item = &Session> {
        let ids = self.persistent.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        ids.filter_map(|id| self.get(*id))
    }

    /// Sessions whose owner is dead, in order of id.
    pub(crate) fn orphans(&self, dead: &Dead) -> Vec<u64> {
        let orphaned = |session: &Session| {
            session.connection.as_ref().is_some_and(|connection| dead.is(connection.token.incarnation))
        };
        let sessions = self.by_id.values().filter(|session| orphaned(session));
        let mut ids: Vec<u64> = sessions.map(|session| session.id).collect();
        ids.sort_unstable();
        ids
    }
}
