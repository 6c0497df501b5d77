//! The claim loop: many messages in hand at once, each acknowledged when its rules have run.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{Publish, Traces};
use fleethaven_logging::Logs;
use fleethaven_rulesql::Payload;
use fleethaven_storage::{Error, RuleEntry, RuleEntryId, RuleQueue};
use fleethaven_types::{Behaviour, Limits, Message};
use fleethaven_usage::{Amounts, Usage};
use futures_util::future::{FutureExt, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use uuid::Uuid;

use crate::execute::{Engine, MessageContext};
use crate::external::Functions;
use crate::metrics::Metrics;
use crate::outside::Outside;
use crate::room::Room;
use crate::rules::{CompiledRule, Rules};
use crate::waiting::Waiting;

/// Messages claimed at a time.
const BATCH: usize = 256;
/// Messages in hand: those whose actions are slow hold the others back only when so many are. An action gives up its place after
/// ten seconds at most, so that a slow target must be sent more than this in that time before others notice. What is republished keeps
/// its place until the broker has taken it: then there is nothing to be claimed for.
const IN_HAND: usize = 8192;
/// Bytes of their payloads.
const BYTES_IN_HAND: usize = 128 << 20;
/// A message that was given out so often without being finished is poison.
const MAX_DELIVERIES: u32 = 5;
/// Failed claims in a row after which the queue is taken for closed.
const MAX_FAILURES: u32 = 30;
/// Wait after a failed claim.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Executes rules until the queue is closed.
pub struct Worker {
    /// The rules.
    pub rules: Arc<Rules>,
    /// Where messages come from.
    pub queue: Arc<dyn RuleQueue>,
    /// The way into the broker.
    pub publish: Arc<dyn Publish>,
    /// What waits for it.
    pub waiting: Waiting,
    /// The way out of it.
    pub outside: Arc<Outside>,
    /// Who answers the functions of the SQL that ask others.
    pub functions: Arc<dyn Functions>,
    /// Which topics may be republished to.
    pub behaviour: Behaviour,
    /// How large a republished message may be.
    pub limits: Limits,
    /// For what statements make.
    pub room: Room,
    /// Counters.
    pub metrics: Metrics,
    /// What became of messages.
    pub traces: Traces,
    /// AWS's log entries.
    pub logs: Logs,
    /// What is used.
    pub usage: Arc<Usage>,
}

impl Worker {
    /// Works until the queue is closed, or it is told to stop: then it claims nothing more, and returns when it has finished what it
    /// has in hand. Whoever has no time for that drops it: what was not acknowledged is given to others.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut running = FuturesUnordered::new();
        let (mut failures, mut bytes) = (0, 0);
        let mut claim = self.claim(BATCH, Duration::ZERO);
        while failures < MAX_FAILURES {
            // A claim that has begun is never dropped before the end: what it claimed would be lost until the next start.
            tokio::select! {
                () = &mut stop => break,
                claimed = &mut claim, if running.len() < IN_HAND && bytes < BYTES_IN_HAND => {
                    failures = if claimed.is_ok() { 0 } else { failures + 1 };
                    // Polled in order, so that republished messages leave in the order in which they came.
                    let claimed = self.claimed(claimed);
                    bytes += claimed.iter().map(|entry| entry.message.payload.len()).sum::<usize>();
                    running.extend(claimed.into_iter().map(|entry| self.settle(entry)));
                    claim = self.claim(BATCH, if failures == 0 { Duration::ZERO } else { FAILURE_PAUSE });
                }
                Some(first) = running.next() => {
                    let done = finished(&mut running, first);
                    bytes -= done.iter().map(|(_, size)| size).sum::<usize>();
                    self.acknowledge(done);
                }
            }
        }
        if failures >= MAX_FAILURES {
            tracing::error!("the rules queue is closed: no rule is executed any more");
        }
        drop(claim);
        // Acknowledged as they end: there may be no time for all.
        while let Some(first) = running.next().await {
            let done = finished(&mut running, first);
            self.acknowledge(done);
        }
    }

    fn claim(&self, max: usize, pause: Duration) -> BoxFuture<'_, Result<Vec<RuleEntry>, Error>> {
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            self.queue.claim(max).await
        })
    }

    fn claimed(&self, claimed: Result<Vec<RuleEntry>, Error>) -> Vec<RuleEntry> {
        self.metrics.queue_depth.set(i64::try_from(self.queue.depth()).unwrap_or(i64::MAX));
        claimed.unwrap_or_else(|error| {
            tracing::error!(%error, "messages for rules could not be claimed");
            Vec::new()
        })
    }

    fn acknowledge(&self, done: Vec<(Option<RuleEntryId>, usize)>) {
        let done: Vec<_> = done.into_iter().filter_map(|(entry, _)| entry).collect();
        if done.is_empty() {
            return;
        }
        if let Err(error) = self.queue.acknowledge(done) {
            tracing::error!(%error, "executed messages could not be acknowledged: they will be executed again");
        }
    }

    /// Executes a message's rules, or buries it; returns what is to be acknowledged, and how large the payload was. Whatever a
    /// message makes an action do, others go on.
    async fn settle(&self, entry: RuleEntry) -> (Option<RuleEntryId>, usize) {
        let size = entry.message.payload.len();
        (self.settled(entry).await, size)
    }

    async fn settled(&self, entry: RuleEntry) -> Option<RuleEntryId> {
        if entry.deliveries >= MAX_DELIVERIES {
            let reason = format!("given out {} times without being finished", entry.deliveries);
            return self.bury(&entry, &reason);
        }
        match AssertUnwindSafe(self.execute(&entry)).catch_unwind().await {
            Ok(()) => Some(entry.id),
            Err(_) => self.bury(&entry, "a rule or an action panicked"),
        }
    }

    async fn execute(&self, entry: &RuleEntry) {
        let message = &entry.message;
        let rules = self.rules_of(entry).await;
        if rules.is_empty() {
            return;
        }
        let context = MessageContext::of(message);
        let payload = Payload::new(message.payload.clone());
        let engine = Engine {
            entry: entry.id,
            publish: self.publish.as_ref(),
            waiting: &self.waiting,
            outside: &self.outside,
            functions: self.functions.as_ref(),
            room: &self.room,
            metrics: &self.metrics,
            behaviour: &self.behaviour,
            limits: &self.limits,
            traces: &self.traces,
            logs: &self.logs,
            clock: fleethaven_daemon::clock::now,
        };
        let actions =
            join_all(rules.iter().map(|rule| engine.execute(rule, message, &context, &payload))).await;
        self.count(message, &actions);
    }

    /// Counts rules that looked at a message, with how many actions each ran; one that ran none counts as if it had run one. Each
    /// time that a message is given out counts.
    fn count(&self, message: &Message, actions: &[u64]) {
        if !self.usage.is_on() {
            return;
        }
        let pieces = message.pieces();
        let executed = actions.iter().map(|ran| (*ran).max(1)).sum::<u64>();
        let amounts = Amounts {
            rules_triggered: actions.len() as u64 * pieces,
            actions_executed: executed * pieces,
            ..Amounts::NONE
        };
        self.usage.add(self.usage.owner_of_message(&message.publisher), amounts);
    }

    /// The rules as they are now. One that is gone, disabled, or looks elsewhere by now does not run.
    async fn rules_of(&self, entry: &RuleEntry) -> Vec<Arc<CompiledRule>> {
        let newest = entry.rules.iter().map(|rule| rule.revision).max().unwrap_or_default();
        self.rules.at_least(newest).await;
        let message = &entry.message;
        let current = entry.rules.iter().filter_map(|matched| {
            let rule = self.rules.get(message.publisher.scope, &matched.name)?;
            (rule.revision == matched.revision || rule.sees(&message.topic)).then_some(rule)
        });
        current.collect()
    }

    fn bury(&self, entry: &RuleEntry, reason: &str) -> Option<RuleEntryId> {
        tracing::error!(
            account = %entry.message.publisher.scope.account, topic = %entry.message.topic,
            trace_id = %Uuid::from_u128(entry.message.trace_id()), reason,
            "poison message: moved to the dead letters"
        );
        if let Err(error) = self.queue.dead_letter(entry.id, reason) {
            tracing::error!(%error, "a poison message could not be moved");
        }
        None
    }
}

/// The first of those that have ended, and the others.
fn finished<F: Future>(running: &mut FuturesUnordered<F>, first: F::Output) -> Vec<F::Output> {
    let mut done = vec![first];
    while let Some(Some(next)) = running.next().now_or_never() {
        done.push(next);
    }
    done
}

#[cfg(test)]
mod tests;
