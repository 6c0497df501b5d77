//! The claim loop: batches of messages, executed concurrently, acknowledged together.

use std::sync::Arc;

use fleethaven_fabric::Publish;
use fleethaven_rulesql::Payload;
use fleethaven_storage::{Error, RuleEntry, RuleQueue};
use futures_util::future::join_all;

use crate::execute::{Engine, MessageContext};
use crate::metrics::Metrics;
use crate::rules::Rules;

/// Messages claimed at a time.
const BATCH: usize = 256;
/// A message that was given out so often without being finished is poison.
const MAX_DELIVERIES: u32 = 5;

/// Executes rules until the queue is closed.
pub struct Worker {
    /// The rules.
    pub rules: Arc<Rules>,
    /// Where messages come from.
    pub queue: Arc<dyn RuleQueue>,
    /// The way into the broker.
    pub publish: Arc<dyn Publish>,
    /// Counters.
    pub metrics: Metrics,
}

impl Worker {
    /// Works until the queue is closed.
    pub async fn run(self) {
        loop {
            let claimed = match self.queue.claim(BATCH).await {
                Ok(claimed) => claimed,
                Err(error) => return tracing::info!(%error, "the rules queue is closed"),
            };
            self.metrics.queue_depth.set(i64::try_from(self.queue.depth()).unwrap_or(i64::MAX));
            // Polled in order, so that republished messages leave in the order in which they came.
            join_all(claimed.iter().map(|entry| self.handle(entry))).await;
            let done = claimed.iter().map(|entry| entry.id).collect();
            if let Err(error) = self.queue.acknowledge(done) {
                tracing::error!(%error, "executed messages could not be acknowledged: they will be executed again");
            }
        }
    }

    async fn handle(&self, entry: &RuleEntry) {
        if entry.deliveries >= MAX_DELIVERIES {
            return self.bury(entry);
        }
        let message = &entry.message;
        let context = MessageContext::of(message);
        let payload = Payload::new(message.payload.clone());
        let engine = Engine { publish: self.publish.as_ref(), metrics: &self.metrics };
        let scope = message.publisher.scope;
        let rules: Vec<_> = entry.rules.iter().filter_map(|rule| self.rules.get(scope, &rule.name)).collect();
        join_all(rules.iter().map(|rule| engine.execute(rule, message, &context, &payload))).await;
    }

    fn bury(&self, entry: &RuleEntry) {
        let reason = format!("given out {} times without being finished", entry.deliveries);
        tracing::error!(topic = %entry.message.topic, reason, "poison message: moved to the dead letters");
        if let Err(Error::Unavailable(error)) = self.queue.dead_letter(entry.id, &reason) {
            tracing::error!(error, "a poison message could not be moved");
        }
    }
}
