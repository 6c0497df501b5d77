//! Kafka's primitive types (those of the versions that are not "flexible"): big-endian numbers, texts and arrays with a length before
//! them.

use bytes::BufMut;

/// An answer that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker's answer cannot be read")]
pub(super) struct Unreadable;

/// Reads an answer from its beginning on.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What comes next in so many bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Unreadable> {
        Ok(self.fixed::<1>()? != [0])
    }

    pub(super) fn i16(&mut self) -> Result<i16, Unreadable> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Unreadable> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Unreadable> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// A text; null is none.
    pub(super) fn text(&mut self) -> Result<Option<&'a str>, Unreadable> {
        let length = self.i16()?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| Unreadable)
    }

    /// Bytes; null is none.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.i32()?;
        usize::try_from(length).map_or(Ok(&[][..]), |length| self.take(length))
    }

    /// An array, each element by `read`; null is empty. It allocates no more than the answer has bytes for.
    pub(super) fn array<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        let mut items = Vec::new();
        for _ in 0..count {
            if self.0.is_empty() {
                return Err(Unreadable);
            }
            items.push(read(self)?);
        }
        Ok(items)
    }
}

/// Writes a text of at most 32767 bytes; what is longer is cut off, so callers check first.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
    out.put_i16(length);
    out.extend(text.bytes().take(usize::try_from(length).unwrap_or(0)));
}

/// Writes bytes with their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_i32(length(bytes));
    out.extend_from_slice(bytes);
}

/// The length of something that fits into memory's bounds for it.
pub(super) fn length<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

/// A number of variable length, small ones of either sign in few bytes.
pub(super) fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_variable_length_are_zigzag() {
        let written = |number| {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            out
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(1), [2]);
        assert_eq!(written(-64), [0x7f]);
        assert_eq!(written(64), [0x80, 0x01]);
        assert_eq!(written(i64::MIN).len(), 10);
    }

    #[test]
    fn what_ends_early_or_promises_too_much_is_unreadable() {
        assert_eq!(Reader::new(&[0]).i16(), Err(Unreadable));
        assert_eq!(Reader::new(&[0, 3, b'a']).text(), Err(Unreadable));
        assert_eq!(Reader::new(&[0, 1, 0xff]).text(), Err(Unreadable));
        assert_eq!(Reader::new(&[0xff, 0xff]).text(), Ok(None));
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff]).array(Reader::i16), Err(Unreadable));
        assert_eq!(Reader::new(&[0xff; 4]).array(Reader::i16), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn nothing_that_a_broker_sends_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.array(|reader| Ok((reader.text()?.map(str::len), reader.bytes()?.len(), reader.i64()?)));
        }
    }
}
