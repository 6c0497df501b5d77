//! What metadata logic reads and what it returns: ordered keys and protobuf values, nothing else.
//!
//! The metastore's leader runs [`evaluate`](crate::evaluate) against applied state plus the effects still in
//! flight and replicates the [`Effects`]; applying them is trivial, so replicas cannot disagree
//! (`docs/decisions/`).

use bytes::Bytes;
use fleethaven_types::{QoS, Scope};

/// Ordered, read-only metadata as of one moment.
pub trait View {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Option<Bytes>;

    /// Up to `limit` pairs whose keys start with `prefix` and are above `after` (if given), in key order.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)>;
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Set the value.
    Put {
        /// The key.
        key: Bytes,
        /// The new value.
        value: Bytes,
    },
    /// Remove the key.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Write {
    /// The key that changes.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// A message that must be published once the writes are committed (an `$aws/events/…` notification, a shadow
/// answer): at least once, and those about one thing in their order. Never retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emit {
    /// In which account and region.
    pub scope: Scope,
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Quality of Service.
    pub qos: QoS,
    /// User properties, in their order.
    pub user_properties: Vec<(String, String)>,
}

impl Emit {
    /// A message with QoS 1.
    pub fn new(scope: Scope, topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        let (topic, payload) = (topic.into(), payload.into());
        Self { scope, topic, payload, qos: QoS::AtLeastOnce, user_properties: Vec::new() }
    }
}

/// What a command changes: replicated in this form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Key changes, applied together.
    pub writes: Vec<Write>,
    /// Messages to publish afterwards, in order.
    pub emits: Vec<Emit>,
}

impl Effects {
    /// Adds a put.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.writes.push(Write::Delete { key: key.into() });
    }

    /// Whether nothing changes and nothing is published.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.emits.is_empty()
    }
}
