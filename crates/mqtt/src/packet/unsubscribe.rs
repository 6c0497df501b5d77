//! UNSUBSCRIBE: the client gives subscriptions up (section 3.10).

use crate::packet::subscribe::{read_filter, write_filter};
use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::{DecodeError, EncodeError, MqttString, PacketId, PacketType, UserProperty, Version, rule};

/// A request to end one or more subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Identifier UNSUBACK repeats.
    pub packet_id: PacketId,
    /// User properties in the order sent; MQTT 5.
    pub user_properties: Vec<UserProperty>,
    /// Topic filters, compared byte by byte; never empty [MQTT-3.10.3-2].
    pub filters: Vec<MqttString>,
}

impl Unsubscribe {
    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let UnsubscribeProperties(user_properties) = match reader.version {
            Version::V5 => reader.properties()?,
            Version::V311 => UnsubscribeProperties::default(),
        };
        reader.more_or(&rule::NO_UNSUBSCRIBE_FILTER)?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(read_filter(&mut reader)?);
        }
        Ok(Self { packet_id, user_properties, filters })
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if self.filters.is_empty() {
            sink.refuse(EncodeError::Empty(PacketType::Unsubscribe));
        }
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            write_block(self, sink);
        }
        for filter in &self.filters {
            write_filter(PacketType::Unsubscribe, filter, sink);
        }
    }
}

/// The properties of UNSUBSCRIBE (section 3.10.2.1) while they are read.
#[derive(Debug, Default)]
struct UnsubscribeProperties(Vec<UserProperty>);

impl ReadProperties for UnsubscribeProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::UserProperty => reader.user_property(&mut self.0),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for Unsubscribe {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.user_properties(&self.user_properties);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assert_wire;
    use crate::{Packet, Role};

    #[test]
    fn both_versions() {
        let mut unsubscribe = Unsubscribe {
            packet_id: PacketId::MIN,
            user_properties: Vec::new(),
            filters: vec!["a".into(), "b/#".into()],
        };
        let packet = Packet::Unsubscribe(unsubscribe.clone());
        assert_wire(Role::Server, Version::V311, &packet, b"\xa2\x0a\0\x01\0\x01a\0\x03b/#");
        unsubscribe.user_properties.push(UserProperty::new("k", ""));
        let packet = Packet::Unsubscribe(unsubscribe);
        assert_wire(Role::Server, Version::V5, &packet, b"\xa2\x11\0\x01\x06\x26\0\x01k\0\0\0\x01a\0\x03b/#");
    }
}
