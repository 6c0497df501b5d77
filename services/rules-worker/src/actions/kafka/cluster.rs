//! What is known of a cluster: its brokers, who leads which partition, and the connections to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleethaven_outbound::Dialer;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::link::{self, Link};
use super::messages::{self, Verdict, verdict};
use super::partition;
use super::properties::Properties;
use crate::actions::Error;
use crate::actions::kept::{Kept, Number};

/// How long what was said of a topic counts, unless it proves wrong before (Java's `metadata.max.age.ms`).
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Topics that are known at a time.
const MAX_TOPICS: usize = 1000;
/// Brokers that are connected to at a time.
const MAX_BROKERS: usize = 256;

/// A cluster as one producer sees it.
pub(super) struct Cluster {
    dialer: Dialer,
    properties: Arc<Properties>,
    /// The connection that is asked who leads what.
    asked: Kept<Link>,
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// Host and port of a broker.
type Address = (String, u16);

#[derive(Default)]
struct Known {
    brokers: FxHashMap<i32, Address>,
    links: FxHashMap<i32, Arc<Kept<Link>>>,
    topics: FxHashMap<String, Arc<Topic>>,
}

/// A topic and who leads its partitions.
pub(super) struct Topic {
    /// Index and leader; -1 leads none.
    partitions: Vec<(i32, i32)>,
    since: Instant,
    /// How many batches of records without keys have been sent.
    sent: AtomicUsize,
}

impl Topic {
    fn new(partitions: Vec<(i32, i32)>) -> Self {
        Self { partitions, since: Instant::now(), sent: AtomicUsize::new(0) }
    }

    /// The partition that a record goes to: the one that is named, or that of its key, or one for all records without a key
    /// until they have been sent.
    pub(super) fn partition(&self, named: Option<i32>, key: Option<&str>) -> Result<i32, String> {
        let count = self.partitions.len();
        if let Some(named) = named {
            let there = self.partitions.iter().any(|(index, _)| *index == named);
            return there
                .then_some(named)
                .ok_or_else(|| format!("the topic has {count} partitions, and no {named}"));
        }
        let none = || "the topic has no partitions".to_owned();
        if let Some(key) = key {
            let chosen = self.partitions.get(partition::of_key(key.as_bytes(), count));
            return chosen.map(|(index, _)| *index).ok_or_else(none);
        }
        let led = || self.partitions.iter().filter(|(_, leader)| *leader >= 0);
        let turn = self.sent.load(Ordering::Relaxed) % led().count().max(1);
        let chosen = led().nth(turn).or_else(|| self.partitions.first());
        chosen.map(|(index, _)| *index).ok_or_else(none)
    }

    /// The next records without a key go to the next partition.
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn leader(&self, partition: i32) -> Option<i32> {
        let found = self.partitions.iter().find(|(index, _)| *index == partition);
        found.map(|(_, leader)| *leader).filter(|leader| *leader >= 0)
    }
}

/// A connection to a leader, which can be given up.
pub(super) struct Led {
    pub(super) link: Link,
    kept: Arc<Kept<Link>>,
    number: Number,
}

impl Led {
    /// The connection is of no use any more.
    pub(super) async fn give_up(&self) {
        self.kept.forget(self.number).await;
    }
}

impl Cluster {
    pub(super) fn new(dialer: Dialer, properties: Arc<Properties>) -> Self {
        Self {
            dialer,
            properties,
            asked: Kept::default(),
            asking: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// What is known of a topic, without asking anybody.
    pub(super) fn known(&self, name: &str) -> Option<Arc<Topic>> {
        let known = self.known.lock();
        known.topics.get(name).filter(|topic| topic.since.elapsed() < KNOWN_FOR).cloned()
    }

    /// What was known of a topic has proved wrong.
    pub(super) fn forget(&self, name: &str) {
        self.known.lock().topics.remove(name);
    }

    /// A topic as the cluster knows it, or what the cluster says instead.
    ///
    /// # Errors
    /// When no broker answers.
    pub(super) async fn topic(&self, name: &str) -> Result<Result<Arc<Topic>, Error>, Error> {
        if let Some(topic) = self.known(name) {
            return Ok(Ok(topic));
        }
        let _turn = self.asking.lock().await;
        if let Some(topic) = self.known(name) {
            return Ok(Ok(topic));
        }
        let (number, link) = self.asked.get(name, Link::is_open, || self.any(name)).await?;
        let answer = match link.ask(messages::metadata(name), name).await {
            Ok(answer) => answer,
            Err(error) => {
                self.asked.forget(number).await;
                return Err(error);
            }
        };
        let read = messages::read_metadata(&answer);
        let found = read.map_err(|error| Error::permanent(name, error.to_string()))?;
        if found.error != 0 {
            let transient = matches!(verdict(found.error), Verdict::Again { .. });
            return Ok(Err(Error { transient, ..Error::permanent(name, messages::named(found.error)) }));
        }
        let topic = Arc::new(Topic::new(found.partitions));
        let mut known = self.known.lock();
        known.take(found.brokers);
        if known.topics.len() >= MAX_TOPICS {
            known.topics.clear();
        }
        known.topics.insert(name.to_owned(), topic.clone());
        Ok(Ok(topic))
    }

    /// A connection to whichever broker answers: those of the settings, and then those that are known besides.
    async fn any(&self, resource: &str) -> Result<Link, Error> {
        let known: Vec<_> = self.known.lock().brokers.values().cloned().collect();
        let mut failure = Error::permanent(resource, "no broker is named");
        for (host, port) in self.properties.servers.iter().chain(&known) {
            match link::open(&self.dialer, &self.properties, (host, *port), resource).await {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A connection to the leader of a partition.
    pub(super) async fn leader(&self, topic: &str, partition: i32) -> Result<Led, Error> {
        let leader = self.topic(topic).await??.leader(partition);
        let without = || Error::transient(topic, format!("partition {partition} has no leader"));
        let leader = leader.ok_or_else(|| {
            self.forget(topic);
            without()
        })?;
        let (address, kept) = self.known.lock().link(leader).ok_or_else(without)?;
        let open = || link::open(&self.dialer, &self.properties, (&address.0, address.1), topic);
        let (number, link) = kept.get(topic, Link::is_open, open).await?;
        Ok(Led { link, kept, number })
    }
}

impl Known {
    /// The brokers as they are now. Connections to addresses that are no broker's any more end.
    fn take(&mut self, brokers: Vec<(i32, String, u16)>) {
        let before = std::mem::take(&mut self.brokers);
        let brokers = brokers.into_iter().take(MAX_BROKERS);
        self.brokers = brokers.map(|(id, host, port)| (id, (host, port))).collect();
        let same = |id: &i32| self.brokers.get(id).is_some_and(|now| before.get(id) == Some(now));
        self.links.retain(|id, _| same(id));
    }

    fn link(&mut self, broker: i32) -> Option<(Address, Arc<Kept<Link>>)> {
        let address = self.brokers.get(&broker)?.clone();
        Some((address, self.links.entry(broker).or_default().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_to_its_partition() {
        let topic = Topic::new(vec![(0, 1), (1, -1), (2, 2)]);
        assert_eq!(topic.partition(Some(1), Some("abc")), Ok(1));
        assert!(topic.partition(Some(3), None).unwrap_err().contains("3 partitions, and no 3"));
        assert!(topic.partition(Some(-1), None).is_err());
        assert_eq!(topic.partition(None, Some("abc")), Ok(479_470_107 % 3));
        let without_key = || topic.partition(None, None).unwrap();
        assert_eq!((without_key(), without_key()), (0, 0), "together until they are sent");
        topic.sent();
        assert_eq!(without_key(), 2, "none goes to one that nobody leads");
        assert!(Topic::new(Vec::new()).partition(None, None).is_err());
        assert!(Topic::new(Vec::new()).partition(None, Some("k")).is_err());
    }

    #[test]
    fn a_broker_that_moved_is_connected_to_again() {
        let mut known = Known::default();
        let at = |host: &str| vec![(1, host.to_owned(), 9092)];
        known.take(at("a"));
        let (_, first) = known.link(1).unwrap();
        known.take(at("a"));
        assert!(Arc::ptr_eq(&known.link(1).unwrap().1, &first));
        known.take(at("b"));
        let (address, second) = known.link(1).unwrap();
        assert_eq!(address, ("b".to_owned(), 9092));
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(known.link(2).is_none());
    }
}
