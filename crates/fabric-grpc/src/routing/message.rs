//! A message as a packed record, in either direction; its publisher by number once it is known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use fleethaven_types::{AccountId, Message, MessageProperties, Publisher, QoS, Scope, Timestamp, Utf8Bytes};

use super::known::{Bounds, Known, Numbered};
use super::pack::{Error, Reader, put_blob, put_varint};

const RETAIN: u8 = 1 << 2;
const DEFINES: u8 = 1 << 3;
const PROPERTIES: u8 = 1 << 4;
const EXPIRES: u8 = 1 << 5;
const FLAGS: u8 = 0b0011_1111;

const CLIENT_ID: u8 = 1;
const PRINCIPAL: u8 = 1 << 1;
const IPV4: u8 = 1 << 2;
const IPV6: u8 = 1 << 3;

const UTF8_KNOWN: u8 = 1;
const UTF8: u8 = 1 << 1;
const CONTENT_TYPE: u8 = 1 << 2;
const RESPONSE_TOPIC: u8 = 1 << 3;
const CORRELATION: u8 = 1 << 4;

const PUBLISHERS: Bounds = Bounds { count: 1 << 14, weight: usize::MAX };

/// Writes messages of one stream.
#[derive(Debug)]
pub(super) struct Encoder(Numbered<Publisher>);

impl Default for Encoder {
    fn default() -> Self {
        Self(Numbered::new(PUBLISHERS))
    }
}

/// Reads messages of one stream.
#[derive(Debug)]
pub(super) struct Decoder(Known<Arc<Publisher>>);

impl Default for Decoder {
    fn default() -> Self {
        Self(Known::new(PUBLISHERS, "publisher"))
    }
}

impl Encoder {
    pub(super) fn put(&mut self, out: &mut Vec<u8>, message: &Message) {
        let (publisher, defines) = self.0.number(&message.publisher, 1);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(
            message.qos as u8
                | flag(message.retain, RETAIN)
                | flag(defines, DEFINES)
                | flag(message.properties.is_some(), PROPERTIES)
                | flag(message.expires_at.is_some(), EXPIRES),
        );
        put_varint(out, u64::from(publisher));
        if defines {
            put_publisher(out, &message.publisher);
        }
        put_varint(out, message.sequence);
        put_varint(out, message.received_at.0);
        put_varint(out, u64::from(message.hops));
        if let Some(at) = message.expires_at {
            put_varint(out, at.0);
        }
        put_blob(out, message.topic.as_bytes());
        if let Some(properties) = &message.properties {
            put_properties(out, properties);
        }
        put_blob(out, &message.payload);
    }
}

impl Decoder {
    pub(super) fn get(&mut self, reader: &mut Reader) -> Result<Message, Error> {
        let flags = reader.byte()?;
        if flags & !FLAGS != 0 {
            return Err(Error::Value("message flags"));
        }
        let number = reader.number("publisher")?;
        if flags & DEFINES != 0 {
            let publisher = Arc::new(publisher(reader)?);
            self.0.define(number, publisher)?;
        }
        let publisher = self.0.get(number)?;
        let (sequence, received_at) = (reader.varint()?, Timestamp(reader.varint()?));
        let hops = reader.number("hops")?;
        let expires_at = (flags & EXPIRES != 0).then(|| reader.varint().map(Timestamp)).transpose()?;
        let topic = reader.text()?;
        let properties = (flags & PROPERTIES != 0).then(|| properties(reader).map(Box::new)).transpose()?;
        let payload = reader.blob()?;
        let (qos, retain) = (qos(flags)?, flags & RETAIN != 0);
        Ok(Message {
            topic,
            payload,
            qos,
            retain,
            properties,
            received_at,
            expires_at,
            sequence,
            hops,
            publisher,
        })
    }
}

/// One message by itself.
pub(crate) fn pack_message(message: &Message) -> Bytes {
    let mut out = Vec::new();
    Encoder::default().put(&mut out, message);
    out.into()
}

/// Reads such a message.
pub(crate) fn read_message(record: Bytes) -> Result<Message, Error> {
    let mut reader = Reader(record);
    let message = Decoder::default().get(&mut reader)?;
    if reader.is_empty() { Ok(message) } else { Err(Error::Value("end of a message")) }
}

/// The QoS in the two lowest bits.
pub(super) fn qos(flags: u8) -> Result<QoS, Error> {
    QoS::from_bits(flags & 0b11).ok_or(Error::Value("QoS"))
}

fn put_publisher(out: &mut Vec<u8>, publisher: &Publisher) {
    let Publisher { scope, client_id, principal, source_ip, trace } = publisher;
    put_varint(out, scope.account.as_u64());
    put_blob(out, scope.region.as_str().as_bytes());
    let flag = |text: &Option<Utf8Bytes>, flag: u8| if text.is_some() { flag } else { 0 };
    let ip = match source_ip {
        None => 0,
        Some(IpAddr::V4(_)) => IPV4,
        Some(IpAddr::V6(_)) => IPV6,
    };
    out.put_u8(flag(client_id, CLIENT_ID) | flag(principal, PRINCIPAL) | ip);
    for text in [client_id, principal].into_iter().flatten() {
        put_blob(out, text.as_bytes());
    }
    match source_ip {
        None => {}
        Some(IpAddr::V4(ip)) => out.put_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => out.put_slice(&ip.octets()),
    }
    out.put_u64_le(*trace);
}

fn publisher(reader: &mut Reader) -> Result<Publisher, Error> {
    let account = AccountId::from_u64(reader.varint()?).ok_or(Error::Value("account"))?;
    let region = reader.text()?.parse().map_err(|_| Error::Value("region"))?;
    let flags = reader.byte()?;
    let text = |reader: &mut Reader, flag: u8| (flags & flag != 0).then(|| reader.text()).transpose();
    // It outlives the frame, which must not be kept for it.
    let text = |reader: &mut Reader, flag: u8| Ok(text(reader, flag)?.map(|text| text.compact()));
    let (client_id, principal) = (text(reader, CLIENT_ID)?, text(reader, PRINCIPAL)?);
    let source_ip = match flags & !(CLIENT_ID | PRINCIPAL) {
        0 => None,
        IPV4 => Some(IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?))),
        IPV6 => Some(IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?))),
        _ => return Err(Error::Value("publisher flags")),
    };
    let trace = u64::from_le_bytes(reader.array()?);
    Ok(Publisher { scope: Scope { account, region }, client_id, principal, source_ip, trace })
}

fn put_properties(out: &mut Vec<u8>, properties: &MessageProperties) {
    let MessageProperties {
        payload_is_utf8,
        content_type,
        response_topic,
        correlation_data,
        user_properties,
    } = properties;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.put_u8(
        flag(payload_is_utf8.is_some(), UTF8_KNOWN)
            | flag(*payload_is_utf8 == Some(true), UTF8)
            | flag(content_type.is_some(), CONTENT_TYPE)
            | flag(response_topic.is_some(), RESPONSE_TOPIC)
            | flag(correlation_data.is_some(), CORRELATION),
    );
    for text in [content_type, response_topic].into_iter().flatten() {
        put_blob(out, text.as_bytes());
    }
    if let Some(data) = correlation_data {
        put_blob(out, data);
    }
    put_varint(out, user_properties.len() as u64);
    for (name, value) in user_properties {
        put_blob(out, name.as_bytes());
        put_blob(out, value.as_bytes());
    }
}

fn properties(reader: &mut Reader) -> Result<MessageProperties, Error> {
    let flags = reader.byte()?;
    if flags & !(UTF8_KNOWN | UTF8 | CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION) != 0 {
        return Err(Error::Value("property flags"));
    }
    let text = |reader: &mut Reader, flag: u8| (flags & flag != 0).then(|| reader.text()).transpose();
    Ok(MessageProperties {
        payload_is_utf8: (flags & UTF8_KNOWN != 0).then_some(flags & UTF8 != 0),
        content_type: text(reader, CONTENT_TYPE)?,
        response_topic: text(reader, RESPONSE_TOPIC)?,
        correlation_data: (flags & CORRELATION != 0).then(|| reader.blob()).transpose()?,
        user_properties: reader.list(|reader| Ok((reader.text()?, reader.text()?)))?,
    })
}
