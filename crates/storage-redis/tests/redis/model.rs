//! The same random requests to the store on Redis and to the embedded one: the same answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleethaven_storage::{
    Append, Claim, Completion, ConnectionEnd, Dead, DurablePublish, EntryId, OwnerToken, QueueBounds,
    Request, RetainedChange, RuleRef, SessionId, SessionStore, StoredWill, Subscription, Ticket,
};
use fleethaven_storage_embedded::{self as embedded, EmbeddedStore};
use fleethaven_storage_redis::{Durability, Options, RedisStore};
use fleethaven_types::{Message, QoS, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::asking::{Asking, NOW, message, scope};
use crate::server::Server;

const CLIENTS: usize = 3;

/// One thing done, told without ids: client n stands for the session that its last claim gave.
#[derive(Debug, Clone)]
enum Step {
    Claim { client: usize, clean: bool, expiry: u32, level: u8, strict: bool, will: bool },
    End { client: usize, stale: bool, expiry: u32, sent: u64 },
    Subscribe { client: usize, stale: bool, filter: u8, qos: QoS },
    Unsubscribe { client: usize, filter: u8 },
    Publish { queues: Vec<usize>, topic: u8, bytes: usize, expiry: Option<u64>, retained: u8, rule: bool },
    Trim { client: usize, stale: bool, entries: Vec<u64> },
    Read { client: usize, after: u64, entries: usize, bytes: usize },
    ReadRetained { filter: u8, after: Option<u8>, most: usize },
    Pass { millis: u64 },
    Expire { most: usize },
    Orphans,
    List { after: usize, most: usize },
}

const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "a/b/c/d", "b/c", "$x/y"];
const FILTERS: [&str; 7] = ["#", "a/#", "a/+", "+/b/#", "a/b/c/#", "b/c", "$x/#"];

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let expiry = || prop_oneof![Just(0), Just(5), Just(60), Just(u32::MAX)];
    let claim = (client(), any::<bool>(), expiry(), 4..=5u8, any::<bool>(), any::<bool>()).prop_map(
        |(client, clean, expiry, level, strict, will)| {
            let clean = clean && expiry != 60;
            Step::Claim { client, clean, expiry, level, strict, will }
        },
    );
    let end = (client(), any::<bool>(), expiry(), 0..8u64)
        .prop_map(|(client, stale, expiry, sent)| Step::End { client, stale, expiry, sent });
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)];
    let subscribe = (client(), any::<bool>(), 0..7u8, qos)
        .prop_map(|(client, stale, filter, qos)| Step::Subscribe { client, stale, filter, qos });
    let unsubscribe = (client(), 0..7u8).prop_map(|(client, filter)| Step::Unsubscribe { client, filter });
    let queues = prop::collection::vec(client(), 0..3);
    let lasts = prop::option::of(1..20_000u64);
    let publish = (queues, 0..6u8, 0..40usize, lasts, 0..3u8, any::<bool>()).prop_map(
        |(queues, topic, bytes, expiry, retained, rule)| Step::Publish {
            queues,
            topic,
            bytes,
            expiry,
            retained,
            rule,
        },
    );
    let entries = prop::collection::vec(0..12u64, 0..4);
    let trim = (client(), any::<bool>(), entries).prop_map(|(client, stale, entries)| Step::Trim {
        client,
        stale,
        entries,
    });
    let read = (client(), 0..6u64, 0..6usize, 0..60usize)
        .prop_map(|(client, after, entries, bytes)| Step::Read { client, after, entries, bytes });
    let retained = (0..7u8, prop::option::of(0..6u8), 0..5usize)
        .prop_map(|(filter, after, most)| Step::ReadRetained { filter, after, most });
    prop_oneof![
        4 => claim,
        2 => end,
        2 => subscribe,
        1 => unsubscribe,
        6 => publish,
        3 => trim,
        3 => read,
        2 => retained,
        2 => (0..10_000u64).prop_map(|millis| Step::Pass { millis }),
        1 => (0..4usize).prop_map(|most| Step::Expire { most }),
        1 => Just(Step::Orphans),
        1 => (client(), 0..4usize).prop_map(|(after, most)| Step::List { after, most }),
    ]
}

/// One store and what its answers mean without ids.
struct Side<'a> {
    store: &'a dyn SessionStore,
    asking: Asking,
    time: Arc<AtomicU64>,
    sessions: HashMap<usize, (SessionId, OwnerToken)>,
    /// The number of each session in order of appearance.
    seen: Vec<SessionId>,
    tokens: u64,
    messages: u64,
}

impl<'a> Side<'a> {
    fn new(store: &'a dyn SessionStore, time: Arc<AtomicU64>) -> Self {
        let (sessions, seen) = (HashMap::new(), Vec::new());
        Self { store, asking: Asking::new(store), time, sessions, seen, tokens: 0, messages: 0 }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.time.load(Ordering::Relaxed))
    }

    /// A session told by its number of appearance.
    fn name(&mut self, session: SessionId) -> usize {
        if !self.seen.contains(&session) {
            self.seen.push(session);
        }
        self.seen.iter().position(|seen| *seen == session).expect("it is there")
    }

    fn session(&self, client: usize) -> (SessionId, OwnerToken) {
        let nobody = (SessionId(u64::MAX), OwnerToken { incarnation: 0, counter: 0 });
        self.sessions.get(&client).copied().unwrap_or(nobody)
    }

    fn owned(&self, client: usize, stale: bool) -> (SessionId, OwnerToken) {
        let (session, token) = self.session(client);
        (session, OwnerToken { counter: token.counter - u64::from(stale && token.counter > 0), ..token })
    }

    fn ask(&mut self, request: Request) -> String {
        let completion = self.asking.ask(vec![request]).remove(0);
        self.told(completion)
    }

    fn take(&mut self, step: &Step) -> String {
        match step.clone() {
            Step::Claim { client, clean, expiry, level, strict, will } => {
                self.claim(client, (clean, strict, will), expiry, level)
            }
            Step::End { client, stale, expiry, sent } => {
                let ((session, token), now) = (self.owned(client, stale), self.now());
                let (ticket, sent) = (Ticket(0), EntryId(sent));
                let (session_expiry, will_delay) = (expiry, None);
                let end = ConnectionEnd { ticket, session, token, session_expiry, sent, will_delay, now };
                self.ask(Request::End(Box::new(end)))
            }
            Step::Subscribe { client, stale, filter, qos } => {
                let (session, token) = self.owned(client, stale);
                let subscriptions = vec![subscription(filter, qos)];
                self.ask(Request::Subscribe { ticket: Ticket(0), session, token, subscriptions })
            }
            Step::Unsubscribe { client, filter } => {
                let (session, token) = self.session(client);
                let filters = vec![FILTERS[usize::from(filter)].into()];
                self.ask(Request::Unsubscribe { ticket: Ticket(0), session, token, filters })
            }
            publish @ Step::Publish { .. } => self.publish(publish),
            Step::Trim { client, stale, entries } => {
                let (session, token) = self.owned(client, stale);
                let entries = entries.into_iter().map(EntryId).collect();
                self.asking.submit(vec![Request::Trim { session, token, entries }]);
                String::new()
            }
            Step::Read { client, after, entries, bytes } => {
                let ((session, token), after) = (self.session(client), EntryId(after));
                let (ticket, max_entries, max_bytes) = (Ticket(0), entries, bytes);
                self.ask(Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes })
            }
            Step::ReadRetained { filter, after, most } => {
                let filter = FILTERS[usize::from(filter)].into();
                let after = after.map(|topic| TOPICS[usize::from(topic)].into());
                let (ticket, scope) = (Ticket(0), scope());
                self.ask(Request::ReadRetained { ticket, scope, filter, after, max_entries: most })
            }
            Step::Pass { millis } => {
                self.time.fetch_add(millis, Ordering::Relaxed);
                String::new()
            }
            Step::Expire { most } => self.expire(most),
            Step::Orphans => self.orphans(),
            Step::List { after, most } => self.list(after, most),
        }
    }

    fn claim(&mut self, client: usize, flags: (bool, bool, bool), expiry: u32, level: u8) -> String {
        self.tokens += 1;
        let token = OwnerToken { incarnation: 1, counter: self.tokens * 10 };
        let (clean_start, strict, willed) = flags;
        let claim = Claim {
            ticket: Ticket(0),
            scope: scope(),
            client_id: format!("client {client}").into(),
            token,
            owner_address: self.tokens,
            clean_start,
            session_expiry: expiry,
            protocol_level: level,
            cross_version_resume: !strict,
            queue_bounds: QueueBounds { messages: 6, bytes: 120, secs: None },
            will: willed.then(|| StoredWill { message: message(self.tokens), delay: 7 }),
            principal: Some("principal".into()),
            now: self.now(),
        };
        let completion = self.asking.ask(vec![Request::Claim(Box::new(claim))]).remove(0);
        if let Completion::Claimed { result: Ok(claimed), .. } = &completion {
            self.sessions.insert(client, (claimed.session, token));
        }
        self.told(completion)
    }

    fn publish(&mut self, step: Step) -> String {
        let Step::Publish { queues, topic, bytes, expiry, retained, rule } = step else { panic!("{step:?}") };
        self.messages += 1;
        let payload = format!("{:-<bytes$}", self.messages);
        let change =
            [RetainedChange::Keep, RetainedChange::Set, RetainedChange::Clear][usize::from(retained)];
        let message = Message {
            topic: TOPICS[usize::from(topic)].into(),
            payload: payload.into(),
            expires_at: expiry.map(|after| self.now().after(Duration::from_millis(after))),
            ..Message::clone(&message(self.messages))
        };
        let append = |client| {
            let (session, _) = self.session(client);
            let identifiers = vec![self.messages as u32];
            Append { session, qos: QoS::AtLeastOnce, retain: true, identifiers, share: None }
        };
        let rules = if rule { vec![RuleRef { name: "rule".into(), revision: 3 }] } else { Vec::new() };
        let publish = DurablePublish {
            ticket: Ticket(0),
            message: Arc::new(message),
            queues: queues.into_iter().map(append).collect(),
            rules,
            retained: change,
            replaces: None,
            once: None,
            fence: None,
        };
        self.ask(Request::Publish(Box::new(publish)))
    }

    /// Both may expire those of one moment in any order.
    fn expire(&mut self, most: usize) -> String {
        let all = self.store.expire(self.now(), if most == 0 { 0 } else { 1000 }).expect("answered");
        let mut told: Vec<_> = all.into_iter().map(|record| self.record(record)).collect();
        told.sort();
        format!("{told:?}")
    }

    fn orphans(&self) -> String {
        let mut orphans = self.store.end_orphans(Dead::AllBut(2), self.now()).expect("answered");
        orphans.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        format!("{orphans:?}")
    }

    fn list(&mut self, after: usize, most: usize) -> String {
        let after = self.sessions.get(&after).map_or(0, |(session, _)| session.0);
        let records = self.store.persistent_sessions(after, most).expect("answered");
        let told: Vec<_> = records.into_iter().map(|record| self.record(record)).collect();
        format!("{told:?}")
    }

    fn record(&mut self, record: fleethaven_storage::SessionRecord) -> String {
        let name = self.name(record.session);
        format!("{name} {} {} {:?}", record.client_id, record.live, sorted(record.subscriptions))
    }

    /// An answer with sessions by their names.
    fn told(&mut self, completion: Completion) -> String {
        match completion {
            Completion::Claimed { result: Ok(mut claimed), .. } => {
                let (session, wiped) = (self.name(claimed.session), claimed.wiped.map(|id| self.name(id)));
                (claimed.session, claimed.wiped) = (SessionId(0), None);
                // Wills are not kept beyond their connection on Redis yet.
                claimed.previous.iter_mut().for_each(|previous| previous.will = None);
                claimed.subscriptions = sorted(claimed.subscriptions);
                format!("{session} {wiped:?} {claimed:?}")
            }
            Completion::Published { result: Ok(appended), .. } => {
                format!("{:?}", appended.into_iter().map(|(_, appended)| appended).collect::<Vec<_>>())
            }
            completion => format!("{completion:?}"),
        }
    }
}

fn subscription(filter: u8, qos: QoS) -> Subscription {
    Subscription {
        filter: FILTERS[usize::from(filter)].into(),
        qos,
        no_local: false,
        retain_as_published: true,
        retain_handling: 1,
        identifier: Some(9),
    }
}

fn sorted(mut subscriptions: Vec<Subscription>) -> Vec<Subscription> {
    subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
    subscriptions
}

#[test]
fn both_stores_give_the_same_answers() {
    let server = Server::start(&["--appendfsync", "no"]);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let stores = AtomicU64::new(0);
    let steps = prop::collection::vec(step(), 1..150);
    let outcome = runner.run(&steps, |steps| {
        let clock = |time: &Arc<AtomicU64>| {
            let time = time.clone();
            move || Timestamp(time.load(Ordering::Relaxed))
        };
        let times = [Arc::new(AtomicU64::new(NOW.0)), Arc::new(AtomicU64::new(NOW.0))];
        let dir = tempfile::tempdir().expect("a directory");
        let options = embedded::Options::new(Arc::new(clock(&times[0])));
        let options = embedded::Options { fsync: false, block_cache_bytes: 1 << 20, ..options };
        let model = EmbeddedStore::open(dir.path(), options).expect("opened");
        let prefix = format!("model-{}", stores.fetch_add(1, Ordering::Relaxed));
        let options = Options::new(&server.url(), Durability::Process, Arc::new(clock(&times[1])));
        let store = RedisStore::open(Options { prefix, partitions: 7, ..options }).expect("opened");
        let [model_time, time] = times;
        let (mut expected, mut seen) = (Side::new(&*model, model_time), Side::new(&*store, time));
        for (at, step) in steps.iter().enumerate() {
            prop_assert_eq!(seen.take(step), expected.take(step), "at step {} {:?}", at, step);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
