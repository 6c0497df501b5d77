//! Reading what Redis answered. An answer of another shape than expected is an error, never a panic.

use fleethaven_storage::{Error, OwnerToken, SessionRecord, Subscription, record};
use redis::Value;

use crate::keys;

/// A reply could not be read: the store was written by another version, or the server is no Redis.
pub(crate) fn malformed(what: &str) -> Error {
    Error::Unavailable(format!("Redis gave an unexpected answer: {what}"))
}

pub(crate) fn array(value: Value) -> Result<std::vec::IntoIter<Value>, Error> {
    match value {
        Value::Array(values) => Ok(values.into_iter()),
        // An empty table of the script.
        Value::Nil => Ok(Vec::new().into_iter()),
        _ => Err(malformed("no array")),
    }
}

/// The next value of an array.
pub(crate) fn next(values: &mut std::vec::IntoIter<Value>) -> Result<Value, Error> {
    values.next().ok_or_else(|| malformed("too short an array"))
}

pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, Error> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        _ => Err(malformed("no string")),
    }
}

pub(crate) fn text(value: Value) -> Result<String, Error> {
    String::from_utf8(bytes(value)?).map_err(|_| malformed("no UTF-8"))
}

/// A number, also when it comes as text.
pub(crate) fn number(value: Value) -> Result<u64, Error> {
    match value {
        Value::Int(number) => u64::try_from(number).map_err(|_| malformed("a negative number")),
        value => text(value)?.parse().map_err(|_| malformed("no number")),
    }
}

/// A number that may be negative.
pub(crate) fn signed(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(malformed("no number")),
    }
}

pub(crate) fn entry(value: Value) -> Result<fleethaven_storage::EntryId, Error> {
    keys::split_entry(&text(value)?).ok_or_else(|| malformed("no entry id"))
}

/// An owner as the script compares it: incarnation, a colon, counter.
pub(crate) fn token(value: Value) -> Result<OwnerToken, Error> {
    let text = text(value)?;
    let parts = text.split_once(':').and_then(|(incarnation, counter)| {
        Some(OwnerToken { incarnation: incarnation.parse().ok()?, counter: counter.parse().ok()? })
    });
    parts.ok_or_else(|| malformed("no token"))
}

/// The rows of a session's subscriptions.
pub(crate) fn subscriptions(value: Value) -> Result<Vec<Subscription>, Error> {
    let subscription = |value| {
        let row: record::SubscriptionRow = decode(&bytes(value)?)?;
        row.try_into().map_err(|error: record::Error| malformed(&error.to_string()))
    };
    array(value)?.map(subscription).collect()
}

/// A session as the script's `record` gives it.
pub(crate) fn session(value: Value) -> Result<SessionRecord, Error> {
    let mut values = array(value)?;
    let session = fleethaven_storage::SessionId(number(next(&mut values)?)?);
    let client = text(next(&mut values)?)?;
    let (scope, client_id) = keys::split_client(&client).ok_or_else(|| malformed("no client"))?;
    let live = number(next(&mut values)?)? == 1;
    let subscriptions = subscriptions(next(&mut values)?)?;
    let version_number = number(next(&mut values)?)?;
    Ok(SessionRecord { session, scope, client_id, subscriptions, live, version_number })
}

/// A row that the store wrote.
pub(crate) fn decode<M: prost::Message + Default>(value: &[u8]) -> Result<M, Error> {
    record::decode(value).map_err(|error| malformed(&error.to_string()))
}

/// A message that the store wrote.
pub(crate) fn message(value: &[u8]) -> Result<std::sync::Arc<fleethaven_types::Message>, Error> {
    let row: record::MessageRow = decode(value)?;
    let message = fleethaven_types::Message::try_from(row);
    message.map(std::sync::Arc::new).map_err(|error| malformed(&error.to_string()))
}
