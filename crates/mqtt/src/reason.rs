//! The reason codes of MQTT 5 (section 2.4), the packets each may stand in, and 3.1.1 return codes.

use std::fmt;

use crate::PacketType;

/// Declares the codes as one table: variant, value, name, packets it may stand in.
macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $value:literal, $name:literal, [$($packet:ident)*];)*) => {
        /// The outcome of an operation. Values below 0x80 are successes (section 2.4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[doc = $doc])* #[doc = $name] $variant = $value,)*
        }

        impl ReasonCode {
            /// Every code, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code of this value, if MQTT 5 defines one.
            pub const fn from_value(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The specification's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether this code may stand in `packet`.
            pub const fn may_stand_in(self, packet: PacketType) -> bool {
                match self {
                    $(Self::$variant => matches!(packet, $(PacketType::$packet)|*),)*
                }
            }
        }
    };
}

reason_codes! {
    /// Also Normal disconnection and Granted QoS 0:
    Success = 0x00, "Success",
        [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth];
    GrantedQos1 = 0x01, "Granted QoS 1", [Suback];
    GrantedQos2 = 0x02, "Granted QoS 2", [Suback];
    DisconnectWithWillMessage = 0x04, "Disconnect with Will Message", [Disconnect];
    NoMatchingSubscribers = 0x10, "No matching subscribers", [Puback Pubrec];
    NoSubscriptionExisted = 0x11, "No subscription existed", [Unsuback];
    ContinueAuthentication = 0x18, "Continue authentication", [Auth];
    ReAuthenticate = 0x19, "Re-authenticate", [Auth];
    UnspecifiedError = 0x80, "Unspecified error", [Connack Puback Pubrec Suback Unsuback Disconnect];
    MalformedPacket = 0x81, "Malformed Packet", [Connack Disconnect];
    ProtocolError = 0x82, "Protocol Error", [Connack Disconnect];
    ImplementationSpecificError = 0x83, "Implementation specific error",
        [Connack Puback Pubrec Suback Unsuback Disconnect];
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version", [Connack];
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid", [Connack];
    BadUserNameOrPassword = 0x86, "Bad User Name or Password", [Connack];
    NotAuthorized = 0x87, "Not authorized", [Connack Puback Pubrec Suback Unsuback Disconnect];
    ServerUnavailable = 0x88, "Server unavailable", [Connack];
    ServerBusy = 0x89, "Server busy", [Connack Disconnect];
    Banned = 0x8A, "Banned", [Connack];
    ServerShuttingDown = 0x8B, "Server shutting down", [Disconnect];
    BadAuthenticationMethod = 0x8C, "Bad authentication method", [Connack Disconnect];
    KeepAliveTimeout = 0x8D, "Keep Alive timeout", [Disconnect];
    SessionTakenOver = 0x8E, "Session taken over", [Disconnect];
    TopicFilterInvalid = 0x8F, "Topic Filter invalid", [Suback Unsuback Disconnect];
    TopicNameInvalid = 0x90, "Topic Name invalid", [Connack Puback Pubrec Disconnect];
    PacketIdentifierInUse = 0x91, "Packet Identifier in use", [Puback Pubrec Suback Unsuback];
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found", [Pubrel Pubcomp];
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded", [Disconnect];
    TopicAliasInvalid = 0x94, "Topic Alias invalid", [Disconnect];
    PacketTooLarge = 0x95, "Packet too large", [Connack Disconnect];
    MessageRateTooHigh = 0x96, "Message rate too high", [Disconnect];
    QuotaExceeded = 0x97, "Quota exceeded", [Connack Puback Pubrec Suback Disconnect];
    AdministrativeAction = 0x98, "Administrative action", [Disconnect];
    PayloadFormatInvalid = 0x99, "Payload format invalid", [Connack Puback Pubrec Disconnect];
    RetainNotSupported = 0x9A, "Retain not supported", [Connack Disconnect];
    QosNotSupported = 0x9B, "QoS not supported", [Connack Disconnect];
    UseAnotherServer = 0x9C, "Use another server", [Connack Disconnect];
    ServerMoved = 0x9D, "Server moved", [Connack Disconnect];
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported", [Suback Disconnect];
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded", [Connack Disconnect];
    MaximumConnectTime = 0xA0, "Maximum connect time", [Disconnect];
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported", [Suback Disconnect];
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported", [Suback Disconnect];
}

impl ReasonCode {
    /// 0x00 in DISCONNECT.
    pub const NORMAL_DISCONNECTION: Self = Self::Success;
    /// 0x00 in SUBACK.
    pub const GRANTED_QOS_0: Self = Self::Success;

    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// 0x80 and above.
    pub const fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// The code that grants `qos` in SUBACK.
    pub const fn granted(qos: crate::QoS) -> Self {
        match qos {
            crate::QoS::AtMostOnce => Self::GRANTED_QOS_0,
            crate::QoS::AtLeastOnce => Self::GrantedQos1,
            crate::QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// The CONNACK return code of 3.1.1 (table 3.1 there) that says the same; `None` where there is none and
    /// the server closes without answering.
    pub const fn v311_return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// The reason a CONNACK return code of 3.1.1 stands for; `None` for the reserved ones.
    pub const fn from_v311_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", self.name(), self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_43_codes_survive_the_wire() {
        assert_eq!(ReasonCode::ALL.len(), 43);
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_value(code.value()), Some(*code));
        }
        let known = (0..=u8::MAX).filter_map(ReasonCode::from_value).count();
        assert_eq!(known, 43);
    }

    #[test]
    fn return_codes_of_3_1_1_survive_the_wire() {
        for code in 0..=5 {
            let reason = ReasonCode::from_v311_return_code(code).unwrap();
            assert_eq!(reason.v311_return_code(), Some(code));
        }
        assert_eq!(ReasonCode::from_v311_return_code(6), None);
        assert_eq!(ReasonCode::MalformedPacket.v311_return_code(), None);
    }

    #[test]
    fn codes_stand_only_where_the_specification_lists_them() {
        assert!(ReasonCode::Success.may_stand_in(PacketType::Auth));
        assert!(!ReasonCode::GrantedQos1.may_stand_in(PacketType::Unsuback));
        let in_connack = ReasonCode::ALL.iter().filter(|code| code.may_stand_in(PacketType::Connack)).count();
        assert_eq!(in_connack, 22, "table 3-1");
        let in_disconnect =
            ReasonCode::ALL.iter().filter(|code| code.may_stand_in(PacketType::Disconnect)).count();
        assert_eq!(in_disconnect, 30, "table 3-10, and 0x8C of section 2.4");
    }
}
