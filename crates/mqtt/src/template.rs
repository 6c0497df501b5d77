//! A PUBLISH encoded once and sent to many receivers: per receiver the head is copied and the packet
//! identifier and DUP set in the copy; the payload is shared.

use bytes::{BufMut, Bytes, BytesMut};

use crate::packet::Publish;
use crate::sink::{Measure, Sink};
use crate::{EncodeError, PacketId, QoS, Version, encode, varint};

/// One message in the form of one version, QoS, RETAIN and set of properties. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Template {
    /// Everything before the payload, with DUP 0 and a placeholder for the packet identifier.
    head: Bytes,
    payload: Bytes,
    qos: QoS,
    /// Where the packet identifier stands in `head`; unused at QoS 0.
    id_at: usize,
}

impl Template {
    const DUP: u8 = 0x08;

    /// Encodes `publish` for `version`. Its own `packet_id` and `dup` are ignored.
    ///
    /// # Errors
    /// As [`encode()`](crate::encode()).
    pub fn new(publish: &Publish, version: Version) -> Result<Self, EncodeError> {
        let placeholder = (publish.qos > QoS::AtMostOnce).then_some(PacketId::MAX);
        let mut measure = Measure::default();
        publish.write_head(version, placeholder, &mut measure);
        measure.bytes(&publish.payload);
        let remaining = measure.finish()?;
        let head_len = encode::with_header(remaining) - publish.payload.len();
        let mut head = BytesMut::with_capacity(head_len);
        head.put_u8(publish.first_byte() & !Self::DUP);
        head.varint(remaining);
        publish.write_head(version, placeholder, &mut head);
        Ok(Self {
            head: head.freeze(),
            payload: publish.payload.clone(),
            qos: publish.qos,
            id_at: 1 + varint::len(remaining) + 2 + publish.topic.len(),
        })
    }

    /// The QoS it is written at.
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// The whole packet's length in bytes, to hold against a receiver's Maximum Packet Size.
    pub fn encoded_len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// The payload, to be sent after a head.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The head for one receiver, to be sent before [`Self::payload`]. At QoS 0 it is shared, not copied.
    ///
    /// # Errors
    /// As [`Self::write_head_to`].
    pub fn head(&self, packet_id: Option<PacketId>, dup: bool) -> Result<Bytes, EncodeError> {
        self.check(packet_id, dup)?;
        if self.qos == QoS::AtMostOnce {
            return Ok(self.head.clone());
        }
        let mut out = BytesMut::with_capacity(self.head.len());
        self.copy_head(packet_id, dup, &mut out);
        Ok(out.freeze())
    }

    /// Appends the head for one receiver; the caller sends [`Self::payload`] after it.
    ///
    /// # Errors
    /// A packet identifier or DUP at QoS 0, or no identifier at another; `out` is then unchanged.
    pub fn write_head_to(
        &self,
        packet_id: Option<PacketId>,
        dup: bool,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        self.check(packet_id, dup)?;
        self.copy_head(packet_id, dup, out);
        Ok(())
    }

    /// Appends the whole packet for one receiver.
    ///
    /// # Errors
    /// As [`Self::write_head_to`].
    pub fn write_to(
        &self,
        packet_id: Option<PacketId>,
        dup: bool,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        self.check(packet_id, dup)?;
        out.reserve(self.encoded_len());
        self.copy_head(packet_id, dup, out);
        out.put_slice(&self.payload);
        Ok(())
    }

    fn check(&self, packet_id: Option<PacketId>, dup: bool) -> Result<(), EncodeError> {
        let qos = self.qos;
        if (qos > QoS::AtMostOnce) != packet_id.is_some() {
            return Err(EncodeError::PacketIdMismatch { qos, packet_id });
        }
        if dup && qos == QoS::AtMostOnce { Err(EncodeError::DupAtQos0) } else { Ok(()) }
    }

    fn copy_head(&self, packet_id: Option<PacketId>, dup: bool, out: &mut BytesMut) {
        let start = out.len();
        out.put_slice(&self.head);
        if dup && let Some(first_byte) = out.get_mut(start) {
            *first_byte |= Self::DUP;
        }
        let id_at = start + self.id_at;
        if let (Some(id), Some(place)) = (packet_id, out.get_mut(id_at..id_at + 2)) {
            place.copy_from_slice(&id.get().to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(qos: QoS) -> Template {
        let publish = Publish { qos, dup: true, ..Publish::new("a/b", "hi") };
        Template::new(&publish, Version::V5).unwrap()
    }

    #[test]
    fn sets_identifier_and_dup_per_receiver_after_what_is_there() {
        let template = template(QoS::AtLeastOnce);
        let mut out = BytesMut::from(&b"before"[..]);
        template.write_to(PacketId::new(0x0102), false, &mut out).unwrap();
        template.write_to(PacketId::new(0x0304), true, &mut out).unwrap();
        assert_eq!(out, b"before\x32\x0a\0\x03a/b\x01\x02\0hi\x3a\x0a\0\x03a/b\x03\x04\0hi"[..]);
    }

    #[test]
    fn shares_head_and_payload_at_qos_0() {
        let template = template(QoS::AtMostOnce);
        let heads = [(); 2].map(|()| template.head(None, false).unwrap());
        assert_eq!(heads[0], b"\x30\x08\0\x03a/b\0"[..]);
        assert_eq!(heads[0].as_ptr(), heads[1].as_ptr());
    }

    #[test]
    fn refuses_an_identifier_that_does_not_fit_the_qos() {
        let mut out = BytesMut::new();
        template(QoS::AtMostOnce).write_to(Some(PacketId::MIN), false, &mut out).unwrap_err();
        template(QoS::AtLeastOnce).write_to(None, false, &mut out).unwrap_err();
        template(QoS::AtMostOnce).write_head_to(None, true, &mut out).unwrap_err();
        assert!(out.is_empty());
    }
}
