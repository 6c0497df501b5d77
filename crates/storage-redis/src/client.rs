//! A producer of batches: sends one at a time, and the same one again until it is answered or the patience is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fleethaven_storage::Error;
use parking_lot::Mutex;
use redis::Value;
use tokio::time::Instant;

use crate::connection::{Failure, accepted};
use crate::depth::Depth;
use crate::errands::Errands;
use crate::kept::Kept;
use crate::keys::Keys;
use crate::links::Links;
use crate::options::{Durability, Options};
use crate::script::Call;
use crate::{Stats, outbox, reply};

/// Session ids are reserved in blocks of so many.
const ID_BLOCK: u64 = 4096;

/// Pauses between attempts: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Redis is away.
struct Outage {
    since: Instant,
    /// The last attempt that found no connection, and why.
    unreachable: Option<(Instant, String)>,
}

/// What all clients of one store share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) stats: Arc<Stats>,
    pub(crate) depth: Depth,
    pub(crate) kept: Kept,
    pub(crate) errands: Errands,
    /// Unique for ever, so that no partition takes this store's batches for another's.
    pub(crate) instance: String,
    producers: AtomicU64,
    stamps: AtomicU64,
    /// This store has held shares of groups, so that there is a lease to keep.
    holds_shares: AtomicBool,
    pub(crate) closed: AtomicBool,
    /// Redis did not answer one of the clients when it last asked.
    away: AtomicBool,
    outage: Mutex<Option<Outage>>,
    /// Nodes of a cluster as they were last known.
    nodes: Mutex<Vec<(String, u16)>>,
    /// Numbers for new sessions: the next one, and the end of those reserved.
    session_numbers: Mutex<(u64, u64)>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            depth: Depth::new(usize::from(options.partitions), options.rule_entries),
            kept: Kept::default(),
            errands: Errands::default(),
            keys: Keys::new(&options.prefix, options.partitions),
            options,
            stats: Arc::default(),
            instance: uuid::Uuid::new_v4().simple().to_string(),
            producers: AtomicU64::new(0),
            stamps: AtomicU64::new(0),
            holds_shares: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            away: AtomicBool::new(false),
            outage: Mutex::new(None),
            nodes: Mutex::default(),
            session_numbers: Mutex::default(),
        }
    }

    pub(crate) fn known_nodes(&self) -> Vec<(String, u16)> {
        self.nodes.lock().clone()
    }

    pub(crate) fn note_nodes(&self, nodes: &[(String, u16)]) {
        *self.nodes.lock() = nodes.to_vec();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A stamp that nothing else has.
    pub(crate) fn new_stamp(&self) -> String {
        format!("{}-{}", self.instance, self.stamps.fetch_add(1, Ordering::Relaxed))
    }

    /// Milliseconds that the lease of this store lasts.
    pub(crate) fn lease(&self) -> String {
        self.options.worker_lease.as_millis().max(1).to_string()
    }

    /// Notes that this store holds shares: others leave them alone for as long as its lease is kept.
    pub(crate) fn hold_shares(&self) {
        self.holds_shares.store(true, Ordering::Relaxed);
    }

    pub(crate) fn holds_shares(&self) -> bool {
        self.holds_shares.load(Ordering::Relaxed)
    }

    /// Whether Redis was away when it was last asked.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    fn succeeded(&self) {
        if self.is_away() && self.outage.lock().take().is_some() {
            self.away.store(false, Ordering::Relaxed);
            tracing::info!("Redis is back");
        }
    }

    /// Notes a failure of what began at `began`; whether the patience is over. While there is a connection, every batch
    /// is attempted: one that only reads or trims may succeed where another does not, as when memory is full.
    fn failed(&self, began: Instant, connected: bool, reason: &str) -> bool {
        let unreachable = (!connected).then(|| (Instant::now(), reason.to_owned()));
        let mut outage = self.outage.lock();
        if outage.is_none() {
            tracing::warn!(reason, "Redis does not answer as it should");
        }
        let since = outage.as_ref().map_or(began, |outage| outage.since);
        *outage = Some(Outage { since, unreachable });
        self.away.store(true, Ordering::Relaxed);
        since.elapsed() >= self.options.patience || self.is_closed()
    }

    /// The last failure, when the patience was over before and the next attempt's time has not come.
    fn hopeless(&self) -> Option<String> {
        if !self.is_away() {
            return None;
        }
        let outage = self.outage.lock();
        let outage = outage.as_ref().filter(|outage| outage.since.elapsed() >= self.options.patience)?;
        let (at, reason) = outage.unreachable.as_ref()?;
        (at.elapsed() < PAUSE.1).then(|| reason.clone())
    }

    pub(crate) fn unavailable(&self) -> Error {
        Error::Unavailable("the store is closed".to_owned())
    }
}

/// The calls of one batch, one for each partition.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) calls: Vec<Call>,
    /// Whether its answer must be confirmed as the durability says.
    pub(crate) durable: bool,
}

impl Batch {
    /// One call.
    pub(crate) fn of(call: Call) -> Self {
        Self { calls: vec![call], durable: false }
    }

    /// The same, to be confirmed as durable.
    pub(crate) fn durable(self) -> Self {
        Self { durable: true, ..self }
    }
}

/// The replies of each call of a batch, in its order; or why a call was refused.
pub(crate) type Replies = Vec<Result<Vec<Value>, Error>>;

/// One producer with its connection.
pub(crate) struct Client {
    shared: Arc<Shared>,
    name: String,
    batch: u64,
    links: Option<Links>,
    /// Partitions whose outboxes got something that is to be delivered.
    pub(crate) sending: BTreeSet<u8>,
    /// Counts connections, so that others see that answers may have been lost.
    pub(crate) generation: u64,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let number = shared.producers.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", shared.instance);
        Self { shared, name, batch: 0, links: None, sending: BTreeSet::new(), generation: 0 }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Carries out a batch. An error means that its outcome is unknown. One without calls, such as a publish that
    /// nothing must hold, asks nothing of Redis.
    pub(crate) fn run(&mut self, batch: &Batch) -> Result<Replies, Error> {
        if batch.calls.is_empty() {
            return Ok(Vec::new());
        }
        self.batch += 1;
        let now = (self.shared.options.clock)().as_millis().to_string();
        let mut sent = false;
        let answers = self.persist(|client| {
            let answer = client.attempt(batch, &now);
            if std::mem::replace(&mut sent, true) {
                Stats::add(&client.shared.stats.replays, 1);
            }
            answer
        });
        let outcome = if answers.is_ok() { &self.shared.stats.batches } else { &self.shared.stats.failed };
        Stats::add(outcome, 1);
        answers
    }

    /// One call whose replies are read in order.
    pub(crate) fn call(&mut self, batch: &Batch) -> Result<std::vec::IntoIter<Value>, Error> {
        let replies = self.run(batch)?.pop();
        Ok(replies.ok_or_else(|| reply::malformed("no reply"))??.into_iter())
    }

    /// A number that no session ever had.
    pub(crate) fn session_number(&mut self) -> Result<u64, Error> {
        if let Some(number) = self.take_session_number() {
            return Ok(number);
        }
        let (key, count) = (self.shared.keys.store(), ID_BLOCK.to_string());
        let end = self.persist(|client| client.reserve(&key, &count))?;
        let mut numbers = self.shared.session_numbers.lock();
        // Another client may have reserved meanwhile; the larger block is the newer.
        if end > numbers.1 {
            *numbers = (end - ID_BLOCK + 1, end);
        }
        drop(numbers);
        self.take_session_number().ok_or_else(|| reply::malformed("no session numbers"))
    }

    fn take_session_number(&self) -> Option<u64> {
        let mut numbers = self.shared.session_numbers.lock();
        let number = numbers.0;
        let left = number > 0 && number <= numbers.1;
        left.then(|| {
            numbers.0 += 1;
            number
        })
    }

    /// Reserved numbers must be as durable as the sessions that get them.
    fn reserve(&mut self, key: &str, count: &str) -> Result<u64, Failure> {
        let confirmation = self.confirmation(true);
        let words: Vec<&str> = confirmation.iter().flatten().map(String::as_str).collect();
        let increment = ["HINCRBY", key, "sessions", count];
        let both = [&increment[..], &words];
        let commands = if words.is_empty() { &both[..1] } else { &both[..] };
        let shared = self.shared.clone();
        let mut answers = self.links()?.to(key, &shared)?.commands(commands)?.into_iter();
        let end = accepted(answers.next().unwrap_or_default())?;
        self.confirm(answers.next())?;
        reply::number(end).map_err(|error| Failure::Never(error.to_string()))
    }

    /// Carries out commands that may be repeated.
    pub(crate) fn commands(&mut self, commands: &[&[&str]]) -> Result<Vec<Value>, Error> {
        let shared = self.shared.clone();
        self.persist(|client| {
            let answers = client.links()?.commands(&shared, commands)?;
            answers.into_iter().map(accepted).collect()
        })
    }

    /// One attempt to wait for entries in streams.
    pub(crate) fn wait_for_entries(
        &mut self,
        streams: &[(String, String)],
        limit: Duration,
    ) -> Result<Vec<String>, Error> {
        let shared = self.shared.clone();
        let waited = self.links().and_then(|links| links.wait_for_entries(&shared, streams, limit));
        waited.map_err(|failure| {
            self.links = None;
            Error::Unavailable(failure.reason())
        })
    }

    /// Connects, if it is not; one attempt.
    pub(crate) fn links(&mut self) -> Result<&mut Links, Failure> {
        if self.links.is_none() {
            self.links = Some(Links::open(&self.shared)?);
            self.generation += 1;
        }
        self.links.as_mut().ok_or_else(|| Failure::Broken("not connected".to_owned()))
    }

    fn attempt(&mut self, batch: &Batch, now: &str) -> Result<Replies, Failure> {
        let confirmation = self.confirmation(batch.durable);
        let (shared, name, number) = (self.shared.clone(), self.name.clone(), self.batch);
        let of = (name.as_str(), number, now);
        let answers = self.links()?.calls(&shared, &batch.calls, of, confirmation.as_deref())?;
        let mut replies = Vec::with_capacity(batch.calls.len());
        for (call, answer) in batch.calls.iter().zip(answers.calls) {
            replies.push(match accepted(answer) {
                Ok(answer) => self.complete(call, answer),
                Err(Failure::Never(reason)) => Err(refused(&reason)),
                Err(passing) => return Err(passing),
            });
        }
        for confirmation in answers.confirmations {
            self.confirm(Some(confirmation))?;
        }
        Ok(replies)
    }

    /// The replies of a call, without the word about the outbox behind them.
    fn complete(&mut self, call: &Call, answer: Value) -> Result<Vec<Value>, Error> {
        let mut replies: Vec<Value> = reply::array(answer)?.collect();
        if replies.pop() == Some(Value::Int(1)) {
            self.sending.insert(call.partition);
        }
        if replies.len() == call.replies() { Ok(replies) } else { Err(reply::malformed("too few replies")) }
    }

    fn confirmation(&self, durable: bool) -> Option<Vec<String>> {
        let Options { durability, answer_timeout, .. } = &self.shared.options;
        if durable { durability.confirmation(*answer_timeout / 2) } else { None }
    }

    fn confirm(&self, answer: Option<Value>) -> Result<(), Failure> {
        let durability = self.shared.options.durability;
        if durability == Durability::Process {
            return Ok(());
        }
        durability.check(&accepted(answer.unwrap_or_default())?).map_err(Failure::Later)
    }

    /// Attempts until it succeeds, can never succeed, or Redis has been away for as long as the patience.
    fn persist<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T, Failure>) -> Result<T, Error> {
        if let Some(reason) = self.shared.hopeless() {
            return Err(Error::Unavailable(format!("Redis: {reason}")));
        }
        let (began, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            let failure = match attempt(self) {
                Ok(value) => {
                    self.shared.succeeded();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            if !matches!(failure, Failure::Later(_)) {
                self.links = None;
            }
            let never = matches!(failure, Failure::Never(_));
            let reason = failure.reason();
            if self.shared.failed(began, self.links.is_some(), &reason) || never {
                return Err(Error::Unavailable(format!("Redis: {reason}")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// The script failed, which it does only when the store holds what it cannot hold.
fn refused(reason: &str) -> Error {
    tracing::error!(reason, "Redis refused a batch");
    Error::Unavailable(format!("Redis: {reason}"))
}

/// Clients for calls that are no requests of a lane; each caller has one to itself while it needs it.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    idle: Mutex<Vec<Client>>,
}

/// Connections kept for later.
const IDLE: usize = 4;

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, idle: Mutex::default() }
    }

    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
        if self.shared.is_closed() {
            return Err(self.shared.unavailable());
        }
        let idle = self.idle.lock().pop();
        let mut client = idle.unwrap_or_else(|| Client::new(self.shared.clone()));
        let answer = ask(&mut client).and_then(|answer| outbox::deliver(&mut client).map(|()| answer));
        let mut idle = self.idle.lock();
        if answer.is_ok() && idle.len() < IDLE {
            idle.push(client);
        }
        answer
    }
}
