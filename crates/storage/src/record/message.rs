//! A message as stored.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_types::{AccountId, Message, MessageProperties, Publisher, Scope, Timestamp, Utf8Bytes};

use super::{Error, optional_text, qos, small, text};

/// Every field of [`Message`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct MessageRow {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    payload: Bytes,
    #[prost(uint32, tag = "3")]
    qos: u32,
    #[prost(bool, tag = "4")]
    retain: bool,
    #[prost(message, optional, tag = "5")]
    properties: Option<PropertiesRow>,
    #[prost(fixed64, tag = "6")]
    received_at: u64,
    #[prost(fixed64, optional, tag = "7")]
    expires_at: Option<u64>,
    #[prost(uint64, tag = "8")]
    sequence: u64,
    #[prost(uint32, tag = "9")]
    hops: u32,
    #[prost(message, optional, tag = "10")]
    publisher: Option<PublisherRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PropertiesRow {
    #[prost(bool, optional, tag = "1")]
    payload_is_utf8: Option<bool>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    content_type: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    response_topic: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    correlation_data: Option<Bytes>,
    #[prost(message, repeated, tag = "5")]
    user_properties: Vec<UserPropertyRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UserPropertyRow {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PublisherRow {
    #[prost(uint64, tag = "1")]
    account: u64,
    #[prost(string, tag = "2")]
    region: String,
    #[prost(bytes = "bytes", optional, tag = "3")]
    client_id: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    principal: Option<Bytes>,
    #[prost(bytes = "vec", optional, tag = "5")]
    source_ip: Option<Vec<u8>>,
    #[prost(fixed64, tag = "6")]
    trace: u64,
}

/// What a message counts against the byte bound of a queue: its topic and payload.
pub fn message_cost(message: &Message) -> u32 {
    let bytes = message.topic.len() + message.payload.len();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl From<&Message> for MessageRow {
    fn from(message: &Message) -> Self {
        Self {
            topic: bytes_of(&message.topic),
            payload: message.payload.clone(),
            qos: message.qos as u32,
            retain: message.retain,
            properties: message.properties.as_deref().map(PropertiesRow::from),
            received_at: message.received_at.as_millis(),
            expires_at: message.expires_at.map(Timestamp::as_millis),
            sequence: message.sequence,
            hops: u32::from(message.hops),
            publisher: Some(PublisherRow::from(&*message.publisher)),
        }
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = Error;

    fn try_from(row: MessageRow) -> Result<Self, Error> {
        let publisher = row.publisher.ok_or(Error::Field("publisher"))?;
        Ok(Self {
            topic: text(row.topic, "topic")?,
            payload: row.payload,
            qos: qos(row.qos)?,
            retain: row.retain,
            properties: row.properties.map(MessageProperties::try_from).transpose()?.map(Box::new),
            received_at: Timestamp(row.received_at),
            expires_at: row.expires_at.map(Timestamp),
            sequence: row.sequence,
            hops: small(row.hops, "hops")?,
            publisher: Arc::new(Publisher::try_from(publisher)?),
        })
    }
}

impl From<&MessageProperties> for PropertiesRow {
    fn from(properties: &MessageProperties) -> Self {
        let pair = |(name, value): &(_, _)| UserPropertyRow { name: bytes_of(name), value: bytes_of(value) };
        Self {
            payload_is_utf8: properties.payload_is_utf8,
            content_type: properties.content_type.as_ref().map(bytes_of),
            response_topic: properties.response_topic.as_ref().map(bytes_of),
            correlation_data: properties.correlation_data.clone(),
            user_properties: properties.user_properties.iter().map(pair).collect(),
        }
    }
}

impl TryFrom<PropertiesRow> for MessageProperties {
    type Error = Error;

    fn try_from(row: PropertiesRow) -> Result<Self, Error> {
        let pair =
            |row: UserPropertyRow| Ok((text(row.name, "user property")?, text(row.value, "user property")?));
        Ok(Self {
            payload_is_utf8: row.payload_is_utf8,
            content_type: optional_text(row.content_type, "content type")?,
            response_topic: optional_text(row.response_topic, "response topic")?,
            correlation_data: row.correlation_data,
            user_properties: row.user_properties.into_iter().map(pair).collect::<Result<_, Error>>()?,
        })
    }
}

impl From<&Publisher> for PublisherRow {
    fn from(publisher: &Publisher) -> Self {
        Self {
            account: publisher.scope.account.as_u64(),
            region: publisher.scope.region.as_str().to_owned(),
            client_id: publisher.client_id.as_ref().map(bytes_of),
            principal: publisher.principal.as_ref().map(bytes_of),
            source_ip: publisher.source_ip.map(ip_bytes),
            trace: publisher.trace,
        }
    }
}

impl TryFrom<PublisherRow> for Publisher {
    type Error = Error;

    fn try_from(row: PublisherRow) -> Result<Self, Error> {
        let account = AccountId::from_u64(row.account).ok_or(Error::Field("account"))?;
        let region = row.region.parse().map_err(|_| Error::Field("region"))?;
        Ok(Self {
            scope: Scope { account, region },
            client_id: optional_text(row.client_id, "client id")?,
            principal: optional_text(row.principal, "principal")?,
            source_ip: row.source_ip.map(|bytes| ip(&bytes)).transpose()?,
            trace: row.trace,
        })
    }
}

fn bytes_of(text: &Utf8Bytes) -> Bytes {
    text.clone().into_bytes()
}

fn ip_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn ip(bytes: &[u8]) -> Result<IpAddr, Error> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map_err(|_| Error::Field("address"))
}

#[cfg(test)]
mod tests {
    use fleethaven_types::QoS;

    use super::super::{decode, encode};
    use super::*;

    #[test]
    fn every_field_survives() {
        let publisher = Publisher {
            scope: Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() },
            client_id: Some("sensor".into()),
            principal: Some("cert".into()),
            source_ip: Some("2001:db8::1".parse().unwrap()),
            trace: u64::MAX,
        };
        let properties = MessageProperties {
            payload_is_utf8: Some(false),
            content_type: Some("text/plain".into()),
            response_topic: Some("r".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![("k".into(), "v".into()), ("k".into(), "".into())],
        };
        let message = Message {
            topic: "a/b".into(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Some(Box::new(properties)),
            received_at: Timestamp(5),
            expires_at: Some(Timestamp(0)),
            sequence: 7,
            hops: 9,
            publisher: Arc::new(publisher),
        };
        let row: MessageRow = decode(&encode(&MessageRow::from(&message))).unwrap();
        assert_eq!(Message::try_from(row).unwrap(), message);
    }
}
