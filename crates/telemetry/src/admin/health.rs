//! The state behind the health pages: checks, heartbeats, whether starting is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An event loop that has not ticked for this long is taken for stuck.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// One condition of readiness. Clones set the same one; it stays listed when all are dropped.
#[derive(Clone, Debug)]
pub struct Check(Arc<AtomicBool>);

impl Check {
    /// Whether the condition holds.
    pub fn set(&self, holds: bool) {
        self.0.store(holds, Ordering::Release);
    }
}

/// The pulse of one event loop. A loop that ends without [`Self::retire`], by a panic for instance, goes stale.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Pulse>);

impl Heartbeat {
    /// Says that the loop is turning. Cheap: one read of the monotonic clock and one store.
    pub fn tick(&self) {
        self.0.tick();
    }

    /// Says that the loop ends on purpose: it never goes stale from here on.
    pub fn retire(self) {
        self.0.retired.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct Pulse {
    created: Instant,
    /// Milliseconds from `created` to the last tick.
    last: AtomicU64,
    retired: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self { created: Instant::now(), last: AtomicU64::new(0), retired: AtomicBool::new(false) }
    }

    fn age(&self) -> Duration {
        Instant::now().saturating_duration_since(self.created)
    }

    fn tick(&self) {
        self.last.store(u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn is_stale(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Acquire));
        !self.retired.load(Ordering::Acquire) && self.age().saturating_sub(last) >= STALE_AFTER
    }
}

/// All that the health pages show.
#[derive(Debug, Default)]
pub(super) struct Health {
    started: AtomicBool,
    checks: Mutex<Vec<(String, Check)>>,
    pulses: Mutex<Vec<(String, Arc<Pulse>)>>,
}

impl Health {
    pub(super) fn add_check(&self, name: &str) -> Check {
        let check = Check(Arc::default());
        lock(&self.checks).push((name.to_owned(), check.clone()));
        check
    }

    pub(super) fn add_heartbeat(&self, name: &str) -> Heartbeat {
        let pulse = Arc::new(Pulse::new());
        let mut pulses = lock(&self.pulses);
        pulses.retain(|(_, pulse)| !pulse.retired.load(Ordering::Acquire));
        pulses.push((name.to_owned(), Arc::clone(&pulse)));
        Heartbeat(pulse)
    }

    pub(super) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The names of the event loops that are stuck.
    pub(super) fn stale(&self) -> Vec<String> {
        named(&self.pulses, |pulse| pulse.is_stale())
    }

    /// The names of the checks that do not hold.
    pub(super) fn failing(&self) -> Vec<String> {
        named(&self.checks, |check| !check.0.load(Ordering::Acquire))
    }

    /// "starting" until it is over.
    pub(super) fn unstarted(&self) -> Vec<String> {
        if self.started.load(Ordering::Acquire) { Vec::new() } else { vec!["starting".to_owned()] }
    }
}

fn named<T>(list: &Mutex<Vec<(String, T)>>, fails: impl Fn(&T) -> bool) -> Vec<String> {
    lock(list).iter().filter(|(_, item)| fails(item)).map(|(name, _)| name.clone()).collect()
}

/// A list stays whole whatever panicked beside it: each change is one push.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_stale_after_ten_seconds_without_a_tick() {
        let health = Health::default();
        let (turning, stuck) = (health.add_heartbeat("turning"), health.add_heartbeat("stuck"));
        tokio::time::advance(STALE_AFTER - Duration::from_millis(1)).await;
        assert!(health.stale().is_empty());
        turning.tick();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(health.stale(), ["stuck"]);
        stuck.tick();
        assert!(health.stale().is_empty(), "it recovers");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_died_is_stale_and_one_that_retired_is_not() {
        let health = Health::default();
        drop(health.add_heartbeat("died"));
        health.add_heartbeat("retired").retire();
        tokio::time::advance(STALE_AFTER).await;
        assert_eq!(health.stale(), ["died"]);
    }

    #[test]
    fn checks_fail_until_set_and_again_when_unset() {
        let health = Health::default();
        let (listeners, store) = (health.add_check("listeners"), health.add_check("store"));
        assert_eq!(health.failing(), ["listeners", "store"]);
        listeners.set(true);
        store.set(true);
        assert!(health.failing().is_empty());
        store.set(false);
        assert_eq!(health.failing(), ["store"]);
    }
}
