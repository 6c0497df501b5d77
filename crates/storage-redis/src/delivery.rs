//! The options of one delivery, beside the message in a queue's entry.

use std::sync::Arc;

use fleethaven_storage::{Append, EntryId, Error, QueuedMessage, record};
use fleethaven_types::Message;

use crate::reply;

/// What differs between the queues that one message goes to.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeliveryRow {
    #[prost(uint32, tag = "1")]
    qos: u32,
    #[prost(bool, tag = "2")]
    retain: bool,
    #[prost(uint32, repeated, tag = "3")]
    identifiers: Vec<u32>,
}

impl From<&Append> for DeliveryRow {
    fn from(append: &Append) -> Self {
        let Append { qos, retain, identifiers, .. } = append;
        Self { qos: *qos as u32, retain: *retain, identifiers: identifiers.clone() }
    }
}

impl DeliveryRow {
    /// The entry whose message this delivers.
    pub(crate) fn queued(self, entry: EntryId, message: Arc<Message>) -> Result<QueuedMessage, Error> {
        let qos = record::qos(self.qos).map_err(|error| reply::malformed(&error.to_string()))?;
        Ok(QueuedMessage {
            entry,
            qos,
            retain: self.retain,
            identifiers: self.identifiers,
            share: None,
            message,
        })
    }
}
