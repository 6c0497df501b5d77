//! What an evaluation knows of the message: its context and, parsed at most once, its payload.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::{json, value::Value};

/// Context of one message. Everything is borrowed: many rules look at one message.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Topic as published, without the Basic Ingest prefix.
    pub topic: &'a str,
    /// MQTT client id; `None` if the message did not come over MQTT.
    pub client_id: Option<&'a str>,
    /// Principal: certificate fingerprint or user id; `None` if there is none.
    pub principal: Option<&'a str>,
    /// Address of the peer as text; `None` if unknown.
    pub source_ip: Option<&'a str>,
    /// UUID of the message; `None` if it did not come over MQTT.
    pub trace_id: Option<&'a str>,
    /// Account id of 12 digits.
    pub account_id: &'a str,
    /// Name of the rule, for external functions and logs.
    pub rule_name: &'a str,
    /// When the message arrived, in ms since the epoch: one `timestamp()` for the whole message.
    pub now_ms: i64,
    /// MQTT 5 properties; `None` for a message without.
    pub properties: Option<&'a MqttProperties>,
    /// Source of random bytes for `rand()` and `newuuid()`.
    pub random: &'a dyn Random,
}

/// MQTT 5 PUBLISH properties [MQTT-3.3.2-4] that functions can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MqttProperties {
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// Payload Format Indicator: whether the payload is declared UTF-8.
    pub utf8_payload: bool,
    /// User Properties in wire order.
    pub user_properties: Vec<(String, String)>,
}

/// Where `rand()` and `newuuid()` get their bytes.
pub trait Random: Send + Sync {
    /// Sixteen fresh random bytes.
    fn bytes(&self) -> [u8; 16];
}

impl<F: Fn() -> [u8; 16] + Send + Sync> Random for F {
    fn bytes(&self) -> [u8; 16] {
        self()
    }
}

/// The bytes of a message, read as JSON by the first statement that needs it and shared by all others.
#[derive(Debug)]
pub struct Payload {
    bytes: Bytes,
    document: OnceLock<Option<Value>>,
}

impl Payload {
    /// A payload not looked at yet.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, document: OnceLock::new() }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The JSON Object or Array; `None` for everything else, other JSON texts too (spec section 7).
    pub fn document(&self) -> Option<&Value> {
        self.document.get_or_init(|| read_container(&self.bytes)).as_ref()
    }

    /// Whether the payload counts in metric `ParseError` once a statement refers to attributes.
    pub fn is_unreadable(&self) -> bool {
        !self.bytes.is_empty() && self.document().is_none()
    }

    /// The value of `*`.
    pub(crate) fn star(&self) -> Value {
        self.document().cloned().unwrap_or_else(|| Value::Raw(self.bytes.clone()))
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Value {
        self.document().map_or(Value::Undefined, |document| document.member(name))
    }
}

fn read_container(bytes: &[u8]) -> Option<Value> {
    let first = bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))?;
    if !matches!(first, b'{' | b'[') {
        return None;
    }
    json::read(bytes)
}
