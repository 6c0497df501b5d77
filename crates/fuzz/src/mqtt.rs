//! The codec: `[cut][stream]`, where `cut` is how many bytes arrive at a time.

use bytes::BytesMut;
use fleethaven_mqtt::{DecodeError, DecodeLimits, Decoder, Packet, Role, Version, encode, encoded_len};

use crate::selected;

const LIMITS: DecodeLimits = DecodeLimits { max_packet_size: 1 << 20 };

pub(crate) fn connect(data: &[u8]) {
    stream(data, Role::Server, None);
}

pub(crate) fn v311(data: &[u8]) {
    stream(data, Role::Server, Some(Version::V311));
}

pub(crate) fn v5(data: &[u8]) {
    stream(data, Role::Server, Some(Version::V5));
}

pub(crate) fn v5_client(data: &[u8]) {
    stream(data, Role::Client, Some(Version::V5));
}

fn decoder(role: Role, version: Option<Version>) -> Decoder {
    match (role, version) {
        (Role::Client, Some(version)) => Decoder::client(version, LIMITS),
        (_, version) => {
            let mut decoder = Decoder::new(LIMITS);
            version.into_iter().for_each(|version| decoder.set_version(version));
            decoder
        }
    }
}

fn stream(data: &[u8], role: Role, version: Option<Version>) {
    let (cut, stream) = selected(data);
    let whole = read(decoder(role, version), std::iter::once(stream));
    let cut = usize::from(cut).max(1);
    assert_eq!(read(decoder(role, version), stream.chunks(cut)), whole, "in pieces of {cut}");
    for packet in &whole.0 {
        round_trip(packet, role, version);
    }
}

/// All packets of a stream that arrives in pieces, and why it ended.
fn read<'a>(
    mut decoder: Decoder,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Packet>, Option<DecodeError>) {
    let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

/// What was read can be written, and is read again as the same.
fn round_trip(packet: &Packet, role: Role, version: Option<Version>) {
    let (version, reader) = match packet {
        Packet::Connect(connect) => (connect.version, decoder(role, None)),
        _ => {
            let Some(version) = version else { return };
            (version, decoder(role, Some(version)))
        }
    };
    let mut bytes = BytesMut::new();
    encode(packet, version, &mut bytes).unwrap_or_else(|error| panic!("{error}: {packet:?}"));
    assert_eq!(bytes.len(), encoded_len(packet, version), "{packet:?}");
    let again = read(reader, std::iter::once(&bytes[..]));
    assert_eq!(again, (vec![packet.clone()], None));
}
