//! A batch that failed: its messages, of which one tells the error action of all.

use bytes::Bytes;
use fleethaven_rulesql::Input;
use fleethaven_types::Message;
use tokio::sync::Semaphore;

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Without a Basic Ingest prefix.
    pub topic: String,
    /// The message's trace.
    pub trace_id: u128,
    /// Who published it over MQTT.
    pub client_id: Option<String>,
    /// As it came.
    pub payload: Bytes,
}

impl Member {
    pub(super) fn of(message: &Message, input: &Input<'_>) -> Self {
        Self {
            topic: input.topic.to_owned(),
            trace_id: message.trace_id(),
            client_id: message.publisher.client_id.as_deref().map(str::to_owned),
            payload: message.payload.clone(),
        }
    }
}

/// The messages of a batch that failed.
#[derive(Debug)]
pub struct FailedBatch {
    /// In the order in which they were sent.
    pub members: Vec<Member>,
    /// They need not be of one topic.
    pub across_topics: bool,
    told: Semaphore,
}

impl PartialEq for FailedBatch {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members && self.across_topics == other.across_topics
    }
}

impl Eq for FailedBatch {}

impl FailedBatch {
    pub(super) fn new(members: Vec<Member>, across_topics: bool) -> Self {
        Self { members, across_topics, told: Semaphore::new(0) }
    }

    /// The error action has run.
    pub fn tell(&self) {
        self.told.close();
    }

    /// Waits until it has.
    pub async fn told(&self) {
        // There are no permits: it ends when the semaphore is closed.
        let _ = self.told.acquire().await;
    }
}
