//! What the replies of the script say, in the seam's words.

use std::num::NonZeroU16;

use fleethaven_storage::record::{FirstSentRow, WillRow};
use fleethaven_storage::{
    Appended, Claimed, ClaimedShares, DueWill, EntryId, Error, GroupId, PreviousOwner, QueuedMessage,
    SessionId, StoredWill,
};
use redis::Value;

use crate::delivery::DeliveryRow;
use crate::{Stats, keys, reply};

/// Done, or the error that the script named.
pub(crate) fn done(value: &Value) -> Result<(), Error> {
    match value {
        Value::BulkString(word) if word == b"ok" => Ok(()),
        refusal => Err(refused(refusal)),
    }
}

/// The error that the script named.
pub(crate) fn refused(value: &Value) -> Error {
    let Value::BulkString(word) = value else { return reply::malformed("no refusal") };
    match word.as_slice() {
        b"NoSession" => Error::NoSession,
        b"NotOwner" => Error::NotOwner,
        b"AlreadyDone" => Error::AlreadyDone,
        b"Fenced" => Error::Fenced,
        _ => reply::malformed("no refusal"),
    }
}

/// A word of the script that is no refusal.
pub(crate) fn word(value: Value) -> Result<String, Error> {
    match refused(&value) {
        Error::Unavailable(_) => reply::text(value),
        refusal => Err(refusal),
    }
}

/// What became of an append to a session's queue.
pub(crate) enum Placed {
    There(Appended),
    /// A share that belongs into its group's queue; held, when its member is there and has no queue.
    InGroup {
        held: bool,
    },
}

pub(crate) fn placed(value: Value) -> Result<Placed, Error> {
    let text = word(value)?;
    let ids = match text.as_str() {
        "none" => return Ok(Placed::There(Appended::NoSession)),
        "full" => return Ok(Placed::There(Appended::Overflow)),
        "wait" => return Ok(Placed::InGroup { held: false }),
        "held" => return Ok(Placed::InGroup { held: true }),
        ids => {
            ids.split_once(' ').map(|(entry, before)| (keys::split_entry(entry), keys::split_entry(before)))
        }
    };
    match ids {
        Some((Some(entry), Some(previous))) => Ok(Placed::There(Appended::At { entry, previous })),
        _ => Err(reply::malformed("no entry ids")),
    }
}

/// What became of an append to a group's queue.
pub(crate) fn waiting(value: Value, held: bool) -> Result<Appended, Error> {
    match word(value)?.as_str() {
        "none" => Ok(Appended::NoSession),
        "full" => Ok(Appended::Overflow),
        number => {
            let entry = number.parse().map(EntryId).map_err(|_| reply::malformed("no entry number"))?;
            Ok(if held { Appended::Held { entry } } else { Appended::Waiting })
        }
    }
}

/// Entries of a queue and its tail.
pub(crate) fn queue_read(value: Value, stats: &Stats) -> Result<(Vec<QueuedMessage>, EntryId), Error> {
    let mut values = match value {
        Value::Array(values) => values.into_iter(),
        refusal => return Err(refused(&refusal)),
    };
    let tail = reply::entry(reply::next(&mut values)?)?;
    Stats::add(&stats.expired, reply::number(reply::next(&mut values)?)?);
    let entries = reply::array(reply::next(&mut values)?)?;
    Ok((entries.map(queued).collect::<Result<_, Error>>()?, tail))
}

fn queued(value: Value) -> Result<QueuedMessage, Error> {
    let mut values = reply::array(value)?;
    let entry = reply::entry(reply::next(&mut values)?)?;
    delivered(entry, values)
}

fn delivered(entry: EntryId, mut values: std::vec::IntoIter<Value>) -> Result<QueuedMessage, Error> {
    let delivery: DeliveryRow = reply::decode(&reply::bytes(reply::next(&mut values)?)?)?;
    let message = reply::message(&reply::bytes(reply::next(&mut values)?)?)?;
    delivery.queued(entry, message)
}

/// Shares of a group, as they were published: no member is chosen yet.
pub(crate) fn shares(value: Value, stats: &Stats) -> Result<ClaimedShares, Error> {
    let mut values = reply::array(value)?;
    let more = reply::number(reply::next(&mut values)?)? == 1;
    Stats::add(&stats.expired, reply::number(reply::next(&mut values)?)?);
    let share = |value| {
        let mut values = reply::array(value)?;
        let entry = EntryId(reply::number(reply::next(&mut values)?)?);
        let queued = delivered(entry, values)?;
        let (qos, retain) = (queued.message.qos, queued.message.retain);
        Ok(QueuedMessage { qos, retain, identifiers: Vec::new(), ..queued })
    };
    let entries = reply::array(reply::next(&mut values)?)?.map(share).collect::<Result<_, Error>>()?;
    Ok(ClaimedShares { entries, more })
}

/// The group of a key.
pub(crate) fn opened(value: Value) -> Result<GroupId, Error> {
    reply::number(value).map(GroupId)
}

/// Numbers of entries of a group.
pub(crate) fn held(value: Value) -> Result<Vec<EntryId>, Error> {
    reply::array(value)?.map(|number| reply::number(number).map(EntryId)).collect()
}

pub(crate) fn claimed(value: Value) -> Result<Claimed, Error> {
    let mut values = reply::array(value)?;
    let mut next = || reply::next(&mut values);
    Ok(Claimed {
        session: SessionId(reply::number(next()?)?),
        session_present: reply::number(next()?)? == 1,
        subscriptions: reply::subscriptions(next()?)?,
        trimmed: reply::entry(next()?)?,
        tail: reply::entry(next()?)?,
        sent: reply::entry(next()?)?,
        version_number: reply::number(next()?)?,
        previous: previous(next()?)?,
        wiped: session(&reply::text(next()?)?)?,
        released: sorted(next()?, reply::entry)?,
        received: sorted(next()?, packet_id)?,
        first_sent: match reply::bytes(next()?)? {
            row if row.is_empty() => Vec::new(),
            row => reply::decode::<FirstSentRow>(&row)?.read(),
        },
        will: session(&reply::text(next()?)?)?,
    })
}

/// A session's or a will's number, if there is one.
fn session(text: &str) -> Result<Option<SessionId>, Error> {
    let number = |text: &str| text.parse().map_err(|_| reply::malformed("no session id"));
    (!text.is_empty()).then(|| number(text).map(SessionId)).transpose()
}

fn sorted<T: Ord>(value: Value, read: impl Fn(Value) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let mut all = reply::array(value)?.map(read).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    Ok(all)
}

fn packet_id(value: Value) -> Result<NonZeroU16, Error> {
    let number = u16::try_from(reply::number(value)?).ok().and_then(NonZeroU16::new);
    number.ok_or_else(|| reply::malformed("no packet identifier"))
}

fn previous(value: Value) -> Result<Option<PreviousOwner>, Error> {
    let mut values = reply::array(value)?;
    let Some(token) = values.next() else { return Ok(None) };
    let token = reply::token(token)?;
    let mut next = || reply::next(&mut values);
    let (address, number, row) = (reply::number(next()?)?, next()?, reply::bytes(next()?)?);
    let version_number = reply::number(next()?)?;
    let will = if row.is_empty() { None } else { Some(will(number, &row)?) };
    Ok(Some(PreviousOwner { token, address, will, version_number }))
}

/// A will that waits, under its number.
pub(crate) fn will(number: Value, row: &[u8]) -> Result<DueWill, Error> {
    let number = SessionId(reply::number(number)?);
    let row: WillRow = reply::decode(row)?;
    let will = StoredWill::try_from(row).map_err(|error| reply::malformed(&error.to_string()))?;
    Ok(DueWill { number, message: will.message })
}
