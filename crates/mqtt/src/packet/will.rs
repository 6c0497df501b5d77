//! The will message inside CONNECT (sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2 to 3.1.3.4).

use bytes::Bytes;

use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::{DecodeError, MqttString, PayloadFormat, QoS, UserProperty, Version, rule};

/// The message a server publishes when the connection ends without a DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic name; may be empty or hold wildcards, which the session refuses.
    pub topic: MqttString,
    /// Payload; may be empty.
    pub payload: Bytes,
    /// QoS to publish at.
    pub qos: QoS,
    /// Whether to publish as a retained message.
    pub retain: bool,
    /// MQTT 5 properties; all absent in 3.1.1.
    pub properties: WillProperties,
}

/// The will properties (section 3.1.3.2). `None` is absent, not the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WillProperties {
    /// Will Delay Interval in seconds; absent is 0.
    pub will_delay_interval: Option<u32>,
    /// Payload Format Indicator.
    pub payload_format_indicator: Option<PayloadFormat>,
    /// Message Expiry Interval in seconds; absent never expires.
    pub message_expiry_interval: Option<u32>,
    /// Content Type.
    pub content_type: Option<MqttString>,
    /// Response Topic; holds no wildcard.
    pub response_topic: Option<MqttString>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User properties in the order sent.
    pub user_properties: Vec<UserProperty>,
}

impl Will {
    /// Reads the will fields of CONNECT's payload; `qos` and `retain` come from its flags.
    pub(super) fn read(reader: &mut Reader, qos: QoS, retain: bool) -> Result<Self, DecodeError> {
        reader.more_or(&rule::NO_WILL)?;
        let properties = match reader.version {
            Version::V5 => reader.properties()?,
            Version::V311 => WillProperties::default(),
        };
        reader.more_or(&rule::NO_WILL)?;
        let topic = reader.string()?;
        reader.more_or(&rule::NO_WILL)?;
        let payload = reader.binary()?;
        Ok(Self { topic, payload, qos, retain, properties })
    }

    pub(super) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if version == Version::V5 {
            write_block(&self.properties, sink);
        }
        sink.string(&self.topic);
        sink.binary(&self.payload);
    }
}

impl ReadProperties for WillProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::WillDelayInterval => reader.u32(id, &mut self.will_delay_interval),
            PropertyId::PayloadFormatIndicator => reader.payload_format(&mut self.payload_format_indicator),
            PropertyId::MessageExpiryInterval => reader.u32(id, &mut self.message_expiry_interval),
            PropertyId::ContentType => reader.string(id, &mut self.content_type),
            PropertyId::ResponseTopic => reader.response_topic(&mut self.response_topic),
            PropertyId::CorrelationData => reader.binary(id, &mut self.correlation_data),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for WillProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.u32_property(PropertyId::WillDelayInterval, self.will_delay_interval);
        sink.payload_format(self.payload_format_indicator);
        sink.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_interval);
        sink.string_property(PropertyId::ContentType, self.content_type.as_ref());
        sink.string_property(PropertyId::ResponseTopic, self.response_topic.as_ref());
        sink.binary_property(PropertyId::CorrelationData, self.correlation_data.as_deref());
        sink.user_properties(&self.user_properties);
    }
}
