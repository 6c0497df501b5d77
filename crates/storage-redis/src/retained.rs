//! Reading retained messages.

use std::sync::Arc;

use fleethaven_storage::{Error, RetainedTopic};
use fleethaven_types::{Message, Scope};
use redis::Value;

use crate::client::{Batch, Client};
use crate::keys::{self, Keys};
use crate::merge::{Source, merge, share};
use crate::reply;
use crate::script::{Call, Op};

/// The message of exactly this topic, unless it has expired.
pub(crate) fn get(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    topic: &str,
) -> Result<Option<Arc<Message>>, Error> {
    let mut found = messages(client, keys, scope, &[topic])?;
    Ok(found.pop())
}

/// Retained messages of topics that match `filter`, above `after`, in topic order; fewer than `limit` mean that was all.
pub(crate) fn page(
    client: &mut Client,
    keys: &Keys,
    (scope, filter): (Scope, &str),
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Arc<Message>>, Error> {
    if !filter.contains(['+', '#']) {
        let wanted = limit > 0 && after.is_none_or(|after| filter > after);
        return if wanted { messages(client, keys, scope, &[filter]) } else { Ok(Vec::new()) };
    }
    let partitions = match keys.of_filter(scope, filter) {
        Some(partition) => vec![partition],
        None => keys.partitions().collect(),
    };
    read(client, keys, (scope, filter), (&partitions, after), limit)
}

/// What is retained, in topic order, above `after`; fewer than `limit` mean that was all.
pub(crate) fn list(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<RetainedTopic>, Error> {
    let partitions: Vec<u8> = keys.partitions().collect();
    let messages = read(client, keys, (scope, ""), (&partitions, after), limit)?;
    let listed = |message: Arc<Message>| RetainedTopic {
        topic: message.topic.compact(),
        payload_bytes: message.payload.len() as u64,
        qos: message.qos,
        received_at: message.received_at,
    };
    Ok(messages.into_iter().map(listed).collect())
}

/// Retained messages of the scope.
pub(crate) fn count(client: &mut Client, keys: &Keys, scope: Scope) -> Result<u64, Error> {
    let topics: Vec<String> = keys.partitions().map(|partition| topics_key(keys, partition, scope)).collect();
    let counts: Vec<[&str; 2]> = topics.iter().map(|key| ["ZCARD", key]).collect();
    let counts: Vec<&[&str]> = counts.iter().map(|words| &words[..]).collect();
    client.commands(&counts)?.into_iter().map(reply::number).sum()
}

/// Whether there is a retained message of exactly this topic, expired or not.
pub(crate) fn holds(client: &mut Client, keys: &Keys, scope: Scope, topic: &str) -> Result<bool, Error> {
    let key = topics_key(keys, keys.of_topic(scope, topic), scope);
    let found = client.commands(&[&["ZSCORE", &key, topic]])?;
    Ok(found.first().is_some_and(|score| *score != Value::Nil))
}

fn topics_key(keys: &Keys, partition: u8, scope: Scope) -> String {
    format!("{}:t:{}", keys.root(partition), keys::scope(scope))
}

/// Topics first, then their messages; again when some of these have gone meanwhile.
fn read(
    client: &mut Client,
    keys: &Keys,
    of: (Scope, &str),
    (partitions, after): (&[u8], Option<&str>),
    limit: usize,
) -> Result<Vec<Arc<Message>>, Error> {
    let (mut found, mut after) = (Vec::new(), after.map(str::to_owned));
    loop {
        let wanted = limit - found.len();
        let names = topics(client, of, partitions, after.as_deref(), wanted)?;
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        found.extend(messages(client, keys, of.0, &all)?);
        if names.len() < wanted || found.len() >= limit {
            return Ok(found);
        }
        after = names.into_iter().next_back();
    }
}

/// At most `limit` topics that match, above `after`, in order.
fn topics(
    client: &mut Client,
    (scope, filter): (Scope, &str),
    partitions: &[u8],
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, Error> {
    let prefix = literal_prefix(filter);
    let from = start(prefix, after);
    let each = share(limit, partitions.len()).to_string();
    let sources = partitions.iter().map(|partition| Source::new(*partition, from.clone())).collect();
    let of = keys::scope(scope);
    let topics = merge(sources, limit, |mut dry: Vec<&mut Source<String, ()>>| {
        let call = |source: &&mut Source<String, ()>| {
            let words = [of.as_str(), filter, &source.next, prefix, &each];
            Call::of(source.partition, Op::RetainedPage, &words.map(str::as_bytes))
        };
        let batch = Batch { calls: dry.iter().map(call).collect(), durable: false };
        for (source, replies) in dry.iter_mut().zip(client.run(&batch)?) {
            let mut page = reply::array(replies?.pop().unwrap_or_default())?;
            source.done = reply::number(reply::next(&mut page)?)? == 1;
            source.next = reply::text(reply::next(&mut page)?)?;
            for topic in reply::array(reply::next(&mut page)?)? {
                source.ready.push_back((reply::text(topic)?, ()));
            }
        }
        Ok(())
    })?;
    Ok(topics.into_iter().map(|(topic, ())| topic).collect())
}

/// The messages of these topics, without those that are not there any more.
fn messages(
    client: &mut Client,
    keys: &Keys,
    scope: Scope,
    topics: &[&str],
) -> Result<Vec<Arc<Message>>, Error> {
    let of = keys::scope(scope);
    let call = |topic: &&str| {
        Call::of(keys.of_topic(scope, topic), Op::GetRetained, &[of.as_bytes(), topic.as_bytes()])
    };
    let batch = Batch { calls: topics.iter().map(call).collect(), durable: false };
    let mut found = Vec::with_capacity(topics.len());
    for replies in client.run(&batch)? {
        match replies?.pop() {
            Some(Value::BulkString(row)) if !row.is_empty() => found.push(reply::message(&row)?),
            _ => {}
        }
    }
    Ok(found)
}

/// What every topic that matches `filter` begins with: all before the first wildcard, less the `/` before it, as
/// `a/#` matches `a` too.
fn literal_prefix(filter: &str) -> &str {
    let end = filter.find(['+', '#']).map_or(filter.len(), |at| at.saturating_sub(1));
    filter.get(..end).unwrap_or_default()
}

/// A bound of ZRANGEBYLEX.
fn start(prefix: &str, after: Option<&str>) -> String {
    match after {
        Some(after) if after >= prefix => format!("({after}"),
        _ => format!("[{prefix}"),
    }
}
