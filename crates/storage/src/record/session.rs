//! A will and a subscription as stored.

use bytes::Bytes;

use super::{Error, MessageRow, qos, small, text};
use crate::{StoredWill, Subscription};

/// A will.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WillRow {
    #[prost(message, optional, tag = "1")]
    message: Option<MessageRow>,
    #[prost(uint32, tag = "2")]
    delay: u32,
}

/// One subscription of a persistent session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SubscriptionRow {
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
