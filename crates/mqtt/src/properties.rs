//! MQTT 5 properties (section 2.2.2): their identifiers, the types several packets share, and how a block of
//! them is read and written. Which packet holds which property is in that packet's file.

mod read;
mod write;

pub(crate) use read::{PropertyReader, ReadProperties};
pub(crate) use write::{PropertySink, WriteProperties, write_block, write_optional_block};

use crate::{DecodeError, MqttString};

/// A name and a value an application attaches (section 3.1.2.11.8); names may repeat.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserProperty {
    /// Name.
    pub name: MqttString,
    /// Value.
    pub value: MqttString,
}

impl UserProperty {
    /// A property of this name and value.
    pub fn new(name: impl Into<MqttString>, value: impl Into<MqttString>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// Payload Format Indicator (section 3.3.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormat {
    /// 0: unspecified bytes.
    Unspecified = 0,
    /// 1: UTF-8 text. Whether it is so, the codec does not check.
    Utf8 = 1,
}

/// The properties of acknowledgements: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
///
/// A sender drops them when they would exceed the receiver's Maximum Packet Size [MQTT-3.4.2-2].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasonProperties {
    /// Reason String for people.
    pub reason_string: Option<MqttString>,
    /// User properties in the order sent.
    pub user_properties: Vec<UserProperty>,
}

impl ReadProperties for ReasonProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::ReasonString => reader.string(id, &mut self.reason_string),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for ReasonProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.string_property(PropertyId::ReasonString, self.reason_string.as_ref());
        sink.user_properties(&self.user_properties);
    }
}

/// Property identifiers (table 2-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifiersAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

impl PropertyId {
    const fn from_value(value: u32) -> Option<Self> {
        Some(match value {
            0x01 => Self::PayloadFormatIndicator,
            0x02 => Self::MessageExpiryInterval,
            0x03 => Self::ContentType,
            0x08 => Self::ResponseTopic,
            0x09 => Self::CorrelationData,
            0x0B => Self::SubscriptionIdentifier,
            0x11 => Self::SessionExpiryInterval,
            0x12 => Self::AssignedClientIdentifier,
            0x13 => Self::ServerKeepAlive,
            0x15 => Self::AuthenticationMethod,
            0x16 => Self::AuthenticationData,
            0x17 => Self::RequestProblemInformation,
            0x18 => Self::WillDelayInterval,
            0x19 => Self::RequestResponseInformation,
            0x1A => Self::ResponseInformation,
            0x1C => Self::ServerReference,
            0x1F => Self::ReasonString,
            0x21 => Self::ReceiveMaximum,
            0x22 => Self::TopicAliasMaximum,
            0x23 => Self::TopicAlias,
            0x24 => Self::MaximumQos,
            0x25 => Self::RetainAvailable,
            0x26 => Self::UserProperty,
            0x27 => Self::MaximumPacketSize,
            0x28 => Self::WildcardSubscriptionAvailable,
            0x29 => Self::SubscriptionIdentifiersAvailable,
            0x2A => Self::SharedSubscriptionAvailable,
            _ => return None,
        })
    }
}
