//! Messages of one rule that wait for each other, as `batchConfig` says: a batch is sent when it is full, or when its time has come.
//!
//! Who opens a batch sends it and tells the others how it went: no task is needed, and none is left behind.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::{Error, FailedBatch, Member};

/// What can be in one batch: the same address, and the same topic unless the rule says otherwise.
pub(super) type Kind = (String, String);

/// What can be in a batch.
pub(super) trait Item {
    /// Its bytes, without what parts it from the next.
    fn bytes(&self) -> usize;

    /// The entries that it brings.
    fn count(&self) -> usize {
        1
    }
}

/// Bounds of batches where a rule says nothing.
pub(super) struct Defaults {
    /// Milliseconds.
    pub(super) open: u64,
    /// Entries.
    pub(super) size: u64,
    pub(super) bytes: u64,
}

/// Batches of one action that are open.
pub(super) struct Batches<T> {
    open_for: Duration,
    size: usize,
    bytes: usize,
    across_topics: bool,
    open: Mutex<FxHashMap<Kind, Arc<Batch<T>>>>,
}

struct Batch<T> {
    full: Notify,
    content: Mutex<Content<T>>,
}

struct Content<T> {
    items: Vec<T>,
    members: Vec<Member>,
    size: usize,
    /// With what parts them.
    bytes: usize,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
}

impl<T: Item> Content<T> {
    fn new(first: T, member: Member) -> Self {
        let (items, members) = (Vec::new(), Vec::new());
        let mut content = Self { items, members, size: 0, bytes: 0, waiting: Vec::new() };
        content.add(first, member);
        content
    }

    /// With one more: each brings a comma, a bracket or a line end.
    fn bytes_with(&self, item: &T) -> usize {
        self.bytes.max(1) + item.bytes() + 1
    }

    fn add(&mut self, item: T, member: Member) {
        self.bytes = self.bytes_with(&item);
        self.size += item.count();
        self.items.push(item);
        self.members.push(member);
    }
}

/// What a message does for its batch.
enum Part<T> {
    Opens(Arc<Batch<T>>),
    Joins(oneshot::Receiver<Result<(), Error>>),
}

impl<T: Item> Batches<T> {
    /// As the rule's `batchConfig` says, or the defaults.
    pub(super) fn new(settings: &Value, defaults: &Defaults) -> Self {
        let config = settings.get("batchConfig");
        let member = |name: &str| config.and_then(|config| config.get(name));
        let number = |name: &str, default: u64| member(name).and_then(Value::as_u64).unwrap_or(default);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            open_for: Duration::from_millis(number("maxBatchOpenMs", defaults.open)),
            size: size(number("maxBatchSize", defaults.size)),
            bytes: size(number("maxBatchSizeBytes", defaults.bytes)),
            across_topics: member("batchAcrossTopics").and_then(Value::as_bool).unwrap_or(false),
            open: Mutex::default(),
        }
    }

    /// What messages to this address on this topic have in common.
    pub(super) fn kind(&self, url: &str, topic: &str) -> Kind {
        (url.to_owned(), if self.across_topics { String::new() } else { topic.to_owned() })
    }

    /// Adds an item, made of a message, to its batch; the result is that of the batch, which `send` sends if this item opened it. Of a
    /// batch that fails it is the opener who tells.
    pub(super) async fn join<F>(
        &self,
        kind: Kind,
        (item, member): (T, Member),
        send: impl FnOnce(Vec<T>) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let given_up = || Error::permanent(kind.0.as_str(), "the batch was given up");
        let batch = match self.part(&kind, item, member) {
            Part::Joins(told) => return told.await.unwrap_or_else(|_| Err(given_up())),
            Part::Opens(batch) => batch,
        };
        let opened = Opened { batches: self, kind: &kind, batch: &batch };
        let _ = tokio::time::timeout(self.open_for, batch.full.notified()).await;
        opened.close();
        let (items, members, waiting) = {
            let mut content = batch.content.lock();
            let items = std::mem::take(&mut content.items);
            (items, std::mem::take(&mut content.members), std::mem::take(&mut content.waiting))
        };
        let result = send(items).await;
        let failed = result.is_err().then(|| Arc::new(FailedBatch::new(members, self.across_topics)));
        let of_batch = |tells| match &failed {
            Some(batch) => result.clone().map_err(|error| error.of_batch(batch.clone(), tells)),
            None => Ok(()),
        };
        for one in waiting {
            // One that does not wait any more has failed on its own.
            let _ = one.send(of_batch(false));
        }
        of_batch(true)
    }

    fn part(&self, kind: &Kind, item: T, member: Member) -> Part<T> {
        let mut open = self.open.lock();
        if let Some(batch) = open.get(kind).cloned() {
            let mut content = batch.content.lock();
            if content.bytes_with(&item) <= self.bytes && content.size + item.count() <= self.size {
                let (tell, told) = oneshot::channel();
                content.add(item, member);
                content.waiting.push(tell);
                if content.size >= self.size {
                    open.remove(kind);
                    batch.full.notify_one();
                }
                return Part::Joins(told);
            }
            open.remove(kind);
            batch.full.notify_one();
        }
        let content = Content::new(item, member);
        let full = content.size >= self.size || content.bytes >= self.bytes;
        let batch = Arc::new(Batch { full: Notify::new(), content: Mutex::new(content) });
        if full {
            batch.full.notify_one();
        } else {
            open.insert(kind.clone(), batch.clone());
        }
        Part::Opens(batch)
    }
}

/// A batch that is open. Whatever becomes of its opener, nobody joins it any more afterwards.
struct Opened<'a, T> {
    batches: &'a Batches<T>,
    kind: &'a Kind,
    batch: &'a Arc<Batch<T>>,
}

impl<T> Opened<'_, T> {
    fn close(&self) {
        let mut open = self.batches.open.lock();
        if open.get(self.kind).is_some_and(|other| Arc::ptr_eq(other, self.batch)) {
            open.remove(self.kind);
        }
    }
}

impl<T> Drop for Opened<'_, T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::future::join_all;
    use serde_json::json;

    use super::*;

    const DEFAULTS: Defaults = Defaults { open: 20, size: 10, bytes: 5120 };

    impl Item for String {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    fn member(topic: &str) -> Member {
        Member { topic: topic.to_owned(), trace_id: 1, client_id: None, payload: Bytes::new() }
    }

    fn batches(config: Value) -> Batches<String> {
        Batches::new(&json!({ "batchConfig": config }), &DEFAULTS)
    }

    /// What is sent when these payloads come one after the other.
    async fn sent(config: Value, messages: &[(&str, &str)]) -> Vec<Vec<String>> {
        let batches = batches(config);
        let sent = Mutex::new(Vec::new());
        let joined = messages.iter().map(|(topic, payload)| {
            let send = |items: Vec<String>| {
                sent.lock().push(items);
                std::future::ready(Ok(()))
            };
            batches.join(batches.kind("https://a", topic), ((*payload).to_owned(), member(topic)), send)
        });
        assert!(join_all(joined).await.iter().all(Result::is_ok));
        sent.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_sent_when_its_count_its_bytes_or_its_time_is_reached() {
        let messages = [("t", "1"), ("t", "2"), ("t", "3")];
        assert_eq!(sent(json!({"maxBatchSize": 2}), &messages).await, [vec!["1", "2"], vec!["3"]]);
        assert_eq!(sent(json!({}), &messages).await, [["1", "2", "3"]]);
        let long = "7".repeat(60);
        let messages = [("t", long.as_str()), ("t", &long), ("t", "3")];
        let by_bytes = sent(json!({"maxBatchSizeBytes": 100}), &messages).await;
        assert_eq!(by_bytes, [vec![long.as_str()], vec![&long, "3"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn topics_share_a_batch_only_where_the_rule_says_so() {
        let messages = [("a", "1"), ("b", "2")];
        assert_eq!(sent(json!({}), &messages).await.len(), 2);
        assert_eq!(sent(json!({"batchAcrossTopics": true}), &messages).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_of_a_batch_fail_together_and_nobody_waits_for_one_that_is_given_up() {
        let batches = batches(json!({}));
        let kind = || batches.kind("https://a", "t");
        let failing = |_| std::future::ready(Err(Error::permanent("https://a", "no")));
        let item = |payload: &str| (payload.to_owned(), member("t"));
        let first = batches.join(kind(), item("1"), failing);
        let second = batches.join(kind(), item("2"), failing);
        let (first, second) = tokio::join!(first, second);
        let (first, second) = (first.unwrap_err(), second.unwrap_err());
        assert_eq!((first.message.as_str(), second.message.as_str()), ("no", "no"));
        let (first, second) = (first.batch.unwrap(), second.batch.unwrap());
        assert!(first.tells && !second.tells && first.batch.members.len() == 2, "one tells of both");
        let mut waiting = Box::pin(second.batch.told());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        first.batch.tell();
        waiting.await;

        let mut opener = Box::pin(batches.join(kind(), item("1"), failing));
        assert!(futures_util::poll!(&mut opener).is_pending());
        let mut joiner = Box::pin(batches.join(kind(), item("2"), failing));
        assert!(futures_util::poll!(&mut joiner).is_pending());
        drop(opener);
        assert!(joiner.await.unwrap_err().message.contains("given up"));
        assert!(batches.open.lock().is_empty());
    }
}
