//! What is done for callers that do not wait: one thread with a connection of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_storage::RuleEntryId;
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use crate::client::{Client, Shared};
use crate::depth::Depth;
use crate::rules::Rules;

/// How long it waits after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// Questions that wait at most; more are forgotten, and asked again by whoever still wants to know.
const QUESTIONS: usize = 4096;

/// A claimed rule entry that is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) id: RuleEntryId,
    /// Why it is buried; `None` when its rules have run.
    pub(crate) buried: Option<String>,
}

/// Something to find out about retained messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// How many there are.
    Count(Scope),
    /// Whether there is one of this topic.
    Holds(Scope, Utf8Bytes),
}

/// What is to be done.
#[derive(Default)]
pub(crate) struct Errands {
    state: Mutex<State>,
    bell: Condvar,
    /// Rung when all entries are settled.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Settled>,
    /// Those that are not known to be settled, also while they are on their way.
    unsettled: FxHashSet<u64>,
    questions: FxHashSet<Question>,
    stopping: bool,
}

impl Errands {
    /// Entries to settle; those that are waiting already are passed over.
    pub(crate) fn settle(&self, entries: impl Iterator<Item = Settled>) {
        let mut state = self.state.lock();
        for entry in entries {
            if state.unsettled.insert(entry.id.0) {
                state.entries.push_back(entry);
            }
        }
        self.bell.notify_one();
    }

    /// Entries of the rules queue that are not done with: those that Redis is known to hold (`depth`) without those
    /// that it still counts. What is settled leaves both at once.
    pub(crate) fn not_done_with(&self, depth: &Depth) -> u64 {
        let state = self.state.lock();
        depth.total().saturating_sub(state.unsettled.len() as u64)
    }

    /// Waits until all entries are settled, for so long at most; whether they are.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        let until = Instant::now() + limit;
        while !state.unsettled.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.settled.wait_for(&mut state, left);
        }
        true
    }

    pub(crate) fn ask(&self, question: Question) {
        let mut state = self.state.lock();
        if state.questions.len() < QUESTIONS && state.questions.insert(question) {
            self.bell.notify_one();
        }
    }

    /// Ends the thread once entries have been settled, or cannot be.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.bell.notify_one();
    }

    fn next(&self) -> (Vec<Settled>, Vec<Question>, bool) {
        let mut state = self.state.lock();
        while state.entries.is_empty() && state.questions.is_empty() && !state.stopping {
            self.bell.wait(&mut state);
        }
        (state.entries.drain(..).collect(), state.questions.drain().collect(), state.stopping)
    }

    /// Entries have been settled, which left these depths of partitions; or are tried again.
    fn note(&self, entries: Vec<Settled>, depths: Option<Vec<(u8, u64)>>, depth: &Depth) {
        let mut state = self.state.lock();
        if let Some(depths) = depths {
            for entry in &entries {
                state.unsettled.remove(&entry.id.0);
            }
            depths.into_iter().for_each(|(partition, left)| depth.note(partition, left));
        } else {
            entries.into_iter().rev().for_each(|entry| state.entries.push_front(entry));
        }
        if state.unsettled.is_empty() {
            self.settled.notify_all();
        }
    }

    fn pause(&self) {
        let mut state = self.state.lock();
        if !state.stopping {
            self.bell.wait_for(&mut state, PAUSE);
        }
    }
}

/// Runs errands until it is told to stop.
pub(crate) fn run(shared: &Arc<Shared>, rules: &Rules) {
    let (errands, mut client) = (&shared.errands, Client::new(shared.clone()));
    loop {
        let (entries, questions, last) = errands.next();
        let settled = rules.settle(&mut client, &entries).inspect_err(|error| {
            tracing::warn!(%error, count = entries.len(), "executed messages cannot be acknowledged yet");
        });
        let failed = settled.is_err();
        errands.note(entries, settled.ok(), &shared.depth);
        if last {
            return;
        }
        for question in &questions {
            if let Err(error) = shared.kept.answer(&mut client, &shared.keys, question) {
                tracing::warn!(%error, "a question about retained messages has no answer");
                break;
            }
        }
        if failed {
            errands.pause();
        }
    }
}
