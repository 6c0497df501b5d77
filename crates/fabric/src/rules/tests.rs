use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fleethaven_registry::shapes::TopicRulePayload;
use fleethaven_registry::{Command, keys};
use futures_core::Stream;
use tokio::sync::mpsc;

use super::*;
use crate::metadata::{BoxFuture, Executed, Position};

/// Events as they are sent.
struct Script(mpsc::UnboundedReceiver<WatchEvent>);

impl Stream for Script {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.0.poll_recv(cx)
    }
}

type Locked<T> = std::sync::Mutex<T>;

/// Answers with the rules it has, and watches as the script says.
struct Scripted {
    rules: Locked<BTreeMap<String, &'static str>>,
    ready: Locked<bool>,
    watch: Locked<Option<Script>>,
    acted: Arc<Locked<u64>>,
}

impl Metadata for Scripted {
    fn execute(&self, _: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        Box::pin(std::future::ready(Err(Error::Unknown)))
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        Box::pin(std::future::ready(self.query_local(query)))
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, Error> {
        if !*self.ready.lock().unwrap() {
            return Err(Error::Unavailable("not ready".to_owned()));
        }
        let QueryKind::GetTopicRule(name) = query.kind else { panic!("only rules are asked for") };
        match self.rules.lock().unwrap().get(&name) {
            Some(sql) => Ok(QueryReply::Rule(Box::new(description(&name, sql)))),
            None => Err(Error::Refused(fleethaven_registry::Error::not_found("rule", &name))),
        }
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn watch(&self, _: Vec<Bytes>, from: Option<Position>) -> WatchStream {
        assert_eq!(from, None);
        Box::pin(self.watch.lock().unwrap().take().unwrap())
    }

    fn register(&self, name: &'static str) -> AppliedMarker {
        assert_eq!(name, "test");
        let acted = self.acted.clone();
        Box::new(move |revision| *acted.lock().unwrap() = revision)
    }

    fn in_force(&self, _: u64) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }
}

fn description(name: &str, sql: &str) -> RuleDescription {
    RuleDescription {
        rule_arn: String::new(),
        rule_name: name.to_owned(),
        payload: TopicRulePayload { sql: sql.to_owned(), ..TopicRulePayload::default() },
        topic_pattern: "a".to_owned(),
        created_at: fleethaven_types::Timestamp(0),
    }
}

struct Bench {
    metadata: Arc<Scripted>,
    events: mpsc::UnboundedSender<WatchEvent>,
    follower: RuleFollower,
}

impl Bench {
    fn new() -> Self {
        let (events, script) = mpsc::unbounded_channel();
        let metadata = Arc::new(Scripted {
            rules: Locked::default(),
            ready: Locked::new(true),
            watch: Locked::new(Some(Script(script))),
            acted: Arc::default(),
        });
        let follower = RuleFollower::new(metadata.clone(), "test");
        Self { metadata, events, follower }
    }

    fn send(&self, events: impl IntoIterator<Item = WatchEvent>) {
        events.into_iter().for_each(|event| self.events.send(event).unwrap());
    }

    fn set(&self, name: &str, sql: &'static str) {
        self.metadata.rules.lock().unwrap().insert(name.to_owned(), sql);
    }

    fn unset(&self, name: &str) {
        self.metadata.rules.lock().unwrap().remove(name);
    }

    /// Names with the statement and revision, or nothing; and the revision of the batch.
    async fn next(&mut self) -> (Vec<(String, Option<(String, u64)>)>, u64) {
        let (changes, revision) = self.follower.next().await.unwrap();
        let told = |change: RuleChange| {
            assert_eq!(change.scope, scope());
            (change.name, change.rule.map(|(rule, revision)| (rule.payload.sql.clone(), revision)))
        };
        (changes.into_iter().map(told).collect(), revision)
    }
}

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

fn put(name: &str, revision: u64) -> WatchEvent {
    WatchEvent::Put { key: keys::rule(scope(), name), value: Bytes::new(), revision }
}

fn delete(name: &str, revision: u64) -> WatchEvent {
    WatchEvent::Delete { key: keys::rule(scope(), name), revision }
}

fn position(revision: u64) -> Position {
    Position { incarnation: 1, group: 0, revision }
}

fn synced(revision: u64) -> WatchEvent {
    WatchEvent::Synced(position(revision))
}

fn progress(revision: u64) -> WatchEvent {
    WatchEvent::Progress(position(revision))
}

fn is(name: &str, sql: &str, revision: u64) -> (String, Option<(String, u64)>) {
    (name.to_owned(), Some((sql.to_owned(), revision)))
}

fn gone(name: &str) -> (String, Option<(String, u64)>) {
    (name.to_owned(), None)
}

#[tokio::test]
async fn the_listing_then_changes_in_batches() {
    let mut bench = Bench::new();
    bench.set("one", "1");
    bench.set("two", "2");
    let thing = WatchEvent::Put { key: keys::thing(scope(), "t"), value: Bytes::new(), revision: 4 };
    bench.send([WatchEvent::Reset, put("one", 3), thing, put("two", 5), synced(5)]);
    assert_eq!(bench.next().await, (vec![is("one", "1", 3), is("two", "2", 5)], 5));
    bench.send([progress(6), put("one", 7), put("one", 8), delete("two", 9), progress(9)]);
    assert_eq!(bench.next().await, (vec![], 6));
    bench.set("one", "1b");
    bench.unset("two");
    assert_eq!(bench.next().await, (vec![is("one", "1b", 8), gone("two")], 9));
    bench.follower.acted(9);
    assert_eq!(*bench.metadata.acted.lock().unwrap(), 9);
    let Bench { mut follower, events, .. } = bench;
    drop(events);
    assert!(follower.next().await.is_none());
}

#[tokio::test]
async fn what_a_new_listing_does_not_name_is_gone() {
    let mut bench = Bench::new();
    for name in ["kept", "lost", "torn"] {
        bench.set(name, "1");
        bench.send([put(name, 1)]);
    }
    bench.send([synced(1)]);
    bench.next().await;
    bench.unset("lost");
    bench.unset("torn");
    // One is deleted before the listing, one while it runs, and the listing begins anew halfway.
    bench.send([WatchEvent::Reset, put("kept", 1), WatchEvent::Reset, put("kept", 1), put("torn", 1)]);
    bench.send([delete("torn", 9), synced(9), progress(9)]);
    assert_eq!(bench.next().await, (vec![is("kept", "1", 1), gone("lost"), gone("torn")], 9));
    assert_eq!(bench.next().await, (vec![], 9));
    bench.send([WatchEvent::Reset, put("kept", 1), synced(9)]);
    assert_eq!(bench.next().await, (vec![is("kept", "1", 1)], 9), "known no longer");
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_not_gone() {
    let mut bench = Bench::new();
    bench.set("one", "1");
    bench.send([put("one", 1), synced(1)]);
    bench.next().await;
    *bench.metadata.ready.lock().unwrap() = false;
    bench.send([put("one", 2), progress(2)]);
    tokio::select! {
        biased;
        told = bench.next() => panic!("{told:?}"),
        () = std::future::ready(()) => {}
    }
    *bench.metadata.ready.lock().unwrap() = true;
    bench.send([progress(3)]);
    assert_eq!(bench.next().await, (vec![is("one", "1", 2)], 3));
}
