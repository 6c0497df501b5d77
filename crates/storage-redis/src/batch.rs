//! One batch of a lane: requests turned into calls, one for each partition, and replies turned into completions.

use std::sync::Arc;

use fleethaven_storage::record::{MessageRow, RuleRow, SubscriptionRow, WillRow, encode, message_cost};
use fleethaven_storage::{
    Append, Appended, Claim, Claimed, ClaimedShares, Completion, ConnectionEnd, DurablePublish, EntryId,
    Error, Fence, OwnerToken, PreviousOwner, QueuedMessage, Request, RetainedChange, SessionId, Subscription,
    Ticket,
};
use fleethaven_types::{Message, QoS};
use redis::Value;
use rustc_hash::FxHashMap;

use crate::client::{Batch, Replies};
use crate::delivery::DeliveryRow;
use crate::depth::Depth;
use crate::keys::{self, Keys};
use crate::not_built::{is_refused, no_exactly_once, no_groups};
use crate::options::Options;
use crate::script::{Call, Op, Place};
use crate::{Stats, reply};

/// A read answers at most so many entries and bytes, so that it does not hold up Redis.
const READ_ENTRIES: usize = 16_384;
const READ_BYTES: usize = 16 << 20;

/// What must be known of a request to complete it.
enum Pending {
    Claim(Ticket, Place),
    Done(Ticket, Place),
    /// Done when all partitions say so.
    All(Ticket, Vec<Place>),
    Read(Ticket, Place),
    Publish(Box<Publishing>),
    /// It needs nothing of Redis.
    Answered(Completion),
}

struct Publishing {
    ticket: Ticket,
    message: Arc<Message>,
    queues: Vec<(Append, Outcome)>,
    retained: Option<Place>,
    rule: Option<Place>,
    /// What each partition says of the topic slot's fence.
    guards: Vec<Place>,
}

/// What becomes of an append.
enum Outcome {
    At(Place),
    Known(Appended),
}

/// Requests on their way.
pub(crate) struct Building<'a> {
    options: &'a Options,
    keys: &'a Keys,
    batch: Batch,
    by_partition: FxHashMap<u8, usize>,
    /// The fence that guards what is pushed next to a partition.
    guards: FxHashMap<u8, (Option<Fence>, Place)>,
    pending: Vec<Pending>,
}

impl<'a> Building<'a> {
    pub(crate) fn new(options: &'a Options, keys: &'a Keys) -> Self {
        Self {
            options,
            keys,
            batch: Batch::default(),
            by_partition: FxHashMap::default(),
            guards: FxHashMap::default(),
            pending: Vec::new(),
        }
    }

    /// Whether it should go out before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= self.options.batch_requests
            || self.batch.calls.iter().map(Call::bytes).sum::<usize>() >= self.options.batch_bytes
    }

    /// Adds a request other than a claim or a read of retained messages.
    pub(crate) fn add(&mut self, request: Request) {
        if is_refused(&request) {
            let refused = request.refuse(&no_exactly_once());
            return self.pending.extend(refused.map(Pending::Answered));
        }
        match request {
            Request::Subscribe { ticket, session, token, subscriptions } => {
                self.subscribe(ticket, (session, token), &subscriptions);
            }
            Request::Unsubscribe { ticket, session, token, filters } => {
                let (id, token) = (session.0.to_string(), owner(token));
                let mut arguments = vec![id.as_bytes(), token.as_bytes()];
                arguments.extend(filters.iter().map(|filter| filter.as_bytes()));
                let place = self.push(Keys::of_session(session.0), Op::Unsubscribe, &arguments);
                self.batch.durable = true;
                self.pending.push(Pending::Done(ticket, place));
            }
            Request::Publish(publish) => self.publish(*publish),
            Request::Trim { session, token, entries } => self.trim((session, token), &entries),
            Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes } => {
                let limits = (max_entries.min(READ_ENTRIES), max_bytes.min(READ_BYTES));
                self.read(ticket, (session, token), after, limits);
            }
            Request::End(end) => self.end(&end),
            Request::OpenGroup(open) => {
                let (ticket, result) = (open.ticket, Err(no_groups()));
                self.pending.push(Pending::Answered(Completion::GroupOpened { ticket, result }));
            }
            Request::ClaimShares { ticket, group, .. } => {
                let result = Ok(ClaimedShares::default());
                self.pending.push(Pending::Answered(Completion::SharesClaimed { ticket, group, result }));
            }
            Request::RaiseFence { ticket, slots } => self.raise(ticket, &slots),
            // Sessions read their queues when they are resumed; lost pushes of live ones are not found yet.
            Request::CompareTails { ticket, .. } => {
                self.pending.push(Pending::Answered(Completion::Tails { ticket, result: Ok(Vec::new()) }));
            }
            // Refused above.
            Request::Release { .. } | Request::ForgetReceived { .. } => {}
            // Of a will that was never kept, and of a group that was never opened.
            Request::WithdrawWill { .. }
            | Request::CloseGroup { .. }
            | Request::AcknowledgeShares { .. }
            | Request::ReleaseShares { .. } => {}
            // The lane deals with these two itself: one needs a number, the other several rounds.
            Request::Claim(_) | Request::ReadRetained { .. } => {}
        }
    }

    /// Adds a claim; a session that it begins gets the number `candidate`.
    pub(crate) fn claim(&mut self, claim: &Claim, candidate: u64) {
        let client = keys::client(claim.scope, &claim.client_id);
        let partition = self.keys.of_client(&client);
        let will = claim.will.as_ref().map(|will| encode(&WillRow::from(will))).unwrap_or_default();
        let flag = |flag: bool| if flag { "1" } else { "0" };
        let place = self.push(
            partition,
            Op::Claim,
            &[
                client.as_bytes(),
                owner(claim.token).as_bytes(),
                claim.owner_address.to_string().as_bytes(),
                flag(claim.clean_start).as_bytes(),
                claim.session_expiry.to_string().as_bytes(),
                claim.protocol_level.to_string().as_bytes(),
                flag(claim.cross_version_resume).as_bytes(),
                claim.queue_bounds.messages.to_string().as_bytes(),
                claim.queue_bounds.bytes.to_string().as_bytes(),
                claim.queue_bounds.secs.map(|secs| secs.to_string()).unwrap_or_default().as_bytes(),
                &will,
                claim.principal.as_deref().unwrap_or_default().as_bytes(),
                claim.now.as_millis().to_string().as_bytes(),
                keys::session_id(candidate, partition).to_string().as_bytes(),
            ],
        );
        self.batch.durable = true;
        self.pending.push(Pending::Claim(claim.ticket, place));
    }

    fn end(&mut self, end: &ConnectionEnd) {
        let (generation, number) = keys::parts(end.sent);
        let words = [
            end.session.0.to_string(),
            owner(end.token),
            end.session_expiry.to_string(),
            generation.to_string(),
            number.to_string(),
            end.now.as_millis().to_string(),
        ];
        let arguments = words.each_ref().map(|word| word.as_bytes());
        let place = self.push(Keys::of_session(end.session.0), Op::End, &arguments);
        self.batch.durable = true;
        self.pending.push(Pending::Done(end.ticket, place));
    }

    fn subscribe(
        &mut self,
        ticket: Ticket,
        (session, token): (SessionId, OwnerToken),
        subscriptions: &[Subscription],
    ) {
        let (id, token) = (session.0.to_string(), owner(token));
        let (call, number) = self.call_to(Keys::of_session(session.0));
        call.begin(Op::Subscribe, 2 + 2 * subscriptions.len());
        call.argument(id.as_bytes());
        call.argument(token.as_bytes());
        for subscription in subscriptions {
            call.argument(subscription.filter.as_bytes());
            call.argument(&encode(&SubscriptionRow::from(subscription)));
        }
        let place = Place { call: number, reply: call.last_reply() };
        self.batch.durable = true;
        self.pending.push(Pending::Done(ticket, place));
    }

    fn publish(&mut self, publish: DurablePublish) {
        let DurablePublish { ticket, message, queues, rules, retained, replaces, once: _, fence } = publish;
        let mut guards = Vec::new();
        let queues = match replaces {
            None => self.append_all(&message, queues, fence, &mut guards),
            // No group ever had it.
            Some(_) => queues.into_iter().map(|append| (append, Outcome::Known(Appended::Gone))).collect(),
        };
        let scope = message.publisher.scope;
        let partition = self.keys.of_topic(scope, &message.topic);
        // Also a message that nothing must hold is matched by the slot's owner or by nobody.
        let here = !rules.is_empty() || retained != RetainedChange::Keep;
        if here || (fence.is_some() && guards.is_empty()) {
            guards.extend(self.guard(partition, fence));
        }
        let retained = self.keep(&message, retained, partition);
        let rule = (!rules.is_empty()).then(|| {
            let durable = message.qos > QoS::AtMostOnce;
            let limit = if durable { String::new() } else { self.options.rule_volatile_entries.to_string() };
            self.batch.durable |= durable;
            let entry = encode(&RuleRow::new(&message, &rules));
            self.push(partition, Op::Rule, &[limit.as_bytes(), &entry])
        });
        let publishing = Publishing { ticket, message, queues, retained, rule, guards };
        self.pending.push(Pending::Publish(Box::new(publishing)));
    }

    /// Has a partition compare `fence` before it carries out what is pushed next; the place of its answer.
    fn guard(&mut self, partition: u8, fence: Option<Fence>) -> Option<Place> {
        let standing = self.guards.get(&partition);
        if let Some((_, place)) = standing.filter(|(standing, _)| *standing == fence) {
            return Some(*place);
        }
        if standing.is_none() && fence.is_none() {
            return None;
        }
        let words = fence.map(|fence| [fence.slot.to_string(), fence.epoch.to_string()]).unwrap_or_default();
        let place = self.push(partition, Op::Guard, &words.each_ref().map(|word| word.as_bytes()));
        self.guards.insert(partition, (fence, place));
        Some(place)
    }

    /// Raises fences in every partition: each is to refuse what a former owner appends.
    fn raise(&mut self, ticket: Ticket, slots: &[Fence]) {
        let words: Vec<String> =
            slots.iter().flat_map(|fence| [fence.slot.to_string(), fence.epoch.to_string()]).collect();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let places =
            self.keys.partitions().map(|partition| self.push(partition, Op::Raise, &words)).collect();
        self.batch.durable = true;
        self.pending.push(Pending::All(ticket, places));
    }

    /// Appends to each queue; the message goes once to each partition.
    fn append_all(
        &mut self,
        message: &Message,
        queues: Vec<Append>,
        fence: Option<Fence>,
        guards: &mut Vec<Place>,
    ) -> Vec<(Append, Outcome)> {
        if queues.is_empty() {
            return Vec::new();
        }
        self.batch.durable = true;
        let encoded = encode(&MessageRow::from(message));
        let cost = message_cost(message).to_string();
        let expiry = message.expires_at.map(|at| at.as_millis().to_string()).unwrap_or_default();
        let header = format!("{cost}:{}:{expiry}", message.payload.len());
        let mut told = Vec::new();
        let append = |append: Append| {
            if append.share.is_some() {
                return (append, Outcome::Known(Appended::NoSession));
            }
            let partition = Keys::of_session(append.session.0);
            if !told.contains(&partition) {
                told.push(partition);
                guards.extend(self.guard(partition, fence));
                self.push(partition, Op::Message, &[&encoded]);
            }
            let id = append.session.0.to_string();
            let delivery = encode(&DeliveryRow::from(&append));
            let arguments = [id.as_bytes(), header.as_bytes(), cost.as_bytes(), &delivery];
            let place = self.push(partition, Op::Append, &arguments);
            (append, Outcome::At(place))
        };
        queues.into_iter().map(append).collect()
    }

    fn keep(&mut self, message: &Message, change: RetainedChange, partition: u8) -> Option<Place> {
        let scope = keys::scope(message.publisher.scope);
        let (scope, topic) = (scope.as_bytes(), message.topic.as_bytes());
        match change {
            RetainedChange::Keep => None,
            RetainedChange::Clear => {
                self.batch.durable = true;
                Some(self.push(partition, Op::ClearRetained, &[scope, topic]))
            }
            RetainedChange::Set => {
                self.batch.durable = true;
                let expiry = message.expires_at.map(|at| at.as_millis().to_string()).unwrap_or_default();
                let row = encode(&MessageRow::from(message));
                Some(self.push(partition, Op::SetRetained, &[scope, topic, expiry.as_bytes(), &row]))
            }
        }
    }

    fn trim(&mut self, (session, token): (SessionId, OwnerToken), entries: &[EntryId]) {
        let (id, token) = (session.0.to_string(), owner(token));
        let (call, _) = self.call_to(Keys::of_session(session.0));
        call.begin(Op::Trim, 2 + entries.len());
        call.argument(id.as_bytes());
        call.argument(token.as_bytes());
        entries.iter().for_each(|entry| call.argument(keys::entry(*entry).as_bytes()));
    }

    fn read(
        &mut self,
        ticket: Ticket,
        (session, token): (SessionId, OwnerToken),
        after: EntryId,
        limits: (usize, usize),
    ) {
        let words = [
            session.0.to_string(),
            owner(token),
            keys::entry(after),
            limits.0.to_string(),
            limits.1.to_string(),
        ];
        let arguments = words.each_ref().map(|word| word.as_bytes());
        let place = self.push(Keys::of_session(session.0), Op::Read, &arguments);
        self.pending.push(Pending::Read(ticket, place));
    }

    fn push(&mut self, partition: u8, op: Op, arguments: &[&[u8]]) -> Place {
        let (call, number) = self.call_to(partition);
        call.push(op, arguments);
        Place { call: number, reply: call.last_reply() }
    }

    /// The call to a partition, begun if need be, and its number.
    fn call_to(&mut self, partition: u8) -> (&mut Call, usize) {
        let calls = &mut self.batch.calls;
        let number = *self.by_partition.entry(partition).or_insert_with(|| {
            calls.push(Call::new(partition));
            calls.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the map holds only numbers of calls that were pushed")]
        (&mut calls[number], number)
    }

    /// What goes out, and what is needed to complete it.
    pub(crate) fn finish(self) -> (Batch, Sent) {
        (self.batch, Sent { pending: self.pending })
    }
}

/// The owner as the script compares it.
fn owner(token: OwnerToken) -> String {
    format!("{}:{}", token.incarnation, token.counter)
}

/// A batch that went out.
pub(crate) struct Sent {
    pending: Vec<Pending>,
}

impl Sent {
    /// The completions, in the order of the requests.
    pub(crate) fn complete(
        self,
        replies: Result<Replies, Error>,
        (stats, depth): (&Stats, &Depth),
        batch: &Batch,
    ) -> Vec<Completion> {
        let mut answers = Answers { replies, stats, depth, batch };
        self.pending.into_iter().map(|pending| answers.completion(pending)).collect()
    }
}

struct Answers<'a> {
    replies: Result<Replies, Error>,
    stats: &'a Stats,
    depth: &'a Depth,
    batch: &'a Batch,
}

impl Answers<'_> {
    fn completion(&mut self, pending: Pending) -> Completion {
        match pending {
            Pending::Claim(ticket, place) => {
                Completion::Claimed { ticket, result: self.take(place).and_then(claimed).map(Box::new) }
            }
            Pending::Done(ticket, place) => {
                Completion::Done { ticket, result: self.take(place).and_then(|value| done(&value)) }
            }
            Pending::All(ticket, places) => {
                let mut each =
                    places.into_iter().map(|place| self.take(place).and_then(|value| done(&value)));
                let result = each.find(Result::is_err).unwrap_or(Ok(()));
                Completion::Done { ticket, result }
            }
            Pending::Read(ticket, place) => {
                let result = self.take(place).and_then(|value| self.queue_read(value));
                Completion::QueueRead { ticket, result }
            }
            Pending::Answered(completion) => completion,
            Pending::Publish(publishing) => {
                let Publishing { ticket, message, queues, retained, rule, guards } = *publishing;
                let passed = guards.into_iter().try_for_each(|place| self.peek(place).and_then(done));
                let result = passed.and_then(|()| self.published(queues, retained, rule));
                Completion::Published { ticket, message, once: None, result }
            }
        }
    }

    /// The reply at `place`; each is taken once.
    fn take(&mut self, place: Place) -> Result<Value, Error> {
        let calls = self.replies.as_mut().map_err(|error| error.clone())?;
        let replies = calls.get_mut(place.call).ok_or_else(|| reply::malformed("no such call"))?;
        let replies = replies.as_mut().map_err(|error| error.clone())?;
        replies.get_mut(place.reply).map(std::mem::take).ok_or_else(|| reply::malformed("too few replies"))
    }

    /// The reply at `place`, which others look at too.
    fn peek(&self, place: Place) -> Result<&Value, Error> {
        let calls = self.replies.as_ref().map_err(|error| error.clone())?;
        let replies = calls.get(place.call).ok_or_else(|| reply::malformed("no such call"))?;
        let replies = replies.as_ref().map_err(|error| error.clone())?;
        replies.get(place.reply).ok_or_else(|| reply::malformed("too few replies"))
    }

    fn published(
        &mut self,
        queues: Vec<(Append, Outcome)>,
        retained: Option<Place>,
        rule: Option<Place>,
    ) -> Result<Vec<(Append, Appended)>, Error> {
        let mut all = Vec::with_capacity(queues.len());
        for (append, outcome) in queues {
            let appended = match outcome {
                Outcome::At(place) => appended(self.take(place)?)?,
                Outcome::Known(appended) => appended,
            };
            Stats::add(&self.stats.appended, u64::from(matches!(appended, Appended::At { .. })));
            Stats::add(&self.stats.overflowed, u64::from(appended == Appended::Overflow));
            all.push((append, appended));
        }
        if let Some(place) = retained {
            self.take(place)?;
        }
        if let Some(place) = rule {
            let depth = reply::signed(&self.take(place)?)?;
            Stats::add(&self.stats.rules_dropped, u64::from(depth < 0));
            if let Some(call) = self.batch.calls.get(place.call) {
                self.depth.note(call.partition, depth.unsigned_abs());
            }
        }
        Ok(all)
    }

    fn queue_read(&self, value: Value) -> Result<(Vec<QueuedMessage>, EntryId), Error> {
        let mut values = match value {
            Value::Array(values) => values.into_iter(),
            refusal => return Err(refused(&refusal)),
        };
        let tail = reply::entry(reply::next(&mut values)?)?;
        Stats::add(&self.stats.expired, reply::number(reply::next(&mut values)?)?);
        let entries = reply::array(reply::next(&mut values)?)?;
        Ok((entries.map(queued).collect::<Result<_, Error>>()?, tail))
    }
}

fn done(value: &Value) -> Result<(), Error> {
    match value {
        Value::BulkString(word) if word == b"ok" => Ok(()),
        refusal => Err(refused(refusal)),
    }
}

/// The error that the script named.
pub(crate) fn refused(value: &Value) -> Error {
    match value {
        Value::BulkString(word) if word == b"NoSession" => Error::NoSession,
        Value::BulkString(word) if word == b"NotOwner" => Error::NotOwner,
        Value::BulkString(word) if word == b"Fenced" => Error::Fenced,
        _ => reply::malformed("no refusal"),
    }
}

fn appended(value: Value) -> Result<Appended, Error> {
    let text = reply::text(value)?;
    let ids = match text.as_str() {
        "none" => return Ok(Appended::NoSession),
        "full" => return Ok(Appended::Overflow),
        ids => {
            ids.split_once(' ').map(|(entry, before)| (keys::split_entry(entry), keys::split_entry(before)))
        }
    };
    match ids {
        Some((Some(entry), Some(previous))) => Ok(Appended::At { entry, previous }),
        _ => Err(reply::malformed("no entry ids")),
    }
}

fn queued(value: Value) -> Result<QueuedMessage, Error> {
    let mut values = reply::array(value)?;
    let entry = reply::entry(reply::next(&mut values)?)?;
    let delivery: DeliveryRow = reply::decode(&reply::bytes(reply::next(&mut values)?)?)?;
    let message = reply::message(&reply::bytes(reply::next(&mut values)?)?)?;
    delivery.queued(entry, message)
}

fn claimed(value: Value) -> Result<Claimed, Error> {
    let mut values = reply::array(value)?;
    let mut next = || reply::next(&mut values);
    Ok(Claimed {
        session: SessionId(reply::number(next()?)?),
        session_present: reply::number(next()?)? == 1,
        subscriptions: reply::subscriptions(next()?)?,
        trimmed: reply::entry(next()?)?,
        tail: reply::entry(next()?)?,
        sent: reply::entry(next()?)?,
        released: Vec::new(),
        received: Vec::new(),
        version_number: reply::number(next()?)?,
        previous: previous(next()?)?,
        wiped: match reply::text(next()?)?.as_str() {
            "" => None,
            id => Some(SessionId(id.parse().map_err(|_| reply::malformed("no session id"))?)),
        },
    })
}

fn previous(value: Value) -> Result<Option<PreviousOwner>, Error> {
    let mut values = reply::array(value)?;
    let Some(token) = values.next() else { return Ok(None) };
    let token = reply::token(token)?;
    let mut next = || reply::next(&mut values);
    // Wills are not kept beyond their connection here yet.
    let (address, _will) = (reply::number(next()?)?, next()?);
    Ok(Some(PreviousOwner { token, address, will: None, version_number: reply::number(next()?)? }))
}
