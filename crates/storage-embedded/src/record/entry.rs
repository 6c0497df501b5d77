//! A queue entry as stored: a header of fixed size, so that opening needs to decode nothing, then its options and,
//! unless it refers to a shared body, the message.

use bytes::Bytes;
use fleethaven_storage::{Append, SessionId};

use super::{Error, decode_row, encode_after, qos, split_header};

/// What the queue's tables need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    /// Bytes that count against the queue's bound.
    pub(crate) cost: u32,
    /// Id of the shared body; 0 when the message is in the entry.
    pub(crate) body: u64,
}

impl EntryHeader {
    /// Reads the header of an entry.
    pub(crate) fn read(value: &[u8]) -> Result<Self, Error> {
        Self::split(value).map(|(header, _)| header)
    }

    fn split(value: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (header, row) = split_header::<12>(value)?;
        let both =
            header.split_first_chunk::<4>().and_then(|(cost, body)| Some((cost, body.try_into().ok()?)));
        let (cost, body) = both.ok_or(Error::Field("header"))?;
        Ok((Self { cost: u32::from_be_bytes(*cost), body: u64::from_be_bytes(body) }, row))
    }
}

/// Options of one delivery, and the message when it is inline.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EntryRow {
    #[prost(uint32, tag = "1")]
    qos: u32,
    #[prost(bool, tag = "2")]
    retain: bool,
    #[prost(uint32, repeated, tag = "3")]
    identifiers: Vec<u32>,
    /// An encoded `MessageRow` with its format version, encoded once for all queues.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) message: Bytes,
}

impl EntryRow {
    /// The entry of `append`; `message` is empty when the body is shared.
    pub(crate) fn new(append: &Append, message: Bytes) -> Self {
        let identifiers = append.identifiers.clone();
        Self { qos: append.qos as u32, retain: append.retain, identifiers, message }
    }

    /// The whole value.
    pub(crate) fn encode(&self, header: EntryHeader) -> Vec<u8> {
        let mut bytes = [0; 12];
        if let Some((cost, body)) = bytes.split_first_chunk_mut::<4>() {
            *cost = header.cost.to_be_bytes();
            body.copy_from_slice(&header.body.to_be_bytes());
        }
        encode_after(&bytes, self)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(value: &[u8]) -> Result<(EntryHeader, Self), Error> {
        let (header, row) = EntryHeader::split(value)?;
        Ok((header, decode_row(row)?))
    }

    /// The delivery's options.
    pub(crate) fn append(&self, session: SessionId) -> Result<Append, Error> {
        let identifiers = self.identifiers.clone();
        Ok(Append { session, qos: qos(self.qos)?, retain: self.retain, identifiers })
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_types::QoS;

    use super::*;

    #[test]
    fn entries_survive_with_their_header() {
        let append =
            Append { session: SessionId(4), qos: QoS::AtLeastOnce, retain: true, identifiers: vec![1, 2] };
        let header = EntryHeader { cost: 300, body: u64::MAX };
        let value = EntryRow::new(&append, Bytes::from_static(b"m")).encode(header);
        assert_eq!(EntryHeader::read(&value), Ok(header));
        let (_, row) = EntryRow::decode(&value).unwrap();
        assert_eq!(
            (row.append(SessionId(4)).unwrap().identifiers, row.message.as_ref()),
            (vec![1, 2], &b"m"[..])
        );
    }
}
