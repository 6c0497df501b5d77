//! Reads the data types of section 1.5 from one packet's body, without copying.

use bytes::{Buf, Bytes};

use crate::rule::{self, Rule};
use crate::string::{self, MqttString};
use crate::varint::{self, Parsed};
use crate::{DecodeError, PacketId, PacketType, ReasonCode, Role, Version};

/// What is left of a packet's body.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    /// The version whose rules apply.
    pub(crate) version: Version,
    /// The end that reads.
    pub(crate) role: Role,
}

impl Reader {
    pub(crate) const fn new(bytes: Bytes, version: Version, role: Role) -> Self {
        Self { bytes, version, role }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the next byte is 0, as is the length of an empty property block.
    pub(crate) fn starts_with_zero(&self) -> bool {
        self.bytes.first() == Some(&0)
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The error of `rule` in this packet's version.
    pub(crate) fn broken(&self, rule: &Rule, value: impl Into<u32>) -> DecodeError {
        rule.broken(self.version, value)
    }

    /// Fails with `rule` when nothing is left.
    pub(crate) fn more_or(&self, rule: &Rule) -> Result<(), DecodeError> {
        if self.is_empty() { Err(self.broken(rule, 0_u32)) } else { Ok(()) }
    }

    /// Fails unless everything was read.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match u32::try_from(self.len()) {
            Ok(0) => Ok(()),
            Ok(left) => Err(self.broken(&rule::TRAILING, left)),
            Err(_) => Err(self.broken(&rule::TRAILING, u32::MAX)),
        }
    }

    fn truncated(&self) -> DecodeError {
        self.broken(&rule::TRUNCATED, u32::try_from(self.len()).unwrap_or(u32::MAX))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.bytes.try_get_u8().map_err(|_| self.truncated())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.bytes.try_get_u16().map_err(|_| self.truncated())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes.try_get_u32().map_err(|_| self.truncated())
    }

    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        match varint::parse(&self.bytes) {
            Parsed::Whole { minimal: false, value, .. } => Err(self.broken(&rule::LENGTH_NOT_MINIMAL, value)),
            Parsed::Whole { value, len, .. } => {
                self.bytes.advance(len);
                Ok(value)
            }
            Parsed::Partial => Err(self.truncated()),
            Parsed::TooLong => Err(self.broken(&rule::LENGTH_TOO_LONG, 0_u32)),
        }
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.bytes.len() {
            return Err(self.truncated());
        }
        Ok(self.bytes.split_to(len))
    }

    /// A reader of the next `len` bytes alone.
    pub(crate) fn part(&mut self, len: usize) -> Result<Self, DecodeError> {
        Ok(Self::new(self.take(len)?, self.version, self.role))
    }

    /// Everything left.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    /// Binary data (section 1.5.6).
    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 encoded string (section 1.5.4).
    pub(crate) fn string(&mut self) -> Result<MqttString, DecodeError> {
        let bytes = self.binary()?;
        MqttString::try_from(bytes).map_err(|error| {
            let (rule, at) = match error {
                string::Error::Nul { at } => (&rule::NUL_IN_STRING, at),
                string::Error::IllFormed { valid_up_to } => (&rule::ILL_FORMED_UTF8, valid_up_to),
                string::Error::TooLong { len } => (&rule::TRUNCATED, len),
            };
            self.broken(rule, u32::try_from(at).unwrap_or(u32::MAX))
        })
    }

    /// A packet identifier (section 2.2.1).
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let id = self.u16()?;
        PacketId::new(id).ok_or_else(|| self.broken(&rule::PACKET_ID_ZERO, id))
    }

    /// A reason code that may stand in `packet`; `rule` is broken by one that may not.
    pub(crate) fn reason(&mut self, packet: PacketType, rule: &Rule) -> Result<ReasonCode, DecodeError> {
        let value = self.u8()?;
        let reason =
            ReasonCode::from_value(value).ok_or_else(|| self.broken(&rule::UNKNOWN_REASON, value))?;
        if reason.may_stand_in(packet) { Ok(reason) } else { Err(self.broken(rule, value)) }
    }
}
