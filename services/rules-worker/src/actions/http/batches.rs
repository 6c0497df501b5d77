//! Messages of one rule that wait for each other: a batch is sent when it is full, or when its time has come.
//!
//! Who opens a batch sends it and tells the others how it went: no task is needed, and none is left behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::request::Message;
use crate::actions::Error;

/// What can be in one batch: the same address, and the same topic unless the rule says otherwise.
pub(super) type Kind = (String, String);

/// Batches of one action that are open.
pub(super) struct Batches {
    open_for: Duration,
    messages: usize,
    bytes: usize,
    across_topics: bool,
    open: Mutex<FxHashMap<Kind, Arc<Batch>>>,
}

#[derive(Default)]
struct Batch {
    full: Notify,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    payloads: Vec<Bytes>,
    /// Of the array that they become.
    bytes: usize,
    /// Those of the last message.
    headers: Vec<(String, String)>,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
}

impl Content {
    /// Of the array with one message more: each brings a comma or a bracket.
    fn bytes_with(&self, message: &Message) -> usize {
        self.bytes.max(1) + message.payload.len() + 1
    }

    fn add(&mut self, message: Message) {
        self.bytes = self.bytes_with(&message);
        self.payloads.push(message.payload);
        self.headers = message.headers;
    }

    /// One message: an array of all.
    fn message(&mut self) -> Message {
        let mut array = BytesMut::with_capacity(self.bytes + 1);
        for payload in &self.payloads {
            array.put_u8(if array.is_empty() { b'[' } else { b',' });
            array.put_slice(payload);
        }
        array.put_u8(b']');
        // Whatever the messages say, an array is JSON.
        let mut headers = std::mem::take(&mut self.headers);
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        Message { payload: array.freeze(), json: true, headers }
    }
}

/// What a message does for its batch.
enum Part {
    Opens(Arc<Batch>),
    Joins(oneshot::Receiver<Result<(), Error>>),
}

impl Batches {
    /// As the rule's `batchConfig` says, or AWS's defaults.
    pub(super) fn new(settings: &Value) -> Self {
        let config = settings.get("batchConfig");
        let member = |name: &str| config.and_then(|config| config.get(name));
        let number = |name: &str, default: u64| member(name).and_then(Value::as_u64).unwrap_or(default);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            open_for: Duration::from_millis(number("maxBatchOpenMs", 20)),
            messages: size(number("maxBatchSize", 10)),
            bytes: size(number("maxBatchSizeBytes", 5120)),
            across_topics: member("batchAcrossTopics").and_then(Value::as_bool).unwrap_or(false),
            open: Mutex::default(),
        }
    }

    /// What messages to this address on this topic have in common.
    pub(super) fn kind(&self, url: &str, topic: &str) -> Kind {
        (url.to_owned(), if self.across_topics { String::new() } else { topic.to_owned() })
    }

    /// Adds a message to its batch; the result is that of the batch, which `send` sends if this message opened it.
    pub(super) async fn join<F>(
        &self,
        kind: Kind,
        message: Message,
        send: impl FnOnce(Message) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let given_up = || Error::permanent(kind.0.as_str(), "the batch was given up");
        let batch = match self.part(&kind, message) {
            Part::Joins(told) => return told.await.unwrap_or_else(|_| Err(given_up())),
            Part::Opens(batch) => batch,
        };
        let opened = Opened { batches: self, kind: &kind, batch: &batch };
        let _ = tokio::time::timeout(self.open_for, batch.full.notified()).await;
        opened.close();
        let (message, waiting) = {
            let mut content = batch.content.lock();
            (content.message(), std::mem::take(&mut content.waiting))
        };
        let result = send(message).await;
        for one in waiting {
            // One that does not wait any more has failed on its own.
            let _ = one.send(result.clone());
        }
        result
    }

    fn part(&self, kind: &Kind, message: Message) -> Part {
        let mut open = self.open.lock();
        if let Some(batch) = open.get(kind).cloned() {
            let mut content = batch.content.lock();
            if content.bytes_with(&message) <= self.bytes {
                let (tell, told) = oneshot::channel();
                content.add(message);
                content.waiting.push(tell);
                if content.payloads.len() >= self.messages {
                    open.remove(kind);
                    batch.full.notify_one();
                }
                return Part::Joins(told);
            }
            open.remove(kind);
            batch.full.notify_one();
        }
        let batch = Arc::new(Batch::default());
        let mut content = batch.content.lock();
        content.add(message);
        if content.payloads.len() >= self.messages || content.bytes >= self.bytes {
            batch.full.notify_one();
        } else {
            open.insert(kind.clone(), batch.clone());
        }
        drop(content);
        Part::Opens(batch)
    }
}

/// A batch that is open. Whatever becomes of its opener, nobody joins it any more afterwards.
struct Opened<'a> {
    batches: &'a Batches,
    kind: &'a Kind,
    batch: &'a Arc<Batch>,
}

impl Opened<'_> {
    fn close(&self) {
        let mut open = self.batches.open.lock();
        if open.get(self.kind).is_some_and(|other| Arc::ptr_eq(other, self.batch)) {
            open.remove(self.kind);
        }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use serde_json::json;

    use super::*;

    fn message(payload: &str, header: &str) -> Message {
        let headers =
            vec![("x".to_owned(), header.to_owned()), ("Content-Type".to_owned(), "a/b".to_owned())];
        Message { payload: payload.to_owned().into(), json: true, headers }
    }

    /// What is sent when these payloads come one after the other.
    async fn sent(config: Value, messages: &[(&str, &str)]) -> Vec<(String, Vec<(String, String)>)> {
        let batches = Batches::new(&json!({"batchConfig": config}));
        let sent = Mutex::new(Vec::new());
        let joined = messages.iter().map(|(topic, payload)| {
            let send = |message: Message| {
                sent.lock().push((String::from_utf8(message.payload.to_vec()).unwrap(), message.headers));
                std::future::ready(Ok(()))
            };
            batches.join(batches.kind("https://a", topic), message(payload, payload), send)
        });
        assert!(join_all(joined).await.iter().all(Result::is_ok));
        sent.into_inner()
    }

    fn x(value: &str) -> Vec<(String, String)> {
        vec![("x".to_owned(), value.to_owned())]
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_sent_when_its_count_its_bytes_or_its_time_is_reached() {
        let messages = [("t", "1"), ("t", "2"), ("t", "3")];
        let two = sent(json!({"maxBatchSize": 2}), &messages).await;
        assert_eq!(two, [("[1,2]".to_owned(), x("2")), ("[3]".to_owned(), x("3"))]);
        let in_time = sent(json!({}), &messages).await;
        assert_eq!(in_time, [("[1,2,3]".to_owned(), x("3"))], "headers of the last message");
        let long = "7".repeat(60);
        let by_bytes =
            sent(json!({"maxBatchSizeBytes": 100}), &[("t", &long), ("t", &long), ("t", "3")]).await;
        let bodies: Vec<_> = by_bytes.into_iter().map(|(body, _)| body).collect();
        assert_eq!(bodies, [format!("[{long}]"), format!("[{long},3]")]);
    }

    #[tokio::test(start_paused = true)]
    async fn topics_share_a_batch_only_where_the_rule_says_so() {
        let messages = [("a", "1"), ("b", "2")];
        assert_eq!(sent(json!({}), &messages).await.len(), 2);
        assert_eq!(sent(json!({"batchAcrossTopics": true}), &messages).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_of_a_batch_fail_together_and_nobody_waits_for_one_that_is_given_up() {
        let batches = Batches::new(&json!({}));
        let kind = || batches.kind("https://a", "t");
        let failing = |_| std::future::ready(Err(Error::permanent("https://a", "no")));
        let first = batches.join(kind(), message("1", ""), failing);
        let second = batches.join(kind(), message("2", ""), failing);
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.clone().unwrap_err().message.as_str(), first), ("no", second));

        let mut opener = Box::pin(batches.join(kind(), message("1", ""), failing));
        assert!(futures_util::poll!(&mut opener).is_pending());
        let mut joiner = Box::pin(batches.join(kind(), message("2", ""), failing));
        assert!(futures_util::poll!(&mut joiner).is_pending());
        drop(opener);
        assert!(joiner.await.unwrap_err().message.contains("given up"));
        assert!(batches.open.lock().is_empty());
    }
}
