//! A will, a subscription, a departure, and when queue entries were sent, as stored.

use bytes::Bytes;

use fleethaven_types::Timestamp;

use super::{Error, MessageRow, optional_text, qos, small, text};
use crate::{Departure, EntryId, StoredWill, Subscription};

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

/// How a client left.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DepartureRow {
    #[prost(fixed64, tag = "1")]
    at: u64,
    #[prost(bytes = "bytes", tag = "2")]
    reason: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    thing_name: Option<Bytes>,
    #[prost(uint32, optional, tag = "4")]
    keep_alive: Option<u32>,
    #[prost(uint32, tag = "5")]
    session_expiry: u32,
}

impl From<&Departure> for DepartureRow {
    fn from(left: &Departure) -> Self {
        Self {
            at: left.at.as_millis(),
            reason: left.reason.clone().into_bytes(),
            thing_name: left.thing_name.clone().map(fleethaven_types::Utf8Bytes::into_bytes),
            keep_alive: left.keep_alive.map(u32::from),
            session_expiry: left.session_expiry,
        }
    }
}

impl TryFrom<DepartureRow> for Departure {
    type Error = Error;

    fn try_from(row: DepartureRow) -> Result<Self, Error> {
        Ok(Self {
            at: Timestamp(row.at),
            reason: text(row.reason, "reason")?,
            thing_name: optional_text(row.thing_name, "thing name")?,
            session_expiry: row.session_expiry,
            keep_alive: row.keep_alive.map(|secs| small(secs, "keep-alive")).transpose()?,
        })
    }
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

/// When queue entries were first sent: the n-th entry at the n-th time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FirstSentRow {
    #[prost(uint64, repeated, tag = "1")]
    entries: Vec<u64>,
    #[prost(fixed64, repeated, tag = "2")]
    times: Vec<u64>,
}

impl FirstSentRow {
    /// The row; `None` of nothing.
    pub fn of(first_sent: &[(EntryId, Timestamp)]) -> Option<Self> {
        let (entries, times) = first_sent.iter().map(|(entry, at)| (entry.0, at.as_millis())).unzip();
        (!first_sent.is_empty()).then_some(Self { entries, times })
    }

    /// What it tells.
    pub fn read(self) -> Vec<(EntryId, Timestamp)> {
        self.entries.into_iter().map(EntryId).zip(self.times.into_iter().map(Timestamp)).collect()
    }
}
