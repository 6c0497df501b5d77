//! A session, its connection and its subscriptions as stored.

use bytes::Bytes;
use fleethaven_storage::{StoredWill, Subscription};

use super::{Error, MessageRow, qos, small, text};

/// A session and, while it is owned, its connection.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionRow {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) client_id: Bytes,
    #[prost(bool, tag = "2")]
    pub(crate) persistent: bool,
    #[prost(uint32, tag = "3")]
    pub(crate) expiry_secs: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) protocol_level: u32,
    #[prost(uint64, tag = "5")]
    pub(crate) version: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) bound_messages: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) bound_bytes: u64,
    #[prost(uint64, optional, tag = "8")]
    pub(crate) expires_at: Option<u64>,
    #[prost(message, optional, tag = "9")]
    pub(crate) connection: Option<ConnectionRow>,
    #[prost(uint64, tag = "10")]
    pub(crate) sent: u64,
}

/// The connection that owns a session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConnectionRow {
    #[prost(fixed64, tag = "1")]
    pub(crate) incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) counter: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) address: u64,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) principal: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub(crate) will: Option<WillRow>,
}

/// A will.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WillRow {
    #[prost(message, optional, tag = "1")]
    message: Option<MessageRow>,
    #[prost(uint32, tag = "2")]
    delay: u32,
}

/// One subscription of a persistent session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SubscriptionRow {
    #[prost(bytes = "bytes", tag = "1")]
    filter: Bytes,
    #[prost(uint32, tag = "2")]
    qos: u32,
    #[prost(bool, tag = "3")]
    no_local: bool,
    #[prost(bool, tag = "4")]
    retain_as_published: bool,
    #[prost(uint32, tag = "5")]
    retain_handling: u32,
    #[prost(uint32, optional, tag = "6")]
    identifier: Option<u32>,
}

impl From<&StoredWill> for WillRow {
    fn from(will: &StoredWill) -> Self {
        Self { message: Some(MessageRow::from(&*will.message)), delay: will.delay }
    }
}

impl TryFrom<WillRow> for StoredWill {
    type Error = Error;

    fn try_from(row: WillRow) -> Result<Self, Error> {
        let message: fleethaven_types::Message = row.message.ok_or(Error::Field("will"))?.try_into()?;
        Ok(Self { message: message.into(), delay: row.delay })
    }
}

impl From<&Subscription> for SubscriptionRow {
    fn from(subscription: &Subscription) -> Self {
        Self {
            filter: subscription.filter.clone().into_bytes(),
            qos: subscription.qos as u32,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            retain_handling: u32::from(subscription.retain_handling),
            identifier: subscription.identifier,
        }
    }
}

impl TryFrom<SubscriptionRow> for Subscription {
    type Error = Error;

    fn try_from(row: SubscriptionRow) -> Result<Self, Error> {
        Ok(Self {
            filter: text(row.filter, "filter")?,
            qos: qos(row.qos)?,
            no_local: row.no_local,
            retain_as_published: row.retain_as_published,
            retain_handling: small(row.retain_handling, "retain handling")?,
            identifier: row.identifier,
        })
    }
}
