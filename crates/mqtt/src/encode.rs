//! From packets to bytes, and how many there will be.
//!
//! A sender that must stay below a receiver's Maximum Packet Size asks [`encoded_len`] first and drops what
//! it may: reason strings and user properties of answers, whole messages (MQTT 5 section 3.1.2.11.4).

use bytes::{BufMut, BytesMut};

use crate::packet::{Packet, PacketType, Publish, ping};
use crate::properties::PropertySink;
use crate::sink::{Measure, Sink};
use crate::{EncodeError, PacketId, Version, varint};

/// Appends `packet` to `out` in the form of `version`. A CONNECT is written in its own version.
///
/// # Errors
/// The packet cannot be written in this version, or breaks a rule; `out` is then unchanged.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    let remaining = measure(packet, version).finish()?;
    out.reserve(1 + varint::len(remaining) + remaining);
    out.put_u8(first_byte(packet));
    out.varint(remaining);
    write_body(packet, version, out);
    Ok(())
}

/// How many bytes [`encode`] appends, fixed header included. It also counts packets [`encode`] would refuse.
pub fn encoded_len(packet: &Packet, version: Version) -> usize {
    with_header(measure(packet, version).len())
}

/// [`encode`] for a PUBLISH that is not in a [`Packet`].
///
/// # Errors
/// As [`encode`].
pub fn encode_publish(publish: &Publish, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    let mut measure = Measure::default();
    publish.write(version, &mut measure);
    let remaining = measure.finish()?;
    out.reserve(with_header(remaining));
    out.put_u8(publish.first_byte());
    out.varint(remaining);
    publish.write(version, out);
    Ok(())
}

/// The length of `publish` in `version`, fixed header included, to hold against a Maximum Packet Size.
pub fn publish_len(version: Version, publish: &Publish) -> usize {
    let mut measure = Measure::default();
    publish.write(version, &mut measure);
    with_header(measure.len())
}

/// Appends a PUBACK that says success: the same four bytes in both versions.
pub fn encode_puback_ok(packet_id: PacketId, out: &mut BytesMut) {
    encode_ack_ok(PacketType::Puback, packet_id, out);
}

/// Appends a PUBREC that says success.
pub fn encode_pubrec_ok(packet_id: PacketId, out: &mut BytesMut) {
    encode_ack_ok(PacketType::Pubrec, packet_id, out);
}

/// Appends a PUBREL that says success.
pub fn encode_pubrel_ok(packet_id: PacketId, out: &mut BytesMut) {
    encode_ack_ok(PacketType::Pubrel, packet_id, out);
}

/// Appends a PUBCOMP that says success.
pub fn encode_pubcomp_ok(packet_id: PacketId, out: &mut BytesMut) {
    encode_ack_ok(PacketType::Pubcomp, packet_id, out);
}

/// Appends a PINGREQ.
pub fn encode_pingreq(out: &mut BytesMut) {
    out.put_slice(&ping::PINGREQ);
}

/// Appends a PINGRESP.
pub fn encode_pingresp(out: &mut BytesMut) {
    out.put_slice(&ping::PINGRESP);
}

fn encode_ack_ok(packet_type: PacketType, packet_id: PacketId, out: &mut BytesMut) {
    let [high, low] = packet_id.get().to_be_bytes();
    out.put_slice(&[packet_type.first_byte(), 2, high, low]);
}

/// The whole packet's length from its remaining length.
pub(crate) const fn with_header(remaining: usize) -> usize {
    1 + varint::len(remaining) + remaining
}

fn measure(packet: &Packet, version: Version) -> Measure {
    let mut measure = Measure::default();
    write_body(packet, version, &mut measure);
    measure
}

fn first_byte(packet: &Packet) -> u8 {
    match packet {
        Packet::Publish(publish) => publish.first_byte(),
        _ => packet.packet_type().first_byte(),
    }
}

fn write_body<S: PropertySink>(packet: &Packet, version: Version, sink: &mut S) {
    match packet {
        Packet::Connect(connect) => connect.write(sink),
        Packet::Connack(connack) => connack.write(version, sink),
        Packet::Publish(publish) => publish.write(version, sink),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.write(packet.packet_type(), version, sink);
        }
        Packet::Subscribe(subscribe) => subscribe.write(version, sink),
        Packet::Suback(suback) => suback.write(version, sink),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write(version, sink),
        Packet::Unsuback(unsuback) => unsuback.write(version, sink),
        Packet::Pingreq | Packet::Pingresp => {}
        Packet::Disconnect(disconnect) => disconnect.write(version, sink),
        Packet::Auth(auth) => auth.write(version, sink),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ack;
    use crate::tests::written;

    #[test]
    fn the_direct_functions_write_what_encode_writes() {
        let id = PacketId::new(0x1234).unwrap();
        type Direct = fn(PacketId, &mut BytesMut);
        let direct: [(Direct, Packet); 4] = [
            (encode_puback_ok, Packet::Puback(Ack::ok(id))),
            (encode_pubrec_ok, Packet::Pubrec(Ack::ok(id))),
            (encode_pubrel_ok, Packet::Pubrel(Ack::ok(id))),
            (encode_pubcomp_ok, Packet::Pubcomp(Ack::ok(id))),
        ];
        for (write, packet) in direct {
            let mut out = BytesMut::new();
            write(id, &mut out);
            assert_eq!(out, written(&packet, Version::V311));
            assert_eq!(out, written(&packet, Version::V5));
        }
        let mut out = BytesMut::new();
        encode_pingreq(&mut out);
        encode_pingresp(&mut out);
        assert_eq!(out, [0xC0, 0, 0xD0, 0][..]);
    }

    #[test]
    fn a_refused_packet_leaves_what_was_there() {
        let mut out = BytesMut::from(&b"before"[..]);
        encode_publish(&Publish::new("", ""), Version::V311, &mut out).unwrap_err();
        assert_eq!(out, "before");
        encode_publish(&Publish::new("a", ""), Version::V311, &mut out).unwrap();
        assert_eq!(out, "before0\x03\0\x01a");
    }

    #[test]
    fn a_packet_over_256_megabytes_is_refused() {
        let payload = bytes::Bytes::from(vec![0; varint::MAX as usize]);
        let error = encode_publish(&Publish::new("a", payload), Version::V311, &mut BytesMut::new());
        assert_eq!(error, Err(EncodeError::VarintTooLarge { value: varint::MAX as usize + 3 }));
    }
}
