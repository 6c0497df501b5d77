//! Backups under load, and clusters made of them.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use fleethaven_fabric::membership::{Membership, Phase, Role};
use fleethaven_fabric::metadata::{Error as CallError, Metadata};
use fleethaven_fabric::{Admin, WatchEvent};
use fleethaven_types::Timestamp;
use futures_util::{StreamExt, TryStreamExt};
use prost::Message;

use super::fixture::{clock, config, create, open, read, read_local};
use super::groups::{four, has};
use super::mesh::{Cluster, until};
use crate::backup::Header;
use crate::leadership::favourite;
use crate::{Config, Error, Metastore, NoPeers, Restore, Start, restore};

fn quick(config: &mut Config) {
    config.command_timeout = Duration::from_secs(5);
}

/// Asks `node` for a backup and keeps it in `file`.
async fn back_up(node: &Metastore, file: &Path) {
    let pieces: Vec<_> = node.backup().await.unwrap().try_collect().await.unwrap();
    fs::write(file, pieces.concat()).unwrap();
}

pub(crate) fn to_restore(file: &Path, dir: &Path) -> Restore {
    Restore {
        file: file.to_owned(),
        dir: dir.to_owned(),
        node: 1,
        address: "1".to_owned(),
        state_groups: NonZeroU32::new(3).unwrap(),
        cluster: "restored".to_owned(),
        now: Timestamp(clock().as_millis() + 1000),
        vault: None,
        opens: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_what_was_acknowledged_before_and_no_gap() {
    let cluster = Cluster::start(3, quick).await;
    let leader = cluster.nodes[&cluster.leader(&[1, 2, 3]).await].clone();
    let acknowledged = Arc::<AtomicU64>::default();
    let writer = tokio::spawn({
        let (node, acknowledged) = (leader.clone(), acknowledged.clone());
        async move {
            for number in 0.. {
                node.execute(create(&format!("t{number}"))).await.unwrap();
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        }
    });
    until(|| (acknowledged.load(Ordering::SeqCst) >= 100).then_some(())).await;
    let before = acknowledged.load(Ordering::SeqCst);
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    back_up(&leader, &file).await;
    writer.abort();
    let follower = cluster.nodes.values().find(|node| !Arc::ptr_eq(node, &leader)).unwrap();
    assert!(matches!(follower.backup().await.err().unwrap(), CallError::Unavailable(_)), "ask the leader");

    let dir = files.path().join("new");
    let info = restore(to_restore(&file, &dir)).await.unwrap().backup;
    assert!(info.revisions[0] >= before && info.made_at == clock().as_millis());
    let node = open(Config { cluster: "restored".into(), ..config(&dir) }).await;
    let there = |number: u64| read_local(&node, &format!("t{number}")).is_ok();
    let first_absent = (0..).find(|number| !there(*number)).unwrap();
    assert!(first_absent >= before, "{first_absent} of {before}");
    assert!((first_absent..first_absent + 50).all(|number| !there(number)), "created one after the other");
    node.execute(create("later")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_node_is_a_new_cluster_that_others_join() {
    let files = tempfile::tempdir().unwrap();
    let old = open(config(&files.path().join("old"))).await;
    let router = old.join(Role::Router, "10.0.0.1:7000".to_owned(), "1".to_owned()).await.unwrap();
    old.set_phase(router, Phase::Serving).await.unwrap();
    old.execute(create("kept")).await.unwrap();
    let before = old.table().next().await.unwrap();
    let mut watch = old.watch(vec!["".into()], None);
    let position = loop {
        if let WatchEvent::Synced(position) = watch.next().await.unwrap() {
            break position;
        }
    };
    let file = files.path().join("backup");
    back_up(&old, &file).await;
    assert!(!files.path().join("old/backup").exists(), "nothing is left behind");

    let mut cluster = Cluster::empty(quick);
    restore(Restore { cluster: "test".into(), ..to_restore(&file, &cluster.dir(1)) }).await.unwrap();
    for id in 1..=3 {
        cluster.open(id, Start::Join).await;
    }
    let node = cluster.nodes[&1].clone();
    for id in 2..=3 {
        node.add_node(id, id.to_string()).await.unwrap();
    }
    for node in cluster.nodes.values() {
        assert!(read(node, "kept").await.is_ok());
        until(|| read_local(node, "kept").ok()).await;
        // The data is another cluster's to whoever watched the old one.
        assert_eq!(node.watch(vec!["".into()], Some(position)).next().await, Some(WatchEvent::Reset));
    }
    let table = node.table().next().await.unwrap();
    assert!(table.members.is_empty() && table.version > before.version);
    let next = node.join(Role::Router, "10.0.0.1:7000".to_owned(), "1".to_owned()).await.unwrap();
    assert!(next > router);
    node.set_phase(next, Phase::Serving).await.unwrap();
    let after = node.table().next().await.unwrap();
    assert!(after.slots.iter().zip(before.slots.iter()).all(|(new, old)| new.epoch > old.epoch));
    cluster.stop(1).await;
    cluster.nodes[&2].execute(create("later")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_refused_and_nothing_written() {
    let files = tempfile::tempdir().unwrap();
    let node = open(Config { cluster: "old".into(), ..config(&files.path().join("old")) }).await;
    node.execute(create("t")).await.unwrap();
    let (file, dir) = (files.path().join("backup"), files.path().join("new"));
    back_up(&node, &file).await;
    let whole = fs::read(&file).unwrap();
    let refused = async |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let error = restore(to_restore(&file, &dir)).await.unwrap_err();
        assert!(matches!(error, Error::Backup { .. }), "{error}");
        assert!(!dir.exists());
        error.to_string()
    };
    for at in (0..whole.len()).step_by(31).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        refused(&bytes).await;
    }
    for length in [0, 5, 11, 13, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&whole[..length]).await.ends_with("it ends too early"));
    }
    assert!(refused(&[whole.as_slice(), b"x"].concat()).await.ends_with("something follows its end"));
    assert!(
        refused(b"anything else, and long enough").await.ends_with("it is not a backup of the metastore")
    );

    fs::write(&file, &whole).unwrap();
    let same = restore(Restore { cluster: "old".into(), ..to_restore(&file, &dir) }).await.unwrap_err();
    assert!(same.to_string().contains("needs another name"), "{same}");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("something"), "").unwrap();
    let occupied = restore(to_restore(&file, &dir)).await.unwrap_err();
    assert!(matches!(occupied, Error::NotEmpty(_)), "{occupied}");
    fs::rename(dir.join("something"), dir.join("restoring")).unwrap();
    let half = Metastore::open(config(&dir), Arc::new(NoPeers)).await.err().unwrap();
    assert!(matches!(half, Error::HalfRestored(_)), "{half}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_is_made_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let first = node.backup().await.unwrap();
    assert!(matches!(node.backup().await.err().unwrap(), CallError::Unavailable(_)));
    drop(first);
    assert!(node.backup().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_all_groups_whoever_leads_them() {
    let cluster = Cluster::start(3, four).await;
    for group in 1..=4 {
        let belongs = favourite(group, &BTreeSet::from([1, 2, 3]));
        until(|| (cluster.agreed(group, &[1, 2, 3]) == belongs).then_some(())).await;
    }
    let mut revisions = Vec::new();
    for group in 0..=4 {
        revisions.push(cluster.execute_in(group, create(&format!("in-{group}"))).await.revision);
    }
    let files = tempfile::tempdir().unwrap();
    let (file, dir) = (files.path().join("backup"), files.path().join("new"));
    back_up(&cluster.nodes[&cluster.leader(&[1, 2, 3]).await], &file).await;

    let restored = restore(Restore { cluster: "test".into(), ..to_restore(&file, &dir) }).await;
    assert!(restored.unwrap_err().to_string().contains("needs another name"));
    let restored = restore(to_restore(&file, &dir)).await.unwrap();
    assert_eq!(restored.state_groups.get(), 4);
    let kept = &restored.backup.revisions;
    assert!(kept.len() == 5 && kept.iter().zip(&revisions).all(|(kept, written)| kept >= written));
    let new = |state_groups| Config {
        cluster: "restored".into(),
        state_groups: NonZeroU32::new(state_groups).unwrap(),
        ..config(&dir)
    };
    let node = open(new(4)).await;
    for (id, other) in (0..=4).flat_map(|id| (0..=4).map(move |other| (id, other))) {
        assert_eq!(has(node.group(id).unwrap(), &format!("in-{other}")), id == other);
    }
    for group in node.groups() {
        let done = node.run_in(group, create("later")).await.unwrap();
        assert!(done.revision > kept[usize::try_from(group.id).unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_from_before_there_were_state_groups_gets_them_and_others_join() {
    let files = tempfile::tempdir().unwrap();
    let old = open(config(&files.path().join("old"))).await;
    old.execute(create("kept")).await.unwrap();
    let file = files.path().join("backup");
    back_up(&old, &file).await;
    fs::write(&file, control_alone(&fs::read(&file).unwrap())).unwrap();
    let mut cluster = Cluster::empty(four);
    let restored = Restore {
        cluster: "test".into(),
        state_groups: NonZeroU32::new(4).unwrap(),
        ..to_restore(&file, &cluster.dir(1))
    };
    let restored = restore(restored).await.unwrap();
    assert_eq!((restored.backup.revisions.len(), restored.state_groups.get()), (1, 4));
    for id in 1..=3 {
        cluster.open(id, Start::Join).await;
    }
    for id in 2..=3 {
        cluster.nodes[&1].add_node(id, id.to_string()).await.unwrap();
    }
    for group in 1..=4 {
        cluster.execute_in(group, create("new")).await;
    }
    for node in cluster.nodes.values() {
        until(|| read_local(node, "kept").ok()).await;
        until(|| node.states.iter().all(|group| has(group, "new")).then_some(())).await;
    }
}

/// A backup as it was made when there was only the control group.
fn control_alone(whole: &[u8]) -> Vec<u8> {
    let length = usize::try_from(u32::from_be_bytes(whole[8..12].try_into().unwrap())).unwrap();
    let mut header = Header::decode(&whole[12..12 + length]).unwrap();
    header.groups.truncate(1);
    let snapshot = usize::try_from(header.groups[0].bytes).unwrap();
    let header = header.encode_to_vec();
    let mut alone = [&whole[..8], &u32::try_from(header.len()).unwrap().to_be_bytes(), &header].concat();
    alone.extend_from_slice(&whole[12 + length..][..snapshot]);
    let digest = digest::digest(&digest::SHA256, &alone);
    alone.extend_from_slice(digest.as_ref());
    alone
}
