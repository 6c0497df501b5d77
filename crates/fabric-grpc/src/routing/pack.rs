//! The alphabet of packed frames: LEB128 varints, and texts and blobs behind their lengths.

use bytes::{Buf, Bytes};
use fleethaven_types::Utf8Bytes;

/// Why a packed frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends within a record.
    #[error("a packed frame ends within a record")]
    End,
    /// A number is longer than 64 bits.
    #[error("a number in a packed frame is too long")]
    Number,
    /// A text is no UTF-8.
    #[error("a text in a packed frame is not UTF-8")]
    Text,
    /// A value is outside what it may be.
    #[error("a packed frame has no valid {0}")]
    Value(&'static str),
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_blob(out: &mut Vec<u8>, blob: &[u8]) {
    put_varint(out, blob.len() as u64);
    out.extend_from_slice(blob);
}

/// How much the last of a stream's frames, or lists, took: the next one has room for as much at once, and need not grow by being copied.
#[derive(Debug, Default)]
pub(super) struct Room(usize);

impl Room {
    /// Above it a frame or a list grows as it is filled: what a peer sent once does not decide how much is set aside.
    const MOST: usize = 1 << 20;

    /// Empty, with room for as many items as the last one had.
    pub(super) fn list<T>(&self) -> Vec<T> {
        Vec::with_capacity(self.0)
    }

    /// Remembers how many items there were.
    pub(super) fn filled<T>(&mut self, list: &[T]) {
        self.0 = list.len().next_power_of_two().min(Self::MOST / size_of::<T>().max(1));
    }
}

/// Reads a frame; texts and blobs share its buffer.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        if self.0.is_empty() { Err(Error::End) } else { Ok(self.0.get_u8()) }
    }

    pub(super) fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Error::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::Number)
    }

    /// A number of a narrower kind.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Error> {
        T::try_from(self.varint()?).map_err(|_| Error::Value(what))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(|_| Error::End)?;
        Ok(array)
    }

    pub(super) fn blob(&mut self) -> Result<Bytes, Error> {
        let length = usize::try_from(self.varint()?).map_err(|_| Error::End)?;
        if length > self.0.len() {
            return Err(Error::End);
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<Utf8Bytes, Error> {
        Utf8Bytes::from_utf8(self.blob()?).map_err(|_| Error::Text)
    }

    /// So many of something that takes at least one byte each.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = usize::try_from(self.varint()?).map_err(|_| Error::End)?;
        if count > self.0.len() {
            return Err(Error::End);
        }
        // Elements may be much larger than what they are read from: a wrong count costs no memory before it is found out.
        let mut list = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }
}
