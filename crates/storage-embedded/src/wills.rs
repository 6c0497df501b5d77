//! Wills whose connection has ended: they wait for their delay, and until they are published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_storage::{DueWill, Error, SessionId, StoredWill};
use fleethaven_types::{Message, Timestamp};
use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::keys;
use crate::record::{self, MessageRow, WaitingWillRow, encode};
use crate::sessions::Client;

/// A will and when it is to be published.
pub(crate) struct Waiting {
    message: Arc<Message>,
    due: Timestamp,
}

/// All that wait, by the session that left them behind or by their own number.
#[derive(Default)]
pub(crate) struct Wills {
    by_session: FxHashMap<u64, Waiting>,
    by_time: BTreeSet<(Timestamp, u64)>,
}

impl Wills {
    pub(crate) fn insert(&mut self, session: u64, will: Waiting) {
        self.remove(session);
        self.by_time.insert((will.due, session));
        self.by_session.insert(session, will);
    }

    fn remove(&mut self, session: u64) -> Option<Waiting> {
        let will = self.by_session.remove(&session)?;
        self.by_time.remove(&(will.due, session));
        Some(will)
    }

    /// At most `limit` wills that are due, the longest overdue first.
    pub(crate) fn due(&self, now: Timestamp, limit: usize) -> Vec<DueWill> {
        let due = self.by_time.range(..=(now, u64::MAX)).take(limit);
        let will = |(_, session): &(Timestamp, u64)| {
            let message = self.by_session.get(session)?.message.clone();
            Some(DueWill { session: SessionId(*session), message })
        };
        due.filter_map(will).collect()
    }
}

impl Engine {
    /// The connection of `session` is over at `now`; its will waits from here.
    pub(crate) fn leave_will(&mut self, session: u64, will: StoredWill, now: Timestamp) {
        let due = now.after(Duration::from_secs(u64::from(will.delay)));
        self.write_will(session, Waiting { message: will.message, due });
    }

    /// Keeps a will under a number of its own.
    pub(crate) fn keep_will(&mut self, message: Arc<Message>, due: Timestamp) -> DueWill {
        let number = self.new_session_id();
        self.write_will(number, Waiting { message: message.clone(), due });
        DueWill { session: SessionId(number), message }
    }

    fn write_will(&mut self, session: u64, will: Waiting) {
        let message = Some(MessageRow::from(&*will.message));
        let row = WaitingWillRow { message, due: will.due.as_millis() };
        self.batch.insert(&self.disk.wills, keys::number(session), encode(&row));
        self.durable = true;
        self.wills.insert(session, will);
    }

    /// The session is resumed at `now`: its will is not published if it still waits for its delay [MQTT-3.1.3-9].
    pub(crate) fn call_off_will(&mut self, session: u64, now: Timestamp) {
        if self.wills.by_session.get(&session).is_some_and(|will| will.due > now) {
            self.forget_will(session);
        }
    }

    /// The will of a client that is not connected is not to be published.
    pub(crate) fn withdraw_will(&mut self, client: &Client) {
        if let Some(session) = self.sessions.find(client) {
            self.forget_will(session);
        }
    }

    /// The session is over at `now`, and with it the wait [MQTT5 section 3.1.3.2.2].
    pub(crate) fn hasten_will(&mut self, session: u64, now: Timestamp) {
        if let Some(will) = self.wills.remove(session) {
            let due = will.due.min(now);
            self.write_will(session, Waiting { due, ..will });
        }
    }

    /// The will is published in this batch.
    pub(crate) fn take_will(&mut self, session: u64) -> Result<(), Error> {
        if self.forget_will(session) { Ok(()) } else { Err(Error::AlreadyDone) }
    }

    pub(crate) fn forget_will(&mut self, session: u64) -> bool {
        let waited = self.wills.remove(session).is_some();
        if waited {
            self.batch.remove(&self.disk.wills, keys::number(session));
            self.durable = true;
        }
        waited
    }
}

impl TryFrom<WaitingWillRow> for Waiting {
    type Error = record::Error;

    fn try_from(row: WaitingWillRow) -> Result<Self, record::Error> {
        let message: Message = row.message.ok_or(record::Error::Field("will"))?.try_into()?;
        Ok(Self { message: Arc::new(message), due: Timestamp(row.due) })
    }
}
