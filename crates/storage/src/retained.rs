//! Reading retained messages outside the publish path (the data-plane API, tools).

use std::sync::Arc;

use fleethaven_types::{Message, QoS, Scope, Timestamp, Utf8Bytes};

use crate::Error;

/// The store of retained messages. They are written through [`Request::Publish`](crate::Request::Publish).
pub trait RetainedStore: Send + Sync + 'static {
    /// The retained message of exactly this topic, unless it has expired by the store's clock.
    fn get(&self, scope: Scope, topic: &str) -> Result<Option<Arc<Message>>, Error>;

    /// What is retained, in topic order: at most `limit` topics above `after`, expired ones left out. Fewer than asked
    /// means that was all.
    fn list(&self, scope: Scope, after: Option<&str>, limit: usize) -> Result<Vec<RetainedTopic>, Error>;

    /// Retained messages of the account and region, those that have expired and are not deleted yet included. Returns at once:
    /// a store that has to ask others says what it last heard, 0 before it has heard anything.
    fn count(&self, scope: Scope) -> u64;

    /// Whether there is a retained message of exactly this topic, expired or not; likewise.
    fn holds(&self, scope: Scope, topic: &str) -> bool;
}

/// A retained message without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedTopic {
    /// Topic.
    pub topic: Utf8Bytes,
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// QoS it was published with.
    pub qos: QoS,
    /// When the broker received it.
    pub received_at: Timestamp,
}
