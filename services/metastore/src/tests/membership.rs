//! Members, leases and slots on three nodes: whoever renews stays, whoever does not goes, and its slots have a new owner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, Phase, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::Error;
use fleethaven_membership::floor;
use fleethaven_topics::Slot;
use futures_util::StreamExt;
use tokio::task::AbortHandle;

use super::fixture::{DEADLINE, clock, config, open};
use super::mesh::Cluster;
use crate::{Config, Metastore, Start};

fn quick(config: &mut Config) {
    config.command_timeout = Duration::from_secs(5);
}

/// A process that renews its lease at whatever node answers, until it is dropped.
struct Process {
    incarnation: Incarnation,
    renewing: AbortHandle,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(nodes: Vec<Arc<Metastore>>, incarnation: Incarnation) {
    for node in nodes.iter().cycle() {
        match node.renew(incarnation).await {
            Ok(()) | Err(Error::Unavailable(_)) => {}
            // Out: whoever should not be is missed in the table.
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn join(nodes: &[&Arc<Metastore>], role: Role) -> Process {
    let nodes: Vec<_> = nodes.iter().map(|node| Arc::clone(node)).collect();
    let incarnation = nodes[0].join(role, "10.0.0.1:7000".to_owned(), "1".to_owned()).await.unwrap();
    let renewing = tokio::spawn(renew(nodes.clone(), incarnation)).abort_handle();
    nodes[0].set_phase(incarnation, Phase::Serving).await.unwrap();
    Process { incarnation, renewing }
}

/// The next table that is as wanted.
async fn table(tables: &mut TableStream, wanted: impl Fn(&RoutingTable) -> bool) -> Arc<RoutingTable> {
    let looking = async {
        loop {
            let table = tables.next().await.unwrap();
            if wanted(&table) {
                return table;
            }
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.expect("such a table within the deadline")
}

fn owners(table: &RoutingTable) -> BTreeSet<Option<Incarnation>> {
    table.slots.iter().map(|slot| slot.owner).collect()
}

fn without(gone: Incarnation) -> impl Fn(&RoutingTable) -> bool {
    move |table| table.member(gone).is_none()
}

/// Releases what `process` is to give up, as the table says; whether it had something.
async fn give_up(node: &Metastore, process: &Process) -> bool {
    let table = table(&mut node.table(), |_| true).await;
    let slots = Slot::all().map(|slot| (slot, table.slot(slot)));
    let due: Vec<_> = slots
        .filter(|(_, entry)| entry.owner == Some(process.incarnation) && entry.next.is_some())
        .map(|(slot, entry)| (slot, entry.epoch))
        .collect();
    let had = !due.is_empty();
    node.release(process.incarnation, due).await.unwrap();
    had
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_dies_is_replaced_by_its_standby() {
    let cluster = Cluster::start(3, quick).await;
    let nodes: Vec<_> = cluster.nodes.values().collect();
    let (first, second) = (join(&nodes, Role::Router).await, join(&nodes, Role::Router).await);
    assert!(first.incarnation.0 > floor(clock().as_secs()) && second.incarnation > first.incarnation);
    let gateway = join(&nodes, Role::Gateway).await;
    // Every node tells the same, whichever is asked.
    let mut streams: Vec<_> = nodes.iter().map(|node| node.table()).collect();
    assert!(give_up(nodes[1], &first).await);
    let both = BTreeSet::from([Some(first.incarnation), Some(second.incarnation)]);
    let mut before = Vec::new();
    for stream in &mut streams {
        before.push(table(stream, |table| owners(table) == both && table.members.len() == 3).await);
    }
    assert!(before.windows(2).all(|pair| pair[0] == pair[1]));
    let dead = first.incarnation;
    drop(first);
    let after = table(&mut streams[2], without(dead)).await;
    for (slot, old) in Slot::all().zip(before[0].slots.iter()) {
        let new = after.slot(slot);
        assert_eq!(new.owner, Some(second.incarnation));
        assert_eq!(new.epoch, old.epoch + u64::from(old.owner == Some(dead)));
    }
    assert_eq!(after.members.len(), 2, "{} and {} are there", second.incarnation, gateway.incarnation);
    let refused = nodes[0].renew(dead).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_takes_nobody_along() {
    let mut cluster = Cluster::start(3, quick).await;
    for _ in 0..2 {
        let old = cluster.leader(&[1, 2, 3]).await;
        let rest: Vec<_> = cluster.nodes.iter().filter(|(id, _)| **id != old).map(|(_, node)| node).collect();
        let router = join(&rest, Role::Router).await;
        let gateway = join(&rest, Role::Gateway).await;
        // Renews never: a new leader gives it one more lease, from its beginning.
        let silent =
            rest[0].join(Role::RulesWorker, "10.0.0.9:7000".to_owned(), "1".to_owned()).await.unwrap();
        let mut tables = rest[0].table();
        let there = table(&mut tables, |table| table.member(silent).is_some()).await;
        assert_eq!(owners(&there), BTreeSet::from([Some(router.incarnation)]));
        cluster.stop(old).await;
        let after = table(&mut tables, without(silent)).await;
        assert_eq!(after.slots, there.slots, "under the same epochs");
        for member in [&router, &gateway] {
            assert!(after.member(member.incarnation).is_some());
        }
        cluster.open(old, Start::Join).await;
        for member in [&router, &gateway] {
            cluster.nodes[&old].leave(member.incarnation).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_renews_nothing() {
    let cluster = Cluster::start(3, quick).await;
    let old = cluster.leader(&[1, 2, 3]).await;
    let rest: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    // It reaches no other node than the one that is cut off with it.
    let stranded = join(&[&cluster.nodes[&old]], Role::Router).await;
    let reachable: Vec<_> = rest.iter().map(|id| &cluster.nodes[id]).collect();
    let other = join(&reachable, Role::Router).await;
    let mut tables = reachable[0].table();
    table(&mut tables, |table| table.members.len() == 2).await;
    cluster.mesh.cut_off(old, 1..=3);
    let after = table(&mut tables, without(stranded.incarnation)).await;
    assert_eq!(owners(&after), BTreeSet::from([Some(other.incarnation)]));
    let refused = cluster.nodes[&old].renew(stranded.incarnation).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    cluster.mesh.heal();
    let out = async {
        while !matches!(cluster.nodes[&old].renew(stranded.incarnation).await, Err(Error::Refused(_))) {}
    };
    tokio::time::timeout(DEADLINE, out).await.expect("it learns that it is out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_leaves_hands_over() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let mut tables = node.table();
    assert!(table(&mut tables, |_| true).await.members.is_empty());
    let nodes = [&node];
    let (leaving, staying) = (join(&nodes, Role::Router).await, join(&nodes, Role::Router).await);
    give_up(&node, &leaving).await;
    node.set_phase(leaving.incarnation, Phase::Leaving).await.unwrap();
    let asked = table(&mut tables, |table| {
        table.member(leaving.incarnation).is_some_and(|member| member.phase == Phase::Leaving)
    })
    .await;
    for entry in asked.slots.iter().filter(|entry| entry.owner == Some(leaving.incarnation)) {
        assert_eq!((entry.next, entry.standby), (Some(staying.incarnation), Some(staying.incarnation)));
    }
    assert!(give_up(&node, &leaving).await);
    let handed = table(&mut tables, |table| owners(table).len() == 1).await;
    assert_eq!(owners(&handed), BTreeSet::from([Some(staying.incarnation)]));
    node.leave(leaving.incarnation).await.unwrap();
    let last = table(&mut tables, without(leaving.incarnation)).await;
    assert_eq!(last.slots, handed.slots);
    let refused = node.set_phase(leaving.incarnation, Phase::Serving).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    node.leave(leaving.incarnation).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_epochs_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let incarnation = node.join(Role::Router, "10.0.0.1:7000".to_owned(), "1".to_owned()).await.unwrap();
    node.set_phase(incarnation, Phase::Serving).await.unwrap();
    let before = table(&mut node.table(), |table| table.slots[0].owner.is_some()).await;
    node.shutdown().await.unwrap();
    drop(node);
    let node = open(config(dir.path())).await;
    node.renew(incarnation).await.unwrap();
    let after = table(&mut node.table(), |_| true).await;
    assert_eq!(after, before);
    assert!(node.join(Role::Router, "10.0.0.2:7000".to_owned(), "1".to_owned()).await.unwrap() > incarnation);
}
