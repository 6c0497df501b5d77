//! How many messages a second one lane appends durably, and how long each takes: 64-byte payloads, one queue each, trimmed as soon
//! as they are confirmed, as by clients that acknowledge at once.
//!
//! `cargo run --release -p fleethaven-storage-redis --example redis_append_rate ADDRESS process|replica [SECONDS [OUTSTANDING]]`
#![expect(clippy::print_stdout, reason = "the figures are the purpose")]
#![expect(clippy::disallowed_methods, reason = "measures wall time and needs no runtime")]

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fleethaven_storage::{
    Append, Appended, Claim, Completion, DurablePublish, Lane, OwnerToken, QueueBounds, Request,
    RetainedChange, SessionId, SessionStore, Ticket, Wake,
};
use fleethaven_storage_redis::{Durability, Options, RedisStore};
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const SESSIONS: u64 = 100;
const TOKEN: OwnerToken = OwnerToken { incarnation: 1, counter: 1 };

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

struct Load {
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
    message: Arc<Message>,
    sessions: Vec<SessionId>,
    completions: Vec<Completion>,
    /// When each outstanding or confirmed publish was submitted.
    submitted: Vec<Instant>,
    latencies: Vec<Duration>,
}

impl Load {
    fn open(store: &RedisStore) -> Outcome<Self> {
        let (bell, woken) = mpsc::channel();
        let lane = store.lane(Arc::new(Bell(bell)));
        let scope = Scope { account: "123456789012".parse()?, region: "us-east-1".parse()? };
        let (sessions, completions) = (Vec::new(), Vec::new());
        let (submitted, latencies) = (Vec::new(), Vec::new());
        let message = message(scope);
        let mut load = Self { lane, woken, message, sessions, completions, submitted, latencies };
        load.lane.submit(&mut (0..SESSIONS).map(|n| Request::Claim(Box::new(claim(scope, n)))).collect());
        while load.sessions.len() < SESSIONS as usize {
            load.wait()?;
            for completion in load.completions.drain(..) {
                if let Completion::Claimed { result, .. } = completion {
                    load.sessions.push(result?.session);
                }
            }
        }
        Ok(load)
    }

    fn wait(&mut self) -> Outcome<()> {
        self.woken.recv_timeout(Duration::from_secs(30))?;
        self.lane.drain(&mut self.completions);
        Ok(())
    }

    fn publish(&mut self) -> Request {
        let number = self.submitted.len();
        self.submitted.push(Instant::now());
        let session = self.sessions.get(number % self.sessions.len()).copied().unwrap_or(SessionId::NOBODY);
        let qos = QoS::AtLeastOnce;
        Request::Publish(Box::new(DurablePublish {
            ticket: Ticket(number as u64),
            message: self.message.clone(),
            queues: vec![Append { session, qos, retain: false, identifiers: Vec::new(), share: None }],
            rules: Vec::new(),
            retained: RetainedChange::Keep,
            replaces: None,
            once: None,
            fence: None,
        }))
    }

    /// Keeps so many messages outstanding.
    fn run(&mut self, outstanding: usize, duration: Duration) -> Outcome<()> {
        let began = Instant::now();
        let mut requests: Vec<Request> = (0..outstanding).map(|_| self.publish()).collect();
        while began.elapsed() < duration {
            self.lane.submit(&mut requests);
            self.wait()?;
            for completion in std::mem::take(&mut self.completions) {
                let Completion::Published { ticket, result, .. } = completion else { continue };
                for (append, appended) in result? {
                    let Appended::At { entry, .. } = appended else { continue };
                    let (session, token) = (append.session, TOKEN);
                    requests.push(Request::Trim { session, token, entries: vec![entry] });
                }
                self.latencies.extend(self.submitted.get(ticket.0 as usize).map(Instant::elapsed));
                requests.push(self.publish());
            }
        }
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("the address of a Redis is missing")?;
    let durability = match arguments.next().as_deref() {
        Some("replica") => Durability::Replica { replicas: 1 },
        _ => Durability::Process,
    };
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let outstanding = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let store = RedisStore::open(Options::new(&address, durability, Arc::new(|| Timestamp(1)))?)?;
    let mut load = Load::open(&store)?;
    load.run(outstanding, Duration::from_secs(seconds))?;
    load.latencies.sort_unstable();
    let at =
        |share: usize| load.latencies.get(load.latencies.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{durability:?}: {} appended and trimmed a second, p50 {:.1} ms, p99 {:.1} ms, {outstanding} outstanding",
        load.latencies.len() as u64 / seconds,
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3
    );
    Ok(())
}

fn claim(scope: Scope, number: u64) -> Claim {
    Claim {
        ticket: Ticket(0),
        scope,
        client_id: format!("client {number}").into(),
        token: TOKEN,
        owner_address: 0,
        clean_start: true,
        session_expiry: u32::MAX,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds::NONE,
        will: None,
        principal: None,
        now: Timestamp(1),
    }
}

fn message(scope: Scope) -> Arc<Message> {
    let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 0 };
    Arc::new(Message {
        topic: "sensors/1/temperature".into(),
        payload: vec![b'x'; 64].into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: Timestamp(1),
        expires_at: None,
        sequence: 0,
        hops: 0,
        publisher: Arc::new(publisher),
    })
}
