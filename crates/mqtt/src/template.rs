//! A PUBLISH encoded once and sent to many receivers: per receiver the head is copied and the packet
//! identifier, DUP and, for those that take them, a topic alias set in the copy; the payload is shared.

use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

use crate::packet::Publish;
use crate::properties::{PropertyId, PropertySink};
use crate::sink::{Measure, Sink};
use crate::varint::{self, Parsed};
use crate::{EncodeError, PacketId, QoS, Version, encode};

/// One message in the form of one version, QoS, RETAIN and set of properties. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Template {
    /// Everything before the payload, with DUP 0 and a placeholder for the packet identifier.
    head: Bytes,
    payload: Bytes,
    qos: QoS,
    /// Where the topic stands in `head`, after its length.
    topic_at: usize,
    /// Where the packet identifier stands in `head`; unused at QoS 0.
    id_at: usize,
    /// Where the properties stand in `head`, after their length; `None` in MQTT 3.1.1.
    properties_at: Option<usize>,
}

/// A topic alias for one receiver (MQTT 5 section 3.3.2.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The receiver does not know the alias yet: it goes along with the topic.
    Defined(NonZeroU16),
    /// The receiver knows the alias: it stands for the topic, which is left out.
    Known(NonZeroU16),
}

impl Alias {
    /// The number.
    pub const fn number(self) -> NonZeroU16 {
        match self {
            Self::Defined(number) | Self::Known(number) => number,
        }
    }
}

/// What an alias takes up among the properties.
const ALIAS_LEN: usize = 3;

impl Template {
    const DUP: u8 = 0x08;

    /// Encodes `publish` for `version`. Its own `packet_id` and `dup` are ignored; a topic alias belongs to one connection
    /// and is not given here but to [`Self::write_aliased_head_to`].
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
        let topic_at = 1 + varint::len(remaining) + 2;
        let id_at = topic_at + publish.topic.len();
        let block_at = id_at + placeholder.map_or(0, |_| 2);
        let properties_at = match head.get(block_at..).map(varint::parse) {
            Some(Parsed::Whole { len, .. }) if version == Version::V5 => Some(block_at + len),
            _ => None,
        };
        let payload = publish.payload.clone();
        Ok(Self { head: head.freeze(), payload, qos: publish.qos, topic_at, id_at, properties_at })
    }

    /// The QoS it is written at.
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// The whole packet's length in bytes, to hold against a receiver's Maximum Packet Size.
    pub fn encoded_len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// [`Self::encoded_len`] with an alias. Beyond what a packet can hold, [`Self::write_aliased_head_to`] refuses.
    pub fn aliased_len(&self, alias: Alias) -> usize {
        encode::with_header(self.aliased(alias).0)
    }

    /// The remaining length with an alias, and the length of the properties.
    fn aliased(&self, alias: Alias) -> (usize, usize) {
        let properties = ALIAS_LEN + self.properties().len();
        let topic = match alias {
            Alias::Defined(_) => self.topic().len(),
            Alias::Known(_) => 0,
        };
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let remaining = 2 + topic + id + varint::len(properties) + properties + self.payload.len();
        (remaining, properties)
    }

    fn topic(&self) -> &[u8] {
        self.head.get(self.topic_at..self.id_at).unwrap_or_default()
    }

    fn properties(&self) -> &[u8] {
        self.properties_at.and_then(|at| self.head.get(at..)).unwrap_or_default()
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

    /// Appends the head with an alias for one receiver; the caller sends [`Self::payload`] after it.
    ///
    /// # Errors
    /// As [`Self::write_head_to`]; MQTT 3.1.1, which has no aliases; or a packet too long for its length field.
    pub fn write_aliased_head_to(
        &self,
        packet_id: Option<PacketId>,
        dup: bool,
        alias: Alias,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        self.check(packet_id, dup)?;
        let (remaining, properties) = self.aliased(alias);
        if self.properties_at.is_none() {
            return Err(EncodeError::AliasNotInVersion);
        }
        if remaining > varint::MAX as usize {
            return Err(EncodeError::VarintTooLarge { value: remaining });
        }
        let first_byte = self.head.first().copied().unwrap_or_default();
        let topic = match alias {
            Alias::Defined(_) => self.topic(),
            Alias::Known(_) => &[],
        };
        out.reserve(encode::with_header(remaining) - self.payload.len());
        out.put_u8(first_byte | if dup { Self::DUP } else { 0 });
        out.varint(remaining);
        out.binary(topic);
        if let Some(id) = packet_id {
            out.put_u16(id.get());
        }
        out.varint(properties);
        out.u16_property(PropertyId::TopicAlias, Some(alias.number().get()));
        out.put_slice(self.properties());
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

    fn aliased(template: &Template, packet_id: Option<PacketId>, dup: bool, alias: Alias) -> BytesMut {
        let mut out = BytesMut::new();
        template.write_aliased_head_to(packet_id, dup, alias, &mut out).unwrap();
        out.put_slice(template.payload());
        assert_eq!(template.aliased_len(alias), out.len());
        out
    }

    #[test]
    fn an_alias_goes_beside_the_topic_and_then_instead_of_it() {
        let template = template(QoS::AtLeastOnce);
        let (id, alias) = (PacketId::new(0x0102), NonZeroU16::new(7).unwrap());
        assert_eq!(
            aliased(&template, id, false, Alias::Defined(alias)),
            b"\x32\x0d\0\x03a/b\x01\x02\x03\x23\0\x07hi"[..]
        );
        assert_eq!(
            aliased(&template, id, true, Alias::Known(alias)),
            b"\x3a\x0a\0\0\x01\x02\x03\x23\0\x07hi"[..]
        );
    }

    #[test]
    fn refuses_an_alias_in_3_1_1() {
        let template = Template::new(&Publish::new("a", ""), Version::V311).unwrap();
        let mut out = BytesMut::new();
        let alias = Alias::Known(NonZeroU16::MIN);
        let refused = template.write_aliased_head_to(None, false, alias, &mut out);
        assert_eq!(refused, Err(EncodeError::AliasNotInVersion));
        assert!(out.is_empty());
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
