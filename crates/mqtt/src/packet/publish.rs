//! PUBLISH: a message, in either direction (section 3.3).

use std::num::NonZeroU16;

use bytes::Bytes;

use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_optional_block,
};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, MqttString, PacketId, PacketType, PayloadFormat, QoS, Role, SubscriptionId,
    UserProperty, Version, rule,
};

/// A message on its way. `topic` and `payload` of a decoded one share the receive buffer's memory.
///
/// The codec says nothing about `+` and `#` in `topic` [MQTT-3.3.2-2], nor whether a topic alias is known:
/// the session answers those with its own reason codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Sent before; never set at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Store it as the topic's retained message; towards a subscriber: it was one.
    pub retain: bool,
    /// Topic name. Empty only in MQTT 5 and only beside a topic alias.
    pub topic: MqttString,
    /// Present exactly when `qos` is not 0.
    pub packet_id: Option<PacketId>,
    /// Any bytes, possibly none.
    pub payload: Bytes,
    /// MQTT 5 properties; `None` when there are none and in 3.1.1.
    pub properties: Option<Box<PublishProperties>>,
}

/// The properties of PUBLISH (section 3.3.2.3). `None` is absent, not the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// Payload Format Indicator, to be forwarded unaltered [MQTT-3.3.2-4].
    pub payload_format_indicator: Option<PayloadFormat>,
    /// Message Expiry Interval in seconds; absent never expires.
    pub message_expiry_interval: Option<u32>,
    /// Topic Alias; belongs to one connection and is not forwarded.
    pub topic_alias: Option<NonZeroU16>,
    /// Response Topic; holds no wildcard [MQTT-3.3.2-14].
    pub response_topic: Option<MqttString>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User properties in the order sent, to be forwarded in it [MQTT-3.3.2-18].
    pub user_properties: Vec<UserProperty>,
    /// Subscription Identifiers of the matching subscriptions; only a server sends them [MQTT-3.3.4-6].
    pub subscription_ids: Vec<SubscriptionId>,
    /// Content Type.
    pub content_type: Option<MqttString>,
}

/// DUP, QoS and RETAIN: the low bits of a PUBLISH's first byte (section 3.3.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    dup: bool,
    qos: QoS,
    retain: bool,
}

impl Flags {
    const DUP: u8 = 0x08;
    const RETAIN: u8 = 0x01;

    pub(crate) fn parse(first_byte: u8, version: Version) -> Result<Self, DecodeError> {
        let dup = first_byte & Self::DUP != 0;
        let Some(qos) = QoS::from_bits(first_byte >> 1 & 3) else {
            return Err(rule::PUBLISH_QOS_3.broken(version, first_byte));
        };
        if dup && qos == QoS::AtMostOnce {
            return Err(rule::DUP_AT_QOS_0.broken(version, first_byte));
        }
        Ok(Self { dup, qos, retain: first_byte & Self::RETAIN != 0 })
    }
}

impl Publish {
    /// A QoS 0 message without properties.
    pub fn new(topic: impl Into<MqttString>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), ..Self::default() }
    }

    pub(crate) fn read(flags: Flags, mut reader: Reader) -> Result<Self, DecodeError> {
        let Flags { dup, qos, retain } = flags;
        let topic = reader.string()?;
        let packet_id = if qos > QoS::AtMostOnce { Some(reader.packet_id()?) } else { None };
        let properties: Option<Box<PublishProperties>> = match reader.version {
            Version::V5 => reader.optional_properties()?,
            Version::V311 => None,
        };
        check_properties(&reader, &topic, properties.as_deref())?;
        Ok(Self { dup, qos, retain, topic, packet_id, payload: reader.rest(), properties })
    }

    /// The first byte of the fixed header.
    pub(crate) fn first_byte(&self) -> u8 {
        let dup = if self.dup { Flags::DUP } else { 0 };
        (PacketType::Publish as u8) << 4 | dup | self.qos.bits() << 1 | u8::from(self.retain)
    }

    /// Writes the variable header with `packet_id` in place of its own: all but the payload.
    pub(crate) fn write_head<S: PropertySink>(&self, version: Version, id: Option<PacketId>, sink: &mut S) {
        self.check(version, id, sink);
        sink.string(&self.topic);
        if let Some(id) = id {
            sink.u16(id.get());
        }
        if version == Version::V5 {
            write_optional_block(self.properties.as_deref(), sink);
        }
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if self.dup && self.qos == QoS::AtMostOnce {
            sink.refuse(EncodeError::DupAtQos0);
        }
        self.write_head(version, self.packet_id, sink);
        sink.bytes(&self.payload);
    }

    fn check<S: PropertySink>(&self, version: Version, packet_id: Option<PacketId>, sink: &mut S) {
        let qos = self.qos;
        if (qos > QoS::AtMostOnce) != packet_id.is_some() {
            sink.refuse(EncodeError::PacketIdMismatch { qos, packet_id });
        }
        let alias = self.properties.as_ref().and_then(|properties| properties.topic_alias);
        if self.topic.is_empty() && (version == Version::V311 || alias.is_none()) {
            sink.refuse(EncodeError::EmptyTopic(PacketType::Publish));
        }
    }
}

/// Checks what depends on more than one field or on who reads.
fn check_properties(
    reader: &Reader,
    topic: &MqttString,
    properties: Option<&PublishProperties>,
) -> Result<(), DecodeError> {
    if topic.is_empty() && properties.and_then(|properties| properties.topic_alias).is_none() {
        return Err(reader.broken(&rule::NO_TOPIC, 0_u32));
    }
    let id = properties.and_then(|properties| properties.subscription_ids.first());
    match id {
        Some(id) if reader.role == Role::Server => {
            Err(reader.broken(&rule::CLIENT_SUBSCRIPTION_ID, id.get()))
        }
        _ => Ok(()),
    }
}

impl ReadProperties for PublishProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::PayloadFormatIndicator => reader.payload_format(&mut self.payload_format_indicator),
            PropertyId::MessageExpiryInterval => reader.u32(id, &mut self.message_expiry_interval),
            PropertyId::TopicAlias => reader.positive_u16(id, &mut self.topic_alias, &rule::TOPIC_ALIAS_ZERO),
            PropertyId::ResponseTopic => reader.response_topic(&mut self.response_topic),
            PropertyId::CorrelationData => reader.binary(id, &mut self.correlation_data),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            PropertyId::SubscriptionIdentifier => {
                self.subscription_ids.push(reader.subscription_id()?);
                Ok(())
            }
            PropertyId::ContentType => reader.string(id, &mut self.content_type),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for PublishProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.payload_format(self.payload_format_indicator);
        sink.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_interval);
        sink.u16_property(PropertyId::TopicAlias, self.topic_alias.map(NonZeroU16::get));
        sink.string_property(PropertyId::ResponseTopic, self.response_topic.as_ref());
        sink.binary_property(PropertyId::CorrelationData, self.correlation_data.as_deref());
        sink.user_properties(&self.user_properties);
        for id in &self.subscription_ids {
            sink.subscription_id(*id);
        }
        sink.string_property(PropertyId::ContentType, self.content_type.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;
    use crate::tests::{assert_wire, read};

    fn acknowledged(publish: Publish) -> Publish {
        Publish { qos: QoS::AtLeastOnce, packet_id: PacketId::new(10), ..publish }
    }

    #[test]
    fn qos_0() {
        let packet = Packet::Publish(Publish::new("a/b", "hi"));
        assert_wire(Role::Server, Version::V311, &packet, b"\x30\x07\0\x03a/bhi");
        assert_wire(Role::Server, Version::V5, &packet, b"\x30\x08\0\x03a/b\0hi");
    }

    #[test]
    fn qos_1_again_and_retained() {
        let publish = Publish { dup: true, retain: true, ..acknowledged(Publish::new("a/b", "")) };
        let packet = Packet::Publish(publish);
        assert_wire(Role::Client, Version::V311, &packet, b"\x3b\x07\0\x03a/b\0\x0a");
        assert_wire(Role::Client, Version::V5, &packet, b"\x3b\x08\0\x03a/b\0\x0a\0");
    }

    #[test]
    fn every_property() {
        let properties = PublishProperties {
            payload_format_indicator: Some(PayloadFormat::Utf8),
            message_expiry_interval: Some(60),
            topic_alias: NonZeroU16::new(3),
            response_topic: Some("r".into()),
            correlation_data: Some("c".into()),
            user_properties: vec![UserProperty::new("k", "v"), UserProperty::new("k", "w")],
            subscription_ids: vec![SubscriptionId::MIN, SubscriptionId::new(200).unwrap()],
            content_type: Some("x".into()),
        };
        let publish = Publish { properties: Some(Box::new(properties)), ..Publish::new("", "p") };
        assert_wire(
            Role::Client,
            Version::V5,
            &Packet::Publish(publish),
            b"\x30\x2d\0\0\x29\x01\x01\x02\0\0\0\x3c\x23\0\x03\x08\0\x01r\x09\0\x01c\
              \x26\0\x01k\0\x01v\x26\0\x01k\0\x01w\x0b\x01\x0b\xc8\x01\x03\0\x01xp",
        );
    }

    #[test]
    fn wildcards_in_the_topic_are_the_sessions_business() {
        let packet = read(Role::Server, Version::V311, b"\x30\x03\0\x01#").unwrap();
        assert_eq!(packet, Packet::Publish(Publish::new("#", "")));
    }

    #[test]
    fn what_would_be_refused_is_not_written() {
        let error = |publish: Publish, version| {
            crate::encode(&Packet::Publish(publish), version, &mut Default::default()).unwrap_err()
        };
        let no_id = Publish { packet_id: None, ..acknowledged(Publish::new("a", "")) };
        let mismatch = EncodeError::PacketIdMismatch { qos: QoS::AtLeastOnce, packet_id: None };
        assert_eq!(error(no_id, Version::V5), mismatch);
        let dup = Publish { dup: true, ..Publish::new("a", "") };
        assert_eq!(error(dup, Version::V5), EncodeError::DupAtQos0);
        let empty = EncodeError::EmptyTopic(PacketType::Publish);
        assert_eq!(error(Publish::new("", ""), Version::V311), empty);
        assert_eq!(error(Publish::new("a\0", ""), Version::V5), EncodeError::NulInString);
        let long = Publish::new("a".repeat(65_536), "");
        assert_eq!(error(long, Version::V5), EncodeError::StringTooLong { len: 65_536 });
    }
}
