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
    /// The session whose last connection left it; 0 once another has followed, or has taken it over.
    session: u64,
    /// It had no delay: nothing calls it off.
    at_once: bool,
}

/// All that wait, by their own numbers.
#[derive(Default)]
pub(crate) struct Wills {
    by_number: FxHashMap<u64, Waiting>,
    by_time: BTreeSet<(Timestamp, u64)>,
    /// What the last connection of a session left.
    left_by: FxHashMap<u64, u64>,
}

impl Wills {
    pub(crate) fn insert(&mut self, number: u64, will: Waiting) {
        self.remove(number);
        self.by_time.insert((will.due, number));
        if will.session != 0 {
            self.left_by.insert(will.session, number);
        }
        self.by_number.insert(number, will);
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let will = self.by_number.remove(&number)?;
        self.by_time.remove(&(will.due, number));
        if self.left_by.get(&will.session) == Some(&number) {
            self.left_by.remove(&will.session);
        }
        Some(will)
    }

    fn left_by(&self, session: u64) -> Option<(u64, &Waiting)> {
        let number = *self.left_by.get(&session)?;
        Some((number, self.by_number.get(&number)?))
    }

    /// At most `limit` wills that are due, the longest overdue first.
    pub(crate) fn due(&self, now: Timestamp, limit: usize) -> Vec<DueWill> {
        let due = self.by_time.range(..=(now, u64::MAX)).take(limit);
        let will = |(_, number): &(Timestamp, u64)| {
            let message = self.by_number.get(number)?.message.clone();
            Some(DueWill { number: SessionId(*number), message })
        };
        due.filter_map(will).collect()
    }
}

impl Engine {
    /// The connection of `session` is over at `now`; its will waits from here, under the number that its claim was told.
    pub(crate) fn leave_will(&mut self, (session, number): (u64, u64), will: StoredWill, now: Timestamp) {
        let due = now.after(Duration::from_secs(u64::from(will.delay)));
        let number = if number == 0 { self.new_session_id() } else { number };
        self.write_will(number, Waiting { message: will.message, due, session, at_once: will.delay == 0 });
    }

    /// Keeps a will that another connection has taken over.
    pub(crate) fn keep_will(&mut self, message: Arc<Message>, due: Timestamp) -> DueWill {
        let number = self.new_session_id();
        self.write_will(number, Waiting { message: message.clone(), due, session: 0, at_once: true });
        DueWill { number: SessionId(number), message }
    }

    fn write_will(&mut self, number: u64, will: Waiting) {
        let message = Some(MessageRow::from(&*will.message));
        let (session, at_once) = (Some(will.session), will.at_once);
        let row = WaitingWillRow { message, due: will.due.as_millis(), session, at_once };
        self.batch.insert(&self.disk.wills, keys::number(number), encode(&row));
        self.durable = true;
        self.wills.insert(number, will);
    }

    /// The session is resumed at `now`: the will of its last connection is not published if it still waits for its delay
    /// [MQTT-3.1.3-9]; one that is due is, whatever becomes of this connection, and one without a delay is whatever the clock says
    /// of the gateway that asks.
    pub(crate) fn pass_by_will(&mut self, session: u64, now: Timestamp) {
        let Some((number, will)) = self.wills.left_by(session) else { return };
        if will.due > now && !will.at_once {
            self.forget_will(number);
        } else if let Some(will) = self.wills.remove(number) {
            self.write_will(number, Waiting { session: 0, ..will });
        }
    }

    /// The will of a client that is not connected is not to be published.
    pub(crate) fn withdraw_will(&mut self, client: &Client) {
        let left = self.sessions.find(client).and_then(|session| self.wills.left_by(session));
        if let Some((number, _)) = left {
            self.forget_will(number);
        }
    }

    /// The session is over at `now`, and with it the wait [MQTT5 section 3.1.3.2.2].
    pub(crate) fn hasten_will(&mut self, session: u64, now: Timestamp) {
        let Some((number, _)) = self.wills.left_by(session) else { return };
        if let Some(will) = self.wills.remove(number) {
            let due = will.due.min(now);
            self.write_will(number, Waiting { due, ..will });
        }
    }

    /// The will is published in this batch.
    pub(crate) fn take_will(&mut self, number: u64) -> Result<(), Error> {
        if self.forget_will(number) { Ok(()) } else { Err(Error::AlreadyDone) }
    }

    pub(crate) fn forget_will(&mut self, number: u64) -> bool {
        let waited = self.wills.remove(number).is_some();
        if waited {
            self.batch.remove(&self.disk.wills, keys::number(number));
            self.durable = true;
        }
        waited
    }
}

impl Waiting {
    /// Reads what waits under this number.
    pub(crate) fn read(number: u64, row: WaitingWillRow) -> Result<Self, record::Error> {
        let message: Message = row.message.ok_or(record::Error::Field("will"))?.try_into()?;
        let session = row.session.unwrap_or(number);
        Ok(Self { message: Arc::new(message), due: Timestamp(row.due), session, at_once: row.at_once })
    }
}
