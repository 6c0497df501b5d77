//! An accepted PUBLISH on its way: to live subscribers, to the queues of persistent sessions, to rules.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::{QoS, Scope, Timestamp, Utf8Bytes};

/// Who published a message. One value per connection (or per request), shared by its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The account and region whose topics are meant.
    pub scope: Scope,
    /// MQTT client id; `None` when the message did not come over MQTT (`clientid()` is then `n/a`).
    pub client_id: Option<Utf8Bytes>,
    /// What `principal()` gives: the certificate id of an X.509 client, the user of a signed request.
    pub principal: Option<Utf8Bytes>,
    /// The peer's address.
    pub source_ip: Option<IpAddr>,
    /// High part of the trace ids of this publisher's messages: unique per connection.
    pub trace: u64,
}

/// The properties of a PUBLISH that travel to its receivers unchanged [MQTT5 section 3.3.2.3].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Payload Format Indicator: `Some(true)` when the payload is declared to be UTF-8.
    pub payload_is_utf8: Option<bool>,
    /// Content Type.
    pub content_type: Option<Utf8Bytes>,
    /// Response Topic.
    pub response_topic: Option<Utf8Bytes>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User Properties, in their order.
    pub user_properties: Vec<(Utf8Bytes, Utf8Bytes)>,
}

/// An application message that passed authentication, authorisation and the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic name as published (Basic Ingest prefix included).
    pub topic: Utf8Bytes,
    /// Application payload.
    pub payload: Bytes,
    /// Quality of Service it was published with.
    pub qos: QoS,
    /// RETAIN flag of the PUBLISH.
    pub retain: bool,
    /// MQTT 5 properties; `None` when the publisher sent none (or speaks 3.1.1).
    pub properties: Option<Box<MessageProperties>>,
    /// When the broker received it.
    pub received_at: Timestamp,
    /// When it stops being worth delivering (Message Expiry Interval).
    pub expires_at: Option<Timestamp>,
    /// Number of this message among its publisher's.
    pub sequence: u64,
    /// How many rule republishes led to it; a chain is cut at ten.
    pub hops: u8,
    /// Who published it.
    pub publisher: Arc<Publisher>,
}

impl Message {
    /// The message's trace id as a 128-bit number: the publisher's part, then the message's.
    pub fn trace_id(&self) -> u128 {
        (u128::from(self.publisher.trace) << 64) | u128::from(self.sequence)
    }

    /// Whether its expiry has passed at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// A copy that keeps no larger buffer alive: texts and payload may be slices of all that came with them.
    pub fn compact(&self) -> Self {
        let properties = self.properties.as_deref().map(MessageProperties::compact).map(Box::new);
        let (topic, payload) = (self.topic.compact(), Bytes::copy_from_slice(&self.payload));
        Self { topic, payload, properties, publisher: self.publisher.clone(), ..*self }
    }

    /// How many messages AWS counts it as: pieces of 5 KB of topic, payload and what travels with it.
    pub fn pieces(&self) -> u64 {
        let carried = self.properties.as_deref().map_or(0, MessageProperties::bytes);
        pieces(self.topic.len() + self.payload.len() + carried)
    }
}

impl MessageProperties {
    fn compact(&self) -> Self {
        let text = |text: &Option<Utf8Bytes>| text.as_ref().map(Utf8Bytes::compact);
        let pair = |(name, value): &(Utf8Bytes, Utf8Bytes)| (name.compact(), value.compact());
        Self {
            payload_is_utf8: self.payload_is_utf8,
            content_type: text(&self.content_type),
            response_topic: text(&self.response_topic),
            correlation_data: self.correlation_data.as_deref().map(Bytes::copy_from_slice),
            user_properties: self.user_properties.iter().map(pair).collect(),
        }
    }

    /// What AWS counts of them.
    fn bytes(&self) -> usize {
        let text = |text: &Option<Utf8Bytes>| text.as_ref().map_or(0, |text| text.len());
        let user = self.user_properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let correlation = self.correlation_data.as_ref().map_or(0, Bytes::len);
        user + correlation + text(&self.content_type) + text(&self.response_topic)
    }
}

/// Bytes in a piece, as AWS counts messages.
pub const PIECE: usize = 5 * 1024;

/// How many messages AWS counts so many bytes as: one at least.
pub fn pieces(bytes: usize) -> u64 {
    bytes.div_ceil(PIECE).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_in_pieces() {
        assert_eq!([0, 1, PIECE, PIECE + 1, 128 << 10].map(pieces), [1, 1, 1, 2, 26]);
        let publisher =
            Publisher { scope: Scope::CLUSTER, client_id: None, principal: None, source_ip: None, trace: 0 };
        let message = |payload: usize, user: usize| Message {
            topic: "a/bc".into(),
            payload: vec![0; payload].into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Some(Box::new(MessageProperties {
                user_properties: vec![("k".into(), "v".repeat(user).as_str().into())],
                correlation_data: Some(Bytes::from_static(b"xy")),
                ..MessageProperties::default()
            })),
            received_at: Timestamp(0),
            expires_at: None,
            sequence: 0,
            hops: 0,
            publisher: Arc::new(publisher.clone()),
        };
        assert_eq!(message(PIECE - 4 - 3 - 10, 10).pieces(), 1);
        assert_eq!(message(PIECE - 4 - 3 - 10, 11).pieces(), 2);
    }
}
