//! Requests of a lane turned into what is asked of partitions, and answers turned into completions, in as many rounds as each
//! needs.

use fleethaven_storage::record::{DepartureRow, FirstSentRow, SubscriptionRow, WillRow, encode};
use fleethaven_storage::request::TAKEN_OVER_WILL_WAITS;
use fleethaven_storage::{
    Claim, Completion, ConnectionEnd, EntryId, Error, Fence, GroupId, OpenGroup, OwnerToken, Request,
    SessionId, Subscription, Ticket,
};

use crate::answers::{claimed, done, held, opened, shares};
use crate::keys::{self, Keys};
use crate::publish::{Next, Publishing};
use crate::reading::{Reading, Wanted};
use crate::reply;
use crate::round::{Answers, Round, entries, owned, owner};
use crate::script::{Op, Place};

/// What a claim may need: numbers that nothing ever had, for a new session, for the will of the connection before and for its own.
pub(crate) type Numbers = [u64; 3];

/// A read answers at most so many entries and bytes, so that it does not hold up Redis.
const READ_ENTRIES: usize = 16_384;
const READ_BYTES: usize = 16 << 20;

/// What must be known of a request to complete it.
pub(crate) enum Pending {
    Claim(Ticket, Place),
    Done(Ticket, Place),
    /// Done when all partitions say so.
    All(Ticket, Vec<Place>),
    Read(Box<Reading>),
    Publish(Box<Publishing>),
    /// A group that all partitions are to know before it is there.
    Opening(Box<OpenGroup>, GroupId, Vec<Place>),
    Opened(Ticket, GroupId, Place),
    /// There was another one for its key.
    Known(Ticket, GroupId, Vec<Place>),
    Shares(Ticket, GroupId, Place),
    Held(Ticket, GroupId, Place),
    /// Partitions with the indexes of the queues that each tells of.
    Tails(Ticket, Vec<(SessionId, EntryId)>, Vec<(Place, Vec<usize>)>),
    /// Partitions with the indexes of the sessions that each tells of.
    Owners(Ticket, Vec<(Place, Vec<usize>)>),
}

impl Pending {
    /// Adds a claim.
    pub(crate) fn claim(claim: &Claim, numbers: Numbers, round: &mut Round<'_>) -> Self {
        let client = keys::client(claim.scope, &claim.client_id);
        let partition = round.keys().of_client(&client);
        let will = claim.will.as_ref().map(|will| encode(&WillRow::from(will))).unwrap_or_default();
        let delay = claim.will.as_ref().map_or(0, |will| will.delay);
        let [session, kept, own] = numbers.map(|number| keys::session_id(number, partition).to_string());
        let flag = |flag: bool| if flag { "1" } else { "0" };
        let place = round.push(
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
                delay.to_string().as_bytes(),
                claim.principal.as_deref().unwrap_or_default().as_bytes(),
                claim.now.as_millis().to_string().as_bytes(),
                session.as_bytes(),
                kept.as_bytes(),
                TAKEN_OVER_WILL_WAITS.as_millis().to_string().as_bytes(),
                own.as_bytes(),
            ],
        );
        round.must_last();
        Self::Claim(claim.ticket, place)
    }

    /// Begins to open a group, which gets the number `candidate`.
    pub(crate) fn open(open: Box<OpenGroup>, candidate: u64, round: &mut Round<'_>) -> Self {
        let partition = round.keys().of_client(&keys::client(open.scope, &open.key));
        let id = keys::session_id(candidate, partition);
        let places = know_group(id, round);
        Self::Opening(open, GroupId(id), places)
    }

    /// Adds a request other than a claim, an opening of a group, or a read of retained messages; `None` for one that is not
    /// answered.
    pub(crate) fn of(request: Request, round: &mut Round<'_>) -> Option<Self> {
        Some(match request {
            Request::Subscribe { ticket, session, token, subscriptions } => {
                Self::Done(ticket, subscribe(session, token, &subscriptions, round))
            }
            Request::Unsubscribe { ticket, session, token, filters } => {
                let filters: Vec<&str> = filters.iter().map(|filter| &**filter).collect();
                Self::Done(ticket, change(Op::Unsubscribe, session, token, &filters, round))
            }
            Request::Release { ticket, session, token, entries: released } => {
                let released = entries(&released);
                let released: Vec<&str> = released.iter().map(String::as_str).collect();
                Self::Done(ticket, change(Op::Release, session, token, &released, round))
            }
            Request::ForgetReceived { ticket, session, token, packet_ids } => {
                let packet_ids: Vec<String> = packet_ids.iter().map(ToString::to_string).collect();
                let packet_ids: Vec<&str> = packet_ids.iter().map(String::as_str).collect();
                Self::Done(ticket, change(Op::ForgetReceived, session, token, &packet_ids, round))
            }
            Request::Publish(publish) => Self::Publish(Box::new(Publishing::begin(*publish, round))),
            Request::Trim { session, token, entries: trimmed } => {
                let trimmed = entries(&trimmed);
                let [id, token] = owned(session, token);
                let mut words = vec![id.as_str(), &token];
                words.extend(trimmed.iter().map(String::as_str));
                round.words(Keys::of_session(session.0), Op::Trim, &words);
                return None;
            }
            Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes } => {
                let most = (max_entries.min(READ_ENTRIES), max_bytes.min(READ_BYTES));
                Self::Read(Box::new(Reading::begin(ticket, Wanted { session, token, after, most }, round)))
            }
            Request::End(end) => Self::Done(end.ticket, self::end(&end, round)),
            Request::WithdrawWill { will } => {
                round.words(Keys::of_session(will.0), Op::ForgoWill, &[&will.0.to_string()]);
                return None;
            }
            Request::CloseGroup { group, fence } => {
                close_group(group.0, fence, round);
                return None;
            }
            Request::ClaimShares { ticket, group, max_entries, max_bytes } => {
                let (id, entries) = (group.0.to_string(), max_entries.min(READ_ENTRIES).to_string());
                let (bytes, lease) = (max_bytes.min(READ_BYTES).to_string(), round.shared.lease());
                let words = [&id, &entries, &bytes, &round.shared.instance, &lease];
                round.shared.hold_shares();
                let partition = Keys::of_session(group.0);
                Self::Shares(ticket, group, round.words(partition, Op::ClaimShares, &words.map(|w| &**w)))
            }
            Request::HeldShares { ticket, group, max_entries } => {
                let (id, entries) = (group.0.to_string(), max_entries.clamp(1, READ_ENTRIES).to_string());
                let words = [&*id, &*entries, &*round.shared.instance];
                Self::Held(ticket, group, round.words(Keys::of_session(group.0), Op::HeldShares, &words))
            }
            Request::AcknowledgeShares { group, entries } => {
                let id = group.0.to_string();
                shares_of(Op::AcknowledgeShares, group, &[&id], &entries, round);
                return None;
            }
            Request::ReleaseShares { group, entries } => {
                let id = group.0.to_string();
                shares_of(Op::ReleaseShares, group, &[&id], &entries, round);
                return None;
            }
            Request::RaiseFence { ticket, slots } => Self::All(ticket, raise(&slots, round)),
            Request::CompareTails { ticket, known } => {
                let places = tails(&known, round);
                Self::Tails(ticket, known, places)
            }
            Request::CheckOwners { ticket, owners } => Self::Owners(ticket, check_owners(&owners, round)),
            // The lane deals with these itself: they need a number, or several rounds of their own.
            Request::Claim(_)
            | Request::OpenGroup(_)
            | Request::FindRetained { .. }
            | Request::ReadRetained { .. } => return None,
        })
    }

    /// Queues that have what is published already, and are told of it in a later round.
    pub(crate) fn has_reached(&self) -> impl Iterator<Item = SessionId> {
        let publishing = if let Self::Publish(publishing) = self { Some(publishing) } else { None };
        publishing.into_iter().flat_map(|publishing| publishing.has_reached())
    }

    /// What comes of the answers.
    pub(crate) fn advance(self, answers: &mut Answers<'_>, round: &mut Round<'_>) -> Next<Self> {
        Next::Done(match self {
            Self::Claim(ticket, place) => {
                Completion::Claimed { ticket, result: answers.take(place).and_then(claimed).map(Box::new) }
            }
            Self::Done(ticket, place) => {
                Completion::Done { ticket, result: answers.take(place).and_then(|value| done(&value)) }
            }
            Self::All(ticket, places) => Completion::Done { ticket, result: all(places, answers) },
            Self::Read(reading) => {
                return match (*reading).advance(answers, round) {
                    Next::More(reading) => Next::More(Self::Read(Box::new(reading))),
                    Next::Done(completion) => Next::Done(completion),
                };
            }
            Self::Publish(publishing) => {
                return match publishing.advance(answers, round) {
                    Next::More(publishing) => Next::More(Self::Publish(publishing)),
                    Next::Done(completion) => Next::Done(completion),
                };
            }
            Self::Opening(open, group, places) => match all(places, answers) {
                Ok(()) => {
                    return Next::More(Self::Opened(open.ticket, group, open_group(&open, group, round)));
                }
                Err(error) => Completion::GroupOpened { ticket: open.ticket, result: Err(error) },
            },
            Self::Opened(ticket, group, place) => match answers.take(place).and_then(opened) {
                Ok(known) if known != group => {
                    return Next::More(Self::Known(ticket, known, yield_to(known.0, group.0, round)));
                }
                result => Completion::GroupOpened { ticket, result },
            },
            Self::Known(ticket, group, places) => {
                Completion::GroupOpened { ticket, result: all(places, answers).map(|()| group) }
            }
            Self::Shares(ticket, group, place) => {
                let stats = &answers.shared.stats;
                let result = answers.take(place).and_then(|value| shares(value, stats));
                Completion::SharesClaimed { ticket, group, result }
            }
            Self::Held(ticket, group, place) => {
                Completion::SharesHeld { ticket, group, result: answers.take(place).and_then(held) }
            }
            Self::Tails(ticket, known, places) => {
                Completion::Tails { ticket, result: further(&known, places, answers) }
            }
            Self::Owners(ticket, places) => Completion::Owners { ticket, result: lost(places, answers) },
        })
    }
}

fn all(places: Vec<Place>, answers: &mut Answers<'_>) -> Result<(), Error> {
    let mut each = places.into_iter().map(|place| answers.take(place).and_then(|value| done(&value)));
    each.find(Result::is_err).unwrap_or(Ok(()))
}

/// A change of a session by its owner.
fn change(op: Op, session: SessionId, token: OwnerToken, what: &[&str], round: &mut Round<'_>) -> Place {
    let [id, token] = owned(session, token);
    let mut words = vec![id.as_str(), &token];
    words.extend_from_slice(what);
    round.must_last();
    round.words(Keys::of_session(session.0), op, &words)
}

fn subscribe(
    session: SessionId,
    token: OwnerToken,
    subscriptions: &[Subscription],
    round: &mut Round<'_>,
) -> Place {
    let [id, token] = owned(session, token);
    round.must_last();
    let (call, number) = round.call_to(Keys::of_session(session.0));
    call.begin(Op::Subscribe, 2 + 2 * subscriptions.len());
    call.argument(id.as_bytes());
    call.argument(token.as_bytes());
    for subscription in subscriptions {
        call.argument(subscription.filter.as_bytes());
        call.argument(&encode(&SubscriptionRow::from(subscription)));
    }
    Place { call: number, reply: call.last_reply() }
}

fn end(end: &ConnectionEnd, round: &mut Round<'_>) -> Place {
    let [id, token] = owned(end.session, end.token);
    let (generation, number) = keys::parts(end.sent);
    let (expiry, now) = (end.session_expiry.to_string(), end.now.as_millis().to_string());
    let delay = end.will_delay.map(|delay| delay.to_string()).unwrap_or_default();
    let left = end.departure.as_ref().map(|left| encode(&DepartureRow::from(left))).unwrap_or_default();
    let first_sent = FirstSentRow::of(&end.first_sent).map(|row| encode(&row)).unwrap_or_default();
    round.must_last();
    round.push(
        Keys::of_session(end.session.0),
        Op::End,
        &[
            id.as_bytes(),
            token.as_bytes(),
            expiry.as_bytes(),
            generation.to_string().as_bytes(),
            number.to_string().as_bytes(),
            &first_sent,
            delay.as_bytes(),
            &left,
            now.as_bytes(),
        ],
    )
}

/// Raises fences in every partition: each is to refuse what a former owner appends.
fn raise(slots: &[Fence], round: &mut Round<'_>) -> Vec<Place> {
    let words: Vec<String> =
        slots.iter().flat_map(|fence| [fence.slot.to_string(), fence.epoch.to_string()]).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    round.must_last();
    round.keys().partitions().map(|partition| round.words(partition, Op::Raise, &words)).collect()
}

/// Tells every partition of a group: those that hold its members' queues must know whether it is there.
pub(crate) fn know_group(id: u64, round: &mut Round<'_>) -> Vec<Place> {
    let id = id.to_string();
    round.must_last();
    round.keys().partitions().map(|partition| round.words(partition, Op::KnowGroup, &[&id])).collect()
}

/// Makes the queue of a group that is known, unless its key has one.
pub(crate) fn open_group(open: &OpenGroup, group: GroupId, round: &mut Round<'_>) -> Place {
    let words = [
        &group.0.to_string(),
        &keys::client(open.scope, &open.key),
        &open.bounds.0.to_string(),
        &open.bounds.1.to_string(),
        &open.retention_secs.to_string(),
    ];
    round.must_last();
    round.words(Keys::of_session(group.0), Op::OpenGroup, &words.map(|word| &**word))
}

/// There was a group before the one that was to be made: that one is known nowhere any more, and the other everywhere, whatever
/// became of the attempt to close it.
pub(crate) fn yield_to(known: u64, candidate: u64, round: &mut Round<'_>) -> Vec<Place> {
    unknow_group(candidate, None, round);
    know_group(known, round)
}

fn close_group(id: u64, fence: Option<Fence>, round: &mut Round<'_>) {
    let partition = Keys::of_session(id);
    round.guard(partition, fence);
    round.words(partition, Op::CloseGroup, &[&id.to_string()]);
    unknow_group(id, fence, round);
}

fn unknow_group(id: u64, fence: Option<Fence>, round: &mut Round<'_>) {
    for partition in round.keys().partitions() {
        round.guard(partition, fence);
        round.words(partition, Op::UnknowGroup, &[&id.to_string()]);
    }
}

fn shares_of(op: Op, group: GroupId, of: &[&str], entries: &[EntryId], round: &mut Round<'_>) {
    let entries: Vec<String> = entries.iter().map(|entry| entry.0.to_string()).collect();
    let words: Vec<&str> = of.iter().copied().chain(entries.iter().map(String::as_str)).collect();
    round.words(Keys::of_session(group.0), op, &words);
}

/// Partitions with the indexes of the sessions that are theirs.
fn by_partition(sessions: impl Iterator<Item = SessionId>) -> Vec<(u8, Vec<usize>)> {
    let mut by_partition: Vec<(u8, Vec<usize>)> = Vec::new();
    for (index, session) in sessions.enumerate() {
        let partition = Keys::of_session(session.0);
        match by_partition.iter_mut().find(|(of, _)| *of == partition) {
            Some((_, indexes)) => indexes.push(index),
            None => by_partition.push((partition, vec![index])),
        }
    }
    by_partition
}

fn check_owners(owners: &[(SessionId, OwnerToken)], round: &mut Round<'_>) -> Vec<(Place, Vec<usize>)> {
    let ask = |(partition, indexes): (u8, Vec<usize>)| {
        let owners = indexes.iter().filter_map(|index| owners.get(*index));
        let words: Vec<String> = owners.flat_map(|(session, token)| owned(*session, *token)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (round.words(partition, Op::Owners, &words), indexes)
    };
    by_partition(owners.iter().map(|(session, _)| *session)).into_iter().map(ask).collect()
}

/// Sessions that their callers do not have, in the order of the request.
fn lost(places: Vec<(Place, Vec<usize>)>, answers: &mut Answers<'_>) -> Result<Vec<usize>, Error> {
    let mut lost = Vec::new();
    for (place, indexes) in places {
        for position in reply::array(answers.take(place)?)? {
            let position = usize::try_from(reply::number(position)?).ok();
            let index = position.and_then(|position| indexes.get(position));
            lost.push(*index.ok_or_else(|| reply::malformed("no such session"))?);
        }
    }
    lost.sort_unstable();
    Ok(lost)
}

fn tails(known: &[(SessionId, EntryId)], round: &mut Round<'_>) -> Vec<(Place, Vec<usize>)> {
    let ask = |(partition, indexes): (u8, Vec<usize>)| {
        let ids =
            indexes.iter().filter_map(|index| known.get(*index)).map(|(session, _)| session.0.to_string());
        let ids: Vec<String> = ids.collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        (round.words(partition, Op::Tails, &ids), indexes)
    };
    by_partition(known.iter().map(|(session, _)| *session)).into_iter().map(ask).collect()
}

/// Queues that reach further than is known, in the order of the request.
fn further(
    known: &[(SessionId, EntryId)],
    places: Vec<(Place, Vec<usize>)>,
    answers: &mut Answers<'_>,
) -> Result<Vec<(usize, EntryId)>, Error> {
    let mut further = Vec::new();
    for (place, indexes) in places {
        for (index, tail) in indexes.into_iter().zip(reply::array(answers.take(place)?)?) {
            let tail = reply::text(tail)?;
            if tail.is_empty() {
                continue;
            }
            let tail = keys::split_entry(&tail).ok_or_else(|| reply::malformed("no entry id"))?;
            if known.get(index).is_some_and(|(_, known)| tail > *known) {
                further.push((index, tail));
            }
        }
    }
    further.sort_unstable();
    Ok(further)
}
