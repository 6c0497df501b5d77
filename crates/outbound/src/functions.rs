//! Functions in place of Lambda: which ARN stands for what, and how it is called.
//!
//! - [`catalogue`]: what each account maps its ARNs to, as it changes
//! - `request`: a call as an HTTP request: a signed webhook, or Lambda's Invoke API
//! - `answer`: what an HTTP answer means

pub mod catalogue;

mod answer;
mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{FunctionError, Functions, Invocation};
use fleethaven_types::Timestamp;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::breaker::{Breaker, COOL_DOWN, THRESHOLD};
use crate::client::{HttpClient, Limits, OutboundError};
use crate::metrics::Metrics;

pub use catalogue::{Catalogue, Target};
use request::Kind;

/// Bytes of an event (AWS: of an asynchronous call 256 KiB, of a synchronous one 6 MiB).
const MAX_EVENT: usize = 256 << 10;
/// Bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;
/// Calls of one function that are under way at a time.
const CONCURRENCY: usize = 64;
/// Most tries of one call.
const TRIES: u32 = 3;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };
/// Functions whose state is remembered; one that nothing is known of is called.
const REMEMBERED: usize = 10_000;

/// Calls what the accounts map their function ARNs to.
///
/// Each function has its own bound of calls under way and its own circuit breaker. What fails for a moment is tried again within
/// the deadline: connections, and the statuses 429, 502, 503 and 504.
pub struct MappedFunctions {
    client: HttpClient,
    catalogue: Arc<Catalogue>,
    clock: fn() -> Timestamp,
    metrics: Metrics,
    cool_down: Duration,
    states: Mutex<FxHashMap<String, Arc<State>>>,
}

/// What is known of calls of one target.
struct State {
    breaker: Mutex<Breaker>,
    room: Semaphore,
}

/// How one try ended.
enum Tried {
    Answered(Bytes),
    Failed(FunctionError),
    /// Trying again can help.
    Again(FunctionError),
}

impl MappedFunctions {
    /// Functions of `catalogue`, called by `client`.
    pub fn new(
        client: HttpClient,
        catalogue: Arc<Catalogue>,
        clock: fn() -> Timestamp,
        metrics: Metrics,
    ) -> Self {
        Self { client, catalogue, clock, metrics, cool_down: COOL_DOWN, states: Mutex::default() }
    }

    async fn call(&self, call: Invocation, kind: Kind) -> Result<Bytes, FunctionError> {
        let started = Instant::now();
        let outcome = tokio::time::timeout(call.deadline, self.attempt(&call, kind, started + call.deadline))
            .await
            .unwrap_or(Err(FunctionError::TimedOut));
        let source = call.source.as_str();
        let told = match &outcome {
            Ok(_) => "ok",
            Err(FunctionError::Unmapped(_)) => "unmapped",
            Err(FunctionError::Unavailable(_)) => "unavailable",
            Err(FunctionError::TimedOut) => "timed_out",
            Err(FunctionError::Throttled) => "throttled",
            Err(FunctionError::Failed(_)) => "failed",
            Err(FunctionError::Invalid(_)) => "invalid",
        };
        self.metrics.function_calls.with_label_values(&[source, told]).inc();
        self.metrics.function_seconds.with_label_values(&[source]).observe(started.elapsed().as_secs_f64());
        if let Err(error) = &outcome {
            tracing::warn!(
                account = %call.scope.account, source, function = %call.function_arn, resource = %call.source_arn,
                trace_id = call.trace_id.as_deref(), %error, "a function gave no answer"
            );
        }
        outcome
    }

    async fn attempt(&self, call: &Invocation, kind: Kind, end: Instant) -> Result<Bytes, FunctionError> {
        if call.payload.len() > MAX_EVENT {
            return Err(FunctionError::Invalid(format!("the event has more than {MAX_EVENT} bytes")));
        }
        let unmapped = || FunctionError::Unmapped(call.function_arn.clone());
        let target = self.catalogue.find(call.scope.account, &call.function_arn).ok_or_else(unmapped)?;
        let state = self.state(&target);
        let _room = state.room.acquire().await.map_err(|_| FunctionError::Throttled)?;
        let id = Uuid::new_v4();
        let mut failures = 0;
        loop {
            if !state.breaker.lock().admits(Instant::now().into_std()) {
                let reason = format!("it failed {} times in a row", THRESHOLD);
                return Err(FunctionError::Unavailable(reason));
            }
            let left = end.saturating_duration_since(Instant::now());
            let error = match self.once(call, &target, kind, (id, left)).await {
                Tried::Answered(answer) => {
                    state.breaker.lock().succeeded();
                    return Ok(answer);
                }
                // Whoever answers is there.
                Tried::Failed(error) => {
                    state.breaker.lock().succeeded();
                    return Err(error);
                }
                Tried::Again(error) => error,
            };
            if state.breaker.lock().failed(Instant::now().into_std()) {
                tracing::warn!(function = %call.function_arn, %error, "a function fails again and again and is left alone");
            }
            failures += 1;
            let pause = BACKOFF.pause(failures, Uuid::new_v4().as_u64_pair().1);
            if failures >= TRIES || Instant::now() + pause >= end {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            self.metrics.function_retries.with_label_values(&[call.source.as_str()]).inc();
        }
    }

    async fn once(
        &self,
        call: &Invocation,
        target: &Target,
        kind: Kind,
        (id, left): (Uuid, Duration),
    ) -> Tried {
        let request = match request::build(call, target, kind, id, (self.clock)()) {
            Ok(request) => request,
            Err(reason) => return Tried::Failed(FunctionError::Invalid(reason)),
        };
        match self.client.send(request, Limits { deadline: left, max_response: MAX_ANSWER }).await {
            Ok(response) => answer::read(&target.target.kind, kind, response),
            Err(OutboundError::Refused(reason)) => Tried::Failed(FunctionError::Invalid(reason)),
            Err(OutboundError::TooLarge) => {
                Tried::Failed(FunctionError::Failed(format!("its answer has more than {MAX_ANSWER} bytes")))
            }
            Err(OutboundError::TimedOut) => Tried::Again(FunctionError::TimedOut),
            Err(OutboundError::Unreachable(reason) | OutboundError::Broken(reason)) => {
                Tried::Again(FunctionError::Unavailable(reason))
            }
        }
    }

    /// By the address: what several ARNs stand for fails for all of them.
    fn state(&self, target: &Target) -> Arc<State> {
        let mut states = self.states.lock();
        if states.len() >= REMEMBERED && !states.contains_key(&target.target.url) {
            states.retain(|_, state| Arc::strong_count(state) > 1);
        }
        let fresh =
            || State { breaker: Mutex::new(Breaker::new(self.cool_down)), room: Semaphore::new(CONCURRENCY) };
        states.entry(target.target.url.clone()).or_insert_with(|| Arc::new(fresh())).clone()
    }
}

impl Functions for MappedFunctions {
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>> {
        Box::pin(self.call(call, Kind::RequestResponse))
    }

    fn send(&self, call: Invocation) -> BoxFuture<'_, Result<(), FunctionError>> {
        Box::pin(async move { self.call(call, Kind::Event).await.map(drop) })
    }
}

#[cfg(test)]
mod tests;
