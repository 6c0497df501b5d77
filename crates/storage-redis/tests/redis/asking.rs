//! A lane that asks and waits, and short ways to say what tests ask.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use fleethaven_storage::{
    Append, Claim, Claimed, Completion, ConnectionEnd, DurablePublish, EntryId, Error, Lane, OwnerToken,
    QueueBounds, QueuedMessage, Request, RetainedChange, RuleRef, SessionId, SessionStore, StoredWill,
    Ticket, Wake,
};
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

/// The time of all tests.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

/// A lane whose answers are waited for.
pub(crate) struct Asking {
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
}

impl Asking {
    pub(crate) fn new(store: &dyn SessionStore) -> Self {
        let (bell, woken) = mpsc::channel();
        Self { lane: store.lane(Arc::new(Bell(bell))), woken }
    }

    pub(crate) fn submit(&mut self, mut requests: Vec<Request>) {
        self.lane.submit(&mut requests);
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.lane.is_congested()
    }

    pub(crate) fn ask(&mut self, requests: Vec<Request>) -> Vec<Completion> {
        let count = requests.len();
        self.submit(requests);
        self.answers(count)
    }

    /// So many answers to what was submitted.
    pub(crate) fn answers(&mut self, count: usize) -> Vec<Completion> {
        let mut completions = Vec::new();
        while completions.len() < count {
            self.woken.recv_timeout(Duration::from_secs(60)).expect("answered in time");
            self.lane.drain(&mut completions);
        }
        completions
    }

    pub(crate) fn claim(&mut self, client: &str, token: OwnerToken) -> Result<Claimed, Error> {
        match self.ask(vec![claim(client, token)]).pop() {
            Some(Completion::Claimed { result, .. }) => result.map(|claimed| *claimed),
            other => panic!("no answer to a claim: {other:?}"),
        }
    }

    /// Connects a client with a will, and ends the connection so that the will is due; the will's number.
    pub(crate) fn leave_with_will(&mut self, client: &str, number: u64) -> Option<SessionId> {
        let claimed = self.connect_with_will(client, number);
        self.leave(claimed.session, number);
        claimed.will
    }

    pub(crate) fn connect_with_will(&mut self, client: &str, number: u64) -> Claimed {
        let Request::Claim(claim) = claim(client, token(number)) else { panic!("a claim") };
        let will = Some(StoredWill { message: message(number), delay: 0 });
        match self.ask(vec![Request::Claim(Box::new(Claim { will, ..*claim }))]).pop() {
            Some(Completion::Claimed { result: Ok(claimed), .. }) => *claimed,
            other => panic!("no answer to a claim: {other:?}"),
        }
    }

    /// Ends the connection of that number so that its will is due.
    pub(crate) fn leave(&mut self, session: SessionId, number: u64) {
        let end = ConnectionEnd {
            ticket: Ticket(0),
            session,
            token: token(number),
            session_expiry: 60,
            sent: EntryId::NONE,
            will_delay: Some(0),
            departure: None,
            first_sent: Vec::new(),
            now: NOW,
        };
        let ended = self.ask(vec![Request::End(Box::new(end))]).pop();
        assert!(matches!(ended, Some(Completion::Done { result: Ok(()), .. })), "{ended:?}");
    }

    /// The whole queue, which one answer need not have room for.
    pub(crate) fn read(&mut self, session: SessionId, token: OwnerToken) -> Vec<QueuedMessage> {
        let mut all: Vec<QueuedMessage> = Vec::new();
        loop {
            let after = all.last().map_or(EntryId::NONE, |last| last.entry);
            let (ticket, max_entries, max_bytes) = (Ticket(0), usize::MAX, usize::MAX);
            let read = Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes };
            match self.ask(vec![read]).pop() {
                Some(Completion::QueueRead { result: Ok((read, _)), .. }) if read.is_empty() => return all,
                Some(Completion::QueueRead { result: Ok((read, _)), .. }) => all.extend(read),
                other => panic!("no answer to a read: {other:?}"),
            }
        }
    }
}

pub(crate) fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

pub(crate) fn token(counter: u64) -> OwnerToken {
    OwnerToken { incarnation: u64::MAX, counter }
}

pub(crate) fn claim(client: &str, token: OwnerToken) -> Request {
    Request::Claim(Box::new(Claim {
        ticket: Ticket(token.counter),
        scope: scope(),
        client_id: client.into(),
        token,
        owner_address: u64::MAX,
        clean_start: false,
        session_expiry: u32::MAX,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: QueueBounds::NONE,
        will: None,
        principal: None,
        now: NOW,
    }))
}

pub(crate) fn message(number: u64) -> Arc<Message> {
    let publisher = Publisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 0 };
    Arc::new(Message {
        topic: "t".into(),
        payload: number.to_string().into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: None,
        received_at: NOW,
        expires_at: None,
        sequence: number,
        hops: 0,
        publisher: Arc::new(publisher),
    })
}

/// A message for one queue, the rules queue and the retained store.
pub(crate) fn publish(number: u64, session: SessionId) -> Request {
    let append =
        Append { session, qos: QoS::AtLeastOnce, retain: false, identifiers: Vec::new(), share: None };
    Request::Publish(Box::new(DurablePublish {
        ticket: Ticket(number),
        message: message(number),
        queues: vec![append],
        rules: vec![RuleRef { name: "rule".into(), revision: 1 }],
        retained: RetainedChange::Set,
        replaces: None,
        once: None,
        fence: None,
    }))
}

/// The number that [`message`] put into a payload.
pub(crate) fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

/// Whether the completion of a publish says that it is durable.
pub(crate) fn is_published(completion: &Completion) -> bool {
    match completion {
        Completion::Published { result, .. } => result.is_ok(),
        other => panic!("no answer to a publish: {other:?}"),
    }
}

/// Waits for `future` on this thread, for a while.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await });
    waited.expect("it comes in time")
}
