//! A queue entry as stored: a header of fixed size, so that opening needs to decode nothing, then its options and,
//! unless it refers to a shared body, the message.

use bytes::Bytes;
use fleethaven_storage::{Append, GroupId, SessionId, Share};

use super::{Error, decode_row, encode_after, qos, split_header};

/// Where the message of an entry is: in the entry, ...
pub(crate) const INLINE: u64 = 0;
/// ... nowhere any more, as its receiver has it and the entry waits for PUBCOMP, or in the shared body of another number.
pub(crate) const RELEASED: u64 = u64::MAX;

/// What the queue's tables need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    /// Bytes that count against the queue's bound.
    pub(crate) cost: u32,
    /// Id of the shared body, [`INLINE`] or [`RELEASED`].
    pub(crate) body: u64,
    /// The group whose share it is; 0 for none.
    pub(crate) group: u64,
}

/// Bytes of an entry's header.
const HEADER: usize = 20;

impl EntryHeader {
    /// The header of an entry without a message.
    pub(crate) const NO_MESSAGE: Self = Self { cost: 0, body: RELEASED, group: 0 };

    /// The shared body that an entry with this `body` refers to.
    pub(crate) fn shared(body: u64) -> Option<u64> {
        Some(body).filter(|body| !matches!(*body, INLINE | RELEASED))
    }

    /// Reads the header of an entry.
    pub(crate) fn read(value: &[u8]) -> Result<Self, Error> {
        Self::split(value).map(|(header, _)| header)
    }

    fn split(value: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (header, row) = split_header::<HEADER>(value)?;
        let parts = header.split_first_chunk::<4>().and_then(|(cost, rest)| {
            let (body, group) = rest.split_first_chunk::<8>()?;
            let (cost, body) = (u32::from_be_bytes(*cost), u64::from_be_bytes(*body));
            Some(Self { cost, body, group: u64::from_be_bytes(group.try_into().ok()?) })
        });
        Ok((parts.ok_or(Error::Field("header"))?, row))
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
    /// Members of the group that may not receive it.
    #[prost(uint64, repeated, tag = "5")]
    refused: Vec<u64>,
}

impl EntryRow {
    /// The entry of `append`; `message` is empty when the body is shared.
    pub(crate) fn new(append: &Append, message: Bytes) -> Self {
        let identifiers = append.identifiers.clone();
        let refused = append.share.iter().flat_map(|share| share.refused.iter().flatten());
        let refused = refused.map(|session| session.0).collect();
        Self { qos: append.qos as u32, retain: append.retain, identifiers, message, refused }
    }

    /// The whole value.
    pub(crate) fn encode(&self, header: EntryHeader) -> Vec<u8> {
        let mut bytes = [0; HEADER];
        let fields = header.cost.to_be_bytes().into_iter();
        let fields = fields.chain(header.body.to_be_bytes()).chain(header.group.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, value)| *byte = value);
        encode_after(&bytes, self)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(value: &[u8]) -> Result<(EntryHeader, Self), Error> {
        let (header, row) = EntryHeader::split(value)?;
        Ok((header, decode_row(row)?))
    }

    /// The value of an entry whose message is not needed any more.
    pub(crate) fn released() -> Vec<u8> {
        Self::default().encode(EntryHeader::NO_MESSAGE)
    }

    /// The delivery's options.
    pub(crate) fn append(&self, session: SessionId, header: EntryHeader) -> Result<Append, Error> {
        let identifiers = self.identifiers.clone();
        let share = (header.group != 0).then(|| {
            let refused: Box<[SessionId]> = self.refused.iter().copied().map(SessionId).collect();
            Share { group: GroupId(header.group), refused: (!refused.is_empty()).then_some(refused) }
        });
        Ok(Append { session, qos: qos(self.qos)?, retain: self.retain, identifiers, share })
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_types::QoS;

    use super::*;

    #[test]
    fn entries_survive_with_their_header() {
        let share = Share { group: GroupId(9), refused: Some([SessionId(7)].into()) };
        let append = Append {
            session: SessionId(4),
            qos: QoS::AtLeastOnce,
            retain: true,
            identifiers: vec![1, 2],
            share: Some(share),
        };
        let header = EntryHeader { cost: 300, body: u64::MAX, group: 9 };
        let value = EntryRow::new(&append, Bytes::from_static(b"m")).encode(header);
        assert_eq!(EntryHeader::read(&value), Ok(header));
        let (_, row) = EntryRow::decode(&value).unwrap();
        assert_eq!(row.append(SessionId(4), header), Ok(append));
        assert_eq!(row.message.as_ref(), b"m");
    }
}
