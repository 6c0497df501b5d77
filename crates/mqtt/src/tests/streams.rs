//! Streams: how they are cut into reads makes no difference, and no bytes make the decoder panic.

use bytes::{BufMut, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::arbitrary::{any_connect, end, packet};
use super::{decoder, written};
use crate::{DecodeError, DecodeLimits, Decoder, Packet, Role};

/// Everything a decoder says of a stream that arrives in `chunks`.
fn all<'a>(
    mut decoder: Decoder,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Packet>, Option<DecodeError>) {
    let mut src = BytesMut::new();
    let mut packets = Vec::new();
    for chunk in chunks {
        src.put_slice(chunk);
        loop {
            match decoder.decode(&mut src) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut src), Err(error.clone()), "stays refused");
                    return (packets, Some(error));
                }
            }
        }
    }
    (packets, None)
}

/// Cuts `bytes` into pieces of these sizes, over and over.
fn cut<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(bytes.len().min(*sizes.next()?));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn limited(max_packet_size: u32) -> Decoder {
    Decoder::new(DecodeLimits { max_packet_size })
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_packets(
        ((version, connect), packets, sizes) in any_connect().prop_flat_map(|connect| {
            let packets = vec(packet(Role::Server, connect.0), 0..6);
            (Just(connect), packets, vec(1..40_usize, 1..8))
        })
    ) {
        let mut expected = vec![connect];
        expected.extend(packets);
        let stream: Vec<u8> = expected.iter().flat_map(|packet| written(packet, version)).collect();
        let found = all(Decoder::new(DecodeLimits::default()), cut(&stream, &sizes));
        prop_assert_eq!(found, (expected, None));
    }

    #[test]
    fn random_bytes_never_panic_and_cuts_do_not_change_the_error(
        (role, version) in end(),
        bytes in vec(any::<u8>(), 0..80),
        sizes in vec(1..10_usize, 1..4),
    ) {
        let whole = all(decoder(role, version), std::iter::once(&bytes[..]));
        let pieces = all(decoder(role, version), cut(&bytes, &sizes));
        prop_assert_eq!(whole, pieces);
        all(limited(64), cut(&bytes, &sizes));
    }

    #[test]
    fn flipped_bytes_never_panic_and_what_is_read_can_be_written(
        ((role, version), packet) in end().prop_flat_map(|end| (Just(end), packet(end.0, end.1))),
        (at, bits) in (any::<prop::sample::Index>(), 1..=u8::MAX),
        sizes in vec(1..10_usize, 1..4),
    ) {
        let mut bytes = written(&packet, version).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let whole = all(decoder(role, version), std::iter::once(&bytes[..]));
        prop_assert_eq!(&whole, &all(decoder(role, version), cut(&bytes, &sizes)));
        for packet in whole.0 {
            let again = super::read(role, version, &written(&packet, version));
            prop_assert_eq!(again, Ok(packet));
        }
    }

    #[test]
    fn flipped_connects_never_panic(
        (version, packet) in any_connect(),
        (at, bits) in (any::<prop::sample::Index>(), 1..=u8::MAX),
    ) {
        let mut bytes = written(&packet, version).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let whole = all(Decoder::new(DecodeLimits::default()), std::iter::once(&bytes[..]));
        prop_assert_eq!(whole, all(Decoder::new(DecodeLimits::default()), cut(&bytes, &[1])));
    }
}

#[test]
fn an_oversized_packet_is_refused_before_its_body_arrives() {
    let mut decoder = decoder(Role::Server, crate::Version::V5);
    decoder.set_max_packet_size(100);
    let mut src = BytesMut::from(&[0x30, 98][..]);
    assert_eq!(decoder.decode(&mut src), Ok(None), "100 bytes fit");
    let mut src = BytesMut::from(&[0x30, 99][..]);
    let error = decoder.decode(&mut src).unwrap_err();
    assert_eq!(error, DecodeError::PacketTooLarge { size: 101, max: 100 });
    assert_eq!(error.reason().value(), 0x95);
}

#[test]
fn the_largest_remaining_length_is_read() {
    let mut decoder = decoder(Role::Server, crate::Version::V5);
    let mut src = BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F][..]);
    assert_eq!(decoder.decode(&mut src), Ok(None));
    decoder.set_max_packet_size(268_435_459);
    let error = decoder.decode(&mut src).unwrap_err();
    assert_eq!(error, DecodeError::PacketTooLarge { size: 268_435_460, max: 268_435_459 });
}
