//! PINGREQ and PINGRESP: two bytes each, nothing inside (sections 3.12 and 3.13).

use crate::DecodeError;
use crate::packet::Packet;
use crate::reader::Reader;

/// The whole PINGREQ packet.
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// The whole PINGRESP packet.
pub const PINGRESP: [u8; 2] = [0xD0, 0x00];

/// Reads the empty body of `packet`.
pub(crate) fn read(packet: Packet, reader: Reader) -> Result<Packet, DecodeError> {
    reader.finish().map(|()| packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assert_wire;
    use crate::{Role, Version};

    #[test]
    fn two_bytes_each() {
        for version in [Version::V311, Version::V5] {
            assert_wire(Role::Server, version, &Packet::Pingreq, &PINGREQ);
            assert_wire(Role::Client, version, &Packet::Pingresp, &PINGRESP);
        }
    }
}
