//! Why bytes were refused and why a packet could not be written.

use crate::{PacketId, PacketType, QoS, ReasonCode, Version};

/// Why a byte stream is not MQTT. Nothing after it can be read: the connection has to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Breaks a rule of the specification.
    #[error("{rule} (value {value:#x}) [{statement}]")]
    Violation {
        /// The normative statement, such as `MQTT-3.1.2-3`, or `section 3.1.2.11.3` where the text has none.
        statement: &'static str,
        /// What MQTT 5 answers.
        reason: ReasonCode,
        /// The rule in a few words.
        rule: &'static str,
        /// The offending byte, identifier or length.
        value: u32,
    },
    /// The fixed header announces a packet over the limit; its body was not waited for [MQTT-3.2.2-15].
    #[error("packet of {size} bytes is over the limit of {max}")]
    PacketTooLarge {
        /// Whole packet, fixed header included, in bytes.
        size: u32,
        /// The limit, in bytes.
        max: u32,
    },
    /// CONNECT asks for a protocol this server does not speak [MQTT-3.1.2-1] [MQTT-3.1.2-2].
    #[error("unsupported protocol, level {level}")]
    UnsupportedProtocol {
        /// The protocol level byte asked for.
        level: u8,
    },
}

impl DecodeError {
    /// The normative statement broken.
    pub const fn statement(&self) -> &'static str {
        match self {
            Self::Violation { statement, .. } => statement,
            Self::PacketTooLarge { .. } => "MQTT-3.2.2-15",
            Self::UnsupportedProtocol { .. } => "MQTT-3.1.2-2",
        }
    }

    /// What to answer in MQTT 5: in CONNACK before the connection is accepted, in DISCONNECT after.
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::Violation { reason, .. } => *reason,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::UnsupportedProtocol { .. } => ReasonCode::UnsupportedProtocolVersion,
        }
    }

    /// The version whose CONNACK a client of an unsupported protocol can read; `None` for other errors.
    ///
    /// Levels up to 4 get the return code of 3.1.1, higher ones the reason code of MQTT 5.
    pub const fn answer_version(&self) -> Option<Version> {
        match self {
            Self::UnsupportedProtocol { level: 0..=4 } => Some(Version::V311),
            Self::UnsupportedProtocol { .. } => Some(Version::V5),
            _ => None,
        }
    }
}

/// Why a packet cannot be written. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string over 65 535 bytes.
    #[error("string of {len} bytes")]
    StringTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A string with U+0000 [MQTT-1.5.4-2].
    #[error("null character in string")]
    NulInString,
    /// Binary data over 65 535 bytes.
    #[error("binary data of {len} bytes")]
    BinaryTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A number over 268 435 455: a remaining length, property length or subscription identifier.
    #[error("{value} does not fit a variable byte integer")]
    VarintTooLarge {
        /// The number.
        value: usize,
    },
    /// QoS 0 with a packet identifier, or another QoS without [MQTT-2.2.1-2].
    #[error("packet id {packet_id:?} at {qos:?}")]
    PacketIdMismatch {
        /// The packet's QoS.
        qos: QoS,
        /// The identifier given.
        packet_id: Option<PacketId>,
    },
    /// DUP at QoS 0 [MQTT-3.3.1-2].
    #[error("DUP at QoS 0")]
    DupAtQos0,
    /// A list that must not be empty is: filters or reason codes.
    #[error("{0} with an empty list")]
    Empty(PacketType),
    /// A topic name or filter that must not be empty is [MQTT-4.7.3-1].
    #[error("{0} with an empty topic")]
    EmptyTopic(PacketType),
    /// The reason code does not belong into this packet, or has no form in the version.
    #[error("{reason} in {packet} of {version:?}")]
    Reason {
        /// The packet.
        packet: PacketType,
        /// The version to write.
        version: Version,
        /// The code.
        reason: ReasonCode,
    },
    /// The version does not know the packet.
    #[error("{packet} in {version:?}")]
    NotInVersion {
        /// The packet.
        packet: PacketType,
        /// The version to write.
        version: Version,
    },
    /// A topic alias in 3.1.1.
    #[error("topic alias in MQTT 3.1.1")]
    AliasNotInVersion,
    /// Authentication data without a method, or an AUTH without one.
    #[error("{0} without authentication method")]
    NoAuthenticationMethod(PacketType),
    /// A password without a user name in 3.1.1 [MQTT-3.1.2-22].
    #[error("password without user name in MQTT 3.1.1")]
    PasswordWithoutUserName,
    /// A CONNACK with a failure says that a session is present [MQTT-3.2.2-6].
    #[error("session present beside {0}")]
    SessionPresent(ReasonCode),
}
