//! Reading retained messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleethaven_storage::{Error, RetainedTopic};
use fleethaven_types::{Message, Scope, Utf8Bytes};
use redis::Value;
use rustc_hash::{FxHashMap, FxHashSet};

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

/// For each of `asked` the filters, by index, that match a message; and perhaps some whose messages have expired. Two rounds however
/// many they are, and one where nothing is retained.
pub(crate) fn find(
    client: &mut Client,
    keys: &Keys,
    asked: &[&(Scope, Vec<Utf8Bytes>)],
) -> Result<Vec<Vec<usize>>, Error> {
    let filled = filled(client, keys, asked.iter().map(|(scope, _)| *scope).collect())?;
    let (mut exact, mut topics, mut paged, mut calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, (scope, filters)) in asked.iter().enumerate() {
        let Some(partitions) = filled.get(scope) else { continue };
        let of = keys::scope(*scope);
        for (at, filter) in filters.iter().enumerate() {
            let only = keys.of_filter(*scope, filter);
            if !filter.contains(['+', '#']) {
                let partition = keys.of_topic(*scope, filter);
                if partitions.contains(&partition) {
                    exact.push((place, at));
                    topics.push((topics_key(keys, partition, *scope), filter.as_str()));
                }
                continue;
            }
            let prefix = literal_prefix(filter);
            let words = [of.as_str(), filter, &start(prefix, None), prefix, "1"];
            for partition in partitions.iter().filter(|partition| only.is_none_or(|only| only == **partition))
            {
                paged.push((place, at));
                calls.push(Call::of(*partition, Op::RetainedPage, &words.map(str::as_bytes)));
            }
        }
    }
    let mut found = vec![BTreeSet::new(); asked.len()];
    let mut note = |(place, at): (usize, usize)| found.get_mut(place).map(|found| found.insert(at));
    if !topics.is_empty() {
        let words: Vec<[&str; 3]> = topics.iter().map(|(key, topic)| ["ZSCORE", key, topic]).collect();
        let words: Vec<&[&str]> = words.iter().map(|words| &words[..]).collect();
        for (of, score) in exact.into_iter().zip(client.commands(&words)?) {
            if score != Value::Nil {
                note(of);
            }
        }
    }
    for (of, replies) in paged.into_iter().zip(client.run(&Batch { calls, durable: false })?) {
        let mut page = reply::array(replies?.pop().unwrap_or_default())?;
        let all = reply::number(reply::next(&mut page)?)? == 1;
        reply::next(&mut page)?;
        // A page that was given up on may have something further on.
        if !all || reply::array(reply::next(&mut page)?)?.len() > 0 {
            note(of);
        }
    }
    Ok(found.into_iter().map(|found| found.into_iter().collect()).collect())
}

/// The partitions where something is retained, of those scopes that have any.
fn filled(
    client: &mut Client,
    keys: &Keys,
    scopes: FxHashSet<Scope>,
) -> Result<FxHashMap<Scope, Vec<u8>>, Error> {
    let places: Vec<(Scope, u8)> =
        scopes.iter().flat_map(|scope| keys.partitions().map(|partition| (*scope, partition))).collect();
    let topics: Vec<String> =
        places.iter().map(|(scope, partition)| topics_key(keys, *partition, *scope)).collect();
    let words: Vec<[&str; 2]> = topics.iter().map(|key| ["EXISTS", key]).collect();
    let words: Vec<&[&str]> = words.iter().map(|words| &words[..]).collect();
    let mut filled: FxHashMap<Scope, Vec<u8>> = FxHashMap::default();
    for ((scope, partition), exists) in places.into_iter().zip(client.commands(&words)?) {
        if reply::number(exists)? > 0 {
            filled.entry(scope).or_default().push(partition);
        }
    }
    Ok(filled)
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
