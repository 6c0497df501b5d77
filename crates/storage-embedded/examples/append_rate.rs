//! How many messages a second one lane appends durably: 64-byte payloads in batches of 100, fsync on.
//!
//! `cargo run --release -p fleethaven-storage-embedded --example append_rate [seconds [directory]]`
#![expect(clippy::print_stdout, reason = "the figures are the purpose")]
#![expect(clippy::disallowed_methods, reason = "measures wall time and needs no runtime")]

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fleethaven_storage::{
    Append, Claim, Completion, DurablePublish, EntryId, Lane, OwnerToken, QueueBounds, Request,
    RetainedChange, SessionId, SessionStore, Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BATCH: usize = 100;
const TOKEN: OwnerToken = OwnerToken { incarnation: 1, counter: 1 };

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

struct Load {
    store: Arc<EmbeddedStore>,
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
    message: Arc<Message>,
    session: SessionId,
}

impl Load {
    fn open(dir: &std::path::Path) -> Outcome<Self> {
        let store = EmbeddedStore::open(dir, Options::new(Arc::new(|| Timestamp(1))))?;
        let (bell, woken) = mpsc::channel();
        let lane = store.lane(Arc::new(Bell(bell)));
        let scope = Scope { account: "123456789012".parse()?, region: "us-east-1".parse()? };
        let mut load = Self { store, lane, woken, message: message(scope), session: SessionId(0) };
        let claim = Request::Claim(Box::new(claim(scope)));
        for completion in load.turn(&mut vec![claim])? {
            if let Completion::Claimed { result, .. } = completion {
                load.session = result?.session;
            }
        }
        Ok(load)
    }

    /// Submits and waits for some completions.
    fn turn(&mut self, requests: &mut Vec<Request>) -> Outcome<Vec<Completion>> {
        self.lane.submit(requests);
        let mut completions = Vec::new();
        while completions.is_empty() {
            self.woken.recv_timeout(Duration::from_secs(30))?;
            self.lane.drain(&mut completions);
        }
        Ok(completions)
    }

    fn publish(&self) -> Request {
        let (session, qos) = (self.session, QoS::AtLeastOnce);
        Request::Publish(Box::new(DurablePublish {
            ticket: Ticket(0),
            message: self.message.clone(),
            queues: vec![Append { session, qos, retain: false, identifiers: Vec::new(), share: None }],
            rules: Vec::new(),
            retained: RetainedChange::Keep,
            replaces: None,
            once: None,
            fence: None,
        }))
    }

    /// Appends for `time` with so many batches outstanding; what is acknowledged is trimmed, as a live session does.
    fn measure(&mut self, time: Duration, outstanding: usize) -> Outcome<()> {
        let started = Instant::now();
        let (mut done, mut sent, mut requests) = (0, 0, Vec::new());
        let mut acknowledged = VecDeque::new();
        let fsyncs = self.store.stats().fsyncs.load(Ordering::Relaxed);
        while started.elapsed() < time {
            while sent < done + outstanding * BATCH {
                requests.extend((0..BATCH).map(|_| self.publish()));
                sent += BATCH;
            }
            if !acknowledged.is_empty() {
                let entries = acknowledged.drain(..).collect();
                requests.push(Request::Trim { session: self.session, token: TOKEN, entries });
            }
            for completion in self.turn(&mut requests)? {
                done += 1;
                acknowledged.extend(entry(completion)?);
            }
        }
        self.report(done, started.elapsed(), outstanding, fsyncs);
        while done < sent {
            done += self.turn(&mut requests)?.len();
        }
        Ok(())
    }

    fn report(&self, done: usize, time: Duration, outstanding: usize, fsyncs_before: u64) {
        let fsyncs = self.store.stats().fsyncs.load(Ordering::Relaxed) - fsyncs_before;
        let (rate, syncs) = (done as f64 / time.as_secs_f64(), fsyncs as f64 / time.as_secs_f64());
        println!("{outstanding:>3} batches outstanding: {rate:>9.0} appends/s, {syncs:>6.0} fsyncs/s");
    }
}

fn entry(completion: Completion) -> Outcome<Option<EntryId>> {
    let Completion::Published { result, .. } = completion else { return Ok(None) };
    Ok(result?.first().and_then(|(_, appended)| match appended {
        fleethaven_storage::Appended::At { entry, .. } => Some(*entry),
        _ => None,
    }))
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

fn claim(scope: Scope) -> Claim {
    Claim {
        ticket: Ticket(0),
        scope,
        client_id: "client".into(),
        token: TOKEN,
        owner_address: 0,
        clean_start: true,
        session_expiry: 3600,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds::NONE,
        will: None,
        principal: None,
        now: Timestamp(1),
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| scratch.path().to_owned(), Into::into);
    let mut load = Load::open(&dir)?;
    for outstanding in [1, 10, 100] {
        load.measure(Duration::from_secs(seconds), outstanding)?;
    }
    Ok(())
}
