//! Ends of connections and of sessions.

use fleethaven_storage::request::Orphan;
use fleethaven_storage::{ConnectionEnd, Dead, Departure, EntryId, Error, SessionRecord, StoredWill};
use fleethaven_types::Timestamp;

use crate::departed::Departed;
use crate::engine::Engine;
use crate::keys;
use crate::record::EntryHeader;
use crate::sessions::{Client, Session};
use crate::write_behind::{Change, Record};

impl Engine {
    /// A connection is over: its session starts to expire, or goes with it.
    pub(crate) fn end(&mut self, end: &ConnectionEnd) -> Result<(), Error> {
        let session = self.sessions.owned(end.session, end.token)?;
        session.expiry_secs = end.session_expiry;
        (session.sent, session.first_sent) = (end.sent.0, end.first_sent.clone());
        if let Some(left) = &end.departure {
            session.left = Some(Box::new(left.clone()));
        }
        let connection = session.connection.as_mut();
        let will = connection.and_then(|connection| Some((connection.will_number, connection.will.take()?)));
        if let (Some((number, will)), Some(delay)) = (will, end.will_delay) {
            self.leave_will((end.session.0, number), StoredWill { delay, ..will }, end.now);
        }
        self.leave(end.session.0, end.now);
        Ok(())
    }

    /// Takes the connection away from a session, by its Session Expiry Interval in force.
    fn leave(&mut self, id: u64, now: Timestamp) {
        self.return_shares(id);
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.connection = None;
        if !session.persistent || session.expiry_secs == 0 {
            return self.wipe(id, now);
        }
        let deadline = Session::deadline(session.expiry_secs, now);
        self.sessions.set_deadline(id, deadline);
        self.write_session(id, Change::Replace);
    }

    /// Deletes a session with its subscriptions and its queue; what others may have of it goes back to their groups.
    pub(crate) fn wipe(&mut self, id: u64, now: Timestamp) {
        self.return_shares(id);
        let Some(session) = self.sessions.remove(id) else { return };
        self.remember(&session, now);
        self.hasten_will(id, now);
        self.behind.note(&session.client, Record::Session(id), Change::Remove);
        if session.lasting {
            self.durable = true;
            self.catch_up(&session.client);
        }
        if !session.persistent {
            return;
        }
        for numbered in session.subscriptions.values() {
            self.batch.remove(&self.disk.subscriptions, keys::of_session(id, numbered.number));
        }
        for slot in session.queue.above(EntryId::NONE.0) {
            self.forget_entry(id, slot.entry, slot.body);
        }
        self.batch.remove(&self.disk.queues, keys::of_session(id, 0));
        for packet_id in session.received {
            self.batch.remove(&self.disk.received, keys::of_session(id, packet_id.get().into()));
        }
    }

    /// Notes what is left of a session that goes.
    fn remember(&mut self, session: &Session, now: Timestamp) {
        let behind = &mut self.behind;
        let forget = |client, session| behind.note(&client, Record::Departed(session), Change::Remove);
        self.sessions.departures.remember(&session.client, Departed::of(session, now), forget);
        self.behind.note(&session.client, Record::Departed(session.id), Change::Create);
    }

    /// How a client left last, if that is not too long ago.
    pub(crate) fn departure(&self, client: &Client) -> Option<Departure> {
        let session = self.sessions.find(client).and_then(|id| self.sessions.get(id));
        let departed = || self.sessions.departures.get(client)?.departure.as_ref();
        let left = session.and_then(|session| session.left.as_deref()).or_else(departed);
        left.filter(|left| left.is_recent(self.now)).cloned()
    }

    /// Deletes an entry on disk, and its shared body with the last reference.
    pub(crate) fn forget_entry(&mut self, session: u64, entry: u64, body: u64) {
        self.batch.remove(&self.disk.queues, keys::of_session(session, entry));
        self.release_body(body);
    }

    /// One entry fewer needs its body.
    pub(crate) fn release_body(&mut self, body: u64) {
        if let Some(body) = EntryHeader::shared(body).filter(|body| self.bodies.release(*body)) {
            self.batch.remove(&self.disk.bodies, keys::number(body));
        }
    }

    /// Ends the connections of dead processes.
    pub(crate) fn end_orphans(&mut self, dead: &Dead, reason: &str, now: Timestamp) -> Vec<Orphan> {
        let ids = self.sessions.orphans(dead);
        ids.into_iter().filter_map(|id| self.end_orphan(id, reason, now)).collect()
    }

    fn end_orphan(&mut self, id: u64, reason: &str, now: Timestamp) -> Option<Orphan> {
        let session = self.sessions.get_mut(id)?;
        let connection = session.connection.take()?;
        session.sent = session.queue.tail();
        session.left = Some(Box::new(Departure::of_orphan(now, reason, session.expiry_secs)));
        let orphan = Orphan {
            scope: session.client.scope,
            client_id: session.client.id.clone(),
            token: connection.token,
            principal: connection.principal,
            version_number: session.version,
        };
        if let Some(will) = connection.will {
            self.leave_will((id, connection.will_number), will, now);
        }
        self.leave(id, now);
        Some(orphan)
    }

    /// Deletes the session of a client that is not connected.
    pub(crate) fn delete_session(&mut self, client: &Client) -> Result<Option<SessionRecord>, Error> {
        let Some(session) = self.sessions.find(client).and_then(|id| self.sessions.get(id)) else {
            return Ok(None);
        };
        if session.connection.is_some() {
            return Err(Error::NotOwner);
        }
        let (id, record) = (session.id, session.record());
        self.wipe(id, self.now);
        Ok(Some(record))
    }

    /// Deletes at most `limit` sessions whose expiry has passed.
    pub(crate) fn expire(&mut self, now: Timestamp, limit: usize) -> Vec<SessionRecord> {
        let ids = self.sessions.overdue(now, limit);
        let records = ids.iter().filter_map(|id| self.sessions.get(*id).map(Session::record)).collect();
        ids.into_iter().for_each(|id| self.wipe(id, now));
        records
    }
}
