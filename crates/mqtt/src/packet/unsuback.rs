//! UNSUBACK: the server answers UNSUBSCRIBE (section 3.11).

use crate::packet::write_reason;
use crate::properties::{PropertySink, ReasonProperties, write_optional_block};
use crate::reader::Reader;
use crate::{DecodeError, EncodeError, PacketId, PacketType, ReasonCode, Version, rule};

/// One outcome per topic filter of the UNSUBSCRIBE, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuback {
    /// Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One per filter; 3.1.1 has none: not written, and empty when decoded.
    pub reason_codes: Vec<ReasonCode>,
    /// MQTT 5 properties; `None` when there are none.
    pub properties: Option<Box<ReasonProperties>>,
}

impl Unsuback {
    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        if reader.version == Version::V311 {
            reader.finish()?;
            return Ok(Self { packet_id, reason_codes: Vec::new(), properties: None });
        }
        let properties = reader.optional_properties()?;
        reader.more_or(&rule::NO_UNSUBACK_CODE)?;
        let mut reason_codes = Vec::with_capacity(reader.len());
        while !reader.is_empty() {
            reason_codes.push(reader.reason(PacketType::Unsuback, &rule::UNSUBACK_REASON)?);
        }
        Ok(Self { packet_id, reason_codes, properties })
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        sink.u16(self.packet_id.get());
        if version == Version::V311 {
            return;
        }
        if self.reason_codes.is_empty() {
            sink.refuse(EncodeError::Empty(PacketType::Unsuback));
        }
        write_optional_block(self.properties.as_deref(), sink);
        for code in &self.reason_codes {
            write_reason(PacketType::Unsuback, *code, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{assert_wire, read, written};
    use crate::{Packet, Role};

    #[test]
    fn reason_codes_exist_in_5_only() {
        let reason_codes = vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
        let unsuback = Unsuback { packet_id: PacketId::MIN, reason_codes, properties: None };
        let packet = Packet::Unsuback(unsuback.clone());
        assert_wire(Role::Client, Version::V5, &packet, &[0xB0, 5, 0, 1, 0, 0, 0x11]);
        let bytes = written(&packet, Version::V311);
        assert_eq!(bytes, [0xB0, 2, 0, 1][..]);
        let without = Packet::Unsuback(Unsuback { reason_codes: Vec::new(), ..unsuback });
        assert_eq!(read(Role::Client, Version::V311, &bytes), Ok(without));
    }
}
