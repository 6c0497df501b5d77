//! What the suite of the seam cannot see: fsyncs, failures, the lock, bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use fleethaven_storage::{
    Append, Appended, Claim, Completion, ConnectionEnd, DurablePublish, EntryId, Once, OwnerToken,
    QueueBounds, Request, RetainedChange, RuleRef, SessionId, StoredWill, Ticket,
};
use fleethaven_types::{Publisher, QoS};

use super::*;
use crate::Witness;
use crate::record::{MessageRow, WaitingWillRow, encode};

const NOW: Timestamp = Timestamp(1_000_000);

/// Tells through a channel that it was woken.
struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

/// A lane that asks and waits.
struct Asking {
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
}

impl Asking {
    fn new(store: &EmbeddedStore) -> Self {
        let (bell, woken) = mpsc::channel();
        Self { lane: store.lane(Arc::new(Bell(bell))), woken }
    }

    fn ask(&mut self, request: Request) -> Completion {
        self.lane.submit(&mut vec![request]);
        self.wait()
    }

    fn wait(&mut self) -> Completion {
        let mut completions = Vec::new();
        while completions.is_empty() {
            self.woken.recv_timeout(Duration::from_secs(20)).expect("woken in time");
            self.lane.drain(&mut completions);
        }
        completions.remove(0)
    }
}

fn options() -> Options {
    Options::new(Arc::new(|| NOW))
}

fn open(dir: &tempfile::TempDir, options: Options) -> Arc<EmbeddedStore> {
    EmbeddedStore::open(dir.path(), options).unwrap()
}

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn claim(session_expiry: u32, will: Option<StoredWill>) -> Request {
    Request::Claim(Box::new(Claim {
        ticket: Ticket(1),
        scope: scope(),
        client_id: "client".into(),
        token: OwnerToken { incarnation: 1, counter: 1 },
        owner_address: 0,
        clean_start: false,
        session_expiry,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds { messages: 100, bytes: 1 << 20, secs: None },
        will,
        principal: None,
        now: NOW,
    }))
}

fn end(session: u64) -> Request {
    Request::End(Box::new(ConnectionEnd {
        ticket: Ticket(1),
        session: SessionId(session),
        token: OwnerToken { incarnation: 1, counter: 1 },
        session_expiry: 60,
        sent: EntryId::NONE,
        first_sent: Vec::new(),
        will_delay: None,
        departure: None,
        now: NOW,
    }))
}

fn message(qos: QoS) -> Arc<Message> {
    let publisher = Publisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 0 };
    Arc::new(Message {
        topic: "t".into(),
        payload: "payload".into(),
        qos,
        retain: false,
        properties: None,
        received_at: NOW,
        expires_at: None,
        sequence: 0,
        hops: 0,
        publisher: Arc::new(publisher),
    })
}

/// A publish to one queue (0 for none) and to one rule if `ruled`.
fn publish(session: u64, qos: QoS, ruled: bool) -> Request {
    let append =
        Append { session: SessionId(session), qos, retain: false, identifiers: Vec::new(), share: None };
    let rule = RuleRef { name: "rule".into(), revision: 1 };
    Request::Publish(Box::new(DurablePublish {
        ticket: Ticket(2),
        message: message(qos),
        queues: if session == 0 { Vec::new() } else { vec![append] },
        rules: if ruled { vec![rule] } else { Vec::new() },
        retained: RetainedChange::Keep,
        replaces: None,
        once: None,
        fence: None,
    }))
}

fn claimed_session(completion: &Completion) -> u64 {
    let Completion::Claimed { result: Ok(claimed), .. } = completion else { panic!("{completion:?}") };
    claimed.session.0
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn only_what_must_last_is_fsynced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    let mut fsyncs = |request| {
        let before = count(&store.stats().fsyncs);
        lane.ask(request);
        count(&store.stats().fsyncs) - before
    };
    assert_eq!(fsyncs(claim(0, None)), 0, "a clean session");
    assert_eq!(fsyncs(publish(0, QoS::AtMostOnce, true)), 0, "a QoS 0 rule entry");
    assert_eq!(fsyncs(publish(0, QoS::AtLeastOnce, false)), 0, "a publish that nobody keeps");
    assert_eq!(fsyncs(publish(0, QoS::AtLeastOnce, true)), 1, "a QoS 1 rule entry");
    let will = StoredWill { message: message(QoS::AtMostOnce), delay: 0 };
    assert_eq!(fsyncs(claim(0, Some(will))), 1, "a will");
    assert_eq!(fsyncs(claim(60, None)), 1, "a persistent session");
}

#[test]
fn what_waits_in_a_storm_is_written_before_the_store_closes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    let comes = |number: u64| {
        let Request::Claim(mut claim) = claim(0, None) else { panic!() };
        (claim.client_id, claim.token.counter) = (number.to_string().into(), number);
        Request::Claim(claim)
    };
    for number in 0..1000 {
        lane.ask(comes(number));
        lane.ask(comes(number % 10));
    }
    drop((lane, store));
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    for number in 0..1000 {
        let Completion::Claimed { result: Ok(claimed), .. } = lane.ask(comes(number)) else { panic!() };
        let before = if number < 10 { 101 } else { 1 };
        let version = claimed.previous.map(|previous| previous.version_number);
        assert_eq!((version, claimed.version_number), (Some(before), before + 1), "{number}");
    }
}

#[test]
fn a_write_that_fails_makes_the_store_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    let session = claimed_session(&lane.ask(claim(60, None)));
    store.disk.broken.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let answer = lane.ask(publish(session, QoS::AtLeastOnce, false));
        let Completion::Published { result: Err(Error::Unavailable(_)), .. } = answer else {
            panic!("{answer:?}")
        };
    }
    assert!(!store.healthy());
    assert!(matches!(store.client(scope(), "client"), Err(Error::Unavailable(_))));
    assert!(matches!(store.get(scope(), "t"), Err(Error::Unavailable(_))));
    let mut claim = store.claim(1);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(claim.as_mut().poll(&mut context), std::task::Poll::Ready(Err(Error::Unavailable(_)))));
    assert!(!lane.lane.is_congested(), "nothing is left outstanding");
}

#[test]
fn a_directory_is_opened_once_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let store = EmbeddedStore::open(&path, options()).unwrap();
    assert!(matches!(EmbeddedStore::open(&path, options()), Err(crate::Error::Locked(_))));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    drop(store);
    drop(EmbeddedStore::open(&path, options()).unwrap());
}

#[test]
fn a_closed_store_has_done_what_was_submitted_and_refuses_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    lane.lane.submit(&mut vec![claim(60, None)]);
    store.close();
    let session = claimed_session(&lane.wait());
    let answer = lane.ask(publish(session, QoS::AtLeastOnce, false));
    assert!(matches!(answer, Completion::Published { result: Err(Error::Unavailable(_)), .. }));
    assert!(!store.healthy());
    drop(store);
    let store = open(&dir, options());
    let token = OwnerToken { incarnation: 1, counter: 1 };
    let found = store.client(scope(), "client").unwrap().unwrap();
    assert_eq!(found.owner.map(|(token, _)| token), Some(token));
}

#[test]
fn lanes_are_congested_by_what_is_outstanding_and_by_the_rules_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, Options { lane_requests: 1, rule_entries: 4, ..options() });
    let mut lane = Asking::new(&store);
    for _ in 0..3 {
        lane.ask(publish(0, QoS::AtLeastOnce, true));
        assert!(!lane.lane.is_congested());
    }
    lane.ask(publish(0, QoS::AtLeastOnce, true));
    assert!(lane.lane.is_congested(), "four entries wait");
    let mut claim = store.claim(1);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(claimed)) = claim.as_mut().poll(&mut context) else { panic!("none") };
    while lane.woken.try_recv().is_ok() {}
    store.acknowledge(vec![claimed[0].id]).unwrap();
    lane.woken.recv_timeout(Duration::from_secs(20)).expect("woken when there is room again");
    assert!(!lane.lane.is_congested());
}

#[test]
fn memory_only_rule_entries_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, Options { rule_volatile_entries: 2, ..options() });
    let mut lane = Asking::new(&store);
    (0..5).for_each(|_| drop(lane.ask(publish(0, QoS::AtMostOnce, true))));
    assert_eq!((store.depth(), count(&store.stats().rules_dropped)), (2, 3));
}

#[test]
fn a_dead_letter_can_be_driven_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, Options { dead_letters: 2, ..options() });
    let mut lane = Asking::new(&store);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut claim_one = || match store.claim(1).as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(mut entries)) => entries.remove(0),
        other => panic!("{other:?}"),
    };
    for n in 0..3 {
        lane.ask(publish(0, QoS::AtLeastOnce, true));
        store.dead_letter(claim_one().id, &format!("reason {n}")).unwrap();
    }
    let letters = store.dead_letters(None, 10).unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["reason 1", "reason 2"], "the oldest went");
    assert_eq!((letters[0].message.payload.as_ref(), letters[0].at), (&b"payload"[..], NOW));
    assert_eq!(store.redrive(letters[0].id), Ok(true));
    assert_eq!(store.redrive(letters[0].id), Ok(false));
    let again = claim_one();
    assert!(again.id > letters[1].id && again.deliveries == 0);
    assert_eq!(again.rules[0].name, "rule");
    assert_eq!(store.dead_letters(None, 10).unwrap().len(), 1);
}

#[test]
fn overflow_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    let session = claimed_session(&lane.ask(claim(60, None)));
    for n in 1..=101 {
        let answer = lane.ask(publish(session, QoS::AtLeastOnce, false));
        let Completion::Published { result: Ok(appended), .. } = answer else { panic!("{answer:?}") };
        assert_eq!(appended[0].1 == Appended::Overflow, n > 100);
    }
    assert_eq!((count(&store.stats().appended), count(&store.stats().overflowed)), (100, 1));
}

#[test]
fn a_shared_body_is_freed_with_its_last_reference() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, Options { inline_bytes: 0, ..options() });
    let mut lane = Asking::new(&store);
    let session = claimed_session(&lane.ask(claim(60, None)));
    let token = OwnerToken { incarnation: 1, counter: 1 };
    let append = Append {
        session: SessionId(session),
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Vec::new(),
        share: None,
    };
    lane.ask(Request::Publish(Box::new(DurablePublish {
        ticket: Ticket(2),
        message: message(QoS::AtLeastOnce),
        queues: vec![append.clone(), append],
        rules: Vec::new(),
        retained: RetainedChange::Keep,
        replaces: None,
        once: None,
        fence: None,
    })));
    drop(store);
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    for (entry, left) in [(1, 1), (2, 0)] {
        let (session, entries) = (SessionId(session), vec![EntryId(entry)]);
        lane.lane.submit(&mut vec![Request::Trim { session, token, entries }]);
        store.client(scope(), "client").unwrap();
        assert_eq!(store.disk.bodies.keyspace().len().unwrap(), left);
        assert_eq!(
            store.disk.queues.keyspace().prefix(session.0.to_be_bytes()).count(),
            1,
            "the other entry, or the mark"
        );
    }
}

/// It kept the will of a session's last connection under the session's number.
#[test]
fn wills_that_an_earlier_version_kept_are_published_once_or_called_off() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    let session = claimed_session(&lane.ask(claim(60, None)));
    lane.ask(end(session));
    let later = NOW.after(Duration::from_secs(10));
    let waiting = |session: u64, due: Timestamp| {
        let message = Some(MessageRow::from(&*message(QoS::AtLeastOnce)));
        let row = WaitingWillRow { message, due: due.as_millis(), session: None, at_once: false };
        store.disk.wills.keyspace().insert(keys::number(session), encode(&row)).unwrap();
    };
    waiting(session, later);
    waiting(session + 1, NOW);
    drop((lane, store));
    let store = reopen(dir.path()).unwrap();
    let mut lane = Asking::new(&store);
    let due = |at| store.due_wills(at, 10).unwrap().iter().map(|will| will.number.0).collect::<Vec<_>>();
    assert_eq!((due(NOW), due(later)), (vec![session + 1], vec![session + 1, session]));
    assert_eq!(claimed_session(&lane.ask(claim(60, None))), session);
    assert_eq!(due(later), [session + 1], "the session goes on before the delay has passed");
    for published in [true, false] {
        let Request::Publish(publish) = publish(0, QoS::AtLeastOnce, false) else { panic!() };
        let once = Some(Once::Will(SessionId(session + 1)));
        let answer = lane.ask(Request::Publish(Box::new(DurablePublish { once, ..*publish })));
        let Completion::Published { result, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(result.is_ok(), published, "{result:?}");
    }
    assert_eq!(due(later), [0; 0]);
}

/// The newest journal of a store that is closed.
fn journal(dir: &std::path::Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "jnl")).collect();
    journals.sort();
    journals.pop().unwrap()
}

/// Opens when the last one has let go of the directory.
fn reopen(dir: &std::path::Path) -> Result<Arc<EmbeddedStore>, crate::Error> {
    loop {
        match EmbeddedStore::open(dir, options()) {
            Err(crate::Error::Locked(_)) => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// A store with a session and many messages in its queue.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, options());
    let mut lane = Asking::new(&store);
    for number in 0..50 {
        let mut request = claim(3600, None);
        if let Request::Claim(claim) = &mut request {
            claim.client_id = format!("client-{number:02}").as_str().into();
            claim.token.counter = number;
        }
        assert!(matches!(lane.ask(request), Completion::Claimed { .. }));
    }
    store.close();
    dir
}

#[test]
fn no_damage_in_the_journal_goes_unnoticed() {
    let dir = filled();
    let path = journal(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let middle = whole.windows(9).position(|window| window == b"client-25").unwrap();
    for at in (middle..).step_by(7).take(30) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        let opened = std::panic::catch_unwind(|| reopen(dir.path()));
        // The database asserts some of what it reads: a panic at the start is noticed, too.
        assert!(!matches!(opened, Ok(Ok(_))), "byte {at} was not missed");
    }
}

#[test]
fn what_is_missing_is_told_with_the_way_out() {
    let dir = filled();
    let path = journal(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let middle = whole.windows(9).position(|window| window == b"client-25").unwrap();
    // Cut where a record begins in the middle: to the database it looks like the torn end of the last write.
    std::fs::write(&path, &whole[..middle]).unwrap();
    let error = reopen(dir.path()).err().unwrap();
    let note = Witness::path(dir.path());
    assert!(matches!(&error, crate::Error::Missing { first, last, .. } if first < last), "{error}");
    assert!(error.to_string().contains(&note.display().to_string()), "{error}");
    std::fs::remove_file(note).unwrap();
    let sessions = reopen(dir.path()).unwrap().persistent_sessions(0, 100).unwrap();
    assert!((20..50).contains(&sessions.len()), "{}", sessions.len());
}

#[test]
fn a_torn_tail_is_cut_off() {
    let dir = filled();
    let file = std::fs::OpenOptions::new().append(true).open(journal(dir.path())).unwrap();
    std::io::Write::write_all(&mut &file, &[1, 0, 0, 0, 1, 0, 0]).unwrap();
    let sessions = reopen(dir.path()).unwrap().persistent_sessions(0, 100).unwrap();
    assert_eq!(sessions.len(), 50);
}
