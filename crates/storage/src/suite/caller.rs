//! A lane driven one answer at a time, and short ways to say what the cases ask.

use std::future::Future;
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp, Utf8Bytes};

use super::{Instance, START};
use crate::*;

/// How long anything may take before the case fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A bell that a store or a future rings.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until it has rung since the last time.
    fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, waited) = self.changed.wait_timeout_while(rung, DEADLINE, |rung| !*rung).unwrap();
        assert!(!waited.timed_out(), "the store did not answer in time");
        *rung = false;
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// A lane and what it has answered.
pub(super) struct Caller {
    lane: Box<dyn Lane>,
    bell: Arc<Bell>,
    next_ticket: u64,
    answers: Vec<Completion>,
}

impl Caller {
    pub(super) fn new(store: &dyn Instance) -> Self {
        Self::of(store.sessions())
    }

    /// A caller in the process beside the first.
    pub(super) fn beside(store: &mut dyn Instance) -> Self {
        Self::of(store.neighbour())
    }

    fn of(sessions: &dyn SessionStore) -> Self {
        let bell = Arc::new(Bell::default());
        let lane = sessions.lane(bell.clone());
        Self { lane, bell, next_ticket: 0, answers: Vec::new() }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Hands over `requests` and waits for `count` completions, which must come in order.
    pub(super) fn ask(&mut self, mut requests: Vec<Request>, count: usize) -> Vec<Completion> {
        self.lane.submit(&mut requests);
        assert!(requests.is_empty(), "submit takes all requests");
        loop {
            self.lane.drain(&mut self.answers);
            if self.answers.len() >= count {
                return std::mem::take(&mut self.answers);
            }
            self.bell.wait();
        }
    }

    fn ask_one(&mut self, request: Request) -> Completion {
        self.ask(vec![request], 1).pop().unwrap()
    }

    pub(super) fn claim(&mut self, mut claim: Claim) -> Claimed {
        let ticket = self.ticket();
        claim.ticket = ticket;
        match self.ask_one(Request::Claim(Box::new(claim))) {
            Completion::Claimed { ticket: answered, result } if answered == ticket => *result.unwrap(),
            other => panic!("no answer to a claim: {other:?}"),
        }
    }

    fn done(&mut self, request: impl FnOnce(Ticket) -> Request) -> Result<(), Error> {
        let ticket = self.ticket();
        match self.ask_one(request(ticket)) {
            Completion::Done { ticket: answered, result } if answered == ticket => result,
            other => panic!("not done: {other:?}"),
        }
    }

    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        subscriptions: Vec<Subscription>,
    ) -> Result<(), Error> {
        self.done(|ticket| Request::Subscribe { ticket, session, token, subscriptions })
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        filter: &str,
    ) -> Result<(), Error> {
        let filters = vec![filter.into()];
        self.done(|ticket| Request::Unsubscribe { ticket, session, token, filters })
    }

    pub(super) fn end(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        session_expiry: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.end_with(ConnectionEnd { session_expiry, ..end_of(session, token, now) })
    }

    pub(super) fn end_with(&mut self, mut end: ConnectionEnd) -> Result<(), Error> {
        self.done(|ticket| {
            end.ticket = ticket;
            Request::End(Box::new(end))
        })
    }

    /// Ends a connection that had sent its queue up to `sent`.
    pub(super) fn end_having_sent(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        sent: EntryId,
    ) -> Result<(), Error> {
        self.end_with(ConnectionEnd { sent, ..end_of(session, token, START) })
    }

    pub(super) fn release(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        entries: &[u64],
    ) -> Result<(), Error> {
        let entries = entries.iter().copied().map(EntryId).collect();
        self.done(|ticket| Request::Release { ticket, session, token, entries })
    }

    pub(super) fn forget_received(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        packet_ids: &[u16],
    ) -> Result<(), Error> {
        let packet_ids = packet_ids.iter().copied().map(packet_id).collect();
        self.done(|ticket| Request::ForgetReceived { ticket, session, token, packet_ids })
    }

    pub(super) fn raise(&mut self, slots: &[Fence]) -> Result<(), Error> {
        let slots = slots.to_vec();
        self.done(|ticket| Request::RaiseFence { ticket, slots })
    }

    pub(super) fn compare_tails(&mut self, known: &[(SessionId, u64)]) -> Vec<(usize, u64)> {
        let ticket = self.ticket();
        let known = known.iter().map(|(session, tail)| (*session, EntryId(*tail))).collect();
        match self.ask_one(Request::CompareTails { ticket, known }) {
            Completion::Tails { ticket: answered, result } if answered == ticket => {
                result.unwrap().into_iter().map(|(index, tail)| (index, tail.0)).collect()
            }
            other => panic!("no answer to a comparison: {other:?}"),
        }
    }

    pub(super) fn check_owners(&mut self, owners: &[(SessionId, OwnerToken)]) -> Vec<usize> {
        let ticket = self.ticket();
        match self.ask_one(Request::CheckOwners { ticket, owners: owners.to_vec() }) {
            Completion::Owners { ticket: answered, result } if answered == ticket => result.unwrap(),
            other => panic!("no answer to a check of owners: {other:?}"),
        }
    }

    pub(super) fn publish(&mut self, publish: DurablePublish) -> Vec<Appended> {
        self.try_publish(publish).unwrap()
    }

    pub(super) fn try_publish(&mut self, mut publish: DurablePublish) -> Result<Vec<Appended>, Error> {
        publish.ticket = self.ticket();
        let (ticket, sent) = (publish.ticket, publish.message.clone());
        match self.ask_one(Request::Publish(Box::new(publish))) {
            Completion::Published { ticket: answered, message, result, .. } if answered == ticket => {
                assert!(Arc::ptr_eq(&message, &sent), "the message itself is handed back");
                result.map(|appended| appended.into_iter().map(|(_, appended)| appended).collect())
            }
            other => panic!("no answer to a publish: {other:?}"),
        }
    }

    /// Appends a QoS 1 message with this payload to one queue.
    pub(super) fn append(&mut self, session: SessionId, payload: &str) -> Appended {
        self.publish(to_queues(message("t", payload), &[session]))[0]
    }

    /// Appends messages with these payloads; all must find room.
    pub(super) fn append_each<P: AsRef<str>>(
        &mut self,
        session: SessionId,
        payloads: impl IntoIterator<Item = P>,
    ) {
        for payload in payloads {
            let appended = self.append(session, payload.as_ref());
            assert!(matches!(appended, Appended::At { .. }), "{appended:?}");
        }
    }

    pub(super) fn trim(&mut self, session: SessionId, token: OwnerToken, entries: &[u64]) {
        let entries = entries.iter().copied().map(EntryId).collect();
        self.lane.submit(&mut vec![Request::Trim { session, token, entries }]);
    }

    pub(super) fn read(
        &mut self,
        session: SessionId,
        token: OwnerToken,
        after: u64,
        limits: (usize, usize),
    ) -> Result<(Vec<QueuedMessage>, EntryId), Error> {
        let ticket = self.ticket();
        let (after, (max_entries, max_bytes)) = (EntryId(after), limits);
        let request = Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes };
        match self.ask_one(request) {
            Completion::QueueRead { ticket: answered, result } if answered == ticket => result,
            other => panic!("no answer to a read: {other:?}"),
        }
    }

    /// A queue for the group `key`, of at most ten messages that are kept for an hour.
    pub(super) fn open_group(&mut self, key: &str) -> GroupId {
        let ticket = self.ticket();
        let (scope, key, bounds, retention_secs) = (scope(), key.into(), (10, 1 << 20), 3600);
        let open = OpenGroup { ticket, scope, key, bounds, retention_secs };
        match self.ask_one(Request::OpenGroup(Box::new(open))) {
            Completion::GroupOpened { ticket: answered, result } if answered == ticket => result.unwrap(),
            other => panic!("no group: {other:?}"),
        }
    }

    /// Appends a message with this payload as the share of `member`.
    pub(super) fn share(&mut self, group: GroupId, member: SessionId, payload: &str) -> Appended {
        self.publish(to_member(message("t", payload), group, member))[0]
    }

    /// Gives a share that is held already to `member`.
    pub(super) fn pass_on(
        &mut self,
        group: GroupId,
        held: Held,
        member: SessionId,
        payload: &str,
    ) -> Appended {
        let publish = to_member(message("t", payload), group, member);
        self.publish(DurablePublish { replaces: Some((group, held)), ..publish })[0]
    }

    /// Entries and payloads of what was claimed, and whether there is more.
    pub(super) fn claim_shares(&mut self, group: GroupId, max_entries: usize) -> (Vec<(u64, String)>, bool) {
        let ticket = self.ticket();
        let request = Request::ClaimShares { ticket, group, max_entries, max_bytes: usize::MAX };
        match self.ask_one(request) {
            Completion::SharesClaimed { ticket: answered, result, .. } if answered == ticket => {
                let ClaimedShares { entries, more } = result.unwrap();
                for entry in &entries {
                    assert_eq!((entry.qos, &entry.identifiers[..]), (entry.message.qos, &[][..]));
                    assert_eq!(entry.share.as_ref().map(|share| share.group), Some(group));
                }
                (entries.iter().map(|queued| (queued.entry.0, payload(&queued.message))).collect(), more)
            }
            other => panic!("no answer to a claim of shares: {other:?}"),
        }
    }

    /// What this process holds of a group.
    pub(super) fn held_shares(&mut self, group: GroupId, max_entries: usize) -> Vec<EntryId> {
        let ticket = self.ticket();
        match self.ask_one(Request::HeldShares { ticket, group, max_entries }) {
            Completion::SharesHeld { ticket: answered, result, .. } if answered == ticket => result.unwrap(),
            other => panic!("no answer to what is held: {other:?}"),
        }
    }

    /// Submits a request that has no answer.
    pub(super) fn tell(&mut self, request: Request) {
        self.lane.submit(&mut vec![request]);
    }

    /// Entries and payloads of the whole queue.
    pub(super) fn read_all(&mut self, session: SessionId, token: OwnerToken) -> Vec<(u64, String)> {
        let (entries, _) = self.read(session, token, 0, (usize::MAX, usize::MAX)).unwrap();
        entries.iter().map(|queued| (queued.entry.0, payload(&queued.message))).collect()
    }

    /// The filters that the store finds something for.
    pub(super) fn find_retained<'a>(&mut self, scope: Scope, filters: &[&'a str]) -> Vec<&'a str> {
        let (ticket, asked) =
            (self.ticket(), filters.iter().map(|filter| Utf8Bytes::from(*filter)).collect());
        match self.ask_one(Request::FindRetained { ticket, scope, filters: asked }) {
            Completion::RetainedFound { ticket: answered, result } if answered == ticket => {
                result.unwrap().iter().map(|at| filters[*at]).collect()
            }
            other => panic!("no answer to a search: {other:?}"),
        }
    }

    pub(super) fn retained(
        &mut self,
        scope: Scope,
        filter: &str,
        after: Option<&str>,
        max_entries: usize,
    ) -> Vec<(String, String)> {
        let ticket = self.ticket();
        let (filter, after) = (filter.into(), after.map(Utf8Bytes::from));
        match self.ask_one(Request::ReadRetained { ticket, scope, filter, after, max_entries }) {
            Completion::Retained { ticket: answered, result } if answered == ticket => {
                result.unwrap().iter().map(|m| (m.topic.to_string(), payload(m))).collect()
            }
            other => panic!("no answer to a read: {other:?}"),
        }
    }
}

/// Waits until a store that asks others has heard of it.
pub(super) fn eventually(condition: impl Fn() -> bool) {
    let (bell, step) = (Bell::default(), Duration::from_millis(1));
    for _ in 0..DEADLINE.as_millis() {
        if condition() {
            return;
        }
        drop(bell.changed.wait_timeout(bell.rung.lock().unwrap(), step).unwrap());
    }
    panic!("the store never heard of it");
}

/// Polls `future` once.
pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Waits for `future` on this thread.
pub(super) fn wait<F: Future + Unpin>(mut future: F) -> F::Output {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.wait(),
        }
    }
}

pub(super) fn packet_id(number: u16) -> NonZeroU16 {
    number.try_into().unwrap()
}

/// The account and region of most cases.
pub(super) fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

/// Another account.
pub(super) fn other_scope() -> Scope {
    Scope { account: "000000000042".parse().unwrap(), ..scope() }
}

pub(super) fn token(incarnation: u64, counter: u64) -> OwnerToken {
    OwnerToken { incarnation, counter }
}

/// Bounds of a queue without one of age.
pub(super) fn bounds(messages: u64, bytes: u64) -> QueueBounds {
    QueueBounds { messages, bytes, secs: None }
}

/// A claim of `client` by an MQTT 5 client that keeps its session for an hour.
pub(super) fn claim(client: &str, token: OwnerToken) -> Claim {
    Claim {
        ticket: Ticket(0),
        scope: scope(),
        client_id: client.into(),
        token,
        owner_address: token.counter * 100,
        clean_start: false,
        session_expiry: 3600,
        protocol_level: 5,
        cross_version_resume: true,
        queue_bounds: bounds(1000, 1 << 20),
        will: None,
        principal: Some("principal".into()),
        now: START,
    }
}

/// The end of a connection that had sent nothing, without a will; its session goes on for an hour.
pub(super) fn end_of(session: SessionId, token: OwnerToken, now: Timestamp) -> ConnectionEnd {
    ConnectionEnd {
        ticket: Ticket(0),
        session,
        token,
        session_expiry: 3600,
        sent: EntryId::NONE,
        first_sent: Vec::new(),
        will_delay: None,
        departure: None,
        now,
    }
}

pub(super) fn subscription(filter: &str) -> Subscription {
    Subscription {
        filter: filter.into(),
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
        identifier: Some(7),
    }
}

pub(super) fn message(topic: &str, payload: &str) -> Message {
    let publisher = Publisher {
        scope: scope(),
        client_id: Some("publisher".into()),
        principal: None,
        source_ip: Some([192, 0, 2, 1].into()),
        trace: 9,
    };
    Message {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: START,
        expires_at: None,
        sequence: 1,
        hops: 0,
        publisher: Arc::new(publisher),
    }
}

pub(super) fn payload(message: &Message) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

pub(super) fn will(payload: &str) -> StoredWill {
    StoredWill { message: Arc::new(message("will", payload)), delay: 5 }
}

/// A message that is the share of one member.
pub(super) fn to_member(message: Message, group: GroupId, member: SessionId) -> DurablePublish {
    let mut publish = to_queues(message, &[member]);
    publish.queues[0].share = Some(Share::of(group));
    publish
}

/// A message for these queues and nothing else.
pub(super) fn to_queues(message: Message, sessions: &[SessionId]) -> DurablePublish {
    let append = |session: &SessionId| Append {
        session: *session,
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: vec![3, 4],
        share: None,
    };
    DurablePublish {
        ticket: Ticket(0),
        message: Arc::new(message),
        queues: sessions.iter().map(append).collect(),
        rules: Vec::new(),
        retained: RetainedChange::Keep,
        replaces: None,
        once: None,
        fence: None,
    }
}
