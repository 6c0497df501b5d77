//! The options of one delivery, beside the message in a queue's entry.

use std::sync::Arc;

use fleethaven_storage::{Append, EntryId, Error, GroupId, QueuedMessage, SessionId, Share, record};
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
    /// The group whose share it is; 0 for none.
    #[prost(uint64, tag = "4")]
    group: u64,
    /// Members of the group that may not receive it.
    #[prost(uint64, repeated, tag = "5")]
    refused: Vec<u64>,
}

impl From<&Append> for DeliveryRow {
    fn from(append: &Append) -> Self {
        let Append { qos, retain, identifiers, share, .. } = append;
        let refused = share.iter().flat_map(|share| share.refused.iter().flatten());
        Self {
            qos: *qos as u32,
            retain: *retain,
            identifiers: identifiers.clone(),
            group: share.as_ref().map_or(0, |share| share.group.0),
            refused: refused.map(|session| session.0).collect(),
        }
    }
}

impl DeliveryRow {
    /// The entry whose message this delivers.
    pub(crate) fn queued(self, entry: EntryId, message: Arc<Message>) -> Result<QueuedMessage, Error> {
        let Self { qos, retain, identifiers, group, refused } = self;
        let qos = record::qos(qos).map_err(|error| reply::malformed(&error.to_string()))?;
        let refused: Box<[SessionId]> = refused.into_iter().map(SessionId).collect();
        let refused = (!refused.is_empty()).then_some(refused);
        let share = (group != 0).then_some(Share { group: GroupId(group), refused });
        Ok(QueuedMessage { entry, qos, retain, identifiers, share, message })
    }
}
