//! The same random requests to the store on Redis and to the embedded one: the same answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleethaven_storage::{
    Append, Appended, Claim, Completion, ConnectionEnd, Dead, Departure, DueWill, DurablePublish, EntryId,
    GroupId, Held, Once, OpenGroup, OwnerToken, QueueBounds, Request, RetainedChange, RuleRef, SessionId,
    SessionStore, Share, StoredWill, Subscription, Ticket,
};
use fleethaven_storage_embedded::{self as embedded, EmbeddedStore};
use fleethaven_storage_redis::{Durability, Options, RedisStore};
use fleethaven_types::{Message, QoS, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::asking::{Asking, NOW, message, publish, scope};
use crate::server::Server;

const CLIENTS: usize = 3;

/// One thing done, told without ids: client n stands for the session that its last claim gave.
#[derive(Debug, Clone)]
enum Step {
    Claim {
        client: usize,
        clean: bool,
        expiry: u32,
        level: u8,
        strict: bool,
        will: bool,
        aged: bool,
    },
    End {
        client: usize,
        stale: bool,
        expiry: u32,
        sent: u64,
        will: Option<u32>,
    },
    Subscribe {
        client: usize,
        stale: bool,
        filter: u8,
        qos: QoS,
    },
    Unsubscribe {
        client: usize,
        filter: u8,
    },
    Publish(Publish),
    Release {
        client: usize,
        stale: bool,
        entries: Vec<u64>,
    },
    ForgetReceived {
        client: usize,
        packet_id: u16,
    },
    Tails {
        known: Vec<(usize, u64)>,
    },
    ClaimShares {
        group: usize,
        most: usize,
        bytes: usize,
    },
    Acknowledge {
        share: usize,
    },
    ReleaseShare {
        share: usize,
    },
    /// Gives a share that is held to another member, or to nobody.
    PassOn {
        share: usize,
        to: Option<usize>,
    },
    Discard {
        share: usize,
    },
    Reopen {
        group: usize,
    },
    DueWills,
    PublishWill {
        will: usize,
        queue: usize,
    },
    ForgoWill {
        will: usize,
    },
    WithdrawWill {
        client: usize,
    },
    Trim {
        client: usize,
        stale: bool,
        entries: Vec<u64>,
    },
    Read {
        client: usize,
        after: u64,
        entries: usize,
        bytes: usize,
    },
    ReadRetained {
        filter: u8,
        after: Option<u8>,
        most: usize,
    },
    Pass {
        millis: u64,
    },
    Expire {
        most: usize,
    },
    Orphans,
    List {
        after: usize,
        most: usize,
    },
    Departure {
        client: usize,
    },
}

/// A message and where it goes.
#[derive(Debug, Clone)]
struct Publish {
    queues: Vec<usize>,
    /// Groups with the member that each chose.
    shares: Vec<(usize, Option<usize>)>,
    qos: QoS,
    /// Who received it at QoS 2, under which identifier.
    once: Option<(usize, bool, u16)>,
    topic: u8,
    bytes: usize,
    expiry: Option<u64>,
    retained: u8,
    rule: bool,
}

const GROUPS: usize = 2;
const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "a/b/c/d", "b/c", "$x/y"];
const FILTERS: [&str; 7] = ["#", "a/#", "a/+", "+/b/#", "a/b/c/#", "b/c", "$x/#"];

fn departure(session_expiry: u32, at: Timestamp) -> Departure {
    let thing_name = (session_expiry > 0).then(|| "thing".into());
    Departure { at, reason: "CONNECTION_LOST".into(), thing_name, session_expiry, keep_alive: Some(30) }
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let expiry = || prop_oneof![Just(0), Just(5), Just(60), Just(u32::MAX)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let claim = (client(), any::<bool>(), expiry(), 4..=5u8, flags).prop_map(
        |(client, clean, expiry, level, (strict, will, aged))| {
            let clean = clean && expiry != 60;
            Step::Claim { client, clean, expiry, level, strict, will, aged }
        },
    );
    let end = (client(), any::<bool>(), expiry(), 0..8u64, prop::option::of(0..9u32))
        .prop_map(|(client, stale, expiry, sent, will)| Step::End { client, stale, expiry, sent, will });
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)];
    let subscribe = (client(), any::<bool>(), 0..7u8, qos)
        .prop_map(|(client, stale, filter, qos)| Step::Subscribe { client, stale, filter, qos });
    let unsubscribe = (client(), 0..7u8).prop_map(|(client, filter)| Step::Unsubscribe { client, filter });
    let member = || prop::option::weighted(0.8, client());
    let group = || 0..GROUPS;
    let shares =
        prop::option::of((group(), member())).prop_map(|share| share.into_iter().collect::<Vec<_>>());
    let to =
        (prop::collection::vec(client(), 0..3), shares, prop::option::of((client(), any::<bool>(), 1..4u16)));
    let lasts = prop::option::of(1..20_000u64);
    let publish = (to, any::<bool>(), 0..6u8, 0..40usize, lasts, 0..3u8, any::<bool>()).prop_map(
        |((mut queues, shares, once), exactly, topic, bytes, expiry, retained, rule)| {
            // A session is named once.
            queues.sort_unstable();
            queues.dedup();
            let qos = if exactly { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            Step::Publish(Publish { queues, shares, qos, once, topic, bytes, expiry, retained, rule })
        },
    );
    let share = || 0..8usize;
    let shared = prop_oneof![
        3 => (group(), 0..4usize, 0..60usize)
            .prop_map(|(group, most, bytes)| Step::ClaimShares { group, most, bytes }),
        1 => share().prop_map(|share| Step::Acknowledge { share }),
        1 => share().prop_map(|share| Step::ReleaseShare { share }),
        3 => (share(), member()).prop_map(|(share, to)| Step::PassOn { share, to }),
        1 => share().prop_map(|share| Step::Discard { share }),
        1 => group().prop_map(|group| Step::Reopen { group }),
    ];
    let wills = prop_oneof![
        3 => Just(Step::DueWills),
        3 => (0..4usize, client()).prop_map(|(will, queue)| Step::PublishWill { will, queue }),
        1 => (0..4usize).prop_map(|will| Step::ForgoWill { will }),
        1 => client().prop_map(|client| Step::WithdrawWill { client }),
    ];
    let numbers = || prop::collection::vec(0..12u64, 0..4);
    let exchanges = prop_oneof![
        2 => (client(), any::<bool>(), numbers())
            .prop_map(|(client, stale, entries)| Step::Release { client, stale, entries }),
        1 => (client(), 1..4u16).prop_map(|(client, packet_id)| Step::ForgetReceived { client, packet_id }),
        1 => prop::collection::vec((0..=CLIENTS, 0..8u64), 0..4).prop_map(|known| Step::Tails { known }),
    ];
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
        7 => publish,
        4 => shared,
        3 => wills,
        3 => exchanges,
        3 => trim,
        3 => read,
        2 => retained,
        2 => (0..10_000u64).prop_map(|millis| Step::Pass { millis }),
        1 => (0..4usize).prop_map(|most| Step::Expire { most }),
        1 => Just(Step::Orphans),
        1 => (client(), 0..4usize).prop_map(|(after, most)| Step::List { after, most }),
        2 => client().prop_map(|client| Step::Departure { client }),
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
    groups: Vec<GroupId>,
    /// Shares that somebody holds, by their payload.
    held: BTreeMap<String, (GroupId, Held, Arc<Message>)>,
    /// Wills that wait, by their payload.
    wills: BTreeMap<String, SessionId>,
    tokens: u64,
    messages: u64,
}

impl<'a> Side<'a> {
    fn new(store: &'a dyn SessionStore, time: Arc<AtomicU64>) -> Self {
        let mut side = Self {
            store,
            asking: Asking::new(store),
            time,
            sessions: HashMap::new(),
            seen: Vec::new(),
            groups: Vec::new(),
            held: BTreeMap::new(),
            wills: BTreeMap::new(),
            tokens: 0,
            messages: 0,
        };
        side.groups = (0..GROUPS).map(|group| side.open(group)).collect();
        side
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
        let nobody = (SessionId(u64::MAX << 8), OwnerToken { incarnation: 0, counter: 0 });
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
        let apart = matches!(
            step,
            Step::Expire { .. }
                | Step::Orphans
                | Step::List { .. }
                | Step::Departure { .. }
                | Step::DueWills
                | Step::WithdrawWill { .. }
        );
        if apart {
            // These go by another door: what the lane was told without an answer is to be carried out first.
            self.ask(Request::CompareTails { ticket: Ticket(0), known: Vec::new() });
        }
        match step.clone() {
            Step::Claim { client, clean, expiry, level, strict, will, aged } => {
                self.claim(client, (clean, strict, will, aged), expiry, level)
            }
            Step::End { client, stale, expiry, sent, will } => {
                let ((session, token), now) = (self.owned(client, stale), self.now());
                let (ticket, sent) = (Ticket(0), EntryId(sent));
                let (session_expiry, will_delay) = (expiry, will);
                // Some connections end before they were accepted.
                let departure = Some(departure(expiry, now)).filter(|_| sent.0 < 6);
                let end = ConnectionEnd {
                    ticket,
                    session,
                    token,
                    session_expiry,
                    sent,
                    first_sent: vec![(sent, now)],
                    will_delay,
                    departure,
                    now,
                };
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
            Step::Publish(publish) => self.publish(publish),
            Step::Release { client, stale, entries } => {
                let (session, token) = self.owned(client, stale);
                let entries = entries.into_iter().map(EntryId).collect();
                self.ask(Request::Release { ticket: Ticket(0), session, token, entries })
            }
            Step::ForgetReceived { client, packet_id } => {
                let (session, token) = self.session(client);
                let packet_ids = vec![packet_id.try_into().expect("not 0")];
                self.ask(Request::ForgetReceived { ticket: Ticket(0), session, token, packet_ids })
            }
            Step::Tails { known } => {
                let known = known.into_iter().map(|(client, tail)| (self.session(client).0, EntryId(tail)));
                let known = known.collect();
                self.ask(Request::CompareTails { ticket: Ticket(0), known })
            }
            Step::ClaimShares { group, most, bytes } => self.claim_shares(group, most, bytes),
            Step::Acknowledge { share } => {
                self.with_share(share, |group, entries| Request::AcknowledgeShares { group, entries })
            }
            Step::ReleaseShare { share } => {
                self.with_share(share, |group, entries| Request::ReleaseShares { group, entries })
            }
            Step::PassOn { share, to } => self.pass_on(share, Some(to)),
            Step::Discard { share } => self.pass_on(share, None),
            Step::Reopen { group } => {
                self.asking.submit(vec![Request::CloseGroup { group: self.groups[group], fence: None }]);
                self.groups[group] = self.open(group);
                String::new()
            }
            Step::DueWills => self.due_wills(),
            Step::PublishWill { will, queue } => self.publish_will(will, queue),
            Step::ForgoWill { will } => {
                if let Some((_, will)) = nth(&self.wills, will) {
                    self.asking.submit(vec![Request::WithdrawWill { will }]);
                }
                String::new()
            }
            Step::WithdrawWill { client } => {
                format!("{:?}", self.store.withdraw_will(scope(), &format!("client {client}")))
            }
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
            Step::Departure { client } => self.departure(client),
        }
    }

    fn claim(&mut self, client: usize, flags: (bool, bool, bool, bool), expiry: u32, level: u8) -> String {
        self.tokens += 1;
        let token = OwnerToken { incarnation: 1, counter: self.tokens * 10 };
        let (clean_start, strict, willed, aged) = flags;
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
            queue_bounds: QueueBounds { messages: 6, bytes: 120, secs: aged.then_some(9) },
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

    fn publish(&mut self, publish: Publish) -> String {
        let Publish { queues, shares, qos, once, topic, bytes, expiry, retained, rule } = publish;
        self.messages += 1;
        let payload = format!("{:-<bytes$}", self.messages);
        let change =
            [RetainedChange::Keep, RetainedChange::Set, RetainedChange::Clear][usize::from(retained)];
        let message = Message {
            topic: TOPICS[usize::from(topic)].into(),
            payload: payload.into(),
            qos,
            received_at: self.now(),
            expires_at: expiry.map(|after| self.now().after(Duration::from_millis(after))),
            ..Message::clone(&message(self.messages))
        };
        let append = |client| {
            let (session, _) = self.session(client);
            let identifiers = vec![self.messages as u32];
            Append { session, qos, retain: true, identifiers, share: None }
        };
        let share = |(group, client): (usize, Option<usize>)| Append {
            session: client.map_or(SessionId::NOBODY, |client| self.session(client).0),
            share: Some(Share::of(self.groups[group])),
            ..append(0)
        };
        let once = once.map(|(client, stale, packet_id)| {
            let (session, token) = self.owned(client, stale);
            Once::Received { session, token, packet_id: packet_id.try_into().expect("not 0") }
        });
        let rules = if rule { vec![RuleRef { name: "rule".into(), revision: 3 }] } else { Vec::new() };
        let publish = DurablePublish {
            ticket: Ticket(0),
            message: Arc::new(message),
            queues: queues.into_iter().map(append).chain(shares.into_iter().map(share)).collect(),
            rules,
            retained: change,
            replaces: None,
            once,
            fence: None,
        };
        self.ask(Request::Publish(Box::new(publish)))
    }

    fn open(&mut self, group: usize) -> GroupId {
        let (ticket, scope, key) = (Ticket(0), scope(), format!("{group}/t").into());
        let open = OpenGroup { ticket, scope, key, bounds: (4, 200), retention_secs: 15 };
        match self.asking.ask(vec![Request::OpenGroup(Box::new(open))]).remove(0) {
            Completion::GroupOpened { result, .. } => result.expect("opened"),
            other => panic!("no group: {other:?}"),
        }
    }

    /// Told by payloads: the numbers of a group's entries are the store's own.
    fn claim_shares(&mut self, group: usize, most: usize, bytes: usize) -> String {
        let (ticket, group) = (Ticket(0), self.groups[group]);
        let request = Request::ClaimShares { ticket, group, max_entries: most, max_bytes: bytes };
        let Completion::SharesClaimed { result: Ok(claimed), .. } = self.asking.ask(vec![request]).remove(0)
        else {
            panic!("no shares")
        };
        let mut told = vec![claimed.more.to_string()];
        for queued in claimed.entries {
            told.push(format!("{:?} {} {:?}", queued.qos, queued.retain, queued.message.payload));
            self.hold(group, Held::Group(queued.entry), queued.message);
        }
        format!("{told:?}")
    }

    fn hold(&mut self, group: GroupId, held: Held, message: Arc<Message>) {
        self.held.insert(format!("{:?}", message.payload), (group, held, message));
    }

    /// Tells the store of a share that is held in a group's queue.
    fn with_share(&mut self, share: usize, request: impl Fn(GroupId, Vec<EntryId>) -> Request) -> String {
        if let Some((_, (group, Held::Group(entry), _))) = nth(&self.held, share) {
            self.asking.submit(vec![request(group, vec![entry])]);
        }
        String::new()
    }

    fn pass_on(&mut self, share: usize, to: Option<Option<usize>>) -> String {
        let Some((name, (group, held, message))) = nth(&self.held, share) else { return String::new() };
        let queues = to.map(|to| {
            let session = to.map_or(SessionId::NOBODY, |to| self.session(to).0);
            let (qos, identifiers, share) = (message.qos, Vec::new(), Some(Share::of(group)));
            Append { session, qos, retain: false, identifiers, share }
        });
        // A router gives a share to somebody else.
        if let (Some(append), Held::Member(from, _)) = (&queues, held)
            && append.session == from
        {
            return String::new();
        }
        self.held.remove(&name);
        let publish = DurablePublish {
            ticket: Ticket(0),
            message,
            queues: queues.into_iter().collect(),
            rules: Vec::new(),
            retained: RetainedChange::Keep,
            replaces: Some((group, held)),
            once: None,
            fence: None,
        };
        self.ask(Request::Publish(Box::new(publish)))
    }

    /// In no order: those of one moment come in any.
    fn due_wills(&mut self) -> String {
        let due = self.store.due_wills(self.now(), 1000).expect("answered");
        let mut told: Vec<_> = due.into_iter().map(|will| self.keep(will)).collect();
        told.sort();
        format!("{told:?}")
    }

    fn keep(&mut self, will: DueWill) -> String {
        let name = format!("{:?}", will.message.payload);
        self.wills.insert(name.clone(), will.number);
        name
    }

    fn publish_will(&mut self, will: usize, queue: usize) -> String {
        let Some((_, will)) = nth(&self.wills, will) else { return String::new() };
        self.messages += 1;
        let (session, _) = self.session(queue);
        let Request::Publish(publish) = publish(self.messages, session) else { panic!("a publish") };
        self.ask(Request::Publish(Box::new(DurablePublish { once: Some(Once::Will(will)), ..*publish })))
    }

    /// Both may expire those of one moment in any order.
    fn expire(&mut self, most: usize) -> String {
        let all = self.store.expire(self.now(), if most == 0 { 0 } else { 1000 }).expect("answered");
        let mut told: Vec<_> = all.into_iter().map(|record| self.record(record)).collect();
        told.sort();
        format!("{told:?}")
    }

    fn orphans(&self) -> String {
        let mut orphans =
            self.store.end_orphans(Dead::AllBut(2), "SERVER_ERROR", self.now()).expect("answered");
        orphans.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        format!("{orphans:?}")
    }

    fn departure(&self, client: usize) -> String {
        let left = self.store.departure(scope(), &format!("client {client}")).expect("answered");
        format!("{left:?}")
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

    /// What became of an append, without the store's own numbers; a share is held from now on.
    fn placed(&mut self, append: &Append, appended: Appended, message: &Arc<Message>) -> String {
        let group = append.share.as_ref().map(|share| share.group);
        match (appended, group) {
            (Appended::At { entry, .. }, Some(group)) => {
                self.hold(group, Held::Member(append.session, entry), message.clone());
            }
            (Appended::Held { entry }, Some(group)) => {
                self.hold(group, Held::Group(entry), message.clone());
                return "held".to_owned();
            }
            _ => {}
        }
        format!("{appended:?}")
    }

    /// A group by which of those that there were it is: all are opened in the same order.
    fn group_name(&self, group: Option<GroupId>) -> Option<usize> {
        self.groups.iter().position(|open| Some(*open) == group)
    }

    /// An answer with sessions by their names.
    fn told(&mut self, completion: Completion) -> String {
        match completion {
            Completion::Claimed { result: Ok(mut claimed), .. } => {
                let (session, wiped) = (self.name(claimed.session), claimed.wiped.map(|id| self.name(id)));
                (claimed.session, claimed.wiped) = (SessionId(0), None);
                claimed.will = claimed.will.map(|_| SessionId(0));
                let kept = claimed.previous.as_mut().and_then(|previous| previous.will.take());
                let kept = kept.map(|will| self.keep(will));
                claimed.subscriptions = sorted(claimed.subscriptions);
                format!("{session} {wiped:?} {kept:?} {claimed:?}")
            }
            Completion::Published { result: Ok(appended), message, .. } => {
                let told =
                    appended.into_iter().map(|(append, appended)| self.placed(&append, appended, &message));
                format!("{:?}", told.collect::<Vec<_>>())
            }
            Completion::Published { result: Err(error), .. } => format!("{error:?}"),
            Completion::QueueRead { result: Ok((mut queued, tail)), .. } => {
                let groups: Vec<_> =
                    queued.iter_mut().map(|queued| queued.share.take().map(|share| share.group)).collect();
                let groups: Vec<_> = groups.into_iter().map(|group| self.group_name(group)).collect();
                format!("{queued:?} {groups:?} {tail:?}")
            }
            completion => format!("{completion:?}"),
        }
    }
}

/// One of those there are.
fn nth<V: Clone>(all: &BTreeMap<String, V>, at: usize) -> Option<(String, V)> {
    let at = at % all.len().max(1);
    all.iter().nth(at).map(|(name, value)| (name.clone(), value.clone()))
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
    let mut runner = TestRunner::new(Config {
        cases: 12,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    });
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
        let options =
            Options::new(&server.url(), Durability::Process, Arc::new(clock(&times[1]))).expect("an address");
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
