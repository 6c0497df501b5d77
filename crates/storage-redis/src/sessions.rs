//! What is asked about sessions beside the lanes.

use fleethaven_storage::record::{DepartureRow, encode};
use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{ClientRecord, Dead, Departure, Error, SessionRecord};
use fleethaven_types::{Scope, Timestamp};
use redis::Value;

use crate::answers;
use crate::client::{Batch, Client};
use crate::keys::{self, Keys};
use crate::merge::{Source, merge, share};
use crate::reply;
use crate::script::{Call, Op};

/// How many orphans of one partition are ended at once.
const ORPHANS: usize = 256;

/// Persistent sessions with ids above `after`, in order of id.
pub(crate) fn persistent(
    client: &mut Client,
    keys: &Keys,
    after: u64,
    limit: usize,
) -> Result<Vec<SessionRecord>, Error> {
    let each = share(limit, keys.count());
    let sources = keys.partitions().map(|partition| Source::new(partition, after.to_string())).collect();
    let records = merge(sources, limit, |mut dry: Vec<&mut Source<u64, SessionRecord>>| {
        let most = each.to_string();
        let call = |source: &&mut Source<u64, SessionRecord>| {
            Call::of(source.partition, Op::List, &[source.next.as_bytes(), most.as_bytes()])
        };
        let batch = Batch { calls: dry.iter().map(call).collect(), durable: false };
        for (source, replies) in dry.iter_mut().zip(client.run(&batch)?) {
            let found = records(replies?)?;
            source.done = found.len() < each;
            if let Some(last) = found.last() {
                source.next = last.session.0.to_string();
            }
            source.ready.extend(found.into_iter().map(|record| (record.session.0, record)));
        }
        Ok(())
    })?;
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

/// Deletes at most `limit` sessions whose expiry has passed.
pub(crate) fn expire(
    client: &mut Client,
    keys: &Keys,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<SessionRecord>, Error> {
    let now = now.as_millis().to_string();
    let deadlines: Vec<String> =
        keys.partitions().map(|partition| format!("{}:deadlines", keys.root(partition))).collect();
    let counts: Vec<[&str; 4]> = deadlines.iter().map(|key| ["ZCOUNT", key, "-inf", &now]).collect();
    let counts: Vec<&[&str]> = counts.iter().map(|words| &words[..]).collect();
    let due = client.commands(&counts)?;
    let (mut calls, mut left) = (Vec::new(), limit);
    for (partition, due) in keys.partitions().zip(due) {
        let most = usize::try_from(reply::number(due)?).unwrap_or(usize::MAX).min(left);
        if most > 0 {
            left -= most;
            calls.push(Call::of(partition, Op::Expire, &[now.as_bytes(), most.to_string().as_bytes()]));
        }
    }
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut expired = Vec::new();
    for replies in client.run(&Batch { calls, durable: true })? {
        expired.extend(records(replies?)?);
    }
    Ok(expired)
}

/// Ends the connections of dead processes.
pub(crate) fn end_orphans(
    client: &mut Client,
    keys: &Keys,
    dead: Dead,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<Orphan>, Error> {
    let (newest, living) = match &dead {
        Dead::Left { newest, living } => (newest.to_string(), living.iter().map(u64::to_string).collect()),
        Dead::AllBut(living) => ("inf".to_owned(), vec![living.to_string()]),
    };
    let living = format!(" {} ", living.join(" "));
    let left = encode(&DepartureRow::from(&Departure::of_orphan(now, reason, 0)));
    let (now, most) = (now.as_millis().to_string(), ORPHANS.to_string());
    let arguments = [newest.as_bytes(), living.as_bytes(), &left, now.as_bytes(), most.as_bytes()];
    let mut orphans = Vec::new();
    let mut partitions: Vec<u8> = keys.partitions().collect();
    while !partitions.is_empty() {
        let calls = partitions.iter().map(|partition| Call::of(*partition, Op::Orphans, &arguments));
        let batch = Batch { calls: calls.collect(), durable: true };
        partitions.clear();
        for (call, replies) in batch.calls.iter().zip(client.run(&batch)?) {
            let ended = reply::array(replies?.pop().unwrap_or_default())?;
            if ended.len() >= ORPHANS {
                partitions.push(call.partition);
            }
            for value in ended {
                orphans.push(orphan(value)?);
            }
        }
    }
    Ok(orphans)
}

/// Who has a client id, and its session.
pub(crate) fn client(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    client_id: &str,
) -> Result<Option<ClientRecord>, Error> {
    let name = keys::client(scope, client_id);
    let call = Call::of(keys.of_client(&name), Op::Client, &[name.as_bytes()]);
    let mut found = reply::array(reply::next(&mut client.call(&Batch::of(call))?)?)?;
    let Some(record) = found.next() else { return Ok(None) };
    let mut next = || reply::next(&mut found);
    let record = reply::session(record)?;
    let (persistent, expiry) = (reply::number(next()?)? == 1, reply::number(next()?)?);
    let (token, address) = (next()?, next()?);
    let owner = if record.live { Some((reply::token(token)?, reply::number(address)?)) } else { None };
    let session_expiry = u32::try_from(expiry).map_err(|_| reply::malformed("no session expiry"))?;
    Ok(Some(ClientRecord { record, persistent, session_expiry, owner }))
}

/// How a client left last, if that is not too long ago at `now`.
pub(crate) fn departure(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    client_id: &str,
    now: Timestamp,
) -> Result<Option<Departure>, Error> {
    let name = keys::client(scope, client_id);
    let call = Call::of(keys.of_client(&name), Op::Departure, &[name.as_bytes()]);
    let mut found = reply::array(reply::next(&mut client.call(&Batch::of(call))?)?)?;
    let (row, expiry) = match reply::next(&mut found)? {
        Value::Nil => return Ok(None),
        row => (reply::bytes(row)?, reply::number(reply::next(&mut found)?)?),
    };
    let expiry = u32::try_from(expiry).map_err(|_| reply::malformed("no session expiry"))?;
    let left: Result<Departure, _> = reply::decode::<DepartureRow>(&row)?.try_into();
    let left = left.map_err(|error| reply::malformed(&error.to_string()))?;
    Ok(Some(Departure { session_expiry: expiry, ..left }).filter(|left| left.is_recent(now)))
}

/// Deletes the session of a client id that nobody is connected under.
pub(crate) fn delete(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    client_id: &str,
) -> Result<Option<SessionRecord>, Error> {
    let name = keys::client(scope, client_id);
    let call = Call::of(keys.of_client(&name), Op::DeleteSession, &[name.as_bytes()]);
    match reply::next(&mut client.call(&Batch::of(call).durable())?)? {
        Value::Array(none) if none.is_empty() => Ok(None),
        record @ Value::Array(_) => reply::session(record).map(Some),
        refusal => Err(answers::refused(&refusal)),
    }
}

/// At most `limit` wills that are due, the longest overdue first.
pub(crate) fn due_wills(
    client: &mut Client,
    keys: &Keys,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueWill>, Error> {
    let (now, most) = (now.as_millis().to_string(), limit.to_string());
    let arguments = [now.as_bytes(), most.as_bytes()];
    let calls = keys.partitions().map(|partition| Call::of(partition, Op::DueWills, &arguments));
    let mut wills = Vec::new();
    for replies in client.run(&Batch { calls: calls.collect(), durable: false })? {
        for value in reply::array(replies?.pop().unwrap_or_default())? {
            let mut values = reply::array(value)?;
            let (due, number) = (reply::number(reply::next(&mut values)?)?, reply::next(&mut values)?);
            let row = reply::bytes(reply::next(&mut values)?)?;
            wills.push((due, answers::will(number, &row)?));
        }
    }
    wills.sort_by_key(|(due, will)| (*due, will.number));
    wills.truncate(limit);
    Ok(wills.into_iter().map(|(_, will)| will).collect())
}

/// Calls off the will that the last connection of a session left behind.
pub(crate) fn withdraw_will(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    client_id: &str,
) -> Result<(), Error> {
    let name = keys::client(scope, client_id);
    let call = Call::of(keys.of_client(&name), Op::WithdrawWill, &[name.as_bytes()]);
    answers::done(&reply::next(&mut client.call(&Batch::of(call).durable())?)?)
}

fn records(mut replies: Vec<Value>) -> Result<Vec<SessionRecord>, Error> {
    reply::array(replies.pop().unwrap_or_default())?.map(reply::session).collect()
}

fn orphan(value: Value) -> Result<Orphan, Error> {
    let mut values = reply::array(value)?;
    let mut next = || reply::next(&mut values);
    let (scope, client_id) =
        keys::split_client(&reply::text(next()?)?).ok_or_else(|| reply::malformed("no client"))?;
    let (token, principal) = (reply::token(next()?)?, reply::text(next()?)?);
    let version_number = reply::number(next()?)?;
    let principal = (!principal.is_empty()).then(|| principal.into());
    Ok(Orphan { scope, client_id, token, principal, version_number })
}
