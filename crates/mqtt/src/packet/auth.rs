//! AUTH: enhanced authentication, MQTT 5 only (section 3.15).

use bytes::Bytes;

use crate::packet::write_reason;
use crate::properties::{
    PropertyId, PropertyReader, PropertySink, ReadProperties, WriteProperties, write_block,
};
use crate::reader::Reader;
use crate::{DecodeError, EncodeError, MqttString, PacketType, ReasonCode, UserProperty, Version, rule};

/// One step of an authentication exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// `None` only for the two byte form, which stands for Success without properties.
    pub properties: Option<Box<AuthProperties>>,
}

/// The properties of AUTH (section 3.15.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthProperties {
    /// Authentication Method; omitting it is a protocol error.
    pub method: MqttString,
    /// Authentication Data.
    pub data: Option<Bytes>,
    /// Reason String for people.
    pub reason_string: Option<MqttString>,
    /// User properties in the order sent.
    pub user_properties: Vec<UserProperty>,
}

impl Auth {
    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self { reason: ReasonCode::Success, properties: None });
        }
        let reason = reader.reason(PacketType::Auth, &rule::AUTH_REASON)?;
        let ReadAuth { method, data, reason_string, user_properties } = reader.properties()?;
        let Some(method) = method else {
            return Err(reader.broken(&rule::AUTH_WITHOUT_METHOD, reason.value()));
        };
        reader.finish()?;
        let properties = AuthProperties { method, data, reason_string, user_properties };
        Ok(Self { reason, properties: Some(Box::new(properties)) })
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if version == Version::V311 {
            sink.refuse(EncodeError::NotInVersion { packet: PacketType::Auth, version });
        }
        match (&self.properties, self.reason) {
            (Some(properties), reason) => {
                write_reason(PacketType::Auth, reason, sink);
                write_block(&**properties, sink);
            }
            (None, ReasonCode::Success) => {}
            (None, _) => sink.refuse(EncodeError::NoAuthenticationMethod(PacketType::Auth)),
        }
    }
}

/// The properties of AUTH while they are read, when the method may still be missing.
#[derive(Debug, Default)]
struct ReadAuth {
    method: Option<MqttString>,
    data: Option<Bytes>,
    reason_string: Option<MqttString>,
    user_properties: Vec<UserProperty>,
}

impl ReadProperties for ReadAuth {
    fn take(&mut self, id: PropertyId, reader: &mut PropertyReader) -> Result<(), DecodeError> {
        match id {
            PropertyId::AuthenticationMethod => reader.string(id, &mut self.method),
            PropertyId::AuthenticationData => reader.binary(id, &mut self.data),
            PropertyId::ReasonString => reader.string(id, &mut self.reason_string),
            PropertyId::UserProperty => reader.user_property(&mut self.user_properties),
            _ => Err(reader.foreign(id)),
        }
    }
}

impl WriteProperties for AuthProperties {
    fn write<S: PropertySink>(&self, sink: &mut S) {
        sink.string_property(PropertyId::AuthenticationMethod, Some(&self.method));
        sink.binary_property(PropertyId::AuthenticationData, self.data.as_deref());
        sink.string_property(PropertyId::ReasonString, self.reason_string.as_ref());
        sink.user_properties(&self.user_properties);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assert_wire;
    use crate::{Packet, Role};

    #[test]
    fn a_step_with_data() {
        let properties =
            AuthProperties { method: "SCRAM".into(), data: Some("x".into()), ..Default::default() };
        let packet = Packet::Auth(Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties: Some(Box::new(properties)),
        });
        assert_wire(Role::Server, Version::V5, &packet, b"\xf0\x0e\x18\x0c\x15\0\x05SCRAM\x16\0\x01x");
    }

    #[test]
    fn success_without_properties_takes_two_bytes() {
        let packet = Packet::Auth(Auth { reason: ReasonCode::Success, properties: None });
        assert_wire(Role::Client, Version::V5, &packet, &[0xF0, 0]);
    }

    #[test]
    fn it_is_not_written_in_3_1_1_nor_without_a_method() {
        let error = |reason, version| {
            let packet = Packet::Auth(Auth { reason, properties: None });
            crate::encode(&packet, version, &mut Default::default()).unwrap_err()
        };
        let not_in = EncodeError::NotInVersion { packet: PacketType::Auth, version: Version::V311 };
        assert_eq!(error(ReasonCode::Success, Version::V311), not_in);
        let no_method = EncodeError::NoAuthenticationMethod(PacketType::Auth);
        assert_eq!(error(ReasonCode::ReAuthenticate, Version::V5), no_method);
    }
}
