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

impl Stamp {
    /// Bytes of a stamp, and so of the smallest payload.
    pub(crate) const LEN: usize = 20;

    /// Writes it at the front of `payload`; a payload too short is left as it is.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let Some((place, _)) = payload.split_first_chunk_mut::<{ Self::LEN }>() else { return };
        let (stream, rest) = place.split_at_mut(4);
        let (sequence, sent) = rest.split_at_mut(8);
        stream.copy_from_slice(&self.stream.to_be_bytes());
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        sent.copy_from_slice(&self.sent.to_be_bytes());
    }

    /// Reads it; `None` when the payload is too short.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
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
}
