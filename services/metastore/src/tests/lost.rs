//! Nodes whose directory is empty: they take part in nothing until it is clear what the others count on.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use fleethaven_fabric::Admin;
use fleethaven_fabric::metadata::Metadata;
use fleethaven_fabric::raft::{Peer, PeerError, RequestVote, Vote};

use super::fixture::{create, read_local};
use super::mesh::{Cluster, until};
use crate::group::CONTROL;
use crate::{Config, Metastore, Start};

fn two_groups(config: &mut Config) {
    config.command_timeout = Duration::from_secs(5);
    config.state_groups = NonZeroU32::new(2).unwrap();
}

fn three() -> BTreeMap<u64, String> {
    (1..=3).map(|id| (id, id.to_string())).collect()
}

/// Whether a node would give its vote to another one that has everything.
async fn votes(node: &Metastore) -> bool {
    let vote = Vote { term: 1_000, node: 2, committed: false };
    let request = RequestVote { vote, last: None, leadership_transfer: false, pre_vote: true };
    match node.vote(CONTROL, request).await {
        Ok(_) => true,
        Err(PeerError::Refused(reason)) => {
            assert!(reason.contains("does not take part"), "{reason}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_its_disk_comes_back_as_a_new_one() {
    let mut cluster = Cluster::start(3, two_groups).await;
    cluster.leader(&[1, 2, 3]).await;
    cluster.nodes[&1].execute(create("before")).await.unwrap();
    let lost = cluster.leader(&[1, 2, 3]).await;
    cluster.stop(lost).await;
    std::fs::remove_dir_all(cluster.dir(lost)).unwrap();
    cluster.open(lost, Start::Ask).await;
    assert!(!cluster.nodes[&lost].takes_part() && !votes(&cluster.nodes[&lost]).await);
    let rest: Vec<u64> = (1..=3).filter(|id| *id != lost).collect();
    for node in &rest {
        cluster.nodes[node].execute(create(&format!("without-{node}"))).await.unwrap();
    }
    {
        // Not held for longer: a node that is stopped gives its directory free when nobody holds it any more.
        let leader = cluster.nodes[&cluster.leader(&rest).await].clone();
        leader.remove_node(lost).await.unwrap();
        assert!(leader.groups().all(|group| group.status().nodes.iter().all(|known| known.node != lost)));
        cluster.nodes[&lost].take_part();
        leader.add_node(lost, lost.to_string()).await.unwrap();
    }
    until(|| read_local(&cluster.nodes[&lost], "before").ok()).await;
    // It counts again: with it, one of the two others can go.
    cluster.stop(rest[0]).await;
    cluster.nodes[&lost].execute(create("after")).await.unwrap();
    cluster.open(rest[0], Start::Ask).await;
    assert!(cluster.nodes[&rest[0]].takes_part(), "it knows what it knew");
    until(|| read_local(&cluster.nodes[&rest[0]], "after").ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_all_have_nothing_begin_a_store() {
    let mut cluster = Cluster::empty(two_groups);
    for node in 1..=3 {
        cluster.open(node, Start::Ask).await;
    }
    assert!(cluster.nodes.values().all(|node| !node.takes_part()));
    for node in cluster.nodes.values() {
        node.begin(&three()).await.unwrap();
    }
    cluster.leader(&[1, 2, 3]).await;
    cluster.nodes[&2].execute(create("first")).await.unwrap();
    for group in [1, 2] {
        cluster.leader_of(group, &[1, 2, 3]).await;
    }
    // A crash between the groups' beginnings is made good by the next start.
    cluster.stop(3).await;
    cluster.open(3, Start::Ask).await;
    assert!(cluster.nodes[&3].takes_part());
    until(|| read_local(&cluster.nodes[&3], "first").ok()).await;
}
