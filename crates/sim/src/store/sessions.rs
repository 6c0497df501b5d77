//! Sessions: who owns them, what they are subscribed to, how they end.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use fleethaven_storage::request::{Orphan, TAKEN_OVER_WILL_WAITS};
use fleethaven_storage::{
    Claim, Claimed, ClientRecord, ConnectionEnd, Dead, Departure, EntryId, Error, OwnerToken, PreviousOwner,
    QueueBounds, QueuedMessage, SessionId, SessionRecord, StoredWill, Subscription,
};
use fleethaven_types::{Scope, Timestamp, Utf8Bytes};

use crate::Bug;

use super::model::Model;

/// Session Expiry Interval of a session that never expires.
const NEVER: u32 = u32::MAX;

/// Who owns a session.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) token: OwnerToken,
    address: u64,
    principal: Option<Utf8Bytes>,
    pub(super) will: Option<StoredWill>,
    /// Under which it waits afterwards.
    pub(super) will_number: Option<SessionId>,
}

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(super) scope: Scope,
    pub(crate) client_id: Utf8Bytes,
    /// It has subscriptions and a queue.
    pub(crate) persistent: bool,
    pub(super) expiry_secs: u32,
    protocol_level: u8,
    version: u64,
    pub(super) bounds: QueueBounds,
    pub(crate) connection: Option<Connection>,
    left: Option<Departure>,
    pub(super) expires_at: Option<Timestamp>,
    /// Highest entry that may have been sent.
    pub(super) sent: EntryId,
    first_sent: Vec<(EntryId, Timestamp)>,
    pub(crate) subscriptions: BTreeMap<Utf8Bytes, Subscription>,
    /// Its queue; what is released has no message any more.
    pub(crate) queue: BTreeMap<EntryId, Option<QueuedMessage>>,
    pub(super) tail: EntryId,
    /// Identifiers of QoS 2 exchanges that the client has not ended.
    pub(super) received: BTreeSet<NonZeroU16>,
}

/// What is left of a client whose session is gone.
#[derive(Debug, Clone)]
pub(crate) struct Departed {
    version: u64,
    departure: Option<Departure>,
}

impl Session {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Everything up to here is gone.
    fn trimmed(&self) -> EntryId {
        self.queue.keys().next().map_or(self.tail, |first| EntryId(first.0 - 1))
    }

    pub(crate) fn record(&self, session: SessionId) -> SessionRecord {
        SessionRecord {
            session,
            scope: self.scope,
            client_id: self.client_id.clone(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            live: self.connection.is_some(),
            version_number: self.version,
        }
    }
}

impl Model {
    fn find(&self, scope: Scope, client_id: &str) -> Option<SessionId> {
        let is_it = |session: &Session| session.scope == scope && *session.client_id == *client_id;
        self.sessions.iter().find(|(_, session)| is_it(session)).map(|(id, _)| *id)
    }

    pub(super) fn not_owned(&mut self, owners: &[(SessionId, OwnerToken)]) -> Vec<usize> {
        let each = owners.iter().enumerate();
        each.filter(|(_, (id, token))| self.owned(*id, *token).is_err()).map(|(index, _)| index).collect()
    }

    pub(super) fn owned(&mut self, id: SessionId, token: OwnerToken) -> Result<&mut Session, Error> {
        let session = self.sessions.get_mut(&id).ok_or(Error::NoSession)?;
        let owns = session.connection.as_ref().is_some_and(|connection| connection.token == token);
        if owns { Ok(session) } else { Err(Error::NotOwner) }
    }

    pub(crate) fn claim(&mut self, claim: Claim) -> Claimed {
        let Some(id) = self.find(claim.scope, &claim.client_id) else { return self.begin(claim) };
        let Some(session) = self.sessions.get_mut(&id) else { return self.begin(claim) };
        let same_level = session.protocol_level == claim.protocol_level || claim.cross_version_resume;
        let lasts = session.persistent && session.expiry_secs > 0 && !session.is_expired(claim.now);
        let resumable = !claim.clean_start && same_level && lasts;
        let version_number = session.version;
        let connection = session.connection.take();
        if connection.is_some() {
            session.sent = session.tail;
        }
        let previous = connection.map(|connection| {
            let Connection { token, address, will, .. } = connection;
            let will = will.filter(|will| will.delay == 0 || !resumable);
            let will = will.map(|will| self.keep_will(will.message, claim.now.after(TAKEN_OVER_WILL_WAITS)));
            PreviousOwner { token, address, will, version_number }
        });
        if resumable {
            return Claimed { previous, ..self.resume(id, claim) };
        }
        self.wipe(id, claim.now);
        Claimed { previous, wiped: Some(id), ..self.begin(claim) }
    }

    fn resume(&mut self, id: SessionId, claim: Claim) -> Claimed {
        self.wills.pass_by(id, claim.now);
        let number = self.will_number(&claim);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.version += 1;
            session.expires_at = None;
            session.expiry_secs = claim.session_expiry;
            session.protocol_level = claim.protocol_level;
            session.bounds = claim.queue_bounds;
            session.connection = Some(connection(claim, number));
        }
        self.claimed(id, true)
    }

    fn begin(&mut self, claim: Claim) -> Claimed {
        let (id, will_number) = (SessionId(self.new_id()), self.will_number(&claim));
        let departed = self.departed.get(&(claim.scope, claim.client_id.clone()));
        let session = Session {
            scope: claim.scope,
            client_id: claim.client_id.clone(),
            persistent: claim.session_expiry > 0,
            expiry_secs: claim.session_expiry,
            protocol_level: claim.protocol_level,
            version: departed.map_or(0, |departed| departed.version) + 1,
            bounds: claim.queue_bounds,
            connection: Some(connection(claim, will_number)),
            left: None,
            expires_at: None,
            sent: EntryId::NONE,
            first_sent: Vec::new(),
            subscriptions: BTreeMap::new(),
            queue: BTreeMap::new(),
            tail: EntryId::NONE,
            received: BTreeSet::new(),
        };
        self.sessions.insert(id, session);
        self.claimed(id, false)
    }

    fn will_number(&mut self, claim: &Claim) -> Option<SessionId> {
        claim.will.is_some().then(|| SessionId(self.new_id()))
    }

    fn claimed(&self, id: SessionId, session_present: bool) -> Claimed {
        let session = self.sessions.get(&id);
        let released = |session: &Session| {
            session.queue.iter().filter(|(_, entry)| entry.is_none()).map(|(entry, _)| *entry).collect()
        };
        Claimed {
            session: id,
            session_present,
            subscriptions: session.map(|s| s.subscriptions.values().cloned().collect()).unwrap_or_default(),
            trimmed: session.map(Session::trimmed).unwrap_or_default(),
            tail: session.map(|session| session.tail).unwrap_or_default(),
            sent: session.map(|session| session.sent).unwrap_or_default(),
            first_sent: session.map(|session| session.first_sent.clone()).unwrap_or_default(),
            released: session.map(released).unwrap_or_default(),
            received: session.map(|session| session.received.iter().copied().collect()).unwrap_or_default(),
            version_number: session.map_or(0, |session| session.version),
            will: session.and_then(|session| session.connection.as_ref()?.will_number),
            previous: None,
            wiped: None,
        }
    }

    pub(super) fn subscribe(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        subscriptions: Vec<Subscription>,
    ) -> Result<(), Error> {
        let session = self.owned(id, token)?;
        if session.persistent {
            let held = subscriptions.into_iter().map(|held| (held.filter.clone(), held));
            session.subscriptions.extend(held);
        }
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        filters: &[Utf8Bytes],
    ) -> Result<(), Error> {
        let session = self.owned(id, token)?;
        session.subscriptions.retain(|filter, _| !filters.contains(filter));
        Ok(())
    }

    pub(super) fn end(&mut self, end: &ConnectionEnd) -> Result<(), Error> {
        let session = self.owned(end.session, end.token)?;
        session.expiry_secs = end.session_expiry;
        (session.sent, session.first_sent) = (end.sent, end.first_sent.clone());
        session.left = end.departure.clone().or(session.left.take());
        let connection = session.connection.as_mut();
        let will = connection.and_then(|connection| Some((connection.will_number, connection.will.take()?)));
        if let (Some((number, will)), Some(delay)) = (will, end.will_delay) {
            self.leave_will((end.session, number), StoredWill { delay, ..will }, end.now);
        }
        self.leave(end.session, end.now);
        Ok(())
    }

    fn leave(&mut self, id: SessionId, now: Timestamp) {
        self.return_shares(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.connection = None;
        if !session.persistent || session.expiry_secs == 0 {
            return self.wipe(id, now);
        }
        let lasts = Duration::from_secs(u64::from(session.expiry_secs));
        session.expires_at = (session.expiry_secs != NEVER).then(|| now.after(lasts));
    }

    pub(super) fn wipe(&mut self, id: SessionId, now: Timestamp) {
        self.return_shares(id);
        let Some(session) = self.sessions.remove(&id) else { return };
        let client = (session.scope, session.client_id);
        let before = self.departed.remove(&client).and_then(|departed| departed.departure);
        let departure = session.left.or(before);
        self.departed.insert(client, Departed { version: session.version, departure });
        self.wills.hasten(id, now);
    }

    /// Ends the connections of dead processes.
    pub(crate) fn end_orphans(&mut self, dead: &Dead, reason: &str, now: Timestamp) -> Vec<Orphan> {
        let orphaned = |session: &Session| {
            session.connection.as_ref().is_some_and(|connection| dead.is(connection.token.incarnation))
        };
        let ids: Vec<SessionId> =
            self.sessions.iter().filter(|(_, session)| orphaned(session)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.end_orphan(id, reason, now)).collect()
    }

    fn end_orphan(&mut self, id: SessionId, reason: &str, now: Timestamp) -> Option<Orphan> {
        let session = self.sessions.get_mut(&id)?;
        let Connection { token, principal, will, will_number, .. } = session.connection.take()?;
        session.sent = session.tail;
        session.left = Some(Departure::of_orphan(now, reason, session.expiry_secs));
        let (scope, client_id, version_number) = (session.scope, session.client_id.clone(), session.version);
        if let Some(will) = will.filter(|_| self.bug != Some(Bug::WillsDropped)) {
            self.leave_will((id, will_number), will, now);
        }
        self.leave(id, now);
        Some(Orphan { scope, client_id, token, principal, version_number })
    }

    pub(crate) fn expire(&mut self, now: Timestamp, limit: usize) -> Vec<SessionRecord> {
        let over = self.sessions.iter().filter(|(_, session)| session.is_expired(now)).take(limit);
        let over: Vec<SessionRecord> = over.map(|(id, session)| session.record(*id)).collect();
        over.iter().for_each(|record| self.wipe(record.session, now));
        over
    }

    pub(crate) fn client(&self, scope: Scope, client_id: &str) -> Option<ClientRecord> {
        let id = self.find(scope, client_id)?;
        let session = self.sessions.get(&id).filter(|session| !session.is_expired(self.now))?;
        Some(ClientRecord {
            record: session.record(id),
            persistent: session.persistent,
            session_expiry: session.expiry_secs,
            owner: session.connection.as_ref().map(|connection| (connection.token, connection.address)),
        })
    }

    pub(crate) fn departure(&self, scope: Scope, client_id: &str) -> Option<Departure> {
        let session = self.find(scope, client_id).and_then(|id| self.sessions.get(&id));
        let departed = || self.departed.get(&(scope, client_id.into()))?.departure.as_ref();
        let left = session.and_then(|session| session.left.as_ref()).or_else(departed);
        left.filter(|left| left.is_recent(self.now)).cloned()
    }

    pub(crate) fn delete_session(
        &mut self,
        scope: Scope,
        client_id: &str,
    ) -> Result<Option<SessionRecord>, Error> {
        let Some(id) = self.find(scope, client_id) else { return Ok(None) };
        let Some(session) = self.sessions.get(&id) else { return Ok(None) };
        if session.connection.is_some() {
            return Err(Error::NotOwner);
        }
        let record = session.record(id);
        self.wipe(id, self.now);
        Ok(Some(record))
    }

    pub(crate) fn withdraw_will(&mut self, scope: Scope, client_id: &str) {
        if let Some(id) = self.find(scope, client_id) {
            self.wills.withdraw(id);
        }
    }
}

fn connection(claim: Claim, will_number: Option<SessionId>) -> Connection {
    let Claim { token, owner_address, principal, will, .. } = claim;
    Connection { token, address: owner_address, principal, will, will_number }
}
