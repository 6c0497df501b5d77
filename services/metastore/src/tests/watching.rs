//! Watches: no gap, whatever the load, the restarts and the floor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::{Metadata, Position, WatchEvent, WatchStream};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::fixture::{DEADLINE, config, create, delete, open, run_all, update};
use crate::{Config, Metastore};

/// What a consumer knows from its watch.
#[derive(Default)]
struct Mirror {
    entries: BTreeMap<Bytes, Bytes>,
    listed: Option<BTreeMap<Bytes, Bytes>>,
    position: Option<Position>,
    /// The entries as of `position`: what a consumer that starts again has.
    saved: BTreeMap<Bytes, Bytes>,
    revision: u64,
    resets: usize,
}

impl Mirror {
    fn take(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Reset => {
                self.resets += 1;
                self.listed = Some(BTreeMap::new());
            }
            WatchEvent::Put { key, value, revision } => {
                self.check(revision);
                self.listed.as_mut().unwrap_or(&mut self.entries).insert(key, value);
            }
            WatchEvent::Delete { key, revision } => {
                assert!(self.listed.is_none());
                self.check(revision);
                assert!(self.entries.remove(&key).is_some(), "deletion of an unknown key");
            }
            WatchEvent::Synced(position) => {
                self.entries = self.listed.take().unwrap();
                self.reach(position);
            }
            WatchEvent::Progress(position) => {
                assert!(self.listed.is_none());
                self.reach(position);
            }
        }
    }

    fn check(&mut self, revision: u64) {
        assert!(revision >= self.revision, "{revision} after {}", self.revision);
        self.revision = revision;
    }

    fn reach(&mut self, position: Position) {
        self.check(position.revision);
        self.position = Some(position);
        self.saved = self.entries.clone();
    }

    /// Forgets what came after the position.
    fn go_back(&mut self) {
        self.revision = self.position.unwrap().revision;
        self.entries = self.saved.clone();
        self.listed = None;
    }

    async fn until(&mut self, watch: &mut WatchStream, revision: u64) {
        while self.position.is_none_or(|p| p.revision < revision) {
            let event = timeout(DEADLINE, watch.next()).await.expect("in time").expect("not ended");
            self.take(event);
        }
    }
}

/// Everything in the state, by a fresh listing.
async fn listing(node: &Metastore, prefix: Bytes) -> BTreeMap<Bytes, Bytes> {
    let mut mirror = Mirror::default();
    mirror.until(&mut node.watch(vec![prefix], None), 1).await;
    mirror.entries
}

/// Creates, changes and deletes things; returns the last revision.
async fn load(node: Arc<Metastore>, rounds: std::ops::Range<usize>) -> u64 {
    let mut revision = 0;
    for round in rounds {
        let name = |n: usize| format!("t{round}-{n}");
        let made = run_all(&node, 32, (0..40).map(|n| create(&name(n))).collect()).await;
        run_all(&node, 32, (0..40).map(|n| update(&name(n), 1)).collect()).await;
        let gone = run_all(&node, 32, (0..40).step_by(3).map(|n| delete(&name(n))).collect()).await;
        assert!(gone[0].revision > made[0].revision);
        revision = gone.last().unwrap().revision;
    }
    revision
}

#[tokio::test(flavor = "multi_thread")]
async fn no_gap_under_load_with_restarts_of_the_watch() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let writer = tokio::spawn(load(node.clone(), 0..20));
    let mut mirror = Mirror::default();
    let mut watch = node.watch(vec![Bytes::new()], None);
    let mut seen = 0;
    while !writer.is_finished() {
        mirror.take(timeout(DEADLINE, watch.next()).await.unwrap().unwrap());
        seen += 1;
        if seen % 97 == 0 && mirror.position.is_some() {
            mirror.go_back();
            watch = node.watch(vec![Bytes::new()], mirror.position);
        }
    }
    mirror.until(&mut watch, writer.await.unwrap()).await;
    assert_eq!(mirror.resets, 1);
    assert_eq!(mirror.entries, listing(&node, Bytes::new()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watch_is_reset_and_ends_up_right() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(Config { change_log_bytes: 16 << 10, ..config(dir.path()) }).await;
    let mut mirror = Mirror::default();
    let mut watch = node.watch(vec![Bytes::new()], None);
    mirror.until(&mut watch, 1).await;
    let last = load(node.clone(), 0..5).await;
    mirror.until(&mut watch, last).await;
    assert!(mirror.resets > 1);
    assert_eq!(mirror.entries, listing(&node, Bytes::new()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_survive_a_restart_of_the_node_or_are_reset() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let early = load(node.clone(), 0..1).await;
    let mut mirror = Mirror::default();
    let mut watch = node.watch(vec![Bytes::new()], None);
    let last = load(node.clone(), 1..2).await;
    mirror.until(&mut watch, last).await;
    let position = mirror.position.unwrap();
    node.shutdown().await.unwrap();
    while timeout(DEADLINE, watch.next()).await.unwrap().is_some() {}
    drop((node, watch));

    let node = open(config(dir.path())).await;
    let mut watch = node.watch(vec![Bytes::new()], Some(position));
    let created = node.execute(create("after")).await.unwrap().revision;
    mirror.until(&mut watch, created).await;
    assert_eq!(mirror.resets, 1);
    assert_eq!(mirror.entries, listing(&node, Bytes::new()).await);
    for stale in [
        Position { revision: early, ..position },
        Position { incarnation: position.incarnation ^ 1, ..position },
        Position { group: 9, ..position },
    ] {
        let first = timeout(DEADLINE, node.watch(vec![Bytes::new()], Some(stale)).next()).await.unwrap();
        assert_eq!(first, Some(WatchEvent::Reset), "{stale:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_watch_reports_progress() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let mut watch = node.watch(vec![Bytes::from("\u{ff}nothing")], None);
    assert_eq!(watch.next().await, Some(WatchEvent::Reset));
    assert!(matches!(watch.next().await, Some(WatchEvent::Synced(_))));
    let start = Instant::now();
    for _ in 0..3 {
        assert!(matches!(watch.next().await, Some(WatchEvent::Progress(_))));
    }
    assert!(start.elapsed() >= Duration::from_millis(400), "not without pause");
    // A change of other keys moves the position at once.
    let revision = node.execute(create("t")).await.unwrap().revision;
    let Some(WatchEvent::Progress(position)) = watch.next().await else { panic!("no progress") };
    assert!(position.revision <= revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_when_its_watcher_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let marker = node.register("cache");
    let mut watch = node.watch(vec![Bytes::new()], None);
    let consumer = tokio::spawn(async move {
        while let Some(event) = watch.next().await {
            if let WatchEvent::Progress(position) | WatchEvent::Synced(position) = event {
                marker(position.revision);
            }
        }
    });
    let revision = node.execute(create("t")).await.unwrap().revision;
    assert!(node.in_force(revision).await);
    assert!(!node.in_force(revision + 1_000).await);
    consumer.abort();
}
