//! The rules queue: a thread that claims entries for workers and keeps their lease.
//!
//! Entries are in one stream for each partition, read by one consumer group. A store that claims is a consumer of its
//! own name; while it lives it renews a lease, and what a consumer without a lease has claimed is claimed by others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_storage::record::{self, RuleRow};
use fleethaven_storage::{Error, RuleEntry, RuleEntryId};
use parking_lot::{Condvar, Mutex};
use redis::Value;
use rustc_hash::FxHashSet;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::{Batch, Client, Shared};
use crate::errands::Settled;
use crate::round::{Answers, Round};
use crate::script::{Call, Op};
use crate::{Stats, keys, outbox, reply};

/// How long one wait for entries may take: a waiting thread ends so much later at most.
const WAIT: Duration = Duration::from_millis(200);

/// At most so many entries are claimed at once, however many are asked for.
const CLAIM: usize = 256;

/// The part of the rules queue that workers and the thread share.
pub(crate) struct Rules {
    shared: Arc<Shared>,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Claimed for somebody who has gone away.
    returned: VecDeque<RuleEntry>,
    /// Claimed and not yet acknowledged.
    held: FxHashSet<u64>,
    /// Something was claimed here, so that there is a lease to keep.
    works: bool,
    stopping: Option<Stop>,
}

/// How the thread is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The lease is given up: what is claimed goes to other workers at once.
    Orderly,
    /// As if the process had died.
    Abrupt,
}

struct Waiting {
    max: usize,
    entries: oneshot::Sender<Vec<RuleEntry>>,
}

impl Rules {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Mutex::default(), bell: Condvar::new() }
    }

    /// Waits for entries and claims at most `max`, the oldest of a partition first.
    pub(crate) async fn claim(&self, max: usize) -> Result<Vec<RuleEntry>, Error> {
        let receiver = {
            let mut state = self.state.lock();
            if state.stopping.is_some() {
                return Err(self.shared.unavailable());
            }
            if !state.returned.is_empty() {
                let count = max.max(1).min(state.returned.len());
                return Ok(state.returned.drain(..count).collect());
            }
            let (entries, receiver) = oneshot::channel();
            state.waiting.push_back(Waiting { max: max.clamp(1, CLAIM), entries });
            state.works = true;
            self.bell.notify_one();
            receiver
        };
        receiver.await.map_err(|_| self.shared.unavailable())
    }

    /// Claimed entries are done with; what is not claimed is passed over. They are settled behind the caller's back.
    pub(crate) fn finish(&self, entries: impl Iterator<Item = Settled>) {
        let state = self.state.lock();
        let held = entries.filter(|entry| state.held.contains(&entry.id.0));
        self.shared.errands.settle(held);
    }

    /// Acknowledges entries, and moves those with a reason to the dead letters; the depth that this left of each
    /// partition concerned.
    pub(crate) fn settle(&self, client: &mut Client, entries: &[Settled]) -> Result<Vec<(u8, u64)>, Error> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let options = &self.shared.options;
        let (now, most) = ((options.clock)().as_millis().to_string(), options.dead_letters.to_string());
        let mut round = Round::new(&self.shared);
        let mut buried = Vec::new();
        let mut acknowledged: Vec<(u8, Vec<String>)> = Vec::new();
        for settled in entries {
            let (partition, entry) = keys::rule_entry(settled.id);
            let at = acknowledged.iter().position(|(known, _)| *known == partition).unwrap_or_else(|| {
                acknowledged.push((partition, Vec::new()));
                acknowledged.len() - 1
            });
            match (&settled.buried, acknowledged.get_mut(at)) {
                (Some(reason), _) => {
                    buried.push(round.words(partition, Op::Bury, &[&entry, reason, &now, &most]));
                    round.must_last();
                }
                (None, Some((_, known))) => known.push(entry),
                (None, None) => {}
            }
        }
        // Of each partition the depth, also of one where nothing but a burial took place.
        let depth = |(partition, entries): (u8, Vec<String>)| {
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            (partition, round.words(partition, Op::Acknowledge, &entries))
        };
        let depths: Vec<_> = acknowledged.into_iter().map(depth).collect();
        let mut answers = Answers { replies: client.run(&round.finish()), shared: &self.shared };
        for place in buried {
            Stats::add(&self.shared.stats.dead_letters_dropped, reply::number(answers.take(place)?)?);
        }
        let depth = |(partition, place)| Ok((partition, reply::number(answers.take(place)?)?));
        let depths: Vec<_> = depths.into_iter().map(depth).collect::<Result<_, Error>>()?;
        let mut state = self.state.lock();
        for settled in entries {
            state.held.remove(&settled.id.0);
        }
        Ok(depths)
    }

    /// Entries that wait or are claimed, as last heard.
    pub(crate) fn depth(&self) -> u64 {
        self.shared.errands.not_done_with(&self.shared.depth)
    }

    /// Hears of the depth before anybody asks.
    pub(crate) fn open(&self, client: &mut Client) -> Result<(), Error> {
        self.survey(client, "").map(drop)
    }

    /// Ends the thread once it has seen this; waiting claims fail.
    pub(crate) fn stop(&self, how: Stop) {
        self.state.lock().stopping.get_or_insert(how);
        self.bell.notify_one();
    }

    /// Renews the lease of `worker` (empty for none) and notes every partition's depth; what the partitions last
    /// held.
    fn survey(&self, client: &mut Client, worker: &str) -> Result<Vec<Seen>, Error> {
        let lease = self.shared.lease();
        let call = |partition| Call::of(partition, Op::Lease, &[worker.as_bytes(), lease.as_bytes()]);
        let batch = Batch { calls: self.shared.keys.partitions().map(call).collect(), durable: false };
        let before = self.shared.depth.changes();
        let mut seen = Vec::with_capacity(batch.calls.len());
        for (call, replies) in batch.calls.iter().zip(client.run(&batch)?) {
            let mut answer = reply::array(replies?.pop().unwrap_or_default())?;
            let depth = reply::number(reply::next(&mut answer)?)?;
            self.shared.depth.note_unless_changed(call.partition, depth, &before);
            let last = reply::text(reply::next(&mut answer)?)?;
            seen.push(Seen { depth, last, sent: reply::text(reply::next(&mut answer)?)? });
        }
        Ok(seen)
    }
}

/// One partition as a survey saw it.
struct Seen {
    depth: u64,
    /// Its last rule entry.
    last: String,
    /// The first entry of its outbox; empty for none.
    sent: String,
}

/// What the thread knows of one partition's stream.
struct Stream {
    partition: u8,
    key: String,
    /// Nothing above this has been seen.
    last: String,
    /// What was first in the outbox when it was last seen.
    sent: String,
    /// There may be something to claim.
    promising: bool,
    /// An answer may have been lost: what was claimed in it is to be given again.
    again: bool,
}

/// The thread that claims.
pub(crate) struct Claimer {
    rules: Arc<Rules>,
    client: Client,
    name: String,
    streams: Vec<Stream>,
    /// Where the next claim begins to look, so that no partition starves.
    first: usize,
    surveyed: Option<Instant>,
    leased: bool,
    connection: u64,
}

/// Fails the waiting claims however the thread ends.
struct FailOnExit(Arc<Rules>);

impl Drop for FailOnExit {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.stopping.get_or_insert(Stop::Abrupt);
        state.waiting.clear();
    }
}

impl Claimer {
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        let shared = rules.shared.clone();
        let stream = |partition| Stream {
            partition,
            key: format!("{}:rules", shared.keys.root(partition)),
            last: "0-0".to_owned(),
            sent: String::new(),
            promising: false,
            again: false,
        };
        Self {
            streams: shared.keys.partitions().map(stream).collect(),
            name: shared.instance.clone(),
            client: Client::new(shared),
            rules,
            first: 0,
            surveyed: None,
            leased: false,
            connection: 0,
        }
    }

    /// Claims for those who wait until it is told to stop.
    pub(crate) fn run(mut self) {
        let _failing = FailOnExit(self.rules.clone());
        loop {
            let stopping = self.rules.state.lock().stopping;
            if let Some(how) = stopping {
                return self.leave(how);
            }
            if let Err(error) = self.turn() {
                tracing::warn!(%error, "the rules queue cannot be read");
                self.pause(WAIT);
            }
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        let period = self.rules.shared.options.worker_lease / 3;
        let due = self.surveyed.is_none_or(|at| at.elapsed() >= period);
        // Only a lease that stands keeps others from taking what is claimed: nothing is claimed before the first.
        if due || (!self.leased && self.works()) {
            self.survey()?;
        }
        let left = period.saturating_sub(self.surveyed.map_or(period, |at| at.elapsed()));
        let Some(max) = self.wanted() else {
            self.idle(left);
            return Ok(());
        };
        if let Some(at) = self.promising() {
            return self.claim_from(at, max);
        }
        self.wait(left.min(WAIT))
    }

    /// Whether there is a lease to keep.
    fn works(&self) -> bool {
        self.rules.shared.holds_shares() || self.rules.state.lock().works
    }

    fn survey(&mut self) -> Result<(), Error> {
        let works = self.works();
        let seen = self.rules.survey(&mut self.client, if works { &self.name } else { "" })?;
        self.leased = works;
        for (stream, Seen { depth, last, sent }) in self.streams.iter_mut().zip(seen) {
            stream.promising |= depth > 0;
            stream.last = last;
            // What is still there was left by somebody who died over it.
            if !sent.is_empty() && stream.sent == sent {
                self.client.sending.insert(stream.partition);
            }
            stream.sent = sent;
        }
        self.surveyed = Some(Instant::now());
        self.notice_reconnection();
        outbox::deliver(&mut self.client)
    }

    fn notice_reconnection(&mut self) {
        if std::mem::replace(&mut self.connection, self.client.generation) != self.client.generation {
            self.streams.iter_mut().for_each(|stream| (stream.again, stream.promising) = (true, true));
        }
    }

    /// How many entries the first of those who still wait wants.
    fn wanted(&self) -> Option<usize> {
        let mut state = self.rules.state.lock();
        while state.waiting.front().is_some_and(|waiting| waiting.entries.is_closed()) {
            state.waiting.pop_front();
        }
        state.waiting.front().map(|waiting| waiting.max)
    }

    fn promising(&self) -> Option<usize> {
        let count = self.streams.len();
        let order = (self.first..count).chain(0..self.first.min(count));
        order.into_iter().find(|at| self.streams.get(*at).is_some_and(|stream| stream.promising))
    }

    fn claim_from(&mut self, at: usize, max: usize) -> Result<(), Error> {
        let Some(stream) = self.streams.get(at) else { return Ok(()) };
        let (partition, most) = (stream.partition, max.to_string());
        let held = if stream.again { self.held(partition) } else { Vec::new() };
        let mut arguments = vec![self.name.as_bytes(), most.as_bytes()];
        if stream.again {
            arguments.push(b"again");
            arguments.extend(held.iter().map(String::as_bytes));
        }
        let batch = Batch::of(Call::of(partition, Op::ClaimRules, &arguments));
        let mut replies = self.client.call(&batch)?;
        let mut answer = reply::array(reply::next(&mut replies)?)?;
        let last = reply::text(reply::next(&mut answer)?)?;
        let given: Vec<Value> = reply::array(reply::next(&mut answer)?)?.collect();
        if let Some(stream) = self.streams.get_mut(at) {
            let all = given.len() < max;
            (stream.last, stream.promising, stream.again) = (last, !all, stream.again && !all);
        }
        self.first = at + 1;
        self.notice_reconnection();
        self.deliver(given.into_iter().filter_map(|value| readable(partition, value)).collect());
        Ok(())
    }

    fn held(&self, partition: u8) -> Vec<String> {
        let state = self.rules.state.lock();
        let entries = state.held.iter().map(|id| keys::rule_entry(RuleEntryId(*id)));
        entries.filter(|(of, _)| *of == partition).map(|(_, entry)| entry).collect()
    }

    /// To the first who still waits; nobody's entries are kept for the next claim.
    fn deliver(&self, mut entries: Vec<RuleEntry>) {
        if entries.is_empty() {
            return;
        }
        let mut state = self.rules.state.lock();
        state.held.extend(entries.iter().map(|entry| entry.id.0));
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.entries.send(entries) {
                Ok(()) => return,
                Err(back) => entries = back,
            }
        }
        state.returned.extend(entries);
    }

    fn wait(&mut self, limit: Duration) -> Result<(), Error> {
        let streams: Vec<_> = self.streams.iter().map(|s| (s.key.clone(), s.last.clone())).collect();
        let arrived = self.client.wait_for_entries(&streams, limit)?;
        for stream in self.streams.iter_mut().filter(|stream| arrived.contains(&stream.key)) {
            stream.promising = true;
        }
        self.notice_reconnection();
        Ok(())
    }

    /// Waits for a claim.
    fn idle(&self, limit: Duration) {
        let mut state = self.rules.state.lock();
        if state.stopping.is_none() && state.waiting.is_empty() {
            self.rules.bell.wait_for(&mut state, limit);
        }
    }

    /// Waits after a failure.
    fn pause(&self, limit: Duration) {
        let mut state = self.rules.state.lock();
        if state.stopping.is_none() {
            self.rules.bell.wait_for(&mut state, limit);
        }
    }

    fn leave(&mut self, how: Stop) {
        if how == Stop::Abrupt || !self.works() {
            return;
        }
        // What is done with is not to be given to others.
        self.rules.shared.errands.wait(self.rules.shared.options.patience);
        let call = |stream: &Stream| Call::of(stream.partition, Op::EndLease, &[self.name.as_bytes()]);
        let batch = Batch { calls: self.streams.iter().map(call).collect(), durable: false };
        if let Err(error) = self.client.run(&batch) {
            tracing::warn!(%error, "the rules worker's lease was not given up and will run out");
        }
    }
}

/// An entry as the script gives it. One that cannot be read stays claimed, and is told in the log.
fn readable(partition: u8, value: Value) -> Option<RuleEntry> {
    let entry = entry(partition, value);
    entry.inspect_err(|error| tracing::error!(%error, "a rules queue entry cannot be read")).ok()
}

fn entry(partition: u8, value: Value) -> Result<RuleEntry, Error> {
    let mut values = reply::array(value)?;
    let id = keys::split_rule_entry(partition, &reply::text(reply::next(&mut values)?)?);
    let id = id.ok_or_else(|| reply::malformed("no rule entry id"))?;
    let deliveries = u32::try_from(reply::number(reply::next(&mut values)?)?).unwrap_or(u32::MAX);
    let row: RuleRow = reply::decode(&reply::bytes(reply::next(&mut values)?)?)?;
    let parts = row.into_parts();
    let (message, rules) = parts.map_err(|error: record::Error| reply::malformed(&error.to_string()))?;
    Ok(RuleEntry { id, message: Arc::new(message), rules, deliveries })
}
