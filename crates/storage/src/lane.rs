//! The synchronous, batched door into the store.

use std::sync::Arc;

use crate::{
    ClientRecord, Completion, Departure, Error, GroupId, GroupRecord, OpenGroup, Request, SessionRecord,
};

/// Wakes the thread that owns a lane when completions are ready to be drained. Called from the store's thread.
pub trait Wake: Send + Sync {
    /// Completions wait; may be called more often than needed.
    fn wake(&self);
}

/// One caller's ordered way into the store.
///
/// Requests of one lane are carried out in the order submitted. A request's completion arrives only when its effect is
/// durable (fsynced by group commit on the embedded store). `submit` never blocks on I/O; when the store falls behind,
/// `is_congested` turns true and the caller stops reading from its publishers until it turns false again.
pub trait Lane: Send {
    /// Hands over all requests; the vector is left empty with its capacity.
    fn submit(&mut self, requests: &mut Vec<Request>);

    /// Appends the completions that have become ready.
    fn drain(&mut self, completions: &mut Vec<Completion>);

    /// Whether so much is outstanding that the caller should stop producing.
    fn is_congested(&self) -> bool;
}

/// The store of sessions, their subscriptions and their queues. All methods but `lane` may wait for a write to become
/// durable: not for an event loop.
pub trait SessionStore: Send + Sync + 'static {
    /// Opens a lane whose owner is woken through `wake`.
    fn lane(&self, wake: Arc<dyn Wake>) -> Box<dyn Lane>;

    /// All persistent sessions with their subscriptions, for a router's warm-up, in pages:
    /// at most `limit` records with ids above `after`.
    fn persistent_sessions(&self, after: u64, limit: usize) -> Result<Vec<SessionRecord>, Error>;

    /// Connections of processes that are gone. Each is marked ended by this call for `reason` (persistent sessions start their
    /// expiry clock) and returned, once; its will waits for its delay from now on.
    fn end_orphans(
        &self,
        dead: crate::Dead,
        reason: &str,
        now: fleethaven_types::Timestamp,
    ) -> Result<Vec<crate::request::Orphan>, Error>;

    /// Deletes sessions whose expiry has passed; returns them so that routers forget their subscriptions.
    fn expire(&self, now: fleethaven_types::Timestamp, limit: usize) -> Result<Vec<SessionRecord>, Error>;

    /// All queues of groups, for a router's warm-up, in order of age.
    fn groups(&self) -> Result<Vec<GroupRecord>, Error>;

    /// [`Request::OpenGroup`] for a warm-up.
    fn open_group(&self, open: OpenGroup) -> Result<GroupId, Error>;

    /// Who is connected under a client id, and its session; `None` when there is neither.
    fn client(&self, scope: fleethaven_types::Scope, client_id: &str) -> Result<Option<ClientRecord>, Error>;

    /// How the last connection under a client id ended, if that is not too long ago ([`Departure::is_recent`]). Meaningless
    /// while there is a connection.
    fn departure(&self, scope: fleethaven_types::Scope, client_id: &str) -> Result<Option<Departure>, Error>;

    /// Deletes the session of a client id that nobody is connected under; returns it so that routers forget its
    /// subscriptions. `None` when there is none; [`Error::NotOwner`], and nothing deleted, when a connection owns it.
    fn delete_session(
        &self,
        scope: fleethaven_types::Scope,
        client_id: &str,
    ) -> Result<Option<SessionRecord>, Error>;

    /// At most `limit` wills that are due, the longest overdue first. Each is given out until it is published under
    /// [`Once::Will`](crate::Once::Will). A will waits for its delay after the connection's end; a claim that resumes the
    /// session before calls it off, the end of the session ends the wait [MQTT-3.1.3-9, MQTT5 section 3.1.3.2.2].
    fn due_wills(
        &self,
        now: fleethaven_types::Timestamp,
        limit: usize,
    ) -> Result<Vec<crate::request::DueWill>, Error>;

    /// Calls off the will that the last connection of a session left behind, if it still waits.
    fn withdraw_will(&self, scope: fleethaven_types::Scope, client_id: &str) -> Result<(), Error>;
}
