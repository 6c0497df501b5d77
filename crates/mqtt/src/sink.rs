//! Where packets are written: into a buffer, or into a measure that counts and finds what cannot be written.
//!
//! Every packet has one `write` for both, so a length can never disagree with the bytes.

use bytes::{BufMut, BytesMut};

use crate::{EncodeError, MqttString, varint};

/// Takes the data types of section 1.5.
pub(crate) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    /// Notes that the packet cannot be written. Buffers ignore it: they are only given measured packets.
    fn refuse(&mut self, _error: EncodeError) {}

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn varint(&mut self, value: usize) {
        let mut left = value;
        for _ in 0..4 {
            let more = left > 0x7F;
            let bits = (left & 0x7F) as u8;
            self.u8(if more { bits | 0x80 } else { bits });
            left >>= 7;
            if !more {
                return;
            }
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.bytes(bytes);
    }

    fn string(&mut self, text: &MqttString) {
        self.binary(text.as_bytes());
    }
}

impl Sink for BytesMut {
    fn bytes(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

/// Counts bytes and keeps the first reason not to write them.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    len: usize,
    error: Option<EncodeError>,
}

impl Measure {
    /// The count, whether or not it could be written.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The count as a remaining length.
    pub(crate) fn finish(self) -> Result<usize, EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None if self.len > varint::MAX as usize => Err(EncodeError::VarintTooLarge { value: self.len }),
            None => Ok(self.len),
        }
    }
}

impl Sink for Measure {
    fn bytes(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
    }

    fn refuse(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    fn varint(&mut self, value: usize) {
        if value > varint::MAX as usize {
            self.refuse(EncodeError::VarintTooLarge { value });
        }
        self.len = self.len.saturating_add(varint::len(value));
    }

    fn binary(&mut self, bytes: &[u8]) {
        if bytes.len() > usize::from(u16::MAX) {
            self.refuse(EncodeError::BinaryTooLong { len: bytes.len() });
        }
        self.len = self.len.saturating_add(2).saturating_add(bytes.len());
    }

    fn string(&mut self, text: &MqttString) {
        if text.len() > usize::from(u16::MAX) {
            self.refuse(EncodeError::StringTooLong { len: text.len() });
        }
        if text.as_bytes().contains(&0) {
            self.refuse(EncodeError::NulInString);
        }
        self.len = self.len.saturating_add(2).saturating_add(text.len());
    }
}
