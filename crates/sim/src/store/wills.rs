//! Wills whose connection has ended: they wait for their delay, and until they are published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_storage::request::DueWill;
use fleethaven_storage::{SessionId, StoredWill};
use fleethaven_types::{Message, Timestamp};

use crate::Bug;
use crate::history::{MessageId, id};

use super::model::Model;

/// All that wait, by their own numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wills(BTreeMap<SessionId, Waiting>);

#[derive(Debug, Clone)]
struct Waiting {
    due: Timestamp,
    message: Arc<Message>,
    /// The session whose last connection left it, until another follows.
    session: Option<SessionId>,
    /// It had no delay: nothing calls it off.
    at_once: bool,
}

impl Wills {
    /// Whether it waited.
    pub(super) fn remove(&mut self, number: SessionId) -> bool {
        self.0.remove(&number).is_some()
    }

    fn left_by(&mut self, session: SessionId) -> Option<(SessionId, &mut Waiting)> {
        let is_its = |(_, will): &(&SessionId, &mut Waiting)| will.session == Some(session);
        self.0.iter_mut().find(is_its).map(|(number, will)| (*number, will))
    }

    /// The session is resumed: its will is not published if it still waits for its delay [MQTT-3.1.3-9].
    pub(super) fn pass_by(&mut self, session: SessionId, now: Timestamp) {
        let Some((number, will)) = self.left_by(session) else { return };
        will.session = None;
        if will.due > now && !will.at_once {
            self.remove(number);
        }
    }

    /// The session is over, and with it the wait [MQTT5 section 3.1.3.2.2].
    pub(super) fn hasten(&mut self, session: SessionId, now: Timestamp) {
        if let Some((_, will)) = self.left_by(session) {
            will.due = now.min(will.due);
        }
    }

    /// It is not to be published.
    pub(super) fn withdraw(&mut self, session: SessionId) {
        if let Some((number, _)) = self.left_by(session) {
            self.remove(number);
        }
    }
}

impl Model {
    pub(super) fn leave_will(
        &mut self,
        (session, number): (SessionId, Option<SessionId>),
        will: StoredWill,
        now: Timestamp,
    ) {
        let due = now.after(Duration::from_secs(u64::from(will.delay)));
        let number = if self.bug == Some(Bug::WillsOfSessions) { Some(session) } else { number };
        let number = number.unwrap_or_else(|| SessionId(self.new_id()));
        self.wills.0.insert(
            number,
            Waiting { due, message: will.message, session: Some(session), at_once: will.delay == 0 },
        );
    }

    /// Keeps a will that another connection has taken over.
    pub(super) fn keep_will(&mut self, message: Arc<Message>, due: Timestamp) -> DueWill {
        let number = SessionId(self.new_id());
        self.wills.0.insert(number, Waiting { due, message: message.clone(), session: None, at_once: true });
        DueWill { number, message }
    }

    /// Whether a connection has this will.
    pub(crate) fn has_will(&self, will: MessageId) -> bool {
        let wills = self.sessions.values().filter_map(|session| session.connection.as_ref()?.will.as_ref());
        wills.into_iter().any(|of| id(&of.message) == will)
    }

    /// At most `limit` wills that are due, the longest overdue first.
    pub(crate) fn due_wills(&self, now: Timestamp, limit: usize) -> Vec<DueWill> {
        let mut due: Vec<_> = self.wills.0.iter().filter(|(_, will)| will.due <= now).collect();
        due.sort_by_key(|(number, will)| (will.due, **number));
        let will = |(number, will): (&SessionId, &Waiting)| DueWill {
            number: *number,
            message: will.message.clone(),
        };
        due.into_iter().take(limit).map(will).collect()
    }
}
