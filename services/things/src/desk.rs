//! Where requests are handed in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use fleethaven_fabric::{Functions, Metadata, Publish};
use fleethaven_issuing::Issuer;
use fleethaven_logging::Logs;
use fleethaven_quotas::Accounts;
use fleethaven_shadow::ShadowName;
use fleethaven_shadow::topic::{self, Operation};
use fleethaven_storage::{Error, SessionId};
use fleethaven_types::{Message, Publisher, Scope, Timestamp};
use fleethaven_usage::Usage;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::enrolment::Enrolments;
use crate::metrics::Metrics;
use crate::shadows;

/// Requests under way above which publishers are held back.
const CONGESTED: usize = 16_384;
/// Refusals for asking too much that may be on their way; what is one too many above that is just not carried out.
const REFUSALS: usize = 1024;

/// What a desk works with.
pub struct Settings {
    /// Where shadows are.
    pub metadata: Arc<dyn Metadata>,
    /// Where answers are published: the way into the routers itself, with nothing around it.
    pub publish: Arc<dyn Publish>,
    /// What pre-provisioning hooks are called by. `None` where no client can have itself provisioned.
    pub functions: Option<Arc<dyn Functions>>,
    /// What accounts may ask.
    pub accounts: Arc<Accounts>,
    /// What a shadow may hold.
    pub limits: fleethaven_shadow::Limits,
    /// Wall time.
    pub clock: fn() -> Timestamp,
    /// The time for rates.
    pub instant: fn() -> Instant,
    /// Counters.
    pub metrics: Metrics,
    /// AWS's log entries.
    pub logs: Logs,
    /// What clients use.
    pub usage: Arc<Usage>,
    /// What issues certificates.
    pub issuer: Arc<Issuer>,
    /// Where requests are carried out: not on event loops.
    pub runtime: Handle,
}

/// Takes requests, and carries out those of one thing one after the other, in the order in which they were handed in.
///
/// As long as a thing has requests there is one task for it.
pub struct Desk {
    pub(crate) settings: Arc<Settings>,
    /// What is asked of fleet provisioning is handed in there.
    pub(crate) enrolments: Arc<Enrolments>,
    waiting: Mutex<Waiting>,
    under_way: AtomicUsize,
    refusals: AtomicUsize,
    /// Names this desk's requests among all that the metastore gets, and answers among all messages.
    pub(crate) origin: Uuid,
    numbers: AtomicU64,
}

/// What is not done yet.
#[derive(Default)]
struct Waiting {
    /// Those that are next, of each thing that has a task.
    things: FxHashMap<Thing, VecDeque<Job>>,
    /// How many each connection asked for, the one that is being carried out among them.
    connections: FxHashMap<SessionId, usize>,
}

/// Whose requests are in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Thing {
    scope: Scope,
    name: String,
}

/// Told when a request is done: committed or rejected, with its answer safe. An error says that neither is known.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A request and who waits for it.
struct Job {
    request: Request,
    from: Option<SessionId>,
    done: Done,
}

/// What is asked of a shadow.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) scope: Scope,
    pub(crate) name: ShadowName,
    pub(crate) operation: Operation,
    pub(crate) payload: Bytes,
    /// Not to be carried out, as too much is asked.
    pub(crate) over_rate: bool,
    /// Who asks.
    pub(crate) publisher: Arc<Publisher>,
    /// The trace of the message by which it was asked.
    pub(crate) trace: u128,
}

impl Desk {
    /// A desk where nothing was handed in yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        let settings = Arc::new(settings);
        Arc::new(Self {
            enrolments: Enrolments::new(settings.clone()),
            settings,
            waiting: Mutex::default(),
            under_way: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            origin: Uuid::new_v4(),
            numbers: AtomicU64::new(0),
        })
    }

    /// Hands in `message` if it is a request; otherwise `done` is not called, and `false` returned.
    pub(crate) fn take(
        self: &Arc<Self>,
        message: &Message,
        from: Option<SessionId>,
        done: impl FnOnce() -> Done,
    ) -> bool {
        // What most messages cost.
        if !message.topic.as_str().starts_with(topic::PREFIX) {
            return false;
        }
        let Some((name, operation)) = topic::request(&message.topic) else { return false };
        let request = Request {
            scope: message.publisher.scope,
            name,
            operation,
            payload: message.payload.clone(),
            over_rate: false,
            publisher: message.publisher.clone(),
            trace: message.trace_id(),
        };
        self.hand_in(Job { request, from, done: done() });
        true
    }

    /// Whether publishers are to be held back.
    pub(crate) fn is_congested(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= CONGESTED
    }

    fn hand_in(self: &Arc<Self>, mut job: Job) {
        let thing = Thing { scope: job.request.scope, name: job.request.name.thing().to_owned() };
        let account = self.settings.accounts.get(thing.scope);
        let admitted = account.admit_shadow_request(&thing.name, (self.settings.instant)());
        let mut waiting = self.waiting.lock();
        let Waiting { things, connections } = &mut *waiting;
        let most = account.limits.shadow_requests_in_flight;
        let in_flight = job.from.map_or(0, |from| connections.get(&from).copied().unwrap_or(0));
        if !admitted || in_flight >= most {
            drop(waiting);
            job.request.over_rate = true;
            return self.refuse(job);
        }
        if let Some(from) = job.from {
            *connections.entry(from).or_default() += 1;
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        match things.get_mut(&thing) {
            Some(next) => next.push_back(job),
            None => {
                things.insert(thing.clone(), VecDeque::from([job]));
                self.settings.runtime.spawn(self.clone().serve(thing));
            }
        }
    }

    /// Answers a request that is one too many: it does not wait for those that are the reason.
    fn refuse(self: &Arc<Self>, job: Job) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS {
            self.refusals.fetch_sub(1, Ordering::Relaxed);
            return (job.done)(Ok(()));
        }
        let desk = self.clone();
        self.settings.runtime.spawn(async move {
            let outcome = shadows::carry_out(&desk, &job.request).await;
            desk.refusals.fetch_sub(1, Ordering::Relaxed);
            (job.done)(outcome);
        });
    }

    /// Carries out what is asked of `thing` until nothing is.
    async fn serve(self: Arc<Self>, thing: Thing) {
        while let Some(Job { request, from, done }) = self.next(&thing) {
            let outcome = shadows::carry_out(&self, &request).await;
            self.is_done(from);
            done(outcome);
        }
    }

    fn next(&self, thing: &Thing) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        let next = waiting.things.get_mut(thing)?.pop_front();
        if next.is_none() {
            waiting.things.remove(thing);
        }
        next
    }

    fn is_done(&self, from: Option<SessionId>) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let Some(from) = from else { return };
        let connections = &mut self.waiting.lock().connections;
        if let Some(count) = connections.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&from);
            }
        }
    }

    /// The next of this desk's numbers.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What answers are published by.
    pub(crate) fn publisher(&self, scope: Scope) -> Arc<Publisher> {
        let (trace, _) = self.origin.as_u64_pair();
        Arc::new(Publisher { scope, client_id: None, principal: None, source_ip: None, trace })
    }
}

#[cfg(test)]
mod tests;
