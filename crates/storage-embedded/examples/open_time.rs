//! How long a store with many sessions and queued messages takes to open.
//!
//! `cargo run --release -p fleethaven-storage-embedded --example open_time [sessions [messages per session]]`
#![expect(clippy::print_stdout, reason = "the figures are the purpose")]
#![expect(clippy::disallowed_methods, reason = "measures wall time and needs no runtime")]

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fleethaven_storage::{
    Append, Claim, Completion, DurablePublish, OwnerToken, QueueBounds, Request, RetainedChange, SessionId,
    SessionStore, Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

fn options() -> Options {
    Options::new(Arc::new(|| Timestamp(1)))
}

fn claim(number: usize, scope: Scope) -> Request {
    Request::Claim(Box::new(Claim {
        ticket: Ticket(0),
        scope,
        client_id: format!("client-{number}").into(),
        token: OwnerToken { incarnation: 1, counter: number as u64 },
        owner_address: 0,
        clean_start: true,
        session_expiry: 3600,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds::NONE,
        will: None,
        principal: None,
        now: Timestamp(1),
    }))
}

fn publish(session: SessionId, message: &Arc<Message>) -> Request {
    Request::Publish(Box::new(DurablePublish {
        ticket: Ticket(0),
        message: message.clone(),
        queues: vec![Append {
            session,
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: Vec::new(),
            share: None,
        }],
        rules: Vec::new(),
        retained: RetainedChange::Keep,
        replaces: None,
        once: None,
        fence: None,
    }))
}

/// Submits `requests` in batches and hands each completion to `each`.
fn ask_all(
    store: &EmbeddedStore,
    requests: impl Iterator<Item = Request>,
    mut each: impl FnMut(Completion),
) -> Outcome<()> {
    let (bell, woken) = mpsc::channel();
    let mut lane = store.lane(Arc::new(Bell(bell)));
    let mut requests = requests.peekable();
    while requests.peek().is_some() {
        let mut batch: Vec<Request> = requests.by_ref().take(10_000).collect();
        let (mut waiting, mut completions) = (batch.len(), Vec::new());
        lane.submit(&mut batch);
        while waiting > 0 {
            woken.recv_timeout(Duration::from_secs(60))?;
            lane.drain(&mut completions);
            waiting -= completions.len();
            completions.drain(..).for_each(&mut each);
        }
    }
    Ok(())
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

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let clients: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let messages: usize = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let scope = Scope { account: "123456789012".parse()?, region: "us-east-1".parse()? };
    let store = EmbeddedStore::open(dir.path(), options())?;
    let mut sessions = Vec::with_capacity(clients);
    ask_all(&store, (0..clients).map(|number| claim(number, scope)), |completion| {
        if let Completion::Claimed { result: Ok(claimed), .. } = completion {
            sessions.push(claimed.session);
        }
    })?;
    let message = message(scope);
    let appends = (0..messages).flat_map(|_| sessions.iter().map(|session| publish(*session, &message)));
    ask_all(&store, appends, drop)?;
    drop(store);
    let started = Instant::now();
    let store = EmbeddedStore::open(dir.path(), options())?;
    println!(
        "{} sessions, {} entries: open in {:?}",
        sessions.len(),
        sessions.len() * messages,
        started.elapsed()
    );
    store.close();
    Ok(())
}
