//! PUBACK, PUBREC, PUBREL and PUBCOMP, which share one form (sections 3.4 to 3.7).

use crate::packet::write_reason;
use crate::properties::{PropertySink, ReasonProperties, write_block};
use crate::reader::Reader;
use crate::rule::{self, Rule};
use crate::{DecodeError, EncodeError, PacketId, PacketType, ReasonCode, Version};

/// One step of the QoS 1 or QoS 2 handshake.
///
/// In 3.1.1 there is only the packet identifier: decoded ones say [`ReasonCode::Success`], and encoding one
/// that says failure fails, because the receiver would take it for success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Identifier of the PUBLISH it belongs to.
    pub packet_id: PacketId,
    /// Outcome.
    pub reason: ReasonCode,
    /// MQTT 5 properties; `None` when there are none.
    pub properties: Option<Box<ReasonProperties>>,
}

impl Ack {
    /// The plain success.
    pub const fn ok(packet_id: PacketId) -> Self {
        Self { packet_id, reason: ReasonCode::Success, properties: None }
    }

    /// An outcome without properties.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: None }
    }
}

impl Ack {
    pub(crate) fn read(packet: PacketType, mut reader: Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        // Success may be left out, and so may an empty property block (section 3.4.2.1).
        let short = reader.version == Version::V311 || reader.is_empty();
        let reason = if short { ReasonCode::Success } else { reader.reason(packet, reason_rule(packet))? };
        let properties = if short || reader.is_empty() { None } else { reader.optional_properties()? };
        reader.finish()?;
        Ok(Self { packet_id, reason, properties })
    }

    pub(crate) fn write<S: PropertySink>(&self, packet: PacketType, version: Version, sink: &mut S) {
        sink.u16(self.packet_id.get());
        match version {
            Version::V5 => self.write_outcome(packet, sink),
            Version::V311 if self.reason.is_error() => {
                sink.refuse(EncodeError::Reason { packet, version, reason: self.reason });
            }
            Version::V311 => {}
        }
    }

    fn write_outcome<S: PropertySink>(&self, packet: PacketType, sink: &mut S) {
        if self.reason != ReasonCode::Success || self.properties.is_some() {
            write_reason(packet, self.reason, sink);
        }
        if let Some(properties) = &self.properties {
            write_block(&**properties, sink);
        }
    }
}

fn reason_rule(packet: PacketType) -> &'static Rule {
    match packet {
        PacketType::Pubrec => &rule::PUBREC_REASON,
        PacketType::Pubrel => &rule::PUBREL_REASON,
        PacketType::Pubcomp => &rule::PUBCOMP_REASON,
        _ => &rule::PUBACK_REASON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{assert_wire, read};
    use crate::{Packet, Role, UserProperty};

    const ID: PacketId = PacketId::new(0x0102).unwrap();

    #[test]
    fn success_takes_four_bytes_in_both_versions() {
        for version in [Version::V311, Version::V5] {
            assert_wire(Role::Server, version, &Packet::Puback(Ack::ok(ID)), &[0x40, 2, 1, 2]);
            assert_wire(Role::Client, version, &Packet::Pubrec(Ack::ok(ID)), &[0x50, 2, 1, 2]);
            assert_wire(Role::Server, version, &Packet::Pubrel(Ack::ok(ID)), &[0x62, 2, 1, 2]);
            assert_wire(Role::Client, version, &Packet::Pubcomp(Ack::ok(ID)), &[0x70, 2, 1, 2]);
        }
    }

    #[test]
    fn a_reason_without_properties_takes_five() {
        let packet = Packet::Puback(Ack::new(ID, ReasonCode::NotAuthorized));
        assert_wire(Role::Client, Version::V5, &packet, &[0x40, 3, 1, 2, 0x87]);
        let long = read(Role::Client, Version::V5, &[0x40, 4, 1, 2, 0x87, 0]);
        assert_eq!(long, Ok(packet), "with an explicit empty block");
    }

    #[test]
    fn properties_follow_even_a_success() {
        let properties = ReasonProperties {
            reason_string: Some("ok".into()),
            user_properties: vec![UserProperty::new("a", "b")],
        };
        let ack = Ack { properties: Some(Box::new(properties)), ..Ack::ok(ID) };
        let bytes = b"\x50\x10\x01\x02\0\x0c\x1f\0\x02ok\x26\0\x01a\0\x01b";
        assert_wire(Role::Server, Version::V5, &Packet::Pubrec(ack), bytes);
    }

    #[test]
    fn a_failure_is_not_written_as_a_success_of_3_1_1() {
        let refused = Packet::Puback(Ack::new(ID, ReasonCode::NotAuthorized));
        let error = crate::encode(&refused, Version::V311, &mut Default::default()).unwrap_err();
        assert!(matches!(error, EncodeError::Reason { version: Version::V311, .. }));
    }
}
