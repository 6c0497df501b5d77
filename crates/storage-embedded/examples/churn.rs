//! What clients that come and go cost the store: CPU time by thread, and how much is on disk at the end.
//!
//! `cargo run --release -p fleethaven-storage-embedded --example churn [connections a second [seconds]]`
#![expect(clippy::print_stdout, reason = "the figures are the purpose")]
#![expect(clippy::disallowed_methods, reason = "measures wall time and needs no runtime")]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fleethaven_storage::{
    Claim, Completion, ConnectionEnd, Departure, EntryId, Lane, OwnerToken, QueueBounds, Request, SessionId,
    SessionStore, Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::{Scope, Timestamp};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Connections that are open at a time.
const OPEN: usize = 64;
/// The kernel counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

/// Who comes.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// So many client identifiers in turns; 0: each has its own.
    clients: u64,
    session_expiry: u32,
    /// Connections end by themselves; else the next one takes over.
    leave: bool,
}

const KINDS: [Kind; 3] = [
    Kind { name: "8 clients that take over from themselves", clients: 8, session_expiry: 0, leave: false },
    Kind { name: "ever new clients, clean sessions", clients: 0, session_expiry: 0, leave: true },
    Kind { name: "ever new clients, sessions that last", clients: 0, session_expiry: 3600, leave: true },
];

fn claim(number: u64, kind: Kind, scope: Scope, now: Timestamp) -> Request {
    let name = if kind.clients == 0 { number } else { number % kind.clients };
    Request::Claim(Box::new(Claim {
        ticket: Ticket(number),
        scope,
        client_id: format!("client-{name}").into(),
        token: OwnerToken { incarnation: 1, counter: number },
        owner_address: number,
        clean_start: true,
        session_expiry: kind.session_expiry,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds { messages: 10_000, bytes: 10 << 20, secs: None },
        will: None,
        principal: None,
        now,
    }))
}

fn end(number: u64, session: SessionId, kind: Kind, now: Timestamp) -> Request {
    Request::End(Box::new(ConnectionEnd {
        ticket: Ticket(number),
        session,
        token: OwnerToken { incarnation: 1, counter: number },
        session_expiry: kind.session_expiry,
        will_delay: None,
        now,
        sent: EntryId::NONE,
        first_sent: Vec::new(),
        departure: Some(Departure::of_orphan(now, "CONNECTION_LOST", kind.session_expiry)),
    }))
}

/// One core's lane, with a turn a millisecond.
struct Turns {
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
    open: VecDeque<(u64, SessionId)>,
}

impl Turns {
    fn ask(&mut self, mut requests: Vec<Request>) -> Outcome<()> {
        let mut waiting = requests.len();
        let mut completions = Vec::new();
        self.lane.submit(&mut requests);
        while waiting > 0 {
            self.woken.recv_timeout(Duration::from_secs(60))?;
            self.lane.drain(&mut completions);
            waiting -= completions.len();
            for completion in completions.drain(..) {
                if let Completion::Claimed { ticket, result: Ok(claimed) } = completion {
                    self.open.push_back((ticket.0, claimed.session));
                }
            }
        }
        Ok(())
    }
}

/// Seconds of CPU by the name of the thread.
fn cpu() -> Outcome<BTreeMap<String, f64>> {
    let mut times = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let Some((_, name, rest)) = stat
            .split_once('(')
            .and_then(|(id, rest)| rest.rsplit_once(')').map(|(name, rest)| (id, name, rest)))
        else {
            continue;
        };
        let ticks: f64 = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        *times.entry(name.to_owned()).or_default() += ticks / TICKS_PER_SECOND;
    }
    Ok(times)
}

fn size(dir: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn run(kind: Kind, rate: u64, seconds: u64) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let scope = Scope { account: "123456789012".parse()?, region: "us-east-1".parse()? };
    let started = Instant::now();
    let now = move || Timestamp(1_000_000 + started.elapsed().as_millis() as u64);
    let store = EmbeddedStore::open(dir.path(), Options::new(Arc::new(now)))?;
    let (bell, woken) = mpsc::channel();
    let mut turns = Turns { lane: store.lane(Arc::new(Bell(bell))), woken, open: VecDeque::new() };
    let before = cpu()?;
    let mut number = 0;
    for turn in 1..=seconds * 1000 {
        let due = (turn * rate).div_ceil(1000);
        let mut requests: Vec<_> = (number..due).map(|number| claim(number, kind, scope, now())).collect();
        number = due;
        let leaving = turns.open.len().saturating_sub(OPEN);
        for (number, session) in turns.open.drain(..leaving) {
            if kind.leave {
                requests.push(end(number, session, kind, now()));
            }
        }
        turns.ask(requests)?;
        std::thread::sleep(Duration::from_millis(turn).saturating_sub(started.elapsed()));
    }
    let after = cpu()?;
    println!("{}: {number} connections in {:.1} s", kind.name, started.elapsed().as_secs_f64());
    for name in ["store-commit", "fjall:worker"] {
        let spent = after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0);
        println!("  {name}: {:.2} µs a connection", spent * 1e6 / number as f64);
    }
    println!("  on disk: {:.1} MB", size(dir.path())? as f64 / 1e6);
    store.close();
    Ok(())
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let rate = arguments.next().map_or(Ok(16_000), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;
    KINDS.into_iter().try_for_each(|kind| run(kind, rate, seconds))
}
