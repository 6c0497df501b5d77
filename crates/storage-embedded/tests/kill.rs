//! A process that publishes at QoS 2 is killed at random moments; what it had acknowledged is there, and every message is in
//! its queue, in the rules queue, in the retained store and among the exchanges of its publisher, or in none.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fleethaven_storage::{
    Append, Claim, Claimed, Completion, DurablePublish, EntryId, Lane, Once, OwnerToken, QueueBounds,
    QueuedMessage, Request, RetainedChange, RetainedStore, RuleEntry, RuleQueue, RuleRef, SessionStore,
    Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

const CHILD: &str = "FLEETHAVEN_TEST_STORE";
const NOW: Timestamp = Timestamp(1_000_000);
const ROUNDS: u64 = 12;
const BATCH: u64 = 20;

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

struct Asking {
    store: Arc<EmbeddedStore>,
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
}

impl Asking {
    fn open(dir: &Path) -> Self {
        let store = EmbeddedStore::open(dir, Options::new(Arc::new(|| NOW))).unwrap();
        let (bell, woken) = mpsc::channel();
        let lane = store.lane(Arc::new(Bell(bell)));
        Self { store, lane, woken }
    }

    fn ask(&mut self, mut requests: Vec<Request>) -> Vec<Completion> {
        let count = requests.len();
        self.lane.submit(&mut requests);
        let mut completions = Vec::new();
        while completions.len() < count {
            self.woken.recv_timeout(Duration::from_secs(30)).unwrap();
            self.lane.drain(&mut completions);
        }
        completions
    }

    fn claim(&mut self, token: OwnerToken) -> Claimed {
        let claim = Claim {
            ticket: Ticket(0),
            scope: scope(),
            client_id: "client".into(),
            token,
            owner_address: 0,
            clean_start: false,
            session_expiry: u32::MAX,
            protocol_level: 5,
            cross_version_resume: true,
            queue_bounds: QueueBounds::NONE,
            will: None,
            principal: None,
            now: NOW,
        };
        match self.ask(vec![Request::Claim(Box::new(claim))]).pop() {
            Some(Completion::Claimed { result: Ok(claimed), .. }) => *claimed,
            other => panic!("{other:?}"),
        }
    }
}

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn token() -> OwnerToken {
    OwnerToken { incarnation: u64::from(std::process::id()), counter: 1 }
}

fn publish(number: u64, claimed: &Claimed) -> Request {
    let publisher = Publisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 0 };
    let message = Message {
        topic: "t".into(),
        payload: number.to_string().into(),
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: None,
        received_at: NOW,
        expires_at: None,
        sequence: number,
        hops: 0,
        publisher: Arc::new(publisher),
    };
    let (session, qos) = (claimed.session, QoS::ExactlyOnce);
    let once = Once::Received { session, token: token(), packet_id: EntryId(number).packet_id() };
    Request::Publish(Box::new(DurablePublish {
        ticket: Ticket(number),
        message: Arc::new(message),
        queues: vec![Append { session, qos, retain: false, identifiers: Vec::new(), share: None }],
        rules: vec![RuleRef { name: "rule".into(), revision: 1 }],
        retained: RetainedChange::Set,
        replaces: None,
        once: Some(once),
        fence: None,
    }))
}

/// Numbers that were acknowledged with the last batch: as publisher, the client ends their exchanges; as subscriber, it has
/// taken every other one.
fn go_on(last: u64, claimed: &Claimed) -> [Request; 2] {
    let (session, token) = (claimed.session, token());
    let batch = last.saturating_sub(BATCH - 1)..=last;
    let entries: Vec<EntryId> = batch.map(EntryId).filter(|entry| *entry != EntryId::NONE).collect();
    let packet_ids = entries.iter().map(|entry| entry.packet_id()).collect();
    let entries = entries.into_iter().filter(|entry| entry.0.is_multiple_of(2)).collect();
    [
        Request::ForgetReceived { ticket: Ticket(0), session, token, packet_ids },
        Request::Release { ticket: Ticket(0), session, token, entries },
    ]
}

/// The process that is killed; does nothing when the tests run as such.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let mut asking = Asking::open(Path::new(&dir));
    let claimed = asking.claim(token());
    let mut last = claimed.tail.0;
    loop {
        let mut requests: Vec<_> = (1..=BATCH).map(|n| publish(last + n, &claimed)).collect();
        requests.extend(go_on(last, &claimed));
        for completion in asking.ask(requests) {
            let done = matches!(
                completion,
                Completion::Published { result: Ok(_), .. } | Completion::Done { result: Ok(()), .. }
            );
            assert!(done, "{completion:?}");
        }
        last += BATCH;
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {last}").and_then(|()| out.flush()).unwrap();
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a child write, kills it after `lines` acknowledgements, and tells the last number it acknowledged.
fn kill_after(dir: &Path, lines: u64) -> u64 {
    let mut child = spawn(dir);
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix("acknowledged ").map(|n| n.parse::<u64>().unwrap());
    let mut last = 0;
    for _ in 0..lines {
        last = output.by_ref().find_map(number).expect("the child goes on");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.filter_map(number).last().unwrap_or(last)
}

fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

fn read_queue(asking: &mut Asking, claimed: &Claimed) -> Vec<QueuedMessage> {
    let read = Request::ReadQueue {
        ticket: Ticket(0),
        session: claimed.session,
        token: token(),
        after: EntryId::NONE,
        max_entries: usize::MAX,
        max_bytes: usize::MAX,
    };
    match asking.ask(vec![read]).pop() {
        Some(Completion::QueueRead { result: Ok((read, tail)), .. }) => {
            assert_eq!(tail, claimed.tail);
            read
        }
        other => panic!("{other:?}"),
    }
}

fn claim_rules(store: &EmbeddedStore) -> Vec<RuleEntry> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match store.claim(usize::MAX).as_mut().poll(&mut context) {
        std::task::Poll::Ready(entries) => entries.unwrap(),
        std::task::Poll::Pending => Vec::new(),
    }
}

/// What is in the store, checked to be the same in all three places.
fn check(dir: &Path) -> u64 {
    let mut asking = Asking::open(dir);
    let claimed = asking.claim(token());
    let read = read_queue(&mut asking, &claimed);
    assert!(read.iter().all(|queued| queued.entry.0 == number(&queued.message)));
    let released = claimed.released.iter().map(|entry| entry.0);
    let mut numbers: Vec<u64> = read.iter().map(|queued| queued.entry.0).chain(released).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=claimed.tail.0), "a gap or a repeat");
    let last_batch = (claimed.tail.0 + 1).saturating_sub(BATCH)..=claimed.tail.0;
    let released = 1..*last_batch.start();
    assert!(claimed.released.iter().map(|entry| entry.0).eq(released.filter(|n| n.is_multiple_of(2))));
    let open: Vec<NonZeroU16> = last_batch.filter(|n| *n > 0).map(|n| EntryId(n).packet_id()).collect();
    assert_eq!(claimed.received, open, "recorded with the message, forgotten with the next batch");
    let ruled: Vec<u64> = claim_rules(&asking.store).iter().map(|entry| number(&entry.message)).collect();
    assert_eq!(ruled, numbers);
    let retained = asking.store.get(scope(), "t").unwrap();
    assert_eq!(retained.map(|message| number(&message)), numbers.last().copied());
    claimed.tail.0
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let acknowledged = kill_after(dir.path(), 1 + random % 30);
        let found = check(dir.path());
        assert!(found >= acknowledged, "round {round}: {acknowledged} acknowledged, {found} found");
    }
}
