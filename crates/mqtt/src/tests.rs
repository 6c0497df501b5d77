//! Tests across packets: what survives the wire, what is refused and why.

mod arbitrary;
mod malformed;
mod streams;
mod wire;

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, DecodeLimits, Decoder, Packet, Role, Version, encode};

/// A decoder that already knows its version.
pub(crate) fn decoder(role: Role, version: Version) -> Decoder {
    let mut decoder = match role {
        Role::Server => Decoder::new(DecodeLimits::default()),
        Role::Client => Decoder::client(version, DecodeLimits::default()),
    };
    decoder.set_version(version);
    decoder
}

/// The packet's bytes.
pub(crate) fn written(packet: &Packet, version: Version) -> Bytes {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out).unwrap();
    out.freeze()
}

/// The one packet in `bytes`.
pub(crate) fn read(role: Role, version: Version, bytes: &[u8]) -> Result<Packet, DecodeError> {
    let mut src = BytesMut::from(bytes);
    let packet = decoder(role, version).decode(&mut src)?.expect("a whole packet");
    assert!(src.is_empty());
    Ok(packet)
}

/// Asserts that `packet` is written as exactly `bytes`, and read back as itself.
pub(crate) fn assert_wire(role: Role, version: Version, packet: &Packet, bytes: &[u8]) {
    assert_eq!(written(packet, version), bytes, "written");
    assert_eq!(crate::encoded_len(packet, version), bytes.len());
    assert_eq!(read(role, version, bytes).as_ref(), Ok(packet), "read");
}

#[test]
fn a_packet_stays_small() {
    assert!(size_of::<Packet>() <= 88, "moved on the hot path: {} bytes", size_of::<Packet>());
}
