//! SUBSCRIBE: the client asks for messages (section 3.8).

use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, MqttString, PacketId, PacketType, QoS, SubscriptionId, UserProperty, Version,
    rule,
};

/// A request for one or more subscriptions.
///
/// Filters are non-empty and No Local is refused on `$share/`; whether a filter's wildcards stand where they
/// may is the session's question, answered per filter in SUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Identifier SUBACK repeats.
    pub packet_id: PacketId,
    /// Subscription Identifier for all filters here; MQTT 5.
    pub subscription_id: Option<SubscriptionId>,
    /// User properties in the order sent; MQTT 5.
    pub user_properties: Vec<UserProperty>,
    /// What to subscribe to, never empty [MQTT-3.8.3-2].
    pub filters: Vec<Subscription>,
}

/// One topic filter of a SUBSCRIBE with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter, `$share/{ShareName}/` included.
    pub filter: MqttString,
    /// How to deliver.
    pub options: SubscriptionOptions,
}

/// The subscription options byte (section 3.8.3.1). In 3.1.1 only `qos` exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// Maximum QoS to deliver at.
    pub qos: QoS,
    /// Do not send back what this client published.
    pub no_local: bool,
    /// Keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// Whether to send retained messages at subscribe.
    pub retain_handling: RetainHandling,
}

/// Retain Handling (section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: send retained messages at subscribe.
    #[default]
    SendAtSubscribe = 0,
    /// 1: send them only if the subscription is new.
    SendIfNew = 1,
    /// 2: do not send them.
    DoNotSend = 2,
}

impl RetainHandling {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::SendAtSubscribe),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }
}

impl SubscriptionOptions {
    const NO_LOCAL: u8 = 0x04;
    const RETAIN_AS_PUBLISHED: u8 = 0x08;

    /// Options of this QoS, as a 3.1.1 client has them.
    pub const fn qos(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let bits = reader.u8()?;
        let reserved = match reader.version {
            Version::V5 => 0xC0,
            Version::V311 => 0xFC,
        };
        if bits & reserved != 0 {
            return Err(reader.broken(&rule::OPTION_BITS, bits));
        }
        let broken = |rule| reader.broken(rule, bits);
        Ok(Self {
            qos: QoS::from_bits(bits & 3).ok_or_else(|| broken(&rule::SUBSCRIBE_QOS_3))?,
            no_local: bits & Self::NO_LOCAL != 0,
            retain_as_published: bits & Self::RETAIN_AS_PUBLISHED != 0,
            retain_handling: RetainHandling::from_bits(bits >> 4)
                .ok_or_else(|| broken(&rule::RETAIN_HANDLING_3))?,
        })
    }

    fn bits(self, version: Version) -> u8 {
        if version == Version::V311 {
            return self.qos.bits();
        }
        let no_local = if self.no_local { Self::NO_LOCAL } else { 0 };
        let as_published = if self.retain_as_published { Self::RETAIN_AS_PUBLISHED } else { 0 };
        self.qos.bits() | no_local | as_published | (self.retain_handling as u8) << 4
    }
}

impl Subscription {
    /// A filter with the options of this QoS.
    pub fn new(filter: impl Into<MqttString>, qos: QoS) -> Self {
        Self { filter: filter.into(), options: SubscriptionOptions::qos(qos) }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let filter = read_filter(reader)?;
        let options = SubscriptionOptions::read(reader)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(reader.broken(&rule::NO_LOCAL_SHARED, options.bits(reader.version)));
        }
        Ok(Self { filter, options })
    }
}

/// A topic filter, which is never empty [MQTT-4.7.3-1].
pub(super) fn read_filter(reader: &mut Reader) -> Result<MqttString, DecodeError> {
    let filter = reader.string()?;
    if filter.is_empty() { Err(reader.broken(&rule::EMPTY_FILTER, 0_u32)) } else { Ok(filter) }
}

impl Subscribe {
    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match reader.version {
            Version::V5 => reader.properties()?,
            Version::V311 => SubscribeProperties::default(),
        };
        reader.more_or(&rule::NO_FILTER)?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(Subscription::read(&mut reader)?);
        }
        let SubscribeProperties { subscription_id, user_properties } = properties;
        Ok(Self { packet_id, subscription_id, user_properties, filters })
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if self.filters.is_empty() {
            sink.refuse(EncodeError::Empty(PacketType::Subscribe));
        }
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            write_block(self, sink);
        }
        for subscription in &self.filters {
            write_filter(PacketType::Subscribe, &subscription.filter, sink);
            sink.u8(subscription.options.bits(version));
        }
    }
}

/// Writes a topic filter, which is never empty.
pub(super) fn write_filter<S: PropertySink>(packet: PacketType, filter: &MqttString, sink: &mut S) {
    if filter.is_empty() {
        sink.refuse(EncodeError::EmptyTopic(packet));
    }
    sink.string(filter);
}

/// The properties of SUBSCRIBE (section 3.8.2.1) while they are read.
#[derive(Debug, Default)]
struct SubscribeProperties {
    subscription_id: Option<SubscriptionId>,
    user_properties: Vec<UserProperty>,
}

impl ReadProperties for SubscribeProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::SubscriptionIdentifier => reader.one_subscription_id(&mut self.subscription_id),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for Subscribe {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        if let Some(id) = self.subscription_id {
            sink.subscription_id(id);
        }
        sink.user_properties(&self.user_properties);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assert_wire;
    use crate::{Packet, Role};

    #[test]
    fn two_filters_in_3_1_1() {
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![
                Subscription::new("a/b", QoS::AtLeastOnce),
                Subscription::new("c/#", QoS::ExactlyOnce),
            ],
        });
        assert_wire(Role::Server, Version::V311, &packet, b"\x82\x0e\0\x01\0\x03a/b\x01\0\x03c/#\x02");
    }

    #[test]
    fn every_option_of_5() {
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: SubscriptionId::new(128),
            user_properties: Vec::new(),
            filters: vec![Subscription { filter: "+".into(), options }],
        });
        assert_wire(Role::Server, Version::V5, &packet, b"\x82\x0a\0\x01\x03\x0b\x80\x01\0\x01+\x2d");
    }

    #[test]
    fn nothing_to_subscribe_to_is_not_written() {
        let mut subscribe = Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: None,
            user_properties: Vec::new(),
            filters: Vec::new(),
        };
        let error = |subscribe: &Subscribe| {
            let packet = Packet::Subscribe(subscribe.clone());
            crate::encode(&packet, Version::V5, &mut Default::default()).unwrap_err()
        };
        assert_eq!(error(&subscribe), EncodeError::Empty(PacketType::Subscribe));
        subscribe.filters.push(Subscription::new("", QoS::AtMostOnce));
        assert_eq!(error(&subscribe), EncodeError::EmptyTopic(PacketType::Subscribe));
        subscribe.filters = vec![Subscription::new("a", QoS::AtMostOnce)];
        subscribe.subscription_id = SubscriptionId::new(268_435_456);
        assert_eq!(error(&subscribe), EncodeError::VarintTooLarge { value: 268_435_456 });
    }
}
