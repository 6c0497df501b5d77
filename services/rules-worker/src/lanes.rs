//! Lanes: each target of each action type has its own bound of calls under way, of the time that
//! others wait for them, and its own circuit breaker.
//! A slow or dead target fills its lane, and nobody else's.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::traces::Begun;
use fleethaven_outbound::Breaker;
use fleethaven_types::AccountId;
use parking_lot::Mutex;
use prometheus::IntGauge;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::actions::Error;
use crate::metrics::Metrics;

/// Calls of one target that are under way at a time.
const CONCURRENCY: usize = 32;
/// How long an action waits for room in its lane. Waiting costs a place among the messages that a worker has in hand, and this
/// is how soon it is free again.
const PATIENCE: Duration = Duration::from_secs(8);
/// Lanes that are remembered.
const REMEMBERED: usize = 10_000;

/// Who goes where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose rule.
    pub account: AccountId,
    /// The action type, as in rules.
    pub kind: &'static str,
    /// What is called: a connection, or a host.
    pub target: String,
}

/// All lanes of a worker.
pub struct Lanes {
    metrics: Metrics,
    lanes: Mutex<FxHashMap<Key, Arc<Lane>>>,
}

struct Lane {
    breaker: Mutex<Breaker>,
    room: Semaphore,
}

impl Lane {
    fn new() -> Self {
        Self { breaker: Mutex::default(), room: Semaphore::new(CONCURRENCY) }
    }
}

/// A call that is given up, as its time is over, has failed.
struct Verdict<'a> {
    lane: &'a Lane,
    key: &'a Key,
    metrics: &'a Metrics,
    reached: bool,
}

impl Drop for Verdict<'_> {
    fn drop(&mut self) {
        let mut breaker = self.lane.breaker.lock();
        if self.reached {
            breaker.succeeded();
        } else if breaker.failed(Instant::now().into_std()) {
            self.metrics.breaker_opened.with_label_values(&[self.key.kind]).inc();
            let Key { account, kind, target } = self.key;
            tracing::warn!(%account, action = kind, target, "a target fails again and again and is left alone for a moment");
        }
    }
}

impl Lanes {
    /// Lanes that count in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, lanes: Mutex::default() }
    }

    /// Makes `call` in its lane, when there is room; `span` is the step that it is part of, where that is recorded. A target that answers is there, whatever it answers; one that fails
    /// transiently again and again is left alone.
    ///
    /// # Errors
    /// Those of the call; final when there is no room for long, or the target is left alone.
    pub async fn through<T>(
        &self,
        key: &Key,
        resource: &str,
        span: Option<&Begun>,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let lane = self.lane(key);
        let waiting = Counted::one_more(&self.metrics.waiting.with_label_values(&[key.kind]));
        let _room = match tokio::time::timeout(PATIENCE, lane.room.acquire()).await {
            Ok(Ok(room)) => room,
            Ok(Err(_)) | Err(_) => {
                self.metrics.throttled.with_label_values(&[key.kind]).inc();
                return Err(Error::throttled(resource, &key.target));
            }
        };
        drop(waiting);
        if !lane.breaker.lock().admits(Instant::now().into_std()) {
            let reason = format!("{} failed again and again and is left alone for a moment", key.target);
            return Err(Error::permanent(resource, reason));
        }
        let mut verdict = Verdict { lane: &lane, key, metrics: &self.metrics, reached: false };
        let _under_way = Counted::one_more(&self.metrics.under_way.with_label_values(&[key.kind]));
        let begun = Instant::now();
        let result = call.await;
        let took = begun.elapsed().as_secs_f64();
        self.metrics.seconds.with_label_values(&[key.kind]).observe(took);
        if let Some(span) = span {
            span.observed(Metrics::TARGET_SECONDS, &[("action", key.kind)], took);
        }
        verdict.reached = !matches!(&result, Err(error) if error.transient);
        result
    }

    fn lane(&self, key: &Key) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(key) {
            return lane.clone();
        }
        if lanes.len() >= REMEMBERED {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        lanes.entry(key.clone()).or_insert_with(|| Arc::new(Lane::new())).clone()
    }
}

/// Counts as one more until it is dropped.
struct Counted(IntGauge);

impl Counted {
    fn one_more(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use fleethaven_outbound::breaker::{COOL_DOWN, THRESHOLD};
    use futures_util::stream::{FuturesUnordered, StreamExt};

    use super::*;

    fn lanes() -> Lanes {
        Lanes::new(Metrics::new(&prometheus::Registry::new()).unwrap())
    }

    fn key(target: &str) -> Key {
        Key { account: "123456789012".parse().unwrap(), kind: "s3", target: target.to_owned() }
    }

    async fn answered(lanes: &Lanes, target: &str, result: Result<u32, Error>) -> Result<u32, Error> {
        lanes.through(&key(target), "r", None, ready(result)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_lane_throttles_and_hinders_no_other() {
        let lanes = lanes();
        let slow = key("slow");
        let mut stuck = FuturesUnordered::new();
        for _ in 0..CONCURRENCY {
            stuck.push(lanes.through(&slow, "r", None, pending::<Result<u32, Error>>()));
        }
        assert!(futures_util::poll!(stuck.next()).is_pending());
        assert_eq!(answered(&lanes, "quick", Ok(1)).await, Ok(1));
        let more = answered(&lanes, "slow", Ok(1)).await.unwrap_err();
        assert!(!more.transient && more.throttled && more.message.starts_with("Throttled"), "{more}");
        let under_way = || lanes.metrics.under_way.with_label_values(&["s3"]).get();
        assert_eq!(usize::try_from(under_way()), Ok(CONCURRENCY));
        drop(stuck);
        assert_eq!(under_way(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_target_is_left_alone_until_it_answers() {
        let lanes = lanes();
        for _ in 0..THRESHOLD {
            assert!(answered(&lanes, "dead", Err(Error::transient("r", "no"))).await.unwrap_err().transient);
        }
        let left_alone = answered(&lanes, "dead", Ok(1)).await.unwrap_err();
        assert!(!left_alone.transient, "the next try would be no better: {left_alone}");
        assert_eq!(answered(&lanes, "other", Ok(1)).await, Ok(1));
        tokio::time::advance(COOL_DOWN + Duration::from_secs(1)).await;
        assert_eq!(answered(&lanes, "dead", Ok(1)).await, Ok(1));
        assert_eq!(answered(&lanes, "dead", Ok(2)).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_refuses_is_there_and_one_that_is_given_up_is_not() {
        let lanes = lanes();
        for _ in 0..2 * THRESHOLD {
            let refused = Err(Error::permanent("r", "denied"));
            assert_eq!(answered(&lanes, "a", refused).await.unwrap_err().message, "denied");
        }
        let silent = key("silent");
        for _ in 0..THRESHOLD {
            let call = lanes.through(&silent, "r", None, pending::<Result<u32, Error>>());
            assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
        }
        assert!(answered(&lanes, "silent", Ok(1)).await.is_err());
    }
}
