//! Wills whose connection has ended: they wait for their delay, and until they are published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_storage::request::DueWill;
use fleethaven_storage::{SessionId, StoredWill};
use fleethaven_types::{Message, Timestamp};

use super::model::Model;

/// All that wait, by the session that left them behind or by their own number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wills(BTreeMap<SessionId, (Timestamp, Arc<Message>)>);

impl Wills {
    /// Whether it waited.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        self.0.remove(&session).is_some()
    }

    /// The session is resumed: its will is not published if it still waits for its delay [MQTT-3.1.3-9].
    pub(super) fn call_off(&mut self, session: SessionId, now: Timestamp) {
        if self.0.get(&session).is_some_and(|(due, _)| *due > now) {
            self.0.remove(&session);
        }
    }

    /// The session is over, and with it the wait [MQTT5 section 3.1.3.2.2].
    pub(super) fn hasten(&mut self, session: SessionId, now: Timestamp) {
        if let Some((due, _)) = self.0.get_mut(&session) {
            *due = now.min(*due);
        }
    }
}

impl Model {
    pub(super) fn leave_will(&mut self, session: SessionId, will: StoredWill, now: Timestamp) {
        let due = now.after(Duration::from_secs(u64::from(will.delay)));
        self.wills.0.insert(session, (due, will.message));
    }

    /// Keeps a will under a number of its own.
    pub(super) fn keep_will(&mut self, message: Arc<Message>, due: Timestamp) -> DueWill {
        let session = SessionId(self.new_id());
        self.wills.0.insert(session, (due, message.clone()));
        DueWill { session, message }
    }

    /// At most `limit` wills that are due, the longest overdue first.
    pub(crate) fn due_wills(&self, now: Timestamp, limit: usize) -> Vec<DueWill> {
        let mut due: Vec<_> = self.wills.0.iter().filter(|(_, (due, _))| *due <= now).collect();
        due.sort_by_key(|(session, (due, _))| (*due, **session));
        let will = |(session, (_, message)): (&SessionId, &(Timestamp, Arc<Message>))| DueWill {
            session: *session,
            message: message.clone(),
        };
        due.into_iter().take(limit).map(will).collect()
    }
}
