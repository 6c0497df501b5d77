//! Installing a snapshot: all of it or nothing, and what watchers make of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fleethaven_registry::{Effects, View};
use futures_util::stream;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder};
use tempfile::TempDir;

use crate::changes::{ChangeLog, Since};
use crate::disk::Disk;
use crate::machine::StateMachine;
use crate::outbox::Outbox;
use crate::record::Proposal;
use crate::state::State;
use crate::types::{Entry, Snapshot, log_id};

const GROUP: u32 = 3;

struct Node {
    dir: TempDir,
    state: Arc<State>,
    changes: Arc<ChangeLog>,
    machine: StateMachine,
}

fn open(dir: TempDir) -> Node {
    let disk = loop {
        match Disk::open(dir.path(), None) {
            Err(crate::Error::Locked(_)) => std::thread::yield_now(),
            disk => break disk.unwrap(),
        }
    };
    let (state, applied) = State::open(disk, GROUP).unwrap();
    let state = Arc::new(state);
    let changes = Arc::new(ChangeLog::new(applied.revision(), 1 << 20));
    let outbox = Arc::new(Outbox::open(&state).unwrap());
    let machine = StateMachine::open(state.clone(), changes.clone(), outbox, applied).unwrap();
    Node { dir, state, changes, machine }
}

impl Node {
    /// Applies entries that put `KEY-N` for each of `numbers`, as of one leader.
    async fn put(&mut self, key: &str, numbers: std::ops::RangeInclusive<u64>) {
        let entries = numbers.map(|n| {
            let mut effects = Effects::default();
            effects.put(format!("{key}-{n:04}"), n.to_string());
            let proposal = Proposal::new(effects, 1, n, n - 1);
            Ok((Entry { log_id: log_id(1, n), payload: EntryPayload::Normal(proposal) }, None))
        });
        self.machine.apply(stream::iter(entries)).await.unwrap();
    }

    async fn snapshot(&mut self) -> Snapshot {
        self.machine.get_snapshot_builder().await.build_snapshot().await.unwrap()
    }

    fn keys(&self) -> Vec<String> {
        let pairs = self.state.now().scan(b"", None, usize::MAX);
        pairs.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
    }

    fn reopen(self) -> Node {
        let Self { dir, state, machine, .. } = self;
        state.disk.committer.close();
        drop((state, machine));
        open(dir)
    }
}

fn states_on_disk(dir: &Path) -> usize {
    let disk = Disk::open(dir, None).unwrap();
    disk.db.list_keyspace_names().iter().filter(|name| name.starts_with("state-")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_snapshot_replaces_the_state() {
    let mut leader = open(tempfile::tempdir().unwrap());
    leader.put("leader", 1..=3000).await;
    let snapshot = leader.snapshot().await;
    let mut follower = open(tempfile::tempdir().unwrap());
    follower.put("follower", 1..=10).await;
    let before = follower.state.now();
    follower.machine.install_snapshot(&snapshot.meta, snapshot.snapshot.clone()).await.unwrap();
    assert_eq!(follower.keys(), leader.keys());
    assert_eq!(before.scan(b"", None, usize::MAX).len(), 10);
    // Watchers below are reset; the one who proposed last is known, so the chain goes on.
    assert!(matches!(follower.changes.since(10, 1), Since::TooOld));
    follower.put("leader", 3001..=3002).await;
    assert_eq!(follower.keys().len(), 3002);
    drop(before);
    let follower = follower.reopen();
    assert_eq!(follower.keys().len(), 3002);
    let Node { dir, state, machine, .. } = follower;
    state.disk.committer.close();
    drop((state, machine));
    assert_eq!(states_on_disk(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_changes_nothing() {
    let mut leader = open(tempfile::tempdir().unwrap());
    leader.put("leader", 1..=100).await;
    let snapshot = leader.snapshot().await;
    let mut bytes = fs::read(&snapshot.snapshot.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot.snapshot.path, bytes).unwrap();
    let mut follower = open(tempfile::tempdir().unwrap());
    follower.put("follower", 1..=10).await;
    let refused = follower.machine.install_snapshot(&snapshot.meta, snapshot.snapshot.clone()).await;
    assert!(refused.is_err());
    assert_eq!(follower.keys().len(), 10);
    let mut follower = follower.reopen();
    assert_eq!(follower.keys().len(), 10);
    follower.put("follower", 11..=12).await;
    assert_eq!(follower.keys().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_state_can_be_a_snapshot() {
    let mut leader = open(tempfile::tempdir().unwrap());
    let snapshot = leader.snapshot().await;
    let mut follower = open(tempfile::tempdir().unwrap());
    follower.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert!(follower.keys().is_empty());
}
