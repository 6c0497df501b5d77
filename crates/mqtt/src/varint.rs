//! Variable byte integers (section 1.5.5): seven bits a byte, least significant first, four bytes at most.

/// The largest value four bytes hold.
pub(crate) const MAX: u32 = 268_435_455;

/// What the start of a byte sequence is, read as a variable byte integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole number in `len` bytes; `minimal` unless fewer would have done.
    Whole { value: u32, len: usize, minimal: bool },
    /// It goes on after the bytes given.
    Partial,
    /// A fifth byte would be needed.
    TooLong,
}

/// Reads the number at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Parsed::Whole { value, len: index + 1, minimal: index == 0 || *byte != 0 };
        }
    }
    if bytes.len() < 4 { Parsed::Partial } else { Parsed::TooLong }
}

/// How many bytes `value` takes.
pub(crate) const fn len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::Sink;

    fn written(value: u32) -> Vec<u8> {
        let mut out = bytes::BytesMut::new();
        out.varint(value as usize);
        out.to_vec()
    }

    #[test]
    fn table_1_1_of_the_specification() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            assert_eq!(written(value), bytes);
            assert_eq!(parse(bytes), Parsed::Whole { value, len: bytes.len(), minimal: true });
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse(&[0x80, 0x80, 0x80]), Parsed::Partial);
        assert_eq!(parse(&[0x80, 0x80, 0x80, 0x80]), Parsed::TooLong);
        assert_eq!(parse(&[0x81, 0x00]), Parsed::Whole { value: 1, len: 2, minimal: false });
    }

    proptest! {
        #[test]
        fn survives_the_wire(value in 0..=MAX) {
            let bytes = written(value);
            prop_assert_eq!(bytes.len(), len(value as usize));
            prop_assert_eq!(parse(&bytes), Parsed::Whole { value, len: bytes.len(), minimal: true });
        }
    }
}
