//! The store as its users hold it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::rule_queue::BoxFuture;
use fleethaven_storage::{
    ClientRecord, Dead, DeadLetter, Departure, Error, GroupId, GroupRecord, Lane, OpenGroup, RetainedStore,
    RetainedTopic, RuleEntry, RuleEntryId, RuleQueue, SessionRecord, SessionStore, Wake,
};
use fleethaven_types::{AccountId, Message, Scope, Timestamp};
use parking_lot::Mutex;

use crate::client::{Client, Pool, Shared};
use crate::connection::Failure;
use crate::dead_letters;
use crate::door::{Port, RedisLane};
use crate::errands::Settled;
use crate::lane::Worker;
use crate::rules::{Claimer, Rules, Stop};
use crate::{Options, Stats, errands, groups, reply, retained, sessions};

/// Version of the layout of keys and values: another one is refused.
const LAYOUT: &str = "2";

/// Sessions, queues, retained messages and the rules queue in one Redis.
///
/// Everything but the lanes, the traits' methods of the rules queue, `count` and `holds` waits for Redis, for as long as the
/// patience of its [`Options`]: do not call it on an event loop.
pub struct RedisStore {
    shared: Arc<Shared>,
    pool: Pool,
    rules: Arc<Rules>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl RedisStore {
    /// Connects, checks that the server can give the durability asked for, and that its data is of this layout.
    pub fn open(options: Options) -> Result<Arc<Self>, crate::Error> {
        check(&options)?;
        let shared = Arc::new(Shared::new(options));
        let mut client = Client::new(shared.clone());
        client.links().map(|_| ()).map_err(|failure| match failure {
            Failure::Never(reason) => crate::Error::Refused(reason),
            Failure::Broken(reason) | Failure::Later(reason) => crate::Error::Unreachable(reason),
        })?;
        check_layout(&mut client, &shared)?;
        let rules = Arc::new(Rules::new(shared.clone()));
        rules.open(&mut client).map_err(|error| crate::Error::Unreachable(error.to_string()))?;
        let claimer = Claimer::new(rules.clone());
        let thread = std::thread::Builder::new().name("store-rules".to_owned());
        let claiming = thread.spawn(move || claimer.run()).map_err(crate::Error::Thread)?;
        let (sharing, settling) = (shared.clone(), rules.clone());
        let thread = std::thread::Builder::new().name("store-errands".to_owned());
        let running =
            thread.spawn(move || errands::run(&sharing, &settling)).map_err(crate::Error::Thread)?;
        let (pool, threads) = (Pool::new(shared.clone()), Mutex::new(vec![claiming, running]));
        Ok(Arc::new(Self { shared, pool, rules, threads }))
    }

    /// Carries out what has been submitted, gives up the rules worker's claims and ends the threads. Whatever is asked
    /// afterwards is answered with [`Error::Unavailable`].
    pub fn close(&self) {
        self.stop(Stop::Orderly);
    }

    fn stop(&self, how: Stop) {
        self.rules.stop(how);
        self.shared.errands.stop();
        self.shared.depth.ports().iter().for_each(|port| port.close());
        let threads = std::mem::take(&mut *self.threads.lock());
        // From here on no thread tries again what Redis does not answer.
        self.shared.closed.store(true, Ordering::Relaxed);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }

    /// Whether Redis answered when it was last asked.
    pub fn healthy(&self) -> bool {
        !self.shared.is_closed() && !self.shared.is_away()
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }
}

/// As when the process dies: nothing that was claimed is given up, its lease runs out.
impl Drop for RedisStore {
    fn drop(&mut self) {
        self.stop(Stop::Abrupt);
    }
}

fn check(options: &Options) -> Result<(), crate::Error> {
    let refused = |reason: &str| Err(crate::Error::Refused(reason.to_owned()));
    if !(1..=256).contains(&options.partitions) {
        return refused("there can be 1 to 256 partitions");
    }
    if options.prefix.contains(['{', '}']) {
        return refused("a key prefix with braces would take the place of the partitions' hash tags");
    }
    Ok(())
}

fn check_layout(client: &mut Client, shared: &Shared) -> Result<(), crate::Error> {
    let (key, partitions) = (shared.keys.store(), shared.options.partitions.to_string());
    let made: [&[&str]; 3] = [
        &["HSETNX", &key, "layout", LAYOUT],
        &["HSETNX", &key, "partitions", &partitions],
        &["HMGET", &key, "layout", "partitions"],
    ];
    let read = client.commands(&made).and_then(|mut answers| {
        reply::array(answers.pop().unwrap_or_default())?.map(reply::text).collect::<Result<Vec<_>, _>>()
    });
    let found = read.map_err(|error| crate::Error::Unreachable(error.to_string()))?;
    let wanted = [LAYOUT, &partitions];
    if found == wanted {
        return Ok(());
    }
    let of = |words: &[String]| words.join(" in partitions: ");
    let wanted = wanted.map(str::to_owned);
    Err(crate::Error::Layout { found: of(&found), wanted: of(&wanted) })
}

impl SessionStore for RedisStore {
    fn lane(&self, wake: Arc<dyn Wake>) -> Box<dyn Lane> {
        let Options { lane_requests, lane_bytes, .. } = self.shared.options;
        let port = Arc::new(Port::new(wake));
        self.shared.depth.add(&port);
        let worker = Worker::new(self.shared.clone(), port.clone());
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        let thread = std::thread::Builder::new().name("store-lane".to_owned());
        match thread.spawn(move || worker.run()) {
            Ok(thread) if !self.shared.is_closed() => threads.push(thread),
            Ok(_) => port.close(),
            Err(error) => {
                tracing::error!(%error, "no thread for a lane of the store");
                port.end();
            }
        }
        Box::new(RedisLane {
            port,
            shared: self.shared.clone(),
            max_requests: lane_requests,
            max_bytes: lane_bytes,
        })
    }

    fn persistent_sessions(&self, after: u64, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        self.pool.with(|client| sessions::persistent(client, &self.shared.keys, after, limit))
    }

    fn end_orphans(&self, dead: Dead, reason: &str, now: Timestamp) -> Result<Vec<Orphan>, Error> {
        self.pool.with(|client| sessions::end_orphans(client, &self.shared.keys, dead, reason, now))
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionRecord>, Error> {
        self.pool.with(|client| sessions::expire(client, &self.shared.keys, now, limit))
    }

    fn due_wills(&self, now: Timestamp, limit: usize) -> Result<Vec<DueWill>, Error> {
        self.pool.with(|client| sessions::due_wills(client, &self.shared.keys, now, limit))
    }

    fn withdraw_will(&self, scope: Scope, client_id: &str) -> Result<(), Error> {
        self.pool.with(|client| sessions::withdraw_will(client, &self.shared.keys, scope, client_id))
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, Error> {
        self.pool.with(groups::list)
    }

    fn open_group(&self, open: OpenGroup) -> Result<GroupId, Error> {
        self.pool.with(|client| groups::open(client, &open))
    }

    fn client(&self, scope: Scope, client_id: &str) -> Result<Option<ClientRecord>, Error> {
        self.pool.with(|client| sessions::client(client, &self.shared.keys, scope, client_id))
    }

    fn departure(&self, scope: Scope, client_id: &str) -> Result<Option<Departure>, Error> {
        let now = (self.shared.options.clock)();
        self.pool.with(|client| sessions::departure(client, &self.shared.keys, scope, client_id, now))
    }

    fn delete_session(&self, scope: Scope, client_id: &str) -> Result<Option<SessionRecord>, Error> {
        self.pool.with(|client| sessions::delete(client, &self.shared.keys, scope, client_id))
    }
}

impl RetainedStore for RedisStore {
    fn get(&self, scope: Scope, topic: &str) -> Result<Option<Arc<Message>>, Error> {
        self.pool.with(|client| retained::get(client, &self.shared.keys, scope, topic))
    }

    fn list(&self, scope: Scope, after: Option<&str>, limit: usize) -> Result<Vec<RetainedTopic>, Error> {
        self.pool.with(|client| retained::list(client, &self.shared.keys, scope, after, limit))
    }

    fn count(&self, scope: Scope) -> u64 {
        self.shared.kept.count(scope, &self.shared.errands)
    }

    fn holds(&self, scope: Scope, topic: &str) -> bool {
        self.shared.kept.holds(scope, topic, &self.shared.errands)
    }
}

impl RuleQueue for RedisStore {
    fn claim(&self, max: usize) -> BoxFuture<'_, Result<Vec<RuleEntry>, Error>> {
        Box::pin(self.rules.claim(max))
    }

    fn acknowledge(&self, entries: Vec<RuleEntryId>) -> Result<(), Error> {
        self.rules.finish(entries.into_iter().map(|id| Settled { id, buried: None }));
        Ok(())
    }

    fn dead_letter(&self, entry: RuleEntryId, reason: &str) -> Result<(), Error> {
        let buried = Some(reason.to_owned());
        self.rules.finish(std::iter::once(Settled { id: entry, buried }));
        Ok(())
    }

    fn dead_letters(&self, account: Option<AccountId>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.shared.errands.wait(self.shared.options.patience);
        self.pool.with(|client| dead_letters::list(client, &self.shared.keys, account, limit))
    }

    fn redrive(&self, entry: RuleEntryId) -> Result<bool, Error> {
        self.shared.errands.wait(self.shared.options.patience);
        self.pool.with(|client| dead_letters::redrive(client, entry))
    }

    fn discard(&self, entry: RuleEntryId) -> Result<bool, Error> {
        self.shared.errands.wait(self.shared.options.patience);
        self.pool.with(|client| dead_letters::discard(client, entry))
    }

    fn depth(&self) -> u64 {
        self.rules.depth()
    }
}
