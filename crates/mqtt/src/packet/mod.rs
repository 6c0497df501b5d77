//! The control packets, one file each. Every file holds the packet's type, `read` and `write`.

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod ping;
pub mod publish;
pub mod suback;
pub mod subscribe;
pub mod unsuback;
pub mod unsubscribe;
pub mod will;

mod packet_type;

pub use ack::Ack;
pub use auth::{Auth, AuthProperties};
pub use connack::{Connack, ConnackProperties};
pub use connect::{Connect, ConnectProperties};
pub use disconnect::{Disconnect, DisconnectProperties};
pub use packet_type::PacketType;
pub use publish::{Publish, PublishProperties};
pub use suback::Suback;
pub use subscribe::{RetainHandling, Subscribe, Subscription, SubscriptionOptions};
pub use unsuback::Unsuback;
pub use unsubscribe::Unsubscribe;
pub use will::{Will, WillProperties};

use crate::sink::Sink;
use crate::{EncodeError, ReasonCode, Version};

/// Any control packet. The frequent ones are inline, the rare and large ones boxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Client asks for a connection.
    Connect(Box<Connect>),
    /// Server answers it.
    Connack(Box<Connack>),
    /// A message.
    Publish(Publish),
    /// Answers a QoS 1 PUBLISH.
    Puback(Ack),
    /// Answers a QoS 2 PUBLISH.
    Pubrec(Ack),
    /// Answers a PUBREC.
    Pubrel(Ack),
    /// Answers a PUBREL.
    Pubcomp(Ack),
    /// Client subscribes.
    Subscribe(Subscribe),
    /// Server answers it.
    Suback(Suback),
    /// Client unsubscribes.
    Unsubscribe(Unsubscribe),
    /// Server answers it.
    Unsuback(Unsuback),
    /// Client shows that it is alive.
    Pingreq,
    /// Server answers it.
    Pingresp,
    /// The last packet of a connection; in 3.1.1 only clients send it.
    Disconnect(Disconnect),
    /// Enhanced authentication, MQTT 5 only.
    Auth(Auth),
}

impl Packet {
    /// Its control packet type.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// Writes a reason code, which has to be one that may stand in `packet`.
fn write_reason<S: Sink>(packet: PacketType, reason: ReasonCode, sink: &mut S) {
    if !reason.may_stand_in(packet) {
        sink.refuse(EncodeError::Reason { packet, version: Version::V5, reason });
    }
    sink.u8(reason.value());
}
