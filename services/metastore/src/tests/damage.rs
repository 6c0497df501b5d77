//! Damaged files are told, not served.

use std::fs::{self, OpenOptions};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleethaven_fabric::Metadata;

use super::fixture::{DEADLINE, config, create, open, read, run_all};
use super::groups::has;
use crate::disk::Disk;
use crate::{Config, Error, Metastore, NoPeers};

async fn filled(dir: &Path, small: Config) {
    let node = open(small).await;
    run_all(&node, 16, (0..400).map(|n| create(&format!("t{n}"))).collect()).await;
    for group in &node.states {
        node.run_in(group, create(&format!("in-{}", group.id))).await.unwrap();
    }
    node.shutdown().await.unwrap();
    drop(node);
    assert!(dir.exists());
}

/// Opens a node when nobody has the directory any more.
async fn reopen(config: Config) -> Result<Arc<Metastore>, Error> {
    loop {
        match Metastore::open(config.clone(), Arc::new(NoPeers)).await {
            Err(Error::Locked(_)) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

fn newest_journal(dir: &Path) -> PathBuf {
    let mut found: Vec<_> =
        walk(dir).into_iter().filter(|p| p.extension().is_some_and(|e| e == "jnl")).collect();
    found.sort();
    found.pop().unwrap()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_journal_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let several = Config { state_groups: NonZeroU32::new(3).unwrap(), ..config(dir.path()) };
    filled(dir.path(), several.clone()).await;
    let journal = OpenOptions::new().append(true).open(newest_journal(dir.path())).unwrap();
    std::io::Write::write_all(&mut &journal, &[1, 0, 0, 0, 1, 0, 0]).unwrap();
    let node = reopen(several).await.unwrap();
    assert!(read(&node, "t399").await.is_ok());
    // The journal is that of all groups: each has its own.
    assert!(node.states.iter().all(|group| has(group, &format!("in-{}", group.id))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), config(dir.path())).await;
    let path = newest_journal(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"t200").unwrap();
    bytes[at] ^= 0x20;
    fs::write(&path, bytes).unwrap();
    let error = reopen(config(dir.path())).await.err().unwrap();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config { snapshot_every: 100, keep_log: 10, ..config(dir.path()) };
    filled(dir.path(), small.clone()).await;
    // A snapshot that was being written has its name when the store is let go of.
    while matches!(Disk::open(dir.path(), None), Err(Error::Locked(_))) {
        tokio::task::yield_now().await;
    }
    let mut files = walk(&dir.path().join("snapshots"));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "snapshot"));
    let file = files.into_iter().max().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[3] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = reopen(small).await.err().unwrap();
    assert!(error.to_string().contains("not a snapshot"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damage_in_the_journal_goes_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), config(dir.path())).await;
    let path = newest_journal(dir.path());
    let whole = fs::read(&path).unwrap();
    let middle = whole.windows(4).position(|w| w == b"t200").unwrap();
    for at in (middle..).step_by(7).take(40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&path, bytes).unwrap();
        match reopen(config(dir.path())).await {
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            // The database does not check the number that orders a batch; where nothing hangs on it, all is there.
            Ok(node) => {
                for n in 0..400 {
                    assert!(
                        read(&node, &format!("t{n}")).await.is_ok(),
                        "byte {at} was missed, and took t{n}"
                    );
                }
                node.shutdown().await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_fails_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    node.execute(create("t")).await.unwrap();
    assert!(futures_util::poll!(std::pin::pin!(node.failed())).is_pending());
    // As a disk that takes nothing more.
    node.disk.committer.close();
    assert!(node.execute(create("u")).await.is_err());
    let failure = tokio::time::timeout(DEADLINE, node.failed()).await.unwrap();
    assert!(failure.starts_with("group 0: "), "{failure}");
}
