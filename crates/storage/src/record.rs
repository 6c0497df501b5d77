//! How stores write what they keep: a format version in the first byte, then protobuf.
//!
//! Text is declared as `bytes`, which is the same on the wire and lets a value share the buffer it was read into.
//! What only one store has (its own headers and tables) is written there, with the same functions.

mod message;
mod rule;
mod session;

pub use message::{MessageRow, message_cost};
pub use rule::RuleRow;
pub use session::{DepartureRow, FirstSentRow, SubscriptionRow, WillRow};

use bytes::Bytes;
use fleethaven_types::{QoS, Utf8Bytes};

/// Version of the format that this code writes and the only one it reads.
const FORMAT: u8 = 1;

/// Why a value cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another format version, or none.
    #[error("format version {0:?}, expected {FORMAT}")]
    Format(Option<u8>),
    /// No protobuf of the expected kind.
    #[error("{0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A field's value is outside what it may be.
    #[error("no valid {0}")]
    Field(&'static str),
}

/// A value with the format version in front.
pub fn encode(row: &impl prost::Message) -> Vec<u8> {
    encode_after(&[], row)
}

/// The format version, `header`, then the row.
pub fn encode_after(header: &[u8], row: &impl prost::Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + header.len() + row.encoded_len());
    value.push(FORMAT);
    value.extend_from_slice(header);
    row.encode_raw(&mut value);
    value
}

/// Reads what [`encode`] wrote.
pub fn decode<M: prost::Message + Default>(value: &[u8]) -> Result<M, Error> {
    let (_, row) = split_header::<0>(value)?;
    decode_row(row)
}

/// Decodes a row whose texts and payload share one copy of `row`.
pub fn decode_row<M: prost::Message + Default>(row: &[u8]) -> Result<M, Error> {
    Ok(M::decode(Bytes::copy_from_slice(row))?)
}

/// Checks the format version and parts a header of `N` bytes from the row.
pub fn split_header<const N: usize>(value: &[u8]) -> Result<(&[u8; N], &[u8]), Error> {
    let (&format, rest) = value.split_first().ok_or(Error::Format(None))?;
    if format != FORMAT {
        return Err(Error::Format(Some(format)));
    }
    rest.split_first_chunk::<N>().ok_or(Error::Field("header"))
}

/// The QoS that a row holds.
pub fn qos(number: u32) -> Result<QoS, Error> {
    u8::try_from(number).ok().and_then(QoS::from_bits).ok_or(Error::Field("QoS"))
}

fn text(bytes: Bytes, field: &'static str) -> Result<Utf8Bytes, Error> {
    Utf8Bytes::from_utf8(bytes).map_err(|_| Error::Field(field))
}

fn optional_text(bytes: Option<Bytes>, field: &'static str) -> Result<Option<Utf8Bytes>, Error> {
    bytes.map(|bytes| text(bytes, field)).transpose()
}

fn small<T: TryFrom<u32>>(number: u32, field: &'static str) -> Result<T, Error> {
    T::try_from(number).map_err(|_| Error::Field(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_refused() {
        assert_eq!(decode::<MessageRow>(&[]), Err(Error::Format(None)));
        assert_eq!(decode::<MessageRow>(&[2, 0]), Err(Error::Format(Some(2))));
        assert!(decode::<MessageRow>(&[FORMAT, 0xff]).is_err());
    }
}
