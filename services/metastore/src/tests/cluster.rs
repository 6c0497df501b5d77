//! Several nodes: any of them takes commands, any one of three can go, nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::NodeRole;
use fleethaven_fabric::metadata::{Error, Metadata, WatchEvent};
use fleethaven_registry::{Command, IdempotencyKey, Reply};
use futures_util::StreamExt;
use openraft::BasicNode;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::fixture::{DEADLINE, create, read, read_local, update};
use super::mesh::{Cluster, until};
use crate::group::CONTROL;
use crate::{Config, Metastore, Start};

fn quick(config: &mut Config) {
    config.command_timeout = Duration::from_secs(5);
}

fn compacting(config: &mut Config) {
    quick(config);
    (config.snapshot_every, config.keep_log) = (50, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_commands_and_answers_reads() {
    let cluster = Cluster::start(3, quick).await;
    for (id, node) in &cluster.nodes {
        node.execute(create(&format!("by-{id}"))).await.unwrap();
        for other in cluster.nodes.values() {
            assert!(read(other, &format!("by-{id}")).await.is_ok());
        }
    }
}

/// The leader says what a read must see; a node that has it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_level_answers_reads_itself() {
    let cluster = Cluster::start(3, quick).await;
    let deadline = Instant::now() + DEADLINE;
    for number in 0.. {
        let leader = cluster.leader(&[1, 2, 3]).await;
        let follower = &cluster.nodes[&(1..=3).find(|id| *id != leader).unwrap()];
        let thing = format!("thing-{number}");
        cluster.nodes[&leader].execute(create(&thing)).await.unwrap();
        assert!(read(follower, &thing).await.is_ok(), "whether it is level or not");
        until(|| read_local(follower, &thing).ok()).await;
        let before = cluster.mesh.handed_on.load(Ordering::Relaxed);
        assert!(read(follower, &thing).await.is_ok());
        if cluster.mesh.handed_on.load(Ordering::Relaxed) == before {
            return;
        }
        // Another node leads by now, or something was written since.
        assert!(Instant::now() < deadline, "it never did");
    }
}

/// Creates things through `nodes` in turn until `stop`, and notes those acknowledged.
async fn load(
    nodes: Vec<Arc<Metastore>>,
    name: &'static str,
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<String>>>,
) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let thing = format!("{name}-{number}");
        match nodes[number % nodes.len()].execute(create(&thing)).await {
            Ok(_) => done.lock().push(thing),
            Err(Error::Unavailable(_) | Error::Unknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(nodes: Vec<Arc<Metastore>>, name: &'static str) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
        let task = tokio::spawn(load(nodes, name, stop.clone(), done.clone()));
        Self { stop, done, task }
    }

    fn count(&self) -> usize {
        self.done.lock().len()
    }

    /// Waits for `more` acknowledgements.
    async fn go_on(&self, more: usize) {
        let before = self.count();
        until(|| (self.count() >= before + more).then_some(())).await;
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        Arc::into_inner(self.done).unwrap().into_inner()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_go_on_without_the_leader_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(3, compacting).await;
    let mut acknowledged = Vec::new();
    for round in ["first", "second", "third"] {
        let leader = cluster.leader(&[1, 2, 3]).await;
        let others: Vec<_> =
            cluster.nodes.iter().filter(|(id, _)| **id != leader).map(|(_, node)| node.clone()).collect();
        let load = Load::start(others, round);
        load.go_on(20).await;
        cluster.stop(leader).await;
        load.go_on(60).await;
        cluster.open(leader, Start::Join).await;
        load.go_on(20).await;
        acknowledged.extend(load.end().await);
    }
    for node in cluster.nodes.values() {
        for thing in &acknowledged {
            assert!(read(node, thing).await.is_ok(), "{thing}");
        }
        // Its own copy has it, too, and not only the leader's.
        until(|| acknowledged.iter().all(|thing| read_local(node, thing).is_ok()).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_comes_back() {
    let cluster = Cluster::start(3, quick).await;
    let old = cluster.leader(&[1, 2, 3]).await;
    let rest: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    cluster.mesh.cut_off(old, 1..=3);
    let lost = cluster.nodes[&old].execute(create("lost")).await.unwrap_err();
    assert!(matches!(lost, Error::Unknown | Error::Unavailable(_)), "{lost}");
    assert!(read(&cluster.nodes[&old], "lost").await.is_err(), "a read is not answered from a stale node");
    let new = cluster.leader(&rest).await;
    cluster.nodes[&new].execute(create("kept")).await.unwrap();
    cluster.mesh.heal();
    until(|| read_local(&cluster.nodes[&old], "kept").ok()).await;
    let states: BTreeSet<bool> =
        cluster.nodes.values().map(|node| read_local(node, "lost").is_ok()).collect();
    assert_eq!(states.len(), 1, "carried out everywhere or nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hangs_is_not_waited_for() {
    let cluster = Cluster::start(3, quick).await;
    let old = cluster.leader(&[1, 2, 3]).await;
    let node = &cluster.nodes[&(1..=3).find(|id| *id != old).unwrap()];
    cluster.mesh.hang(old);
    let keyed = Command { key: Some(IdempotencyKey::of(&["k"])), ..create("keyed") };
    let (done, unknown, there) =
        tokio::join!(node.execute(keyed.clone()), node.execute(create("plain")), read(node, "keyed"),);
    // Nobody knows whether the one that hangs has carried it out; what has a key can be asked for again.
    let done = done.unwrap();
    assert!(matches!(unknown, Err(Error::Unknown)), "{unknown:?}");
    assert!(matches!(there, Ok(_) | Err(Error::Refused(_))), "{there:?}");
    assert_eq!(node.execute(keyed).await.unwrap().reply, done.reply);
    cluster.mesh.heal();
    until(|| read_local(&cluster.nodes[&old], "keyed").ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_answer_is_lost_is_asked_for_again_and_carried_out_once() {
    let cluster = Cluster::start(3, quick).await;
    let leader = cluster.leader(&[1, 2, 3]).await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    cluster.mesh.cut_one_way(leader, follower);
    let node = cluster.nodes[&follower].clone();
    let keyed = Command { key: Some(IdempotencyKey::of(&["k"])), ..create("t") };
    let asking = tokio::spawn(async move { node.execute(keyed).await });
    let made = until(|| read_local(&cluster.nodes[&leader], "t").ok()).await;
    cluster.mesh.heal();
    let Reply::Thing(told) = asking.await.unwrap().unwrap().reply else { panic!("another reply") };
    assert_eq!(told.thing_id, made.thing_id);
    assert_eq!(read(&cluster.nodes[&leader], "t").await.unwrap().version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_works_one_way_only_does_not_stop_the_cluster() {
    let cluster = Cluster::start(3, quick).await;
    let leader = cluster.leader(&[1, 2, 3]).await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    for (from, to) in [(leader, follower), (follower, leader)] {
        cluster.mesh.cut_one_way(from, to);
        let other = (1..=3).find(|id| *id != leader && *id != follower).unwrap();
        let name = format!("while-{from}-{to}");
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while cluster.nodes[&other].execute(create(&name)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline);
        }
        cluster.mesh.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nobody_makes_room_for_another() {
    let cluster = Cluster::start(3, quick).await;
    let old = cluster.leader(&[1, 2, 3]).await;
    let rest: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    for other in &rest {
        cluster.mesh.cut_one_way(*other, old);
    }
    // Not committed, and sent to the others over and over.
    let lost = cluster.nodes[&old].execute(create("sent")).await.unwrap_err();
    assert!(matches!(lost, Error::Unknown | Error::Unavailable(_)), "{lost}");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while cluster.nodes[&rest[0]].execute(create("written")).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline);
    }
    let new = cluster.leader(&rest).await;
    assert_ne!(new, old);
    cluster.mesh.heal();
    until(|| read_local(&cluster.nodes[&old], "written").ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_catches_up_by_snapshot_and_takes_the_place_of_a_dead_one() {
    let mut cluster = Cluster::start(3, compacting).await;
    for number in 0..200 {
        cluster.nodes[&1].execute(create(&format!("t{number}"))).await.unwrap();
    }
    cluster.leader(&[1, 2, 3]).await;
    // Longer than raft waits for anything else.
    *cluster.mesh.transfer.lock() = Duration::from_secs(1);
    cluster.stop(3).await;
    cluster.open(4, Start::Join).await;
    let leader = cluster.leader(&[1, 2]).await;
    let follower = 3 - leader;
    assert!(cluster.nodes[&follower].add_node(4, "4".to_owned()).await.is_err(), "to be asked of the leader");
    cluster.nodes[&leader].add_node(4, "4".to_owned()).await.unwrap();
    cluster.nodes[&leader].remove_node(3).await.unwrap();
    until(|| read_local(&cluster.nodes[&4], "t199").ok()).await;
    let voters: Vec<u64> =
        cluster.nodes[&4].status_now().control.nodes.iter().filter(|m| m.votes).map(|m| m.node).collect();
    assert_eq!(voters, [1, 2, 4]);
    // Two of the three that are left suffice, whichever they are.
    cluster.stop(1).await;
    cluster.nodes[&4].execute(create("later")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_replaced_in_one_change() {
    let mut cluster = Cluster::start(3, quick).await;
    let leader = cluster.leader(&[1, 2, 3]).await;
    let old = (1..=3).find(|id| *id != leader).unwrap();
    cluster.open(7, Start::Join).await;
    let node = &cluster.nodes[&leader];
    node.execute(create("before")).await.unwrap();
    assert!(node.replace_node(9, 7, "7".to_owned()).await.is_err(), "there is no node 9");
    node.replace_node(old, 7, "7".to_owned()).await.unwrap();
    let status = node.status().await.unwrap().control;
    let voters: BTreeSet<u64> = status.nodes.iter().filter(|n| n.votes).map(|n| n.node).collect();
    assert_eq!(voters, (1..=3).filter(|id| *id != old).chain([7]).collect());
    assert_eq!((status.role, status.leader), (NodeRole::Leader, Some(leader)));
    assert!(status.committed <= status.last && status.applied <= status.committed);
    until(|| (node.status_now().control.lag(7) == Some(0)).then_some(())).await;
    until(|| read_local(&cluster.nodes[&7], "before").ok()).await;
    let follower = cluster.nodes[&7].status_now();
    assert!(follower.disk_bytes > 0);
    let follower = follower.control;
    assert_eq!((follower.role, follower.lag(leader)), (NodeRole::Follower, None), "only the leader knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_not_added_and_one_that_was_never_level_can_be_removed() {
    let cluster = Cluster::start(3, quick).await;
    let node = cluster.nodes[&cluster.leader(&[1, 2, 3]).await].clone();
    let refused = node.add_node(9, "9".to_owned()).await.unwrap_err().to_string();
    assert!(refused.contains("node 9 cannot be added") && refused.contains("nobody there"), "{refused}");
    assert!(node.add_node(2, "2".to_owned()).await.is_err(), "it is there");
    let numbers = || node.status_now().control.nodes.iter().map(|node| node.node).collect::<Vec<_>>();
    assert_eq!(numbers(), [1, 2, 3]);
    // As when it went away before it was level. Written first: an election alone does not commit the first membership.
    node.execute(create("first")).await.unwrap();
    node.control.raft.add_learner(8, BasicNode::new("8"), false).await.unwrap();
    assert_eq!(numbers(), [1, 2, 3, 8]);
    node.remove_node(8).await.unwrap();
    assert!(node.remove_node(8).await.is_err(), "it is gone");
    assert_eq!(numbers(), [1, 2, 3]);
    node.execute(create("t")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over() {
    let cluster = Cluster::start(3, quick).await;
    let old = cluster.leader(&[1, 2, 3]).await;
    cluster.nodes[&old].hand_over().await.unwrap();
    let new = until(|| cluster.nodes[&old].status_now().control.leader.filter(|leader| *leader != old)).await;
    cluster.nodes[&new].execute(create("t")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_leads_again_answers_what_has_no_effect() {
    let cluster = Cluster::start(3, quick).await;
    let first = cluster.leader(&[1, 2, 3]).await;
    // It proposes in its first term, and nothing of that fails when the term ends.
    cluster.nodes[&first].execute(create("t")).await.unwrap();
    cluster.nodes[&first].hand_over().await.unwrap();
    let second =
        until(|| cluster.nodes[&first].status_now().control.leader.filter(|leader| *leader != first)).await;
    let control = cluster.nodes[&second].group(CONTROL).unwrap();
    control.raft.trigger().transfer_leader(first).await.unwrap();
    until(|| cluster.agreed(CONTROL, &[1, 2, 3]).filter(|leader| *leader == first)).await;
    let refused = cluster.nodes[&first].execute(update("t", 7)).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_moves_from_node_to_node_without_a_gap() {
    let cluster = Cluster::start(3, quick).await;
    let mut seen = BTreeSet::new();
    let mut position = None;
    for round in 0..6_u64 {
        let node = &cluster.nodes[&(round % 3 + 1)];
        let created = cluster.nodes[&1].execute(create(&format!("t{round}"))).await.unwrap();
        let mut watch = node.watch(vec![Bytes::new()], position);
        while position.is_none_or(|at: fleethaven_fabric::metadata::Position| at.revision < created.revision)
        {
            match tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap() {
                WatchEvent::Reset => assert_eq!(round, 0, "positions hold on every node"),
                WatchEvent::Put { key, .. } => {
                    seen.insert(key);
                }
                WatchEvent::Delete { .. } => panic!("nothing was deleted"),
                WatchEvent::Synced(at) | WatchEvent::Progress(at) => position = Some(at),
            }
        }
        assert!(read_local(node, &format!("t{round}")).is_ok());
    }
    let names = |round: u64| seen.iter().any(|key| key.ends_with(format!("t{round}").as_bytes()));
    assert!((0..6).all(names));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_reports_no_progress() {
    let cluster = Cluster::start(3, quick).await;
    let leader = cluster.leader(&[1, 2, 3]).await;
    for node in [leader, (1..=3).find(|id| *id != leader).unwrap()] {
        cluster.mesh.cut_off(node, 1..=3);
        let store = &cluster.nodes[&node];
        until(|| (!store.status_now().control.confirmed).then_some(())).await;
        let mut watch = store.watch(vec![Bytes::new()], None);
        while !matches!(watch.next().await.unwrap(), WatchEvent::Synced(_)) {}
        let quiet = tokio::time::timeout(Duration::from_millis(600), watch.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        cluster.mesh.heal();
        assert!(matches!(watch.next().await.unwrap(), WatchEvent::Progress(_)));
        cluster.leader(&[1, 2, 3]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_when_the_watchers_of_all_nodes_have_it() {
    let cluster = Cluster::start(3, quick).await;
    let marker = cluster.nodes[&3].register("gateway");
    let created = cluster.nodes[&1].execute(create("t")).await.unwrap();
    assert!(!cluster.nodes[&2].in_force(created.revision).await);
    marker(created.revision);
    assert!(cluster.nodes[&2].in_force(created.revision).await);
}
