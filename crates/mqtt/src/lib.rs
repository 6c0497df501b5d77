//! MQTT 3.1.1 and MQTT 5: bytes to packets and back, for the server's end and for the client's.
//!
//! | module | owns |
//! |---|---|
//! | [`packet`] | one file per control packet: its type, how it is read and how it is written |
//! | [`decode`] | framing: from a growing buffer to whole packets, sizes, direction, which version |
//! | [`mod@encode`] | from packets to bytes, exact lengths, the tiny packets of the hot path |
//! | [`template`] | a PUBLISH encoded once and sent to many receivers |
//! | [`properties`] | MQTT 5 properties: identifiers, the rules they share |
//! | [`reason`] | every MQTT 5 reason code, where it may stand, and its 3.1.1 return code |
//! | [`string`] | [`MqttString`], a checked UTF-8 string that shares the input's memory |
//! | [`error`] | why bytes were refused (with the normative statement) and why a packet was |
//! | `rule` | the table of the normative statements the decoder enforces |
//! | `reader`, `sink`, `varint` | the primitive data types of section 1.5 |
//!
//! What it does not own: anything that needs memory of earlier packets (packet identifiers in use,
//! topic aliases, quotas, keep-alive) and anything that is policy (wildcards in a topic name, length and
//! depth limits, the empty client identifier, an empty will topic). Those are the session's.
//! No sockets, no clock, no random source.
#![warn(missing_docs)]

pub mod decode;
pub mod encode;
pub mod error;
pub mod packet;
pub mod properties;
pub mod reason;
pub mod string;
pub mod template;

mod reader;
mod rule;
mod sink;
mod varint;

#[cfg(test)]
mod tests;

use std::num::{NonZeroU16, NonZeroU32};

pub use decode::{DecodeLimits, Decoder};
pub use encode::{
    encode, encode_pingreq, encode_pingresp, encode_puback_ok, encode_pubcomp_ok, encode_publish,
    encode_pubrec_ok, encode_pubrel_ok, encoded_len, publish_len,
};
pub use error::{DecodeError, EncodeError};
pub use packet::{
    Ack, Auth, AuthProperties, Connack, ConnackProperties, Connect, ConnectProperties, Disconnect,
    DisconnectProperties, Packet, PacketType, Publish, PublishProperties, RetainHandling, Suback, Subscribe,
    Subscription, SubscriptionOptions, Unsuback, Unsubscribe, Will, WillProperties,
};
pub use properties::{PayloadFormat, ReasonProperties, UserProperty};
pub use reason::ReasonCode;
pub use string::MqttString;
pub use template::{Alias, Template};

pub use fleethaven_types::QoS;

/// A packet identifier; zero is not one [MQTT-2.2.1-3].
pub type PacketId = NonZeroU16;

/// A subscription identifier, 1 to 268 435 455 (MQTT 5 section 3.8.2.1.2).
pub type SubscriptionId = NonZeroU32;

/// Which MQTT a connection speaks; fixed by its CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5, protocol version 5.
    V5,
}

impl Version {
    /// The protocol level byte of CONNECT (section 3.1.2.2).
    pub const fn level(self) -> u8 {
        match self {
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

/// Which end of the connection a decoder reads for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads what clients send.
    Server,
    /// Reads what the server sends.
    Client,
}
