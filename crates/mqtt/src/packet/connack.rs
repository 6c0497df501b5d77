//! CONNACK: the server answers CONNECT (section 3.2).

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use crate::packet::write_reason;
use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::{DecodeError, EncodeError, MqttString, PacketType, QoS, ReasonCode, UserProperty, Version, rule};

/// The server's answer to CONNECT.
///
/// In 3.1.1 the reason travels as a return code, see [`ReasonCode::v311_return_code`]; encoding one that has
/// none fails, because the server must then close without an answer [MQTT-3.2.2-6 of 3.1.1].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server holds a session of this client; false beside any failure [MQTT-3.2.2-6].
    pub session_present: bool,
    /// Accepted ([`ReasonCode::Success`]) or why not.
    pub reason: ReasonCode,
    /// MQTT 5 properties; all absent in 3.1.1.
    pub properties: ConnackProperties,
}

/// The properties of CONNACK (section 3.2.2.3). `None` is absent, not the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnackProperties {
    /// Session Expiry Interval in seconds the server uses; absent is what the client asked.
    pub session_expiry_interval: Option<u32>,
    /// Receive Maximum of the server; absent is 65 535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS the server takes. Absent means 2, and `ExactlyOnce` is written as absent.
    pub maximum_qos: Option<QoS>,
    /// Retain Available; absent is true.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size in bytes the server accepts; absent is no limit.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Assigned Client Identifier, when the client sent none.
    pub assigned_client_identifier: Option<MqttString>,
    /// Topic Alias Maximum the server accepts; absent is 0.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String for people.
    pub reason_string: Option<MqttString>,
    /// User properties in the order sent.
    pub user_properties: Vec<UserProperty>,
    /// Wildcard Subscription Available; absent is true.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription Identifiers Available; absent is true.
    pub subscription_identifiers_available: Option<bool>,
    /// Shared Subscription Available; absent is true.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive in seconds, which replaces the client's.
    pub server_keep_alive: Option<u16>,
    /// Response Information.
    pub response_information: Option<MqttString>,
    /// Server Reference: where to connect instead.
    pub server_reference: Option<MqttString>,
    /// Authentication Method.
    pub authentication_method: Option<MqttString>,
    /// Authentication Data.
    pub authentication_data: Option<Bytes>,
}

impl Connack {
    /// An answer without properties.
    pub fn new(session_present: bool, reason: ReasonCode) -> Self {
        Self { session_present, reason, properties: ConnackProperties::default() }
    }

    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags > 1 {
            return Err(reader.broken(&rule::CONNACK_FLAGS, flags));
        }
        let session_present = flags == 1;
        let (reason, properties) = match reader.version {
            Version::V5 => (reader.reason(PacketType::Connack, &rule::CONNACK_REASON)?, reader.properties()?),
            Version::V311 => (Self::read_return_code(&mut reader)?, ConnackProperties::default()),
        };
        if session_present && reason.is_error() {
            return Err(reader.broken(&rule::SESSION_PRESENT, reason.value()));
        }
        reader.finish()?;
        Ok(Self { session_present, reason, properties })
    }

    fn read_return_code(reader: &mut Reader) -> Result<ReasonCode, DecodeError> {
        let code = reader.u8()?;
        ReasonCode::from_v311_return_code(code).ok_or_else(|| reader.broken(&rule::RETURN_CODE, code))
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if self.session_present && self.reason.is_error() {
            sink.refuse(EncodeError::SessionPresent(self.reason));
        }
        sink.u8(u8::from(self.session_present));
        match version {
            Version::V5 => {
                write_reason(PacketType::Connack, self.reason, sink);
                write_block(&self.properties, sink);
            }
            Version::V311 => self.write_return_code(sink),
        }
    }

    fn write_return_code<S: PropertySink>(&self, sink: &mut S) {
        match self.reason.v311_return_code() {
            Some(code) => sink.u8(code),
            None => sink.refuse(EncodeError::Reason {
                packet: PacketType::Connack,
                version: Version::V311,
                reason: self.reason,
            }),
        }
    }
}

impl ReadProperties for ConnackProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::SessionExpiryInterval => reader.u32(id, &mut self.session_expiry_interval),
            PropertyId::ReceiveMaximum => {
                reader.positive_u16(id, &mut self.receive_maximum, &rule::RECEIVE_MAXIMUM_ZERO)
            }
            PropertyId::MaximumQos => read_maximum_qos(reader, &mut self.maximum_qos),
            PropertyId::RetainAvailable => reader.boolean(id, &mut self.retain_available),
            PropertyId::MaximumPacketSize => {
                reader.positive_u32(id, &mut self.maximum_packet_size, &rule::MAXIMUM_PACKET_SIZE_ZERO)
            }
            PropertyId::AssignedClientIdentifier => reader.string(id, &mut self.assigned_client_identifier),
            PropertyId::TopicAliasMaximum => reader.u16(id, &mut self.topic_alias_maximum),
            PropertyId::ReasonString => reader.string(id, &mut self.reason_string),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            PropertyId::WildcardSubscriptionAvailable => {
                reader.boolean(id, &mut self.wildcard_subscription_available)
            }
            PropertyId::SubscriptionIdentifiersAvailable => {
                reader.boolean(id, &mut self.subscription_identifiers_available)
            }
            PropertyId::SharedSubscriptionAvailable => {
                reader.boolean(id, &mut self.shared_subscription_available)
            }
            PropertyId::ServerKeepAlive => reader.u16(id, &mut self.server_keep_alive),
            PropertyId::ResponseInformation => reader.string(id, &mut self.response_information),
            PropertyId::ServerReference => reader.string(id, &mut self.server_reference),
            PropertyId::AuthenticationMethod => reader.string(id, &mut self.authentication_method),
            PropertyId::AuthenticationData => reader.binary(id, &mut self.authentication_data),
            _ => Err(reader.foreign(id)),
        }
    }
}

/// Maximum QoS is a byte of 0 or 1 (section 3.2.2.3.4).
fn read_maximum_qos(reader: &mut PropertyReader, slot: &mut Option<QoS>) -> Result<(), DecodeError> {
    let mut one = slot.map(|qos| qos == QoS::AtLeastOnce);
    reader.bit(PropertyId::MaximumQos, &mut one, &rule::MAXIMUM_QOS)?;
    *slot = one.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce });
    Ok(())
}

impl WriteProperties for ConnackProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        let maximum_qos = self.maximum_qos.filter(|qos| *qos < QoS::ExactlyOnce);
        sink.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        sink.u16_property(PropertyId::ReceiveMaximum, self.receive_maximum.map(NonZeroU16::get));
        sink.u8_property(PropertyId::MaximumQos, maximum_qos.map(QoS::bits));
        sink.bool_property(PropertyId::RetainAvailable, self.retain_available);
        sink.u32_property(PropertyId::MaximumPacketSize, self.maximum_packet_size.map(NonZeroU32::get));
        sink.string_property(PropertyId::AssignedClientIdentifier, self.assigned_client_identifier.as_ref());
        sink.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        sink.string_property(PropertyId::ReasonString, self.reason_string.as_ref());
        sink.user_properties(&self.user_properties);
        sink.bool_property(PropertyId::WildcardSubscriptionAvailable, self.wildcard_subscription_available);
        sink.bool_property(
            PropertyId::SubscriptionIdentifiersAvailable,
            self.subscription_identifiers_available,
        );
        sink.bool_property(PropertyId::SharedSubscriptionAvailable, self.shared_subscription_available);
        sink.u16_property(PropertyId::ServerKeepAlive, self.server_keep_alive);
        sink.string_property(PropertyId::ResponseInformation, self.response_information.as_ref());
        sink.string_property(PropertyId::ServerReference, self.server_reference.as_ref());
        sink.string_property(PropertyId::AuthenticationMethod, self.authentication_method.as_ref());
        sink.binary_property(PropertyId::AuthenticationData, self.authentication_data.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assert_wire;
    use crate::{Packet, Role};

    fn packet(connack: Connack) -> Packet {
        Packet::Connack(Box::new(connack))
    }

    #[test]
    fn the_smallest_of_each_version() {
        let accepted = packet(Connack::new(true, ReasonCode::Success));
        assert_wire(Role::Client, Version::V311, &accepted, &[0x20, 2, 1, 0]);
        assert_wire(Role::Client, Version::V5, &accepted, &[0x20, 3, 1, 0, 0]);
    }

    #[test]
    fn refusals_travel_as_return_codes_in_3_1_1() {
        let refused = packet(Connack::new(false, ReasonCode::NotAuthorized));
        assert_wire(Role::Client, Version::V311, &refused, &[0x20, 2, 0, 5]);
        assert_wire(Role::Client, Version::V5, &refused, &[0x20, 3, 0, 0x87, 0]);
    }

    #[test]
    fn what_no_return_code_says_is_not_written() {
        let (packet, mut out) =
            (packet(Connack::new(false, ReasonCode::MalformedPacket)), Default::default());
        let reason = ReasonCode::MalformedPacket;
        let error = EncodeError::Reason { packet: PacketType::Connack, version: Version::V311, reason };
        assert_eq!(crate::encode(&packet, Version::V311, &mut out), Err(error));
        assert!(out.is_empty());
    }

    #[test]
    fn a_maximum_qos_of_2_is_written_as_absent() {
        let mut connack = Connack::new(false, ReasonCode::Success);
        connack.properties.topic_alias_maximum = Some(8);
        connack.properties.maximum_qos = Some(QoS::AtLeastOnce);
        let bytes = [0x20, 8, 0, 0, 5, 0x24, 1, 0x22, 0, 8];
        assert_wire(Role::Client, Version::V5, &packet(connack.clone()), &bytes);
        connack.properties.maximum_qos = Some(QoS::ExactlyOnce);
        let bytes = crate::tests::written(&packet(connack), Version::V5);
        assert_eq!(bytes, [0x20, 6, 0, 0, 3, 0x22, 0, 8][..]);
    }

    #[test]
    fn a_failure_has_no_session() {
        let packet = packet(Connack::new(true, ReasonCode::ServerBusy));
        let refused = crate::encode(&packet, Version::V5, &mut Default::default());
        assert_eq!(refused, Err(EncodeError::SessionPresent(ReasonCode::ServerBusy)));
    }
}
