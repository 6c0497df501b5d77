//! The normative statements the decoder enforces, one constant each.
//!
//! Both texts number their statements apart, so each rule names its statement in MQTT 5 and in 3.1.1; where
//! the text has no number, the section. Some exist in one version only and carry that name twice.

use crate::{DecodeError, ReasonCode, Version};

/// One rule and what breaking it is answered with.
#[derive(Debug)]
pub(crate) struct Rule {
    text: &'static str,
    v5: &'static str,
    v311: &'static str,
    reason: ReasonCode,
}

impl Rule {
    const fn malformed(text: &'static str, v5: &'static str, v311: &'static str) -> Self {
        Self { text, v5, v311, reason: ReasonCode::MalformedPacket }
    }

    const fn protocol(text: &'static str, v5: &'static str, v311: &'static str) -> Self {
        Self { text, v5, v311, reason: ReasonCode::ProtocolError }
    }

    /// The error for a packet of `version` that breaks this rule with `value`.
    pub(crate) fn broken(&self, version: Version, value: impl Into<u32>) -> DecodeError {
        let statement = match version {
            Version::V5 => self.v5,
            Version::V311 => self.v311,
        };
        DecodeError::Violation { statement, reason: self.reason, rule: self.text, value: value.into() }
    }
}

macro_rules! rules {
    ($($kind:ident $name:ident: $text:literal, $v5:literal, $v311:literal;)*) => {
        $(pub(crate) const $name: Rule = Rule::$kind($text, $v5, $v311);)*
    };
}

// Framing (section 2).
rules! {
    malformed FORBIDDEN_TYPE: "packet type not defined in this version", "section 2.1.2", "section 2.2.1";
    malformed RESERVED_FLAGS: "reserved flags of the fixed header", "MQTT-2.1.3-1", "MQTT-2.2.2-2";
    malformed PUBREL_FLAGS: "PUBREL flags must be 0010", "MQTT-3.6.1-1", "MQTT-3.6.1-1";
    malformed SUBSCRIBE_FLAGS: "SUBSCRIBE flags must be 0010", "MQTT-3.8.1-1", "MQTT-3.8.1-1";
    malformed UNSUBSCRIBE_FLAGS: "UNSUBSCRIBE flags must be 0010", "MQTT-3.10.1-1", "MQTT-3.10.1-1";
    malformed DISCONNECT_FLAGS: "DISCONNECT flags must be 0", "MQTT-3.14.1-1", "MQTT-3.14.1-1";
    malformed AUTH_FLAGS: "AUTH flags must be 0", "MQTT-3.15.1-1", "section 2.2.1";
    protocol WRONG_DIRECTION: "packet type not sent in this direction", "section 2.1.2", "section 2.2.1";
    protocol NOT_CONNECT: "first packet must be CONNECT", "MQTT-3.1.0-1", "MQTT-3.1.0-1";
    protocol SECOND_CONNECT: "second CONNECT", "MQTT-3.1.0-2", "MQTT-3.1.0-2";
    malformed LENGTH_TOO_LONG: "variable byte integer over four bytes", "section 1.5.5", "section 2.2.3";
    malformed LENGTH_NOT_MINIMAL: "variable byte integer longer than needed", "MQTT-1.5.5-1", "section 2.2.3";
    malformed TRUNCATED: "field ends after the packet does", "section 2.1.4", "section 2.2.3";
    malformed TRAILING: "bytes after the last field", "section 2.1.4", "section 2.2.3";
}

// Data types (section 1.5) and packet identifiers (section 2.2.1).
rules! {
    malformed ILL_FORMED_UTF8: "ill-formed UTF-8", "MQTT-1.5.4-1", "MQTT-1.5.3-1";
    malformed NUL_IN_STRING: "null character in string", "MQTT-1.5.4-2", "MQTT-1.5.3-2";
    protocol PACKET_ID_ZERO: "packet identifier 0", "MQTT-2.2.1-3", "MQTT-2.3.1-1";
}

// Properties (section 2.2.2); 3.1.1 has none.
rules! {
    malformed UNKNOWN_PROPERTY: "property identifier not defined", "section 2.2.2.2", "section 2.2.2.2";
    malformed FOREIGN_PROPERTY: "property not allowed in this packet", "section 2.2.2.2", "section 2.2.2.2";
    protocol REPEATED_PROPERTY: "property given twice", "section 2.2.2.2", "section 2.2.2.2";
    protocol NOT_BOOLEAN: "property must be 0 or 1", "section 2.2.2.2", "section 2.2.2.2";
    protocol RECEIVE_MAXIMUM_ZERO: "Receive Maximum 0", "section 3.1.2.11.3", "section 3.1.2.11.3";
    protocol MAXIMUM_PACKET_SIZE_ZERO: "Maximum Packet Size 0", "section 3.1.2.11.4", "section 3.1.2.11.4";
    protocol SUBSCRIPTION_ID_ZERO: "Subscription Identifier 0", "section 3.8.2.1.2", "section 3.8.2.1.2";
    protocol MAXIMUM_QOS: "Maximum QoS must be 0 or 1", "section 3.2.2.3.4", "section 3.2.2.3.4";
    protocol RESPONSE_TOPIC_WILDCARD: "wildcard in Response Topic", "MQTT-3.3.2-14", "MQTT-3.3.2-14";
}

/// A Topic Alias of 0; the one rule with a reason code of its own.
pub(crate) const TOPIC_ALIAS_ZERO: Rule = Rule {
    text: "Topic Alias 0",
    v5: "MQTT-3.3.2-8",
    v311: "MQTT-3.3.2-8",
    reason: ReasonCode::TopicAliasInvalid,
};

// CONNECT (section 3.1).
rules! {
    malformed CONNECT_RESERVED_FLAG: "reserved CONNECT flag", "MQTT-3.1.2-3", "MQTT-3.1.2-3";
    malformed WILL_QOS_3: "Will QoS 3", "MQTT-3.1.2-12", "MQTT-3.1.2-14";
    malformed WILL_QOS_WITHOUT_WILL: "Will QoS without Will Flag", "MQTT-3.1.2-11", "MQTT-3.1.2-13";
    malformed WILL_RETAIN_WITHOUT_WILL: "Will Retain without Will Flag", "MQTT-3.1.2-13", "MQTT-3.1.2-15";
    malformed PASSWORD_WITHOUT_USER_NAME:
        "Password Flag without User Name Flag", "MQTT-3.1.2-22", "MQTT-3.1.2-22";
    malformed NO_CLIENT_ID: "Client Identifier missing", "MQTT-3.1.3-3", "MQTT-3.1.3-3";
    malformed NO_WILL: "Will Flag without will fields", "MQTT-3.1.2-9", "MQTT-3.1.2-9";
    malformed NO_USER_NAME: "User Name Flag without user name", "MQTT-3.1.2-17", "MQTT-3.1.2-19";
    malformed NO_PASSWORD: "Password Flag without password", "MQTT-3.1.2-19", "MQTT-3.1.2-21";
    protocol AUTH_DATA_WITHOUT_METHOD:
        "Authentication Data without Authentication Method", "section 3.1.2.11.10", "section 3.1.2.11.10";
}

// CONNACK, DISCONNECT, AUTH and reason codes (sections 3.2, 3.14, 3.15, 2.4).
rules! {
    malformed CONNACK_FLAGS: "reserved CONNACK flags", "MQTT-3.2.2-1", "section 3.2.2.1";
    protocol SESSION_PRESENT: "Session Present beside a failure", "MQTT-3.2.2-6", "MQTT-3.2.2-4";
    malformed UNKNOWN_REASON: "reason code not defined", "section 2.4", "section 2.4";
    malformed RETURN_CODE: "return code not defined", "section 3.2.2.3", "section 3.2.2.3";
    malformed SUBACK_RETURN_CODE: "return code not defined", "MQTT-3.9.3-2", "MQTT-3.9.3-2";
    protocol CONNACK_REASON: "reason code not for CONNACK", "MQTT-3.2.2-8", "MQTT-3.2.2-8";
    protocol PUBACK_REASON: "reason code not for PUBACK", "MQTT-3.4.2-1", "MQTT-3.4.2-1";
    protocol PUBREC_REASON: "reason code not for PUBREC", "MQTT-3.5.2-1", "MQTT-3.5.2-1";
    protocol PUBREL_REASON: "reason code not for PUBREL", "MQTT-3.6.2-1", "MQTT-3.6.2-1";
    protocol PUBCOMP_REASON: "reason code not for PUBCOMP", "MQTT-3.7.2-1", "MQTT-3.7.2-1";
    protocol SUBACK_REASON: "reason code not for SUBACK", "MQTT-3.9.3-2", "MQTT-3.9.3-2";
    protocol UNSUBACK_REASON: "reason code not for UNSUBACK", "MQTT-3.11.3-2", "MQTT-3.11.3-2";
    protocol DISCONNECT_REASON: "reason code not for DISCONNECT", "MQTT-3.14.2-1", "MQTT-3.14.2-1";
    protocol AUTH_REASON: "reason code not for AUTH", "MQTT-3.15.2-1", "MQTT-3.15.2-1";
    protocol SERVER_SESSION_EXPIRY: "Session Expiry Interval from a server", "MQTT-3.14.2-2", "MQTT-3.14.2-2";
    protocol AUTH_WITHOUT_METHOD:
        "AUTH without Authentication Method", "section 3.15.2.2.2", "section 3.15.2.2.2";
}

// PUBLISH (section 3.3).
rules! {
    malformed PUBLISH_QOS_3: "PUBLISH QoS 3", "MQTT-3.3.1-4", "MQTT-3.3.1-4";
    malformed DUP_AT_QOS_0: "DUP at QoS 0", "MQTT-3.3.1-2", "MQTT-3.3.1-2";
    protocol NO_TOPIC: "empty Topic Name without Topic Alias", "section 3.3.2.1", "MQTT-4.7.3-1";
    protocol CLIENT_SUBSCRIPTION_ID: "Subscription Identifier from a client", "MQTT-3.3.4-6", "MQTT-3.3.4-6";
}

// SUBSCRIBE, UNSUBSCRIBE and their answers (sections 3.8 to 3.11).
rules! {
    protocol NO_FILTER: "SUBSCRIBE without topic filter", "MQTT-3.8.3-2", "MQTT-3.8.3-3";
    protocol NO_LOCAL_SHARED: "No Local on a shared subscription", "MQTT-3.8.3-4", "MQTT-3.8.3-4";
    malformed OPTION_BITS: "reserved subscription option bits", "MQTT-3.8.3-5", "MQTT-3-8.3-4";
    protocol SUBSCRIBE_QOS_3: "Maximum QoS 3", "section 3.8.3.1", "MQTT-3-8.3-4";
    protocol RETAIN_HANDLING_3: "Retain Handling 3", "section 3.8.3.1", "section 3.8.3.1";
    malformed EMPTY_FILTER: "empty Topic Filter", "MQTT-4.7.3-1", "MQTT-4.7.3-1";
    protocol NO_UNSUBSCRIBE_FILTER: "UNSUBSCRIBE without topic filter", "MQTT-3.10.3-2", "MQTT-3.10.3-2";
    protocol NO_SUBACK_CODE: "SUBACK without reason code", "MQTT-3.8.4-6", "MQTT-3.8.4-5";
    protocol NO_UNSUBACK_CODE: "UNSUBACK without reason code", "MQTT-3.11.3-1", "MQTT-3.11.3-1";
}
