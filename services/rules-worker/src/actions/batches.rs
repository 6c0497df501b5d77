//! Messages of one rule that wait for each other, as `batchConfig` says: a batch is sent when it is full, or when its time has come.
//!
//! Who opens a batch sends it and tells the others how it went: no task is needed, and none is left behind.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::Error;

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
    size: usize,
    /// With what parts them.
    bytes: usize,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
}

impl<T: Item> Content<T> {
    fn new(first: T) -> Self {
        let mut content = Self { items: Vec::new(), size: 0, bytes: 0, waiting: Vec::new() };
        content.add(first);
        content
    }

    /// With one more: each brings a comma, a bracket or a line end.
    fn bytes_with(&self, item: &T) -> usize {
        self.bytes.max(1) + item.bytes() + 1
    }

    fn add(&mut self, item: T) {
        self.bytes = self.bytes_with(&item);
        self.size += item.count();
        self.items.push(item);
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

    /// Adds an item to its batch; the result is that of the batch, which `send` sends if this item opened it.
    pub(super) async fn join<F>(
        &self,
        kind: Kind,
        item: T,
        send: impl FnOnce(Vec<T>) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let given_up = || Error::permanent(kind.0.as_str(), "the batch was given up");
        let batch = match self.part(&kind, item) {
            Part::Joins(told) => return told.await.unwrap_or_else(|_| Err(given_up())),
            Part::Opens(batch) => batch,
        };
        let opened = Opened { batches: self, kind: &kind, batch: &batch };
        let _ = tokio::time::timeout(self.open_for, batch.full.notified()).await;
        opened.close();
        let (items, waiting) = {
            let mut content = batch.content.lock();
            (std::mem::take(&mut content.items), std::mem::take(&mut content.waiting))
        };
        let result = send(items).await;
        for one in waiting {
            // One that does not wait any more has failed on its own.
            let _ = one.send(result.clone());
        }
        result
    }

    fn part(&self, kind: &Kind, item: T) -> Part<T> {
        let mut open = self.open.lock();
        if let Some(batch) = open.get(kind).cloned() {
            let mut content = batch.content.lock();
            if content.bytes_with(&item) <= self.bytes && content.size + item.count() <= self.size {
                let (tell, told) = oneshot::channel();
                content.add(item);
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
        let content = Content::new(item);
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
    use futures_util::future::join_all;
    use serde_json::json;

    use super::*;

    const DEFAULTS: Defaults = Defaults { open: 20, size: 10, bytes: 5120 };

    impl Item for String {
        fn bytes(&self) -> usize {
            self.len()
        }
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
            batches.join(batches.kind("https://a", topic), (*payload).to_owned(), send)
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
        let first = batches.join(kind(), "1".to_owned(), failing);
        let second = batches.join(kind(), "2".to_owned(), failing);
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.clone().unwrap_err().message.as_str(), first), ("no", second));

        let mut opener = Box::pin(batches.join(kind(), "1".to_owned(), failing));
        assert!(futures_util::poll!(&mut opener).is_pending());
        let mut joiner = Box::pin(batches.join(kind(), "2".to_owned(), failing));
        assert!(futures_util::poll!(&mut joiner).is_pending());
        drop(opener);
        assert!(joiner.await.unwrap_err().message.contains("given up"));
        assert!(batches.open.lock().is_empty());
    }
}
