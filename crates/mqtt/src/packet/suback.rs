//! SUBACK: the server answers SUBSCRIBE (section 3.9).

use crate::packet::write_reason;
use crate::properties::{PropertySink, ReasonProperties, write_optional_block};
use crate::reader::Reader;
use crate::{DecodeError, EncodeError, PacketId, PacketType, ReasonCode, Version, rule};

/// One outcome per topic filter of the SUBSCRIBE, in its order.
///
/// In 3.1.1 every failure is written as 0x80 and read as [`ReasonCode::UnspecifiedError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Granted QoS or failure, one per filter; never empty.
    pub reason_codes: Vec<ReasonCode>,
    /// MQTT 5 properties; `None` when there are none.
    pub properties: Option<Box<ReasonProperties>>,
}

impl Suback {
    pub(crate) fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match reader.version {
            Version::V5 => reader.optional_properties()?,
            Version::V311 => None,
        };
        reader.more_or(&rule::NO_SUBACK_CODE)?;
        let mut reason_codes = Vec::with_capacity(reader.len());
        while !reader.is_empty() {
            reason_codes.push(read_code(&mut reader)?);
        }
        Ok(Self { packet_id, reason_codes, properties })
    }

    pub(crate) fn write<S: PropertySink>(&self, version: Version, sink: &mut S) {
        if self.reason_codes.is_empty() {
            sink.refuse(EncodeError::Empty(PacketType::Suback));
        }
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            write_optional_block(self.properties.as_deref(), sink);
        }
        for code in &self.reason_codes {
            let failed = version == Version::V311 && code.is_error();
            write_reason(PacketType::Suback, if failed { ReasonCode::UnspecifiedError } else { *code }, sink);
        }
    }
}

/// 3.1.1 knows three grants and one failure [MQTT-3.9.3-2].
fn read_code(reader: &mut Reader) -> Result<ReasonCode, DecodeError> {
    if reader.version == Version::V5 {
        return reader.reason(PacketType::Suback, &rule::SUBACK_REASON);
    }
    let code = reader.u8()?;
    match code {
        0..=2 | 0x80 => ReasonCode::from_value(code),
        _ => None,
    }
    .ok_or_else(|| reader.broken(&rule::SUBACK_RETURN_CODE, code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{assert_wire, written};
    use crate::{Packet, QoS, Role};

    fn suback(reason_codes: Vec<ReasonCode>) -> Packet {
        Packet::Suback(Suback { packet_id: PacketId::MIN, reason_codes, properties: None })
    }

    #[test]
    fn grants_and_a_failure() {
        let granted = ReasonCode::granted(QoS::ExactlyOnce);
        let packet = suback(vec![ReasonCode::GRANTED_QOS_0, granted, ReasonCode::UnspecifiedError]);
        assert_wire(Role::Client, Version::V311, &packet, &[0x90, 5, 0, 1, 0, 2, 0x80]);
        assert_wire(Role::Client, Version::V5, &packet, &[0x90, 6, 0, 1, 0, 0, 2, 0x80]);
    }

    #[test]
    fn any_failure_is_0x80_in_3_1_1() {
        let packet = suback(vec![ReasonCode::NotAuthorized]);
        assert_eq!(written(&packet, Version::V311), [0x90, 3, 0, 1, 0x80][..]);
        assert_wire(Role::Client, Version::V5, &packet, &[0x90, 4, 0, 1, 0, 0x87]);
    }
}
