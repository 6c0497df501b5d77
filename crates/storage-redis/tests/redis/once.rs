//! What must happen once, when those who do it give up halfway, as if they had died: someone else is asked again and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fleethaven_storage::{
    Append, Appended, Completion, DurablePublish, Error, GroupId, Held, Once, OpenGroup, Request,
    RetainedChange, SessionId, SessionStore, Share, Ticket,
};
use fleethaven_storage_redis::{Options, RedisStore};
use fleethaven_types::QoS;

use crate::asking::*;
use crate::faults::options_at;
use crate::server::Server;

const MESSAGES: u64 = 40;

/// Two stores that give up a batch when its connection breaks, while connections break all the time.
struct Broken {
    server: Server,
    stores: [Arc<RedisStore>; 2],
    steady: Arc<RedisStore>,
}

impl Broken {
    fn new() -> Self {
        let server = Server::start(&["--appendfsync", "no"]);
        let options = options_at(&server.url());
        let impatient = || RedisStore::open(Options { patience: Duration::ZERO, ..options.clone() }).unwrap();
        let stores = [impatient(), impatient()];
        Self { steady: RedisStore::open(options).unwrap(), server, stores }
    }

    /// Calls `each` with the numbers of messages and with a lane of one store or the other, again until it says that it is done.
    fn until_done(&self, each: impl Fn(u64, &mut Asking) -> bool + Sync) {
        let (over, attempts) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let before = attempts.load(Ordering::Relaxed);
                    self.server.until("was asked", |_| {
                        attempts.load(Ordering::Relaxed) > before || over.load(Ordering::Relaxed)
                    });
                    self.server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                }
            });
            let mut lanes = self.stores.each_ref().map(|store| Asking::new(&**store));
            for number in 1..=MESSAGES {
                let mut attempt = number as usize;
                while !each(number, &mut lanes[attempt % 2]) {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    attempt += 1;
                }
                attempts.fetch_add(1, Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    fn open_group(&self) -> GroupId {
        let (ticket, scope, key) = (Ticket(0), scope(), "group/t".into());
        let open =
            OpenGroup { ticket, scope, key, bounds: (u64::MAX >> 12, u64::MAX >> 12), retention_secs: 60 };
        self.steady.open_group(open).unwrap()
    }
}

fn to(session: SessionId, share: Option<Share>) -> Append {
    Append { session, qos: QoS::ExactlyOnce, retain: false, identifiers: Vec::new(), share }
}

fn bare(number: u64, queues: Vec<Append>) -> DurablePublish {
    DurablePublish {
        ticket: Ticket(number),
        message: message(number),
        queues,
        rules: Vec::new(),
        retained: RetainedChange::Keep,
        replaces: None,
        once: None,
        fence: None,
    }
}

/// What became of a publish; `None` when nobody knows.
fn outcome(asking: &mut Asking, publish: DurablePublish) -> Option<Result<Vec<Appended>, Error>> {
    match asking.ask(vec![Request::Publish(Box::new(publish))]).remove(0) {
        Completion::Published { result: Err(Error::Unavailable(_)), .. } => None,
        Completion::Published { result, .. } => {
            Some(result.map(|all| all.into_iter().map(|(_, appended)| appended).collect()))
        }
        other => panic!("no answer to a publish: {other:?}"),
    }
}

fn numbers(asking: &mut Asking, session: SessionId, owner: u64) -> Vec<u64> {
    let mut numbers: Vec<_> =
        asking.read(session, token(owner)).iter().map(|queued| number(&queued.message)).collect();
    numbers.sort_unstable();
    numbers
}

fn shares(asking: &mut Asking, group: GroupId) -> Vec<(Held, u64)> {
    let ticket = Ticket(0);
    let request = Request::ClaimShares { ticket, group, max_entries: 1000, max_bytes: usize::MAX };
    match asking.ask(vec![request]).remove(0) {
        Completion::SharesClaimed { result: Ok(claimed), .. } => {
            let share = |queued: &fleethaven_storage::QueuedMessage| {
                (Held::Group(queued.entry), number(&queued.message))
            };
            claimed.entries.iter().map(share).collect()
        }
        other => panic!("no shares: {other:?}"),
    }
}

#[test]
fn a_qos_2_message_is_in_every_queue_once() {
    let broken = Broken::new();
    let mut steady = Asking::new(&*broken.steady);
    let sessions: Vec<_> =
        (1..=5).map(|n| steady.claim(&format!("client {n}"), token(n)).unwrap().session).collect();
    let group = broken.open_group();
    broken.until_done(|number, asking| {
        let queues = sessions.iter().skip(1).map(|session| to(*session, None));
        let share = to(sessions[number as usize % 5], Some(Share::of(group)));
        let nobody = to(SessionId::NOBODY, Some(Share::of(group)));
        let share = if number % 2 == 0 { share } else { nobody };
        let packet_id = (number as u16).try_into().unwrap();
        let once = Some(Once::Received { session: sessions[0], token: token(1), packet_id });
        let publish = DurablePublish { once, ..bare(number, queues.chain([share]).collect()) };
        match outcome(asking, publish) {
            None => false,
            Some(Ok(_) | Err(Error::AlreadyDone)) => true,
            Some(other) => panic!("{other:?}"),
        }
    });
    let mut all: Vec<u64> = shares(&mut steady, group).into_iter().map(|(_, number)| number).collect();
    for (session, owner) in sessions.iter().zip(1..) {
        let mut found = Vec::new();
        for queued in steady.read(*session, token(owner)) {
            let number = number(&queued.message);
            if queued.share.is_some() { all.push(number) } else { found.push(number) }
        }
        let expected = if owner == 1 { 0 } else { MESSAGES };
        assert!(found.iter().copied().eq(1..=expected), "session {owner}: {found:?}");
    }
    all.sort_unstable();
    assert!(all.iter().copied().eq(1..=MESSAGES), "{all:?}");
    let claimed = steady.claim("client 1", token(9)).unwrap();
    assert_eq!(claimed.received.len() as u64, MESSAGES);
}

#[test]
fn a_share_that_changes_places_is_nowhere_twice() {
    let broken = Broken::new();
    let mut steady = Asking::new(&*broken.steady);
    let session = steady.claim("client", token(1)).unwrap().session;
    let group = broken.open_group();
    let nobody = |number| bare(number, vec![to(SessionId::NOBODY, Some(Share::of(group)))]);
    for number in 1..=MESSAGES {
        assert_eq!(outcome(&mut steady, nobody(number)), Some(Ok(vec![Appended::Waiting])));
    }
    let held = shares(&mut steady, group);
    broken.until_done(|number, asking| {
        let (held, of) = held[number as usize - 1];
        let member = if number % 3 == 0 { SessionId::NOBODY } else { session };
        let replaces = Some((group, held));
        let queues = vec![to(member, Some(Share::of(group)))];
        match outcome(asking, DurablePublish { replaces, ..bare(of, queues) }) {
            None => false,
            Some(Ok(_)) => true,
            Some(other) => panic!("{other:?}"),
        }
    });
    // What was given up halfway is delivered by whoever looks after outboxes.
    let outboxes = |server: &Server| server.command(&["KEYS", "*:out"]) == redis::Value::Array(Vec::new());
    broken.server.until("delivered what was left", outboxes);
    let mut all = numbers(&mut steady, session, 1);
    let in_queue = all.len();
    all.extend(shares(&mut steady, group).into_iter().map(|(_, number)| number));
    all.sort_unstable();
    assert!(all.iter().copied().eq(1..=MESSAGES), "{all:?}");
    assert!(in_queue >= (MESSAGES / 2) as usize, "{in_queue}");
}

#[test]
fn a_will_is_published_once() {
    let broken = Broken::new();
    let mut steady = Asking::new(&*broken.steady);
    let queue = steady.claim("queue", token(1)).unwrap().session;
    let wills: Vec<_> = (1..=MESSAGES).map(|n| steady.leave_with_will(&format!("client {n}"), n)).collect();
    let due = broken.steady.due_wills(NOW, 1000).unwrap();
    assert_eq!(due.len(), wills.len());
    broken.until_done(|number, asking| {
        let will = &due[number as usize - 1];
        let once = Some(Once::Will(will.number));
        let publish =
            DurablePublish { message: will.message.clone(), once, ..bare(0, vec![to(queue, None)]) };
        match outcome(asking, publish) {
            None => false,
            Some(Ok(_) | Err(Error::AlreadyDone)) => true,
            Some(other) => panic!("{other:?}"),
        }
    });
    assert!(numbers(&mut steady, queue, 1).into_iter().eq(1..=MESSAGES));
    assert_eq!(broken.steady.due_wills(NOW, 1000), Ok(Vec::new()));
}

/// It kept wills under their sessions.
#[test]
fn a_will_that_an_earlier_version_kept_is_published_once() {
    let server = Server::start(&["--appendfsync", "no"]);
    let store = RedisStore::open(options_at(&server.url())).unwrap();
    let mut asking = Asking::new(&*store);
    let forget = |session: SessionId, field: &str| {
        let keys = server.command(&["KEYS", &format!("*:s:{}", session.0)]);
        let redis::Value::Array(keys) = keys else { panic!("{keys:?}") };
        let [redis::Value::BulkString(key)] = &keys[..] else { panic!("{keys:?}") };
        assert_eq!(server.command(&["HDEL", std::str::from_utf8(key).unwrap(), field]), redis::Value::Int(1));
    };
    let session = asking.connect_with_will("client", 1).session;
    forget(session, "wn");
    asking.leave(session, 1);
    forget(session, "lw");
    let numbers = || {
        let due = store.due_wills(NOW, 10).unwrap();
        due.iter().map(|will| will.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(), [session]);
    let second = asking.leave_with_will("client", 2).unwrap();
    let mut both = numbers();
    both.sort_by_key(|number| *number != session);
    assert_eq!(both, [session, second]);
    for number in both {
        let mut publish = || {
            let once = Some(Once::Will(number));
            outcome(&mut asking, DurablePublish { once, ..bare(0, Vec::new()) })
        };
        assert_eq!(publish(), Some(Ok(Vec::new())));
        assert_eq!(publish(), Some(Err(Error::AlreadyDone)));
    }
    assert_eq!(numbers(), []);
}
