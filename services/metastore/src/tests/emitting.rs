//! Messages that commands ask for are published at least once, those about one thing in the order of the log, whoever leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleethaven_fabric::Publish;
use fleethaven_fabric::metadata::{BoxFuture, Metadata};
use fleethaven_registry::shapes::UpdateThingShadow;
use fleethaven_registry::{Action, Command, IdempotencyKey};
use fleethaven_storage::Error;
use fleethaven_types::{Message, QoS};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::Value;

use super::fixture::{command, config, open, scope};
use super::mesh::{Cluster, until};
use crate::{Config, Metastore, Start};

/// A broker that keeps what it gets, and takes nothing for a while if a test says so.
#[derive(Default)]
struct Broker {
    got: Mutex<Vec<Arc<Message>>>,
    failures: AtomicUsize,
}

impl Publish for Broker {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let fails = |left: usize| left.checked_sub(1);
            if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
                return Err(Error::Unavailable("the routers are busy".to_owned()));
            }
            self.got.lock().push(message);
            Ok(true)
        })
    }
}

/// Sets a member of a thing's shadow: two messages, accepted and documents.
fn set(thing: &str, number: usize) -> Command {
    let args = UpdateThingShadow {
        thing_name: thing.to_owned(),
        shadow_name: None,
        payload: format!(r#"{{"state":{{"reported":{{"n":{number}}}}}}}"#),
        answer: false,
    };
    let key = Some(IdempotencyKey::of(&[thing, &number.to_string()]));
    Command { key, ..command(Action::UpdateThingShadow(Box::new(args))) }
}

const THINGS: [&str; 4] = ["a", "b", "c", "d"];

async fn set_all(node: &Arc<Metastore>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let set = THINGS.map(|thing| node.execute(set(thing, number)));
        assert!(join_all(set).await.into_iter().all(|done| done.is_ok()), "{number}");
    }
}

impl Broker {
    fn len(&self) -> usize {
        self.got.lock().len()
    }

    /// What each topic got first, without repeats: which have their first time's trace id.
    fn versions(&self) -> BTreeMap<String, Vec<u64>> {
        let (mut versions, mut seen) = (BTreeMap::<String, Vec<u64>>::new(), BTreeSet::new());
        for message in self.got.lock().iter() {
            assert_eq!(
                (message.publisher.scope, message.qos, message.retain),
                (scope(), QoS::AtLeastOnce, false)
            );
            let document: Value = serde_json::from_slice(&message.payload).unwrap();
            let version =
                document.get("version").unwrap_or(&document["current"]["version"]).as_u64().unwrap();
            let topic = message.topic.as_str().to_owned();
            let is_first = !versions.entry(topic.clone()).or_default().contains(&version);
            assert_eq!(is_first, seen.insert(message.trace_id()), "{topic} {version}");
            if is_first {
                versions.entry(topic).or_default().push(version);
            }
        }
        versions
    }

    /// Every version of every shadow up to `last` was told of, on both topics, in order.
    fn assert_told(&self, last: u64) {
        let versions = self.versions();
        for thing in THINGS {
            for topic in ["accepted", "documents"] {
                let topic = format!("$aws/things/{thing}/shadow/update/{topic}");
                assert_eq!(versions[&topic], (1..=last).collect::<Vec<_>>(), "{topic}");
            }
        }
    }
}

async fn got(broker: &Broker, count: usize) {
    until(|| (broker.len() >= count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_published_in_order_and_once_when_it_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    set_all(&node, 0..20).await;
    node.shutdown().await.unwrap();
    drop(node);
    // Nobody has published it: the state holds it.
    let node = open(config(dir.path())).await;
    let broker = Arc::new(Broker::default());
    broker.failures.store(7, Ordering::Relaxed);
    node.publish_through(broker.clone());
    got(&broker, 20 * THINGS.len() * 2).await;
    set_all(&node, 20..25).await;
    got(&broker, 25 * THINGS.len() * 2).await;
    node.shutdown().await.unwrap();
    broker.assert_told(25);
    assert_eq!(broker.len(), 25 * THINGS.len() * 2, "nothing is published twice without need");
    drop(node);
    let node = open(config(dir.path())).await;
    assert!(node.groups().all(|group| group.outbox.len() == 0));
    let broker = Arc::new(Broker::default());
    node.publish_through(broker.clone());
    set_all(&node, 25..26).await;
    got(&broker, THINGS.len() * 2).await;
    node.shutdown().await.unwrap();
    assert_eq!(broker.len(), THINGS.len() * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leads_next_goes_on_where_the_log_tells() {
    fn compacting(config: &mut Config) {
        config.command_timeout = std::time::Duration::from_secs(5);
        (config.snapshot_every, config.keep_log) = (50, 5);
    }
    let mut cluster = Cluster::start(3, compacting).await;
    let broker = Arc::new(Broker::default());
    let mut rounds = 0;
    for _ in 0..3 {
        let all: Vec<u64> = cluster.nodes.keys().copied().collect();
        // Those who are told late, and the one that comes back by a snapshot, have it all in their state.
        let leader = cluster.leader_of(1, &all).await;
        for number in rounds..rounds + 30 {
            for thing in THINGS {
                cluster.execute_in(1, set(thing, number)).await;
            }
            if number == rounds + 15 {
                cluster.nodes.values().for_each(|node| node.publish_through(broker.clone()));
            }
        }
        rounds += 30;
        cluster.stop(leader).await;
        let left: Vec<u64> = cluster.nodes.keys().copied().collect();
        cluster.leader_of(1, &left).await;
        cluster.open(leader, Start::Join).await;
    }
    cluster.nodes.values().for_each(|node| node.publish_through(broker.clone()));
    until(|| {
        (broker.versions().values().filter(|told| told.len() == rounds).count() == 2 * THINGS.len())
            .then_some(())
    })
    .await;
    broker.assert_told(rounds as u64);
    for id in cluster.nodes.keys().copied().collect::<Vec<_>>() {
        cluster.stop(id).await;
    }
}
