//! Taking ownership of a client id at CONNECT.

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_storage::request::TAKEN_OVER_WILL_WAITS;
use fleethaven_storage::{Claim, Claimed, EntryId, PreviousOwner, SessionId};
use fleethaven_types::Timestamp;

use crate::engine::Engine;
use crate::queue::Queue;
use crate::sessions::{Client, Connection, Session};
use crate::write_behind::{Change, Record};

impl Engine {
    /// Makes the claimant the owner, of the session that was there or of a new one.
    pub(crate) fn claim(&mut self, claim: Claim) -> Claimed {
        let client = Client { scope: claim.scope, id: claim.client_id.compact() };
        let found = self.sessions.find(&client).and_then(|id| self.sessions.get_mut(id));
        let Some(session) = found else { return self.begin(claim, client) };
        let id = session.id;
        let resumable = can_resume(session, &claim);
        let version_number = session.version;
        let connection = session.connection.take();
        if connection.is_some() {
            session.sent = session.queue.tail();
        }
        let previous =
            connection.map(|connection| self.take_over(connection, version_number, resumable, claim.now));
        if resumable {
            return Claimed { previous, ..self.resume(id, claim) };
        }
        self.wipe(id, claim.now);
        Claimed { previous, wiped: Some(SessionId(id)), ..self.begin(claim, client) }
    }

    /// Another connection takes the place of this one. Its will is kept, unless the session goes on before the delay has
    /// passed.
    fn take_over(
        &mut self,
        connection: Connection,
        version_number: u64,
        resumed: bool,
        now: Timestamp,
    ) -> PreviousOwner {
        let Connection { token, address, will, .. } = connection;
        let will = will.filter(|will| will.delay == 0 || !resumed);
        let will = will.map(|will| self.keep_will(will.message, now.after(TAKEN_OVER_WILL_WAITS)));
        PreviousOwner { token, address, will, version_number }
    }

    fn resume(&mut self, id: u64, claim: Claim) -> Claimed {
        self.sessions.set_deadline(id, None);
        self.pass_by_will(id, claim.now);
        let will_number = self.will_number(&claim);
        if let Some(session) = self.sessions.get_mut(id) {
            session.version += 1;
            session.expiry_secs = claim.session_expiry;
            session.protocol_level = claim.protocol_level;
            (session.bounds, session.young_until) = (claim.queue_bounds, Timestamp(0));
            session.connection = Some(connection(claim, will_number));
        }
        self.write_session(id, Change::Replace);
        self.claimed(id, true)
    }

    fn begin(&mut self, claim: Claim, client: Client) -> Claimed {
        let (id, will_number) = (self.new_session_id(), self.will_number(&claim));
        self.sessions.insert(Session {
            id,
            version: self.sessions.departures.version(&client) + 1,
            client,
            persistent: claim.session_expiry > 0,
            expiry_secs: claim.session_expiry,
            protocol_level: claim.protocol_level,
            bounds: claim.queue_bounds,
            young_until: Timestamp(0),
            connection: Some(connection(claim, will_number)),
            left: None,
            expires_at: None,
            lasting: false,
            sent: 0,
            first_sent: Vec::new(),
            subscriptions: BTreeMap::new(),
            queue: Queue::default(),
            received: BTreeSet::new(),
        });
        self.write_session(id, Change::Create);
        self.claimed(id, false)
    }

    fn will_number(&mut self, claim: &Claim) -> u64 {
        if claim.will.is_some() { self.new_session_id() } else { 0 }
    }

    fn claimed(&self, id: u64, session_present: bool) -> Claimed {
        let session = self.sessions.get(id);
        let queue = session.map(|session| &session.queue);
        let connection = session.and_then(|session| session.connection.as_ref());
        let will = connection.map(|connection| connection.will_number).filter(|number| *number != 0);
        Claimed {
            session: SessionId(id),
            session_present,
            subscriptions: session.map(Session::subscription_list).unwrap_or_default(),
            trimmed: EntryId(queue.map_or(0, Queue::trimmed)),
            tail: EntryId(queue.map_or(0, Queue::tail)),
            sent: EntryId(session.map_or(0, |session| session.sent)),
            first_sent: session.map(|session| session.first_sent.clone()).unwrap_or_default(),
            released: queue.map(|queue| queue.released().map(EntryId).collect()).unwrap_or_default(),
            received: session.map(|session| session.received.iter().copied().collect()).unwrap_or_default(),
            version_number: session.map_or(0, |session| session.version),
            will: will.map(SessionId),
            previous: None,
            wiped: None,
        }
    }

    /// Brings a session's record on disk in line with memory. That of a clean session without a will is only for the next
    /// process, should this one die, to tell of the connection's end: a CONNECT waits for no fsync because of it, and in a storm
    /// it may be written later.
    pub(crate) fn write_session(&mut self, id: u64, change: Change) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let client = session.client.clone();
        self.behind.note(&client, Record::Session(id), change);
        let must_last = session.must_last();
        let lasts = std::mem::replace(&mut session.lasting, must_last) || must_last;
        if lasts {
            self.durable = true;
            self.catch_up(&client);
        }
    }
}

/// Whether the claimant continues this session. One that ends with its connection is over when another takes the
/// client id, even if the first connection is not closed yet [MQTT5 3.1.2.11.2].
fn can_resume(session: &Session, claim: &Claim) -> bool {
    let same_version = session.protocol_level == claim.protocol_level || claim.cross_version_resume;
    let lasts = session.persistent && session.expiry_secs > 0 && !session.is_expired(claim.now);
    !claim.clean_start && same_version && lasts
}

fn connection(claim: Claim, will_number: u64) -> Connection {
    let Claim { token, owner_address, principal, will, .. } = claim;
    Connection { token, address: owner_address, principal, will, will_number }
}
