//! DISCONNECT: the last packet of a connection (section 3.14).

use crate::packet::write_reason;
use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::{DecodeError, MqttString, PacketType, ReasonCode, Role, UserProperty, Version, rule};

/// The end of a connection, with its reason. In 3.1.1 only clients send it and it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; [`ReasonCode::NORMAL_DISCONNECTION`] in 3.1.1.
    pub reason: ReasonCode,
    /// MQTT 5 properties; `None` when there are none.
    pub properties: Option<Box<DisconnectProperties>>,
}

/// The properties of DISCONNECT (section 3.14.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties {
    /// Session Expiry Interval in seconds; only clients send it [MQTT-3.14.2-2].
    pub session_expiry_interval: Option<u32>,
    /// Reason String for people.
    pub reason_string: Option<MqttString>,
    /// User properties in the order sent.
    pub user_properties: Vec<UserProperty>,
    /// Server Reference: where to connect instead.
    pub server_reference: Option<MqttString>,
}

impl Disconnect {
    /// A reason without properties.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: None }
    }
}

impl Disconnect {
    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        // Both fields may be left out, and 3.1.1 has neither (section 3.14.2.1).
        let short = reader.version == Version::V311 || reader.is_empty();
        let reason = if short {
            ReasonCode::NORMAL_DISCONNECTION
        } else {
            reader.reason(PacketType::Disconnect, &rule::DISCONNECT_REASON)?
        };
        let properties: Option<Box<DisconnectProperties>> =
            if short || reader.is_empty() { None } else { reader.optional_properties()? };
        let expiry = properties.as_ref().and_then(|properties| properties.session_expiry_interval);
        if let (Some(expiry), Role::Client) = (expiry, reader.role) {
            return Err(reader.broken(&rule::SERVER_SESSION_EXPIRY, expiry));
        }
        reader.finish()?;
        Ok(Self { reason, properties })
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        let short = self.reason == ReasonCode::NORMAL_DISCONNECTION && self.properties.is_none();
        if version == Version::V311 || short {
            return;
        }
        write_reason(PacketType::Disconnect, self.reason, sink);
        if let Some(properties) = &self.properties {
            write_block(&**properties, sink);
        }
    }
}

impl ReadProperties for DisconnectProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::SessionExpiryInterval => reader.u32(id, &mut self.session_expiry_interval),
            PropertyId::ReasonString => reader.string(id, &mut self.reason_string),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            PropertyId::ServerReference => reader.string(id, &mut self.server_reference),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for DisconnectProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        sink.string_property(PropertyId::ReasonString, self.reason_string.as_ref());
        sink.user_properties(&self.user_properties);
        sink.string_property(PropertyId::ServerReference, self.server_reference.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;
    use crate::tests::{assert_wire, read};

    #[test]
    fn a_normal_one_takes_two_bytes() {
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
        assert_wire(Role::Server, Version::V311, &packet, &[0xE0, 0]);
        assert_wire(Role::Server, Version::V5, &packet, &[0xE0, 0]);
        assert_eq!(read(Role::Server, Version::V5, &[0xE0, 2, 0, 0]), Ok(packet), "the long form");
    }

    #[test]
    fn a_reason_alone_takes_three() {
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver));
        assert_wire(Role::Client, Version::V5, &packet, &[0xE0, 1, 0x8E]);
    }

    #[test]
    fn every_property() {
        let properties = DisconnectProperties {
            session_expiry_interval: Some(1),
            reason_string: Some("r".into()),
            user_properties: vec![UserProperty::new("k", "v")],
            server_reference: Some("s".into()),
        };
        let packet = Packet::Disconnect(Disconnect {
            reason: ReasonCode::DisconnectWithWillMessage,
            properties: Some(Box::new(properties)),
        });
        let bytes = b"\xe0\x16\x04\x14\x11\0\0\0\x01\x1f\0\x01r\x26\0\x01k\0\x01v\x1c\0\x01s";
        assert_wire(Role::Server, Version::V5, &packet, bytes);
    }
}
