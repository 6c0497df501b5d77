//! Redis is killed, hangs, loses its connections, fails over: what was acknowledged is there, once, and everything goes
//! on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleethaven_storage::{
    Appended, Completion, EntryId, Error, OwnerToken, Request, RetainedStore, RuleQueue, SessionId,
    SessionStore, Ticket,
};
use fleethaven_storage_redis::{self as storage, Durability, Options, RedisStore};
use fleethaven_types::QoS;

use crate::asking::*;
use crate::server::{Sentinel, Server, free_port};

fn options(server: &Server) -> Options {
    options_at(&server.url())
}

pub(crate) fn options_at(address: &str) -> Options {
    let clock = Arc::new(|| NOW);
    // Long enough for a restart on a busy machine.
    let patience = Duration::from_secs(60);
    let lease = Duration::from_millis(400);
    Options { patience, worker_lease: lease, ..Options::new(address, Durability::Process, clock).unwrap() }
}

fn impatient(server: &Server, durability: Durability) -> Options {
    let (patience, timeout) = (Duration::from_millis(300), Duration::from_millis(200));
    Options { patience, connect_timeout: timeout, answer_timeout: timeout, durability, ..options(server) }
}

/// Repeats what a busy machine may make a store without patience refuse.
fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < until, "never done");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn claim_patiently(asking: &mut Asking) -> SessionId {
    patiently(|| asking.claim("client", token(1)).ok()).session
}

fn publish_patiently(asking: &mut Asking, number: u64, session: SessionId) {
    patiently(|| is_published(&asking.ask(vec![publish(number, session)]).remove(0)).then_some(()));
}

/// Who is connected as "client".
fn owner(store: &RedisStore) -> Result<Option<OwnerToken>, Error> {
    let found = store.client(scope(), "client")?;
    Ok(found.and_then(|found| found.owner).map(|(token, _)| token))
}

fn numbers(asking: &mut Asking, session: SessionId, owner: u64) -> Vec<u64> {
    asking.read(session, token(owner)).iter().map(|queued| number(&queued.message)).collect()
}

/// Claims and acknowledges what is in the rules queue.
fn rule_numbers(store: &RedisStore, count: u64) -> Vec<u64> {
    let mut all = Vec::new();
    while (all.len() as u64) < count {
        let entries = wait(store.claim(1000)).unwrap();
        all.extend(entries.iter().map(|entry| number(&entry.message)));
        store.acknowledge(entries.iter().map(|entry| entry.id).collect()).unwrap();
    }
    all
}

/// Publishes batches until told to stop; how many messages were acknowledged.
fn publish_until(stop: &AtomicBool, store: &RedisStore, session: SessionId) -> u64 {
    let (mut asking, mut last) = (Asking::new(store), 0);
    while !stop.load(Ordering::Relaxed) {
        let answers = asking.ask((1..=20).map(|n| publish(last + n, session)).collect());
        assert!(answers.iter().all(is_published), "{answers:?}");
        last += 20;
    }
    last
}

/// Publishes while `disturb` does its worst; then every message must be in each place exactly once, in order.
fn nothing_lost_or_doubled(server: &mut Server, disturb: impl FnOnce(&mut Server, &RedisStore)) {
    nothing_lost(options(server), |store| disturb(server, store));
}

pub(crate) fn nothing_lost(options: Options, disturb: impl FnOnce(&RedisStore)) {
    let store = RedisStore::open(options).unwrap();
    let session = Asking::new(&*store).claim("client", token(1)).unwrap().session;
    let stop = AtomicBool::new(false);
    let published = std::thread::scope(|threads| {
        let publisher = threads.spawn(|| publish_until(&stop, &store, session));
        let stopping = Stopping(&stop);
        disturb(&store);
        drop(stopping);
        publisher.join().expect("the publisher goes on")
    });
    let mut asking = Asking::new(&*store);
    let kept = numbers(&mut asking, session, 1);
    assert!(kept.iter().copied().eq(1..=published), "of {published}: {kept:?}");
    assert_eq!(store.depth(), published);
    assert!(rule_numbers(&store, published).into_iter().eq(1..=published));
    assert_eq!(number(&store.get(scope(), "t").unwrap().unwrap()), published);
}

/// Stops the publisher, also when the test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until so many more batches have been answered.
pub(crate) fn await_batches(server: &Server, store: &RedisStore, more: u64) {
    let wanted = store.stats().batches.load(Ordering::Relaxed) + more;
    server.until("answered", |_| store.stats().batches.load(Ordering::Relaxed) >= wanted);
}

#[test]
fn redis_is_killed_again_and_again() {
    let mut server = Server::start(&[]);
    nothing_lost_or_doubled(&mut server, |server, store| {
        for round in 0..6 {
            await_batches(server, store, 3 + round);
            server.kill();
            server.restart();
        }
        await_batches(server, store, 1);
    });
}

#[test]
fn connections_break_again_and_again() {
    let mut server = Server::start(&[]);
    nothing_lost_or_doubled(&mut server, |server, store| {
        for _ in 0..100 {
            server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            await_batches(server, store, 1);
        }
        assert!(store.stats().connections.load(Ordering::Relaxed) > 50);
    });
}

#[test]
fn the_script_is_forgotten() {
    let mut server = Server::start(&[]);
    nothing_lost_or_doubled(&mut server, |server, store| {
        for _ in 0..10 {
            server.command(&["SCRIPT", "FLUSH"]);
            await_batches(server, store, 2);
        }
    });
}

/// Two gateways claim one client id while answers are lost: each claim happens once, and hands over from the one before.
#[test]
fn claims_happen_once_whatever_answers_are_lost() {
    const EACH: u64 = 150;
    let server = Server::start(&[]);
    let store = RedisStore::open(options(&server)).unwrap();
    let stop = AtomicBool::new(false);
    let claim_all = |first: u64| {
        let mut asking = Asking::new(&*store);
        let claim = |n| (asking.claim("client", token(first + n)).unwrap(), token(first + n));
        (0..EACH).map(claim).collect::<Vec<_>>()
    };
    let mut claims: Vec<_> = std::thread::scope(|threads| {
        let gateways = [threads.spawn(|| claim_all(1)), threads.spawn(|| claim_all(100_001))];
        let killer = threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                let answered = || store.stats().batches.load(Ordering::Relaxed);
                let before = answered();
                server.until("answered", |_| answered() > before || stop.load(Ordering::Relaxed));
            }
        });
        let claims = gateways.into_iter().flat_map(|gateway| gateway.join().expect("it goes on")).collect();
        stop.store(true, Ordering::Relaxed);
        killer.join().expect("it goes on");
        claims
    });
    claims.sort_by_key(|(claimed, _)| claimed.version_number);
    assert!(claims.iter().map(|(claimed, _)| claimed.version_number).eq(1..=2 * EACH));
    for pair in claims.windows(2) {
        let [(_, before), (after, _)] = pair else { panic!("a pair") };
        assert_eq!(after.previous.as_ref().map(|previous| previous.token), Some(*before));
    }
    let last = claims.last().map(|(_, token)| *token);
    assert_eq!(owner(&store), Ok(last));
}

#[test]
fn a_redis_that_hangs_keeps_nobody_waiting() {
    let server = Server::start(&[]);
    let store = RedisStore::open(impatient(&server, Durability::Process)).unwrap();
    let mut asking = Asking::new(&*store);
    let session = claim_patiently(&mut asking);
    server.signal("-STOP");
    for n in 0..3 {
        let answer = asking.ask(vec![publish(n, session)]).remove(0);
        assert!(
            matches!(&answer, Completion::Published { result: Err(Error::Unavailable(_)), .. }),
            "{answer:?}"
        );
    }
    assert!(matches!(asking.claim("other", token(2)), Err(Error::Unavailable(_))));
    assert!(matches!(owner(&store), Err(Error::Unavailable(_))));
    assert!(!store.healthy());
    server.signal("-CONT");
    server.until("came back", |_| owner(&store) == Ok(Some(token(1))));
    publish_patiently(&mut asking, 100, session);
    assert!(store.healthy());
    assert_eq!(numbers(&mut asking, session, 1).last(), Some(&100));
}

/// What an event loop may ask is answered at once: whoever had to wait would be told that Redis is away.
#[test]
fn what_an_event_loop_asks_waits_for_nobody() {
    let server = Server::start(&[]);
    let store = RedisStore::open(Options { lane_requests: 50, ..options(&server) }).unwrap();
    let mut asking = Asking::new(&*store);
    let session = asking.claim("client", token(1)).unwrap().session;
    assert!(asking.ask((1..=3).map(|n| publish(n, session)).collect()).iter().all(is_published));
    let claimed = wait(store.claim(2)).unwrap();
    server.until("told of what is retained", |_| store.count(scope()) == 1 && store.holds(scope(), "t"));
    server.signal("-STOP");
    assert_eq!(store.acknowledge(vec![claimed[0].id, claimed[0].id]), Ok(()));
    assert_eq!(store.dead_letter(claimed[1].id, "poison"), Ok(()));
    assert_eq!((store.depth(), store.count(scope())), (1, 1));
    assert!(store.holds(scope(), "t") && !store.holds(scope(), "new"));
    assert!(!asking.is_congested());
    asking.submit((4..=60).map(|n| publish(n, session)).collect());
    assert!(asking.is_congested(), "its caller is to stop reading from publishers");
    server.signal("-CONT");
    assert!(asking.answers(57).iter().all(is_published), "patience outlasts it");
    assert!(!asking.is_congested());
    let letters = store.dead_letters(None, 10).unwrap();
    assert_eq!(letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), [claimed[1].id]);
    // Neither of the two waits for what it asks: it is known when it is done.
    server.until("rid of what was acknowledged and buried", |_| store.depth() == 58);
}

#[test]
fn claims_of_rules_wait_through_an_outage() {
    let mut server = Server::start(&[]);
    let store = RedisStore::open(options(&server)).unwrap();
    let mut asking = Asking::new(&*store);
    let session = asking.claim("client", token(1)).unwrap().session;
    std::thread::scope(|threads| {
        let worker = threads.spawn(|| wait(store.claim(1)).unwrap());
        server.kill();
        server.restart();
        assert!(is_published(&asking.ask(vec![publish(7, session)]).remove(0)));
        assert_eq!(number(&worker.join().expect("it claims").remove(0).message), 7);
    });
}

#[test]
fn a_dead_workers_claims_are_taken_over_and_a_living_ones_are_not() {
    let server = Server::start(&[]);
    let open = || RedisStore::open(options(&server)).unwrap();
    let (first, second, third) = (open(), open(), open());
    let mut asking = Asking::new(&*third);
    let session = asking.claim("client", token(1)).unwrap().session;
    asking.ask((1..=4).map(|n| publish(n, session)).collect());
    let of = |store: &RedisStore, max| {
        let entries = wait(store.claim(max)).unwrap();
        entries.iter().map(|entry| (number(&entry.message), entry.deliveries)).collect::<Vec<_>>()
    };
    assert_eq!(of(&first, 2), [(1, 0), (2, 0)]);
    assert_eq!(of(&second, 1), [(3, 0)]);
    first.close();
    assert_eq!(of(&second, 3), [(1, 1), (2, 1), (4, 0)], "given up at once");
    drop(second);
    let mut taken = Vec::new();
    while taken.len() < 4 {
        taken.extend(of(&third, 10));
    }
    assert_eq!(taken, [(1, 2), (2, 2), (3, 1), (4, 1)], "after its lease");
}

/// A primary at `port` and a replica that follows it.
fn pair(port: &str) -> (Server, Server) {
    let primary =
        Server::start(&["--port", port, "--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", port, "--min-replicas-to-write", "0"]);
    let follows = |replica: &Server| info(replica, "replication").contains("master_link_status:up");
    replica.until("followed its primary", follows);
    (primary, replica)
}

fn info(server: &Server, section: &str) -> String {
    redis::from_redis_value(server.command(&["INFO", section])).unwrap()
}

#[test]
fn a_replica_that_takes_over_has_everything_and_gives_out_no_id_twice() {
    let (mut primary, replica) = pair(&free_port());
    let durability = Durability::Replica { replicas: 1 };
    let store = RedisStore::open(Options { durability, ..options(&primary) }).unwrap();
    let mut asking = Asking::new(&*store);
    let session = asking.claim("client", token(1)).unwrap().session;
    assert!(asking.ask((1..=50).map(|n| publish(n, session)).collect()).iter().all(is_published));
    primary.kill();
    drop((asking, store));

    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let store = RedisStore::open(options(&replica)).unwrap();
    let mut asking = Asking::new(&*store);
    assert_eq!(asking.claim("client", token(2)).unwrap().session, session);
    assert!(numbers(&mut asking, session, 2).into_iter().eq(1..=50));
    let answer = asking.ask(vec![publish(51, session)]).remove(0);
    let Completion::Published { result: Ok(appended), .. } = answer else { panic!("{answer:?}") };
    let Appended::At { entry, previous } = appended[0].1 else { panic!("{appended:?}") };
    assert_eq!(previous, EntryId(50));
    assert_eq!(
        entry,
        EntryId((1 << 48) | 51),
        "entry 51 of the dead primary, had there been one, was another"
    );

    // A gateway that had got entry 51 from the dead primary acknowledges that one, not this.
    let trim = |entry| Request::Trim { session, token: token(2), entries: vec![entry] };
    asking.submit(vec![trim(EntryId(51)), trim(EntryId(1))]);
    assert!(numbers(&mut asking, session, 2).into_iter().eq(2..=51));
    asking.submit(vec![trim(entry)]);
    assert!(numbers(&mut asking, session, 2).into_iter().eq(2..=50));
}

/// Sentinel promotes the replica; a store that asks it where the primary is goes on there, with the same batch.
#[test]
fn a_failover_by_sentinel_is_followed() {
    let (port, own, sentinel) = (free_port(), free_port(), free_port());
    let mut primary = Server::start(&["--port", &port, "--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--port", &own, "--replicaof", "127.0.0.1", &port]);
    let sentinel = Sentinel::of(&port, &sentinel);
    replica.until("was found by Sentinel", |replica| {
        info(replica, "replication").contains("master_link_status:up") && sentinel.knows_replicas(1)
    });
    let place: storage::Server = sentinel.address().parse().unwrap();
    let store = RedisStore::open(Options { server: place, ..options(&primary) }).unwrap();
    let mut asking = Asking::new(&*store);
    let session = asking.claim("client", token(1)).unwrap().session;
    assert!(asking.ask((1..=50).map(|n| publish(n, session)).collect()).iter().all(is_published));
    replica.until("had everything", |replica| {
        let queues = replica.command(&["KEYS", "*:q:*"]);
        let keys: Vec<String> = redis::from_redis_value(queues).unwrap();
        let length = |key: &String| redis::from_redis_value::<u64>(replica.command(&["XLEN", key])).unwrap();
        keys.iter().map(length).sum::<u64>() == 50
    });
    primary.kill();
    assert!(asking.ask((51..=100).map(|n| publish(n, session)).collect()).iter().all(is_published));
    assert!(numbers(&mut asking, session, 1).into_iter().eq(1..=100));
    assert!(info(&replica, "replication").contains("role:master"));
}

#[test]
fn without_the_replica_nothing_is_acknowledged() {
    let (primary, replica) = pair(&free_port());
    let durability = Durability::Replica { replicas: 1 };
    let store = RedisStore::open(impatient(&primary, durability)).unwrap();
    let mut asking = Asking::new(&*store);
    let session = claim_patiently(&mut asking);
    replica.signal("-STOP");
    let answer = asking.ask(vec![publish(1, session)]).remove(0);
    assert!(!is_published(&answer), "the primary has it, the replica has not");
    replica.signal("-CONT");
    publish_patiently(&mut asking, 2, session);
    let read = Request::ReadRetained {
        ticket: Ticket(0),
        scope: scope(),
        filter: "#".into(),
        after: None,
        max_entries: 1,
    };
    assert!(matches!(asking.ask(vec![read]).remove(0), Completion::Retained { result: Ok(_), .. }));
}

/// As [`publish`], at QoS 2.
fn publish_at_qos_2(number: u64, session: SessionId) -> Request {
    match publish(number, session) {
        Request::Publish(mut publish) => {
            publish.queues.iter_mut().for_each(|append| append.qos = QoS::ExactlyOnce);
            Request::Publish(publish)
        }
        other => panic!("no publish: {other:?}"),
    }
}

fn read_above(session: SessionId, after: u64) -> Request {
    let (ticket, token, after) = (Ticket(0), token(1), EntryId(after));
    Request::ReadQueue { ticket, session, token, after, max_entries: 10, max_bytes: 1000 }
}

/// The entries that a read found.
fn found(answer: Completion) -> Result<Vec<u64>, Error> {
    match answer {
        Completion::QueueRead { result, .. } => {
            result.map(|(read, _)| read.iter().map(|queued| queued.entry.0).collect())
        }
        other => panic!("no answer to a read: {other:?}"),
    }
}

/// Until the replica has it, a failover would lose it, while its client would keep the packet identifier: see `reading.rs`.
#[test]
fn what_the_replica_has_not_is_not_sent_at_qos_2() {
    let (primary, replica) = pair(&free_port());
    let durability = Durability::Replica { replicas: 1 };
    let store = RedisStore::open(impatient(&primary, durability)).unwrap();
    let (mut writing, mut reading) = (Asking::new(&*store), Asking::new(&*store));
    let session = claim_patiently(&mut writing);
    let mut read = |after| found(reading.ask(vec![read_above(session, after)]).remove(0));
    replica.signal("-STOP");
    assert!(!is_published(&writing.ask(vec![publish(1, session)]).remove(0)), "the replica has it not");
    assert_eq!(patiently(|| read(0).ok()), [1], "at QoS 1 that costs a repeat");
    assert!(!is_published(&writing.ask(vec![publish_at_qos_2(2, session)]).remove(0)));
    assert_eq!(patiently(|| read(2).ok()), [0; 0], "the primary answers");
    let early = read(0);
    assert!(matches!(early, Err(Error::Unavailable(_))), "{early:?}");
    replica.signal("-CONT");
    assert_eq!(patiently(|| read(0).ok()), [1, 2]);
}

/// As where another primary has taken over that never had it.
#[test]
fn what_is_gone_when_it_is_to_be_confirmed_is_read_anew() {
    let (primary, replica) = pair(&free_port());
    let (durability, answer_timeout) = (Durability::Replica { replicas: 1 }, Duration::from_millis(400));
    let store = RedisStore::open(Options { durability, answer_timeout, ..options(&primary) }).unwrap();
    let (mut writing, mut reading) = (Asking::new(&*store), Asking::new(&*store));
    let session = writing.claim("client", token(1)).unwrap().session;
    let both = writing.ask((1..=2).map(|number| publish_at_qos_2(number, session)).collect());
    assert!(both.iter().all(is_published));
    let replays = || store.stats().replays.load(Ordering::Relaxed);
    replica.signal("-STOP");
    let before = replays();
    reading.submit(vec![read_above(session, 0)]);
    primary.until("was asked again to confirm", |_| replays() > before);
    let queues: Vec<String> = redis::from_redis_value(primary.command(&["KEYS", "*:q:*"])).unwrap();
    primary.command(&["XDEL", &queues[0], "0-2"]);
    // What was asked before that is over by then.
    let after = replays();
    primary.until("was asked since", |_| replays() > after + 1);
    replica.signal("-CONT");
    assert_eq!(found(reading.answers(1).remove(0)), Ok(vec![1]));
}

#[test]
fn a_server_that_cannot_keep_the_promise_is_refused() {
    let refusal = |settings: &[&str], durability| {
        let server = Server::start(settings);
        let opened = RedisStore::open(Options { durability, ..options(&server) });
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let process = refusal(&["--appendonly", "no"], Durability::Process);
    assert!(process.contains("set 'appendonly yes'"), "{process}");
    let replica = refusal(&[], Durability::Replica { replicas: 1 });
    assert!(replica.contains("set 'min-replicas-to-write 1'"), "{replica}");
    let evicting = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let evicting = refusal(&evicting, Durability::Process);
    assert!(evicting.contains("noeviction"), "{evicting}");
}

/// On a server with WAITAOF messages are acknowledged by it; on an older one the level is refused.
#[test]
fn fsync_is_confirmed_or_refused() {
    let older = Server::start(&["--appendfsync", "everysec"]);
    let durability = Durability::Fsync { replicas: 0 };
    match RedisStore::open(Options { durability, ..options(&older) }) {
        Ok(store) => fsyncs(&store),
        Err(error) => assert!(error.to_string().contains("WAITAOF"), "{error}"),
    }
    let Some(newer) = Server::newer(&["--appendfsync", "everysec"]) else { return };
    fsyncs(&RedisStore::open(Options { durability, ..options(&newer) }).unwrap());
}

/// Publishes, and is told that it is fsynced.
fn fsyncs(store: &RedisStore) {
    let mut asking = Asking::new(store);
    let session = asking.claim("client", token(1)).unwrap().session;
    assert!(asking.ask((1..=50).map(|n| publish(n, session)).collect()).iter().all(is_published));
    assert!(numbers(&mut asking, session, 1).into_iter().eq(1..=50));
}

/// At the level `fsync` with a replica that one must have fsynced it, too.
#[test]
fn without_the_replicas_fsync_nothing_is_acknowledged() {
    let port = free_port();
    let Some(primary) = Server::newer(&["--port", &port, "--repl-diskless-sync-delay", "0"]) else { return };
    let Some(replica) = Server::newer(&["--replicaof", "127.0.0.1", &port]) else { return };
    replica.until("followed its primary", |replica| {
        info(replica, "replication").contains("master_link_status:up")
    });
    let store = RedisStore::open(impatient(&primary, Durability::Fsync { replicas: 1 })).unwrap();
    let mut asking = Asking::new(&*store);
    let session = claim_patiently(&mut asking);
    publish_patiently(&mut asking, 1, session);
    replica.signal("-STOP");
    assert!(
        !is_published(&asking.ask(vec![publish(2, session)]).remove(0)),
        "the replica has not fsynced it"
    );
    replica.signal("-CONT");
    publish_patiently(&mut asking, 3, session);
}

#[test]
fn a_full_memory_refuses_without_half_measures_and_recovers() {
    let server = Server::start(&[]);
    let store = RedisStore::open(impatient(&server, Durability::Process)).unwrap();
    let mut asking = Asking::new(&*store);
    let session = claim_patiently(&mut asking);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(!is_published(&asking.ask(vec![publish(1, session)]).remove(0)));
    assert_eq!(numbers(&mut asking, session, 1), Vec::<u64>::new());
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    publish_patiently(&mut asking, 2, session);
    assert_eq!(numbers(&mut asking, session, 1).last(), Some(&2));
}

#[test]
fn data_of_another_layout_is_refused() {
    let server = Server::start(&[]);
    drop(RedisStore::open(options(&server)).unwrap());
    let error = RedisStore::open(Options { partitions: 16, ..options(&server) }).err().unwrap();
    assert!(error.to_string().contains("partitions: 64"), "{error}");
}
