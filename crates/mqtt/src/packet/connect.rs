//! CONNECT: the client asks for a connection (section 3.1).

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use crate::packet::will::Will;
use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::rule::{self, Rule};
use crate::{DecodeError, EncodeError, MqttString, PacketType, QoS, UserProperty, Version};

/// The first packet of every connection.
///
/// An empty client identifier, an empty will topic and wildcards in the will topic are left to the session,
/// which has its own answers to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The protocol version asked for.
    pub version: Version,
    /// Clean Start; in 3.1.1 Clean Session, which also ends the session at disconnect.
    pub clean_start: bool,
    /// Keep alive in seconds; 0 means none.
    pub keep_alive: u16,
    /// The client identifier; may be empty.
    pub client_id: MqttString,
    /// What to publish when the connection is lost.
    pub will: Option<Box<Will>>,
    /// User name.
    pub username: Option<MqttString>,
    /// Password, any bytes. In 3.1.1 never without a user name [MQTT-3.1.2-22].
    pub password: Option<Bytes>,
    /// MQTT 5 properties; all absent in 3.1.1.
    pub properties: ConnectProperties,
}

/// The properties of CONNECT (section 3.1.2.11). `None` is absent, not the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Session Expiry Interval in seconds; absent is 0; `u32::MAX` never expires.
    pub session_expiry_interval: Option<u32>,
    /// Receive Maximum: QoS 1 and 2 messages the client takes unacknowledged; absent is 65 535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes the client accepts; absent is no limit.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Topic Alias Maximum the client accepts; absent is 0.
    pub topic_alias_maximum: Option<u16>,
    /// Request Response Information; absent is false.
    pub request_response_information: Option<bool>,
    /// Request Problem Information; absent is true.
    pub request_problem_information: Option<bool>,
    /// User properties in the order sent.
    pub user_properties: Vec<UserProperty>,
    /// Authentication Method; present starts enhanced authentication.
    pub authentication_method: Option<MqttString>,
    /// Authentication Data; only beside a method.
    pub authentication_data: Option<Bytes>,
}

/// The connect flags byte (section 3.1.2.3), taken apart.
#[derive(Clone, Copy, Debug)]
struct Flags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    username: bool,
    password: bool,
}

impl Flags {
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let bits = reader.u8()?;
        if bits & 1 != 0 {
            return Err(reader.broken(&rule::CONNECT_RESERVED_FLAG, bits));
        }
        let username = bits & Self::USER_NAME != 0;
        let password = bits & Self::PASSWORD != 0;
        if reader.version == Version::V311 && password && !username {
            return Err(reader.broken(&rule::PASSWORD_WITHOUT_USER_NAME, bits));
        }
        let will = Self::will(reader, bits)?;
        Ok(Self { clean_start: bits & Self::CLEAN_START != 0, will, username, password })
    }

    fn will(reader: &Reader, bits: u8) -> Result<Option<(QoS, bool)>, DecodeError> {
        let retain = bits & Self::WILL_RETAIN != 0;
        let qos = QoS::from_bits(bits >> 3 & 3).ok_or_else(|| reader.broken(&rule::WILL_QOS_3, bits))?;
        if bits & Self::WILL != 0 {
            return Ok(Some((qos, retain)));
        }
        if qos != QoS::AtMostOnce {
            return Err(reader.broken(&rule::WILL_QOS_WITHOUT_WILL, bits));
        }
        if retain {
            return Err(reader.broken(&rule::WILL_RETAIN_WITHOUT_WILL, bits));
        }
        Ok(None)
    }
}

impl Connect {
    const PROTOCOL_NAME: MqttString = MqttString::from_static("MQTT");

    /// Reads the protocol name and level, which say by which version's rules the rest is read.
    pub(crate) fn read_version(reader: &mut Reader) -> Result<Version, DecodeError> {
        let name = reader.string()?;
        let level = reader.u8()?;
        match (name.as_str(), level) {
            ("MQTT", 4) => Ok(Version::V311),
            ("MQTT", 5) => Ok(Version::V5),
            _ => Err(DecodeError::UnsupportedProtocol { level }),
        }
    }

    /// Reads what follows the protocol level.
    pub(crate) fn read_rest(mut reader: Reader) -> Result<Self, DecodeError> {
        let version = reader.version;
        let flags = Flags::read(&mut reader)?;
        let keep_alive = reader.u16()?;
        let properties = match version {
            Version::V5 => ConnectProperties::read(&mut reader)?,
            Version::V311 => ConnectProperties::default(),
        };
        reader.more_or(&rule::NO_CLIENT_ID)?;
        let client_id = reader.string()?;
        let will = match flags.will {
            Some((qos, retain)) => Some(Box::new(Will::read(&mut reader, qos, retain)?)),
            None => None,
        };
        let username = optional(&mut reader, flags.username, &rule::NO_USER_NAME, Reader::string)?;
        let password = optional(&mut reader, flags.password, &rule::NO_PASSWORD, Reader::binary)?;
        reader.finish()?;
        let clean_start = flags.clean_start;
        Ok(Self { version, clean_start, keep_alive, client_id, will, username, password, properties })
    }

    fn flags(&self) -> u8 {
        let mut bits = 0;
        if self.clean_start {
            bits |= Flags::CLEAN_START;
        }
        if let Some(will) = &self.will {
            bits |= Flags::WILL | will.qos.bits() << 3;
            bits |= if will.retain { Flags::WILL_RETAIN } else { 0 };
        }
        if self.password.is_some() {
            bits |= Flags::PASSWORD;
        }
        if self.username.is_some() {
            bits |= Flags::USER_NAME;
        }
        bits
    }

    pub(crate) fn write<S: PropertySink>(&self, sink: &mut S) {
        self.check(sink);
        sink.string(&Self::PROTOCOL_NAME);
        sink.u8(self.version.level());
        sink.u8(self.flags());
        sink.u16(self.keep_alive);
        if self.version == Version::V5 {
            write_block(&self.properties, sink);
        }
        sink.string(&self.client_id);
        if let Some(will) = &self.will {
            will.write(self.version, sink);
        }
        if let Some(username) = &self.username {
            sink.string(username);
        }
        if let Some(password) = &self.password {
            sink.binary(password);
        }
    }

    fn check<S: PropertySink>(&self, sink: &mut S) {
        if self.version == Version::V311 && self.password.is_some() && self.username.is_none() {
            sink.refuse(EncodeError::PasswordWithoutUserName);
        }
        let properties = &self.properties;
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            sink.refuse(EncodeError::NoAuthenticationMethod(PacketType::Connect));
        }
    }
}

/// A field that is there when its flag is; `missing` is the rule its absence breaks.
fn optional<T>(
    reader: &mut Reader,
    present: bool,
    missing: &Rule,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if !present {
        return Ok(None);
    }
    reader.more_or(missing)?;
    read(reader).map(Some)
}

impl ConnectProperties {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let properties: Self = reader.properties()?;
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(reader.broken(&rule::AUTH_DATA_WITHOUT_METHOD, PropertyId::AuthenticationData as u32));
        }
        Ok(properties)
    }
}

impl ReadProperties for ConnectProperties {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::SessionExpiryInterval => reader.u32(id, &mut self.session_expiry_interval),
            PropertyId::ReceiveMaximum => {
                reader.positive_u16(id, &mut self.receive_maximum, &rule::RECEIVE_MAXIMUM_ZERO)
            }
            PropertyId::MaximumPacketSize => {
                reader.positive_u32(id, &mut self.maximum_packet_size, &rule::MAXIMUM_PACKET_SIZE_ZERO)
            }
            PropertyId::TopicAliasMaximum => reader.u16(id, &mut self.topic_alias_maximum),
            PropertyId::RequestResponseInformation => {
                reader.boolean(id, &mut self.request_response_information)
            }
            PropertyId::RequestProblemInformation => {
                reader.boolean(id, &mut self.request_problem_information)
            }
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            PropertyId::AuthenticationMethod => reader.string(id, &mut self.authentication_method),
            PropertyId::AuthenticationData => reader.binary(id, &mut self.authentication_data),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for ConnectProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        sink.u16_property(PropertyId::ReceiveMaximum, self.receive_maximum.map(NonZeroU16::get));
        sink.u32_property(PropertyId::MaximumPacketSize, self.maximum_packet_size.map(NonZeroU32::get));
        sink.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        sink.bool_property(PropertyId::RequestResponseInformation, self.request_response_information);
        sink.bool_property(PropertyId::RequestProblemInformation, self.request_problem_information);
        sink.user_properties(&self.user_properties);
        sink.string_property(PropertyId::AuthenticationMethod, self.authentication_method.as_ref());
        sink.binary_property(PropertyId::AuthenticationData, self.authentication_data.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;
    use crate::tests::written;

    fn connect(version: Version) -> Connect {
        Connect {
            version,
            clean_start: true,
            keep_alive: 60,
            client_id: "dev".into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    fn assert_bytes(connect: Connect, bytes: &[u8]) {
        let packet = Packet::Connect(Box::new(connect));
        assert_eq!(written(&packet, Version::V5), bytes);
        let mut decoder = crate::Decoder::new(crate::DecodeLimits::default());
        assert_eq!(decoder.decode(&mut bytes.into()), Ok(Some(packet)));
    }

    #[test]
    fn the_smallest_of_each_version() {
        assert_bytes(connect(Version::V311), b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03dev");
        assert_bytes(connect(Version::V5), b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03dev");
    }

    #[test]
    fn every_payload_field_in_its_order() {
        let will = Will {
            topic: "t".into(),
            payload: "bye".into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: crate::WillProperties { will_delay_interval: Some(5), ..Default::default() },
        };
        let full = Connect {
            clean_start: false,
            will: Some(Box::new(will)),
            username: Some("u".into()),
            password: Some("p".into()),
            properties: ConnectProperties {
                session_expiry_interval: Some(256),
                receive_maximum: NonZeroU16::new(10),
                ..Default::default()
            },
            ..connect(Version::V5)
        };
        assert_bytes(
            full,
            b"\x10\x2c\0\x04MQTT\x05\xec\0\x3c\x08\x11\0\0\x01\0\x21\0\x0a\0\x03dev\
              \x05\x18\0\0\0\x05\0\x01t\0\x03bye\0\x01u\0\x01p",
        );
    }

    #[test]
    fn a_password_needs_a_user_name_in_3_1_1_only() {
        let with_password = |version| Connect { password: Some("p".into()), ..connect(version) };
        let mut out = bytes::BytesMut::new();
        let old = Packet::Connect(Box::new(with_password(Version::V311)));
        let refused = crate::encode(&old, Version::V311, &mut out);
        assert_eq!(refused, Err(EncodeError::PasswordWithoutUserName));
        assert!(out.is_empty());
        assert_bytes(with_password(Version::V5), b"\x10\x13\0\x04MQTT\x05\x42\0\x3c\0\0\x03dev\0\x01p");
    }
}
