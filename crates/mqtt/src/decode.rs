//! Framing: takes whole packets off the front of a growing buffer (section 2.1) and reads them.
//!
//! The first byte is judged as soon as it is there and the size as soon as it is known, so a body that would
//! be refused is never waited for. How the stream was cut into reads makes no difference.

use bytes::{Buf, Bytes, BytesMut};

use crate::packet::publish::Flags;
use crate::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, PacketType, Publish, Suback, Subscribe, Unsuback,
    Unsubscribe, ping,
};
use crate::reader::Reader;
use crate::rule::{self, Rule};
use crate::varint::{self, Parsed};
use crate::{DecodeError, Role, Version};

/// What a decoder accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest packet in bytes, fixed header included. It also bounds user properties and filters.
    pub max_packet_size: u32,
}

impl Default for DecodeLimits {
    /// As large as MQTT can say: 268 435 460 bytes.
    fn default() -> Self {
        Self { max_packet_size: varint::MAX + 5 }
    }
}

/// Reads one connection's packets, one way.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: DecodeLimits,
    role: Role,
    version: Option<Version>,
    failed: Option<DecodeError>,
}

/// A whole fixed header.
#[derive(Clone, Copy, Debug)]
struct FixedHeader {
    first_byte: u8,
    packet_type: PacketType,
    /// Its own length in bytes.
    len: usize,
    /// The whole packet's length in bytes.
    total: usize,
    /// Whether the remaining length used no more bytes than needed.
    minimal: bool,
}

impl Decoder {
    /// The server's end: the first packet must be CONNECT, and sets the version.
    pub const fn new(limits: DecodeLimits) -> Self {
        Self { limits, role: Role::Server, version: None, failed: None }
    }

    /// The client's end of a connection on which it sent a CONNECT of `version`. That CONNACK comes first is
    /// for the client to check.
    pub const fn client(version: Version, limits: DecodeLimits) -> Self {
        Self { limits, role: Role::Client, version: Some(version), failed: None }
    }

    /// The version in use; known on the server's end once CONNECT's was read, even if its rest was refused.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Fixes the version. On the server's end this also means that CONNECT was already seen.
    pub const fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Changes the limit for the packets to come, in bytes.
    pub const fn set_max_packet_size(&mut self, max_packet_size: u32) {
        self.limits.max_packet_size = max_packet_size;
    }

    /// Takes the next packet off the front of `src`; `None` asks for more bytes.
    ///
    /// Topic, payload and every other text of the packet are slices of `src`'s memory. CONNECT alone is
    /// copied, because what it holds (client identifier, will) lives as long as the connection and would keep
    /// the receive buffer alive as long.
    ///
    /// # Errors
    /// The stream breaks the protocol. The decoder then answers every further call with the same error.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.next_packet(src).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn next_packet(&mut self, src: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let Some(header) = self.fixed_header(src)? else { return Ok(None) };
        if src.len() < header.total {
            return Ok(None);
        }
        let mut frame = src.split_to(header.total).freeze();
        frame.advance(header.len);
        let packet = match header.packet_type {
            PacketType::Connect => self.connect(header, Bytes::copy_from_slice(&frame)),
            _ => read_body(header, Reader::new(frame, self.rules(), self.role)),
        };
        packet.map(Some)
    }

    /// The version whose rules apply; before CONNECT, the newer ones.
    const fn rules(&self) -> Version {
        match self.version {
            Some(version) => version,
            None => Version::V5,
        }
    }

    fn broken(&self, rule: &Rule, value: impl Into<u32>) -> DecodeError {
        rule.broken(self.rules(), value)
    }

    fn fixed_header(&self, src: &[u8]) -> Result<Option<FixedHeader>, DecodeError> {
        let Some((first_byte, rest)) = src.split_first() else { return Ok(None) };
        let packet_type = self.packet_type(*first_byte)?;
        let (value, len, minimal) = match varint::parse(rest) {
            Parsed::Whole { value, len, minimal } => (value, len, minimal),
            Parsed::Partial => return Ok(None),
            Parsed::TooLong => return Err(self.broken(&rule::LENGTH_TOO_LONG, *first_byte)),
        };
        let len = len + 1;
        let total = len + value as usize;
        self.check_length(total, value, minimal)?;
        Ok(Some(FixedHeader { first_byte: *first_byte, packet_type, len, total, minimal }))
    }

    /// Checks a remaining length as far as the version is known; 3.1.1 does not ask for the shortest form.
    fn check_length(&self, total: usize, remaining: u32, minimal: bool) -> Result<(), DecodeError> {
        if !minimal && self.version == Some(Version::V5) {
            return Err(self.broken(&rule::LENGTH_NOT_MINIMAL, remaining));
        }
        let (size, max) = (u32::try_from(total).unwrap_or(u32::MAX), self.limits.max_packet_size);
        if size > max { Err(DecodeError::PacketTooLarge { size, max }) } else { Ok(()) }
    }

    fn packet_type(&self, first_byte: u8) -> Result<PacketType, DecodeError> {
        let packet_type = PacketType::from_first_byte(first_byte)
            .filter(|packet_type| *packet_type != PacketType::Auth || self.version != Some(Version::V311))
            .ok_or_else(|| self.broken(&rule::FORBIDDEN_TYPE, first_byte))?;
        match (packet_type, self.version) {
            (PacketType::Connect, Some(_)) if self.role == Role::Server => {
                return Err(self.broken(&rule::SECOND_CONNECT, first_byte));
            }
            (PacketType::Connect, None) => {}
            (_, None) => return Err(self.broken(&rule::NOT_CONNECT, first_byte)),
            (_, Some(version)) if !packet_type.may_reach(self.role, version) => {
                return Err(self.broken(&rule::WRONG_DIRECTION, first_byte));
            }
            _ => {}
        }
        self.check_flags(packet_type, first_byte)?;
        Ok(packet_type)
    }

    fn check_flags(&self, packet_type: PacketType, first_byte: u8) -> Result<(), DecodeError> {
        match packet_type.fixed_flags() {
            None => Flags::parse(first_byte, self.rules()).map(|_| ()),
            Some(flags) if first_byte & 0x0F == flags => Ok(()),
            Some(_) => Err(self.broken(flags_rule(packet_type), first_byte)),
        }
    }

    fn connect(&mut self, header: FixedHeader, body: Bytes) -> Result<Packet, DecodeError> {
        let remaining = body.len() as u32;
        let mut reader = Reader::new(body, self.rules(), self.role);
        let version = Connect::read_version(&mut reader)?;
        self.version = Some(version);
        self.check_length(header.total, remaining, header.minimal)?;
        reader.version = version;
        Connect::read_rest(reader).map(|connect| Packet::Connect(Box::new(connect)))
    }
}

/// The rule that reserved flags of the fixed header break.
const fn flags_rule(packet_type: PacketType) -> &'static Rule {
    match packet_type {
        PacketType::Pubrel => &rule::PUBREL_FLAGS,
        PacketType::Subscribe => &rule::SUBSCRIBE_FLAGS,
        PacketType::Unsubscribe => &rule::UNSUBSCRIBE_FLAGS,
        PacketType::Disconnect => &rule::DISCONNECT_FLAGS,
        PacketType::Auth => &rule::AUTH_FLAGS,
        _ => &rule::RESERVED_FLAGS,
    }
}

/// Reads the body of any packet but CONNECT.
fn read_body(header: FixedHeader, reader: Reader) -> Result<Packet, DecodeError> {
    let kind = header.packet_type;
    Ok(match kind {
        PacketType::Connect => Packet::Connect(Box::new(Connect::read_rest(reader)?)),
        PacketType::Connack => Packet::Connack(Box::new(Connack::read(reader)?)),
        PacketType::Publish => {
            let flags = Flags::parse(header.first_byte, reader.version)?;
            Packet::Publish(Publish::read(flags, reader)?)
        }
        PacketType::Puback => Packet::Puback(Ack::read(kind, reader)?),
        PacketType::Pubrec => Packet::Pubrec(Ack::read(kind, reader)?),
        PacketType::Pubrel => Packet::Pubrel(Ack::read(kind, reader)?),
        PacketType::Pubcomp => Packet::Pubcomp(Ack::read(kind, reader)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::read(reader)?),
        PacketType::Suback => Packet::Suback(Suback::read(reader)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::read(reader)?),
        PacketType::Unsuback => Packet::Unsuback(Unsuback::read(reader)?),
        PacketType::Pingreq => ping::read(Packet::Pingreq, reader)?,
        PacketType::Pingresp => ping::read(Packet::Pingresp, reader)?,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::read(reader)?),
        PacketType::Auth => Packet::Auth(Auth::read(reader)?),
    })
}
