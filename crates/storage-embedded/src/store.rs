//! The store as its users hold it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::rule_queue::BoxFuture;
use fleethaven_storage::{
    ClientRecord, Dead, DeadLetter, Departure, Error, GroupId, GroupRecord, Lane, OpenGroup, RetainedStore,
    RetainedTopic, RuleEntry, RuleEntryId, RuleQueue, SessionRecord, SessionStore, Wake,
};
use fleethaven_types::{AccountId, Message, Scope, Timestamp};
use parking_lot::Mutex;

use crate::disk::Disk;
use crate::door::Door;
use crate::engine::Engine;
use crate::groups::Group;
use crate::lane::EmbeddedLane;
use crate::record::{DeadLetterRow, decode};
use crate::retained::Retained;
use crate::rules::Rules;
use crate::sessions::{Client, Session};
use crate::space::Unsealing;
use crate::{Options, Stats, keys, rules};

/// Sessions, queues, retained messages and the rules queue in one directory.
///
/// The methods of [`SessionStore`] other than `lane`, and those for dead letters, wait for the commit thread, for
/// as long as one fsync or two: do not call them on an event loop. Everything else returns at once.
pub struct EmbeddedStore {
    door: Arc<Door>,
    disk: Disk,
    options: Options,
    stats: Arc<Stats>,
    retained: Arc<Retained>,
    rules: Arc<Rules>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, making it if it is not there. The directory is closed to other users, and to other
    /// processes while the store is open.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, crate::Error> {
        let disk = Disk::open(dir, &options)?;
        let (door, stats) = (Arc::new(Door::default()), Arc::new(Stats::default()));
        let retained = Arc::new(Retained::new(disk.retained.clone(), options.retained_cache_bytes));
        let rules = Arc::new(Rules::new(disk.rules.clone(), door.clone(), &options));
        let shared = (retained.clone(), rules.clone());
        let mut engine = Engine::open(dir, disk.clone(), options.clone(), stats.clone(), shared)?;
        engine.write_opening().map_err(|source| crate::Error::Database { path: dir.to_owned(), source })?;
        let entrance = door.clone();
        let thread = std::thread::Builder::new().name("store-commit".to_owned());
        let thread = thread
            .spawn(move || engine.run(&entrance))
            .map_err(|source| crate::Error::Io { path: dir.to_owned(), source })?;
        Ok(Arc::new(Self { door, disk, options, stats, retained, rules, thread: Mutex::new(Some(thread)) }))
    }

    /// Carries out what has been submitted, flushes and ends the commit thread. Whatever is asked afterwards is
    /// answered with [`Error::Unavailable`]. The directory is free for others once the store is dropped.
    pub fn close(&self) {
        self.door.stop();
        let ended = self.thread.lock().take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::error!("the commit thread panicked");
        }
    }

    /// Whether the store still takes requests: false once it is closed or could not write.
    pub fn healthy(&self) -> bool {
        self.door.closed().is_none()
    }

    /// Seals what was written before the store was encrypted, while it is used; how many values are left that could not be sealed
    /// yet. It may take minutes.
    pub fn seal_plain_values(&self) -> Result<u64, Error> {
        self.disk.seal_plain_values().map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// A store that nobody uses, to be made plain again.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn unsealing(dir: &Path) -> Result<Unsealing, crate::Error> {
        crate::disk::unsealing(dir)
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl SessionStore for EmbeddedStore {
    fn lane(&self, wake: Arc<dyn Wake>) -> Box<dyn Lane> {
        let Options { lane_requests, lane_bytes, .. } = self.options;
        let port = self.door.port(wake);
        let door = self.door.clone();
        Box::new(EmbeddedLane { door, port, max_requests: lane_requests, max_bytes: lane_bytes })
    }

    fn persistent_sessions(&self, after: u64, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        let page = move |engine: &mut Engine| {
            engine.sessions.persistent_above(after, limit).map(Session::record).collect()
        };
        self.door.ask(page)
    }

    fn end_orphans(&self, dead: Dead, reason: &str, now: Timestamp) -> Result<Vec<Orphan>, Error> {
        let reason = reason.to_owned();
        self.door.ask(move |engine| engine.end_orphans(&dead, &reason, now))
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        self.door.ask(move |engine| engine.expire(now, limit))
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, Error> {
        self.door.ask(|engine| engine.groups.all().map(Group::record).collect())
    }

    fn open_group(&self, open: OpenGroup) -> Result<GroupId, Error> {
        self.door.ask(|engine| engine.open_group(open))
    }

    fn due_wills(&self, now: Timestamp, limit: usize) -> Result<Vec<DueWill>, Error> {
        self.door.ask(move |engine| engine.wills.due(now, limit))
    }

    fn withdraw_will(&self, scope: Scope, client_id: &str) -> Result<(), Error> {
        let client = Client { scope, id: client_id.into() };
        self.door.ask(move |engine| engine.withdraw_will(&client))
    }

    fn client(&self, scope: Scope, client_id: &str) -> Result<Option<ClientRecord>, Error> {
        let client = Client { scope, id: client_id.into() };
        self.door.ask(move |engine| {
            let session = engine.sessions.find(&client).and_then(|id| engine.sessions.get(id));
            session.filter(|session| !session.is_expired(engine.now)).map(Session::client_record)
        })
    }

    fn departure(&self, scope: Scope, client_id: &str) -> Result<Option<Departure>, Error> {
        let client = Client { scope, id: client_id.into() };
        self.door.ask(move |engine| engine.departure(&client))
    }

    fn delete_session(&self, scope: Scope, client_id: &str) -> Result<Option<SessionRecord>, Error> {
        let client = Client { scope, id: client_id.into() };
        self.door.ask(move |engine| engine.delete_session(&client))?
    }
}

impl RetainedStore for EmbeddedStore {
    fn get(&self, scope: Scope, topic: &str) -> Result<Option<Arc<Message>>, Error> {
        if !self.healthy() {
            return Err(self.door.unavailable());
        }
        self.retained.get(scope, topic, (self.options.clock)())
    }

    fn list(&self, scope: Scope, after: Option<&str>, limit: usize) -> Result<Vec<RetainedTopic>, Error> {
        if !self.healthy() {
            return Err(self.door.unavailable());
        }
        Ok(self.retained.list(scope, after, limit, (self.options.clock)()))
    }

    fn count(&self, scope: Scope) -> u64 {
        self.retained.count(scope)
    }

    fn holds(&self, scope: Scope, topic: &str) -> bool {
        self.retained.holds(scope, topic)
    }
}

impl RuleQueue for EmbeddedStore {
    fn claim(&self, max: usize) -> BoxFuture<'_, Result<Vec<RuleEntry>, Error>> {
        Box::pin(self.rules.claim(max))
    }

    fn acknowledge(&self, entries: Vec<RuleEntryId>) -> Result<(), Error> {
        self.rules.acknowledge(&entries)
    }

    fn dead_letter(&self, entry: RuleEntryId, reason: &str) -> Result<(), Error> {
        self.rules.dead_letter(entry, reason)
    }

    fn dead_letters(&self, account: Option<AccountId>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.door.ask(|_| ())?;
        let unavailable = |reason: String| Error::Unavailable(format!("dead letters: {reason}"));
        let letter = |pair: fjall::Result<(fjall::Slice, fjall::Slice)>| {
            let (key, value) = pair.map_err(|error| unavailable(error.to_string()))?;
            let row = decode::<DeadLetterRow>(&value);
            let letter = row.and_then(|row| rules::letter(keys::split_number(&key).unwrap_or(0), row));
            letter.map_err(|error| unavailable(error.to_string()))
        };
        let meant = |letter: &Result<DeadLetter, Error>| {
            let of = |letter: &DeadLetter| letter.message.publisher.scope.account;
            account.is_none_or(|account| letter.as_ref().map_or(true, |letter| of(letter) == account))
        };
        self.disk.dead_letters.iter().map(letter).filter(meant).take(limit).collect()
    }

    fn redrive(&self, entry: RuleEntryId) -> Result<bool, Error> {
        self.door.ask(|_| ())?;
        self.door.ask(move |engine| engine.redrive(entry.0))
    }

    fn discard(&self, entry: RuleEntryId) -> Result<bool, Error> {
        self.door.ask(move |engine| engine.discard(entry.0))
    }

    fn depth(&self) -> u64 {
        self.rules.depth()
    }
}

#[cfg(test)]
mod tests;
