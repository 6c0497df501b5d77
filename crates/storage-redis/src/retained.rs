//! Reading retained messages.

use std::sync::Arc;

use fleethaven_storage::Error;
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

/// Retained messages of topics that match `filter`, above `after`, in topic order.
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
    let partitions: Vec<u8> = match keys.of_filter(scope, filter) {
        Some(partition) => vec![partition],
        None => keys.partitions().collect(),
    };
    let prefix = literal_prefix(filter);
    let from = start(prefix, after);
    let each = share(limit, partitions.len()).to_string();
    let sources = partitions.into_iter().map(|partition| Source::new(partition, from.clone())).collect();
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
    let topics: Vec<&str> = topics.iter().map(|(topic, ())| topic.as_str()).collect();
    messages(client, keys, scope, &topics)
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
