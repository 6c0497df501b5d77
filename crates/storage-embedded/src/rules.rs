//! The rules queue: which entries wait and which are claimed. Workers claim here without asking the commit thread; it
//! adds entries once they are on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use fleethaven_storage::{DeadLetter, Error, RuleEntry, RuleEntryId, RuleRef};
use fleethaven_types::{Message, Timestamp};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::door::Door;
use crate::record::{DeadLetterRow, RuleRow};
use crate::record::{decode_rule, encode, encode_rule};
use crate::space::Space;
use crate::{Options, Stats, engine::Engine, keys};

/// A message with the rules it matched.
pub(crate) type Content = (Arc<Message>, Vec<RuleRef>);

/// An entry that nobody has claimed since the store was opened.
pub(crate) struct Waiting {
    pub(crate) id: u64,
    /// Whether it is on disk.
    pub(crate) durable: bool,
    /// What it holds; `None` when it is to be read from disk.
    pub(crate) content: Option<Content>,
}

/// The part of the rules queue that workers and the commit thread share.
pub(crate) struct Rules {
    state: Mutex<State>,
    arrived: Notify,
    keyspace: Space,
    door: Arc<Door>,
    full_at: usize,
    cached: usize,
    volatile_limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Claimed entries; with their content if they are nowhere else.
    claimed: FxHashMap<u64, Option<Content>>,
    /// Entries that are only in memory, on their way included.
    volatile: usize,
}

impl State {
    fn depth(&self) -> usize {
        self.waiting.len() + self.claimed.len()
    }
}

impl Rules {
    pub(crate) fn new(keyspace: Space, door: Arc<Door>, options: &Options) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            keyspace,
            door,
            full_at: options.rule_entries,
            cached: options.rule_cached_entries,
            volatile_limit: options.rule_volatile_entries,
        }
    }

    /// Room for one more entry that is only in memory; false when there is none.
    pub(crate) fn reserve_volatile(&self) -> bool {
        let mut state = self.state.lock();
        let room = state.volatile < self.volatile_limit;
        state.volatile += usize::from(room);
        room
    }

    /// Gives entries, which are on disk now if they are to be, to the workers.
    pub(crate) fn make_ready(&self, entries: &mut Vec<Waiting>) {
        if entries.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        for mut entry in entries.drain(..) {
            if entry.durable && state.waiting.len() >= self.cached {
                entry.content = None;
            }
            state.waiting.push_back(entry);
        }
        self.update_full(&state);
        drop(state);
        self.arrived.notify_waiters();
    }

    /// Lets every waiting claim look again; when the store is closed they then fail.
    pub(crate) fn wake_all(&self) {
        self.arrived.notify_waiters();
    }

    pub(crate) fn depth(&self) -> u64 {
        self.state.lock().depth() as u64
    }

    /// Waits for entries and claims at most `max`, oldest first.
    pub(crate) async fn claim(&self, max: usize) -> Result<Vec<RuleEntry>, Error> {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            if self.door.closed().is_some() {
                return Err(self.door.unavailable());
            }
            let claimed = self.take(max.max(1));
            if !claimed.is_empty() {
                return self.deliver(claimed);
            }
            arrived.await;
        }
    }

    fn take(&self, max: usize) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let count = max.min(state.waiting.len());
        let claimed: Vec<_> = state.waiting.drain(..count).collect();
        for entry in &claimed {
            let only_here = if entry.durable { None } else { entry.content.clone() };
            state.claimed.insert(entry.id, only_here);
        }
        claimed
    }

    /// Reads what is not in memory, and notes on disk how far entries have been given out: should this process die,
    /// they count as delivered once more. The note is not waited for, as a worker cannot fail before it has begun.
    fn deliver(&self, claimed: Vec<Waiting>) -> Result<Vec<RuleEntry>, Error> {
        if let Some(last) = claimed.iter().filter(|entry| entry.durable).map(|entry| entry.id).max() {
            self.door.post(Box::new(move |engine| {
                engine.note_claimed(last);
                Box::new(|| ())
            }))?;
        }
        claimed.into_iter().map(|entry| self.entry(entry)).collect()
    }

    fn entry(&self, waiting: Waiting) -> Result<RuleEntry, Error> {
        let id = RuleEntryId(waiting.id);
        if let Some((message, rules)) = waiting.content {
            return Ok(RuleEntry { id, message, rules, deliveries: 0 });
        }
        let unavailable = |reason: String| {
            tracing::error!(entry = waiting.id, reason, "a rules queue entry cannot be read");
            Error::Unavailable(format!("rule entry {}: {reason}", waiting.id))
        };
        let value =
            self.keyspace.get(keys::number(waiting.id)).map_err(|error| unavailable(error.to_string()))?;
        let value = value.ok_or_else(|| unavailable("nothing there".to_owned()))?;
        let read = decode_rule(&value).and_then(|(row, deliveries)| Ok((row.into_parts()?, deliveries)));
        let ((message, rules), deliveries) = read.map_err(|error| unavailable(error.to_string()))?;
        Ok(RuleEntry { id, message: Arc::new(message), rules, deliveries })
    }

    /// Forgets claimed entries.
    pub(crate) fn acknowledge(&self, entries: &[RuleEntryId]) -> Result<(), Error> {
        let durable: Vec<u64> = {
            let mut state = self.state.lock();
            let durable = entries.iter().filter(|id| state.release(id.0).is_some_and(|c| c.is_none()));
            let durable = durable.map(|id| id.0).collect();
            self.update_full(&state);
            durable
        };
        if durable.is_empty() {
            return Ok(());
        }
        self.door.post(Box::new(move |engine| {
            durable.iter().for_each(|id| engine.forget_rule(*id));
            Box::new(|| ())
        }))
    }

    /// Moves a claimed entry to the dead letters; one that is not claimed is passed over.
    pub(crate) fn dead_letter(&self, id: RuleEntryId, reason: &str) -> Result<(), Error> {
        let Some(content) = ({
            let mut state = self.state.lock();
            let released = state.release(id.0);
            self.update_full(&state);
            released
        }) else {
            return Ok(());
        };
        let reason = reason.to_owned();
        self.door.post(Box::new(move |engine| {
            engine.bury(id.0, content, reason);
            Box::new(|| ())
        }))
    }

    /// Called with the state locked, so that the last change stands.
    fn update_full(&self, state: &State) {
        let depth = state.depth();
        if depth >= self.full_at {
            self.door.set_rules_full(true);
        } else if depth <= self.full_at - self.full_at / 4 {
            self.door.set_rules_full(false);
        }
    }
}

impl State {
    /// Takes a claimed entry out: its content if it was only in memory.
    fn release(&mut self, id: u64) -> Option<Option<Content>> {
        let content = self.claimed.remove(&id)?;
        self.volatile -= usize::from(content.is_some());
        Some(content)
    }
}

impl Engine {
    fn note_claimed(&mut self, last: u64) {
        let key = crate::disk::meta::RULES_CLAIMED;
        self.batch.insert(&self.disk.meta, key, keys::number(last));
    }

    fn forget_rule(&mut self, id: u64) {
        self.batch.remove(&self.disk.rules, keys::number(id));
    }

    /// Writes a dead letter in place of the rule entry.
    fn bury(&mut self, id: u64, content: Option<Content>, reason: String) {
        let (row, deliveries) = match content {
            Some((message, rules)) => (Some(RuleRow::new(&message, &rules)), 0),
            None => self.stored_rule(id),
        };
        let letter = DeadLetterRow { reason, at: self.now.as_millis(), deliveries, entry: row };
        self.forget_rule(id);
        self.batch.insert(&self.disk.dead_letters, keys::number(id), encode(&letter));
        self.durable = true;
        self.dead_letters.push_back(id);
        while self.dead_letters.len() > self.options.dead_letters {
            let Some(oldest) = self.dead_letters.pop_front() else { return };
            self.batch.remove(&self.disk.dead_letters, keys::number(oldest));
            Stats::add(&self.stats.dead_letters_dropped, 1);
        }
    }

    fn stored_rule(&self, id: u64) -> (Option<RuleRow>, u32) {
        let value = self.disk.rules.get(keys::number(id)).ok().flatten();
        let row = value.and_then(|value| decode_rule(&value).ok());
        row.map_or((None, 0), |(row, deliveries)| (Some(row), deliveries))
    }

    /// Puts a dead letter back at the end of the rules queue, under a new id; false when there is none of this id.
    /// Its own writes must be on disk already.
    pub(crate) fn redrive(&mut self, id: u64) -> bool {
        let value = self.disk.dead_letters.get(keys::number(id)).ok().flatten();
        let letter = value.and_then(|value| crate::record::decode::<DeadLetterRow>(&value).ok());
        let Some(row) = letter.and_then(|letter| letter.entry) else { return false };
        if !self.dead_letters.contains(&id) {
            return false;
        }
        self.dead_letters.retain(|kept| *kept != id);
        self.last_rule += 1;
        self.batch.remove(&self.disk.dead_letters, keys::number(id));
        self.batch.insert(&self.disk.rules, keys::number(self.last_rule), encode_rule(&row, 0));
        self.durable = true;
        self.staged.push(Waiting { id: self.last_rule, durable: true, content: None });
        true
    }

    /// Forgets a dead letter; false when there is none of this id.
    pub(crate) fn discard(&mut self, id: u64) -> bool {
        let before = self.dead_letters.len();
        self.dead_letters.retain(|kept| *kept != id);
        let there = self.dead_letters.len() < before;
        if there {
            self.batch.remove(&self.disk.dead_letters, keys::number(id));
            self.durable = true;
        }
        there
    }
}

/// Reads a dead letter as [`Engine::bury`] wrote it.
pub(crate) fn letter(id: u64, row: DeadLetterRow) -> Result<DeadLetter, crate::record::Error> {
    let entry = row.entry.ok_or(crate::record::Error::Field("entry"))?;
    let (message, rules) = entry.into_parts()?;
    let (id, at, deliveries) = (RuleEntryId(id), Timestamp(row.at), row.deliveries);
    Ok(DeadLetter { id, reason: row.reason, at, message: Arc::new(message), rules, deliveries })
}
