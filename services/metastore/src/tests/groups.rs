//! State groups: each goes on by itself, and all of them are operated as one store.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Admin;
use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::UpdateThingShadow;
use fleethaven_registry::{Action, Command, IdempotencyKey, Query, QueryKind, QueryReply, query};
use futures_util::StreamExt;
use prost::Message;

use super::fixture::{DEADLINE, clock, command, config, create, open, read, scope};
use super::mesh::{Cluster, until};
use crate::disk::Disk;
use crate::group::{CONTROL, Group};
use crate::leadership::favourite;
use crate::record::NodeRecord;
use crate::{Config, Error, Metastore, NoPeers, Start};

/// The groups of the clusters in these tests: control, and four for state.
const ALL: std::ops::RangeInclusive<u32> = CONTROL..=4;

pub(crate) fn four(config: &mut Config) {
    config.command_timeout = Duration::from_secs(5);
    config.state_groups = NonZeroU32::new(4).unwrap();
    config.settle = Duration::from_millis(200);
}

/// As [`four`], but nothing is given back to where it belongs.
fn unbalanced(config: &mut Config) {
    four(config);
    config.settle = Duration::from_secs(3600);
}

fn compacting(config: &mut Config) {
    unbalanced(config);
    (config.snapshot_every, config.keep_log) = (50, 5);
}

/// A creation that may be asked for again.
fn keyed(name: &str) -> Command {
    Command { key: Some(IdempotencyKey::of(&[name])), ..create(name) }
}

/// Whether `group` has a thing of that name, as applied on its node.
pub(crate) fn has(group: &Group, name: &str) -> bool {
    query(&group.state.now(), &Query::new(scope(), QueryKind::DescribeThing(name.into())), clock()).is_ok()
}

fn group(node: &Metastore, id: u32) -> &Group {
    node.group(id).unwrap()
}

fn with_groups(dir: &std::path::Path, state_groups: u32) -> Config {
    Config { state_groups: NonZeroU32::new(state_groups).unwrap(), ..config(dir) }
}

/// The voters of each group, as `node` sees them.
fn voters(node: &Metastore) -> BTreeSet<Vec<u64>> {
    let status = node.status_now();
    let groups = std::iter::once(&status.control).chain(&status.state);
    groups.map(|group| group.nodes.iter().filter(|n| n.votes).map(|n| n.node).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_has_a_state_of_its_own_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = open(with_groups(dir.path(), 3)).await;
    for round in 0..3 {
        for id in CONTROL..=3 {
            let done = node.run_in(group(&node, id), create(&format!("r{round}-{id}"))).await.unwrap();
            assert!(done.revision > 0);
        }
        node.shutdown().await.unwrap();
        drop(node);
        node = open(with_groups(dir.path(), 3)).await;
        for (id, other) in (CONTROL..=3).flat_map(|id| (CONTROL..=3).map(move |other| (id, other))) {
            assert_eq!(has(group(&node, id), &format!("r{round}-{other}")), id == other);
        }
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_state_groups_never_changes() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(with_groups(dir.path(), 3)).await;
    node.shutdown().await.unwrap();
    drop(node);
    let refused = async |state_groups| loop {
        match Metastore::open(with_groups(dir.path(), state_groups), Arc::new(NoPeers)).await {
            Err(Error::Locked(_)) => tokio::task::yield_now().await,
            other => break other.err().unwrap(),
        }
    };
    for other in [1, 2, 4] {
        let error = refused(other).await;
        assert!(
            matches!(error, Error::StateGroups { expected, found: 3, .. } if expected == other),
            "{error}"
        );
    }
    assert!(matches!(refused(257).await, Error::TooManyStateGroups(257)));
    open(with_groups(dir.path(), 3)).await.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_from_before_there_were_state_groups_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(with_groups(dir.path(), 1)).await;
    node.run(create("kept")).await.unwrap();
    node.shutdown().await.unwrap();
    drop(node);
    let disk = loop {
        match Disk::open(dir.path(), None) {
            Err(Error::Locked(_)) => tokio::task::yield_now().await,
            disk => break disk.unwrap(),
        }
    };
    let record = disk.node(1).unwrap().unwrap();
    let older = NodeRecord { format: 1, state_groups: 0, ..record };
    let put = disk.committer.commit(true, |c| c.put(&disk.meta, b"n".as_slice(), older.encode_to_vec()));
    put.await.unwrap();
    disk.committer.close();
    drop(disk);

    let node = open(with_groups(dir.path(), 2)).await;
    assert!(read(&node, "kept").await.is_ok());
    node.run_in(group(&node, 2), create("new")).await.unwrap();
    node.shutdown().await.unwrap();
    drop(node);
    let node = open(with_groups(dir.path(), 2)).await;
    assert!(has(group(&node, 2), "new"));
    assert_eq!(node.disk.node(1).unwrap().unwrap(), NodeRecord { state_groups: 2, format: 2, ..record });
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_of_state_groups_is_spread_and_goes_back_to_a_node_that_returns() {
    let mut cluster = Cluster::start(3, four).await;
    let belongs = |group| favourite(group, &BTreeSet::from([1, 2, 3])).unwrap();
    let spread = async |cluster: &Cluster| {
        for group in 1..=4 {
            until(|| (cluster.agreed(group, &[1, 2, 3]) == Some(belongs(group))).then_some(())).await;
        }
    };
    spread(&cluster).await;
    cluster.stop(2).await;
    let other = cluster.leader_of(2, &[1, 3]).await;
    assert_ne!(other, 2);
    cluster.execute_in(2, keyed("while-away")).await;
    cluster.open(2, Start::Join).await;
    spread(&cluster).await;
    until(|| has(group(&cluster.nodes[&2], 2), "while-away").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_a_thing_goes_to_its_group_from_whatever_node() {
    let cluster = Cluster::start(3, four).await;
    for group in 1..=4 {
        let belongs = favourite(group, &BTreeSet::from([1, 2, 3]));
        until(|| (cluster.agreed(group, &[1, 2, 3]) == belongs).then_some(())).await;
    }
    let asked = |thing: &str| {
        let (thing_name, shadow_name, client_token) = (thing.to_owned(), None, None);
        Query::new(scope(), QueryKind::GetThingShadow { thing_name, shadow_name, client_token })
    };
    let mut groups = BTreeSet::new();
    for (number, node) in (0..24).zip(cluster.nodes.values().cycle()) {
        let thing = format!("thing{number}");
        let update = command(Action::UpdateThingShadow(Box::new(UpdateThingShadow {
            thing_name: thing.clone(),
            shadow_name: None,
            payload: r#"{"state":{"reported":{"on":true}}}"#.to_owned(),
            answer: true,
        })));
        let placement = update.placement();
        node.execute(update).await.unwrap();
        for other in cluster.nodes.values() {
            assert!(matches!(other.query(asked(&thing)).await, Ok(QueryReply::ThingShadow(_))), "{thing}");
        }
        let id = placement.group(NonZeroU32::new(4).unwrap());
        for (other, group) in ALL.map(|other| (other, group(node, other))) {
            let found = query(&group.state.now(), &asked(&thing), clock()).is_ok();
            // This node may follow, and not have applied it yet.
            assert!(other == id || !found, "{thing} is in group {other}, not {id}");
        }
        groups.insert(id);
    }
    assert_eq!(groups, (1..=4).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_its_leader_does_not_hold_up_the_others() {
    let mut cluster = Cluster::start(3, four).await;
    let belongs = |group| favourite(group, &BTreeSet::from([1, 2, 3])).unwrap();
    for group in 1..=4 {
        until(|| (cluster.agreed(group, &[1, 2, 3]) == Some(belongs(group))).then_some(())).await;
    }
    // The leader of group 3 alone, unless it has the control group, too.
    let dead = cluster.leader_of(3, &[1, 2, 3]).await;
    let mut acknowledged = BTreeMap::<u32, Vec<String>>::new();
    for round in 0..3 {
        for id in ALL {
            let name = format!("before-{id}-{round}");
            cluster.execute_in(id, keyed(&name)).await;
            acknowledged.entry(id).or_default().push(name);
        }
    }
    cluster.stop(dead).await;
    // Those that are led by somebody else need no election: their term stays.
    let alive: Vec<u64> = cluster.nodes.keys().copied().collect();
    let led: Vec<u32> = (1..=4).filter(|id| belongs(*id) != dead).collect();
    for id in led {
        let node = &cluster.nodes[&belongs(id)];
        let term = group(node, id).status().term;
        let name = format!("without-{id}");
        node.run_in(group(node, id), keyed(&name)).await.unwrap();
        assert_eq!(group(node, id).status().term, term);
        acknowledged.entry(id).or_default().push(name);
    }
    assert!(alive.contains(&cluster.leader_of(3, &alive).await));
    for id in ALL {
        let name = format!("after-{id}");
        cluster.execute_in(id, keyed(&name)).await;
        acknowledged.entry(id).or_default().push(name);
    }
    cluster.open(dead, Start::Join).await;
    for (id, names) in acknowledged {
        for node in cluster.nodes.values() {
            until(|| names.iter().all(|name| has(group(node, id), name)).then_some(())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_hands_over_all_groups() {
    let cluster = Cluster::start(3, unbalanced).await;
    for node in cluster.nodes.values() {
        let id = node.status_now().node;
        for group in ALL {
            cluster.leader_of(group, &[1, 2, 3]).await;
        }
        node.hand_over().await.unwrap();
        let leads = || {
            let status = node.status_now();
            std::iter::once(&status.control).chain(&status.state).any(|group| group.leader == Some(id))
        };
        assert!(!leads());
        for group in ALL {
            cluster.execute_in(group, keyed(&format!("after-{id}-{group}"))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_groups_have_the_same_nodes() {
    let mut cluster = Cluster::start(3, compacting).await;
    for id in ALL {
        for number in 0..100 {
            cluster.execute_in(id, keyed(&format!("t{id}-{number}"))).await;
        }
    }
    cluster.open(4, Start::Join).await;
    let node = cluster.nodes[&cluster.leader(&[1, 2, 3]).await].clone();
    // As when a change was cut short: one group has it, the others do not.
    let third = cluster.leader_of(3, &[1, 2, 3]).await;
    let add = fleethaven_fabric::raft::NodeChange::Add { node: 4, address: "4".to_owned() };
    let leader = cluster.nodes[&third].clone();
    leader.change_here(group(&leader, 3), add).await.unwrap();
    assert_eq!(voters(&leader), BTreeSet::from([vec![1, 2, 3], vec![1, 2, 3, 4]]));
    node.add_node(4, "4".to_owned()).await.unwrap();
    let same = |node: &Metastore, expected: &[u64]| {
        (voters(node) == BTreeSet::from([expected.to_vec()])).then_some(())
    };
    until(|| same(&node, &[1, 2, 3, 4])).await;
    for id in ALL {
        until(|| has(group(&cluster.nodes[&4], id), &format!("t{id}-99")).then_some(())).await;
    }
    let gone = (1..=3).find(|id| *id != node.status_now().node).unwrap();
    cluster.stop(gone).await;
    cluster.open(5, Start::Join).await;
    node.replace_node(gone, 5, "5".to_owned()).await.unwrap();
    let mut expected: Vec<u64> = (1..=5).filter(|id| *id != gone).collect();
    until(|| same(&node, &expected)).await;
    node.remove_node(5).await.unwrap();
    expected.pop();
    until(|| same(&node, &expected)).await;
    assert!(node.remove_node(5).await.is_err(), "it is gone");
    cluster.stop(5).await;
    for id in ALL {
        cluster.execute_in(id, keyed(&format!("last-{id}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_begun_in_between_finds_its_groups() {
    // All but one of the nodes were started before; the last one forms the groups with them, whoever came first.
    let mut cluster = Cluster::empty(four);
    let members: BTreeMap<_, _> = (1..=3).map(|id| (id, id.to_string())).collect();
    for id in [1, 2] {
        cluster.open(id, Start::Form(members.clone())).await;
    }
    for id in ALL {
        cluster.execute_in(id, keyed(&format!("early-{id}"))).await;
    }
    cluster.stop(2).await;
    cluster.open(3, Start::Form(members.clone())).await;
    cluster.open(2, Start::Form(members)).await;
    for id in ALL {
        for node in cluster.nodes.values() {
            until(|| has(group(node, id), &format!("early-{id}")).then_some(())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_a_state_group_goes_on_where_it_stood() {
    use fleethaven_fabric::WatchEvent;
    let dir = tempfile::tempdir().unwrap();
    let node = open(with_groups(dir.path(), 2)).await;
    let second = group(&node, 2);
    let mut position = None;
    let mut names = Vec::new();
    for round in 0..3 {
        node.run_in(group(&node, 1), create(&format!("elsewhere{round}"))).await.unwrap();
        let revision = node.run_in(second, create(&format!("t{round}"))).await.unwrap().revision;
        let mut watch = node.watch_in(second, vec!["".into()], position);
        let mut reached = 0;
        while reached < revision {
            match tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap() {
                WatchEvent::Reset => assert_eq!(round, 0),
                WatchEvent::Put { key, .. } => names.push(key),
                WatchEvent::Delete { .. } => panic!("nothing was deleted"),
                WatchEvent::Synced(at) | WatchEvent::Progress(at) => {
                    assert_eq!(at.group, 2);
                    (reached, position) = (at.revision, Some(at));
                }
            }
        }
    }
    let seen = |suffix: &str| names.iter().any(|key| key.ends_with(suffix.as_bytes()));
    assert!((0..3).all(|round| seen(&format!("t{round}"))));
    assert!(!seen("elsewhere0"));
    // A position of one group is none of another.
    let mut other = node.watch_in(group(&node, 1), vec!["".into()], position);
    assert_eq!(other.next().await, Some(WatchEvent::Reset));
}
