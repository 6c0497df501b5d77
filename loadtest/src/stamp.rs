//! What a payload carries: who sent it, as which message of its own, and when.

/// The stamp at the front of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the publisher.
    pub(crate) stream: u32,
    /// Number of the message among its publisher's, from 0.
    pub(crate) sequence: u64,
    /// When it was due, in nanoseconds since the run began.
    pub(crate) sent: u64,
}

/// How a payload of JSON begins; the stamp follows in hexadecimal.
const JSON: &[u8] = b"{\"stamp\":\"";
/// What follows the stamp in a payload of JSON: something to decide by.
const READING: &[u8] = b"\",\"temperature\":71.5}";

impl Stamp {
    /// Bytes of a stamp, and so of the smallest payload.
    pub(crate) const LEN: usize = 20;

    /// A payload of JSON with room for a stamp, of this length where that is enough: white space fills it up.
    pub(crate) fn json(length: usize) -> Vec<u8> {
        let mut payload = [JSON, &[b'0'; 2 * Self::LEN], READING].concat();
        payload.resize(payload.len().max(length), b' ');
        payload
    }

    /// Writes it at the front of `payload`, or where JSON has room for it; a payload too short is left as it is.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let mut bytes = [0; Self::LEN];
        let (stream, rest) = bytes.split_at_mut(4);
        let (sequence, sent) = rest.split_at_mut(8);
        stream.copy_from_slice(&self.stream.to_be_bytes());
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        sent.copy_from_slice(&self.sent.to_be_bytes());
        if payload.starts_with(JSON) {
            let place = payload.get_mut(JSON.len()..).unwrap_or_default();
            for (place, byte) in place.chunks_exact_mut(2).zip(bytes) {
                place.copy_from_slice(&digits(byte));
            }
        } else if let Some(place) = payload.first_chunk_mut() {
            *place = bytes;
        }
    }

    /// Reads it; `None` when the payload is too short.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::LEN];
        let payload = match payload.strip_prefix(JSON) {
            Some(hexadecimal) => {
                for (byte, two) in bytes.iter_mut().zip(hexadecimal.get(..2 * Self::LEN)?.chunks_exact(2)) {
                    *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
                }
                &bytes[..]
            }
            None => payload,
        };
        let (stream, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (sent, _) = rest.split_first_chunk()?;
        Some(Self {
            stream: u32::from_be_bytes(*stream),
            sequence: u64::from_be_bytes(*sequence),
            sent: u64::from_be_bytes(*sent),
        })
    }
}

/// A byte in hexadecimal.
fn digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 0xf)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stamp = Stamp { stream: 7, sequence: u64::MAX - 1, sent: 1 << 40 };
        let mut payload = [0xAA; Stamp::LEN + 3];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(payload[Stamp::LEN..], [0xAA; 3]);
        assert_eq!(Stamp::read(&payload[..Stamp::LEN - 1]), None);
    }

    #[test]
    fn json_has_room_for_it() {
        let stamp = Stamp { stream: 7, sequence: u64::MAX - 1, sent: 1 << 40 };
        let mut payload = Stamp::json(100);
        stamp.write(&mut payload);
        assert_eq!((payload.len(), Stamp::read(&payload)), (100, Some(stamp)));
        assert!(
            payload.starts_with(b"{\"stamp\":\"00000007fffffffffffffffe")
                && Stamp::json(0).ends_with(b"71.5}")
        );
        assert_eq!(Stamp::read(&payload[..40]), None);
    }
}
