//! What an evaluation knows of the message: its context and, parsed at most once, its payload.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::{
    json::{self, Found, Index, Unindexed},
    value::{Text, Value},
};

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

/// The bytes of a message, looked at by the first statement that needs to and shared by all others.
///
/// A small JSON text is only indexed, which allocates nothing; it is read when a statement needs a container of it.
#[derive(Debug)]
pub struct Payload {
    bytes: Bytes,
    content: OnceLock<Content>,
    document: OnceLock<Option<Value>>,
}

/// What bytes turned out to be.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an index is where it is looked at: nothing is allocated for it"
)]
enum Content {
    /// No JSON Object or Array.
    Other,
    /// JSON, read as far as values are asked for.
    Indexed(Index),
    /// Something that starts like JSON and has to be read to tell.
    Unread(Text),
}

impl Payload {
    /// A payload not looked at yet.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, content: OnceLock::new(), document: OnceLock::new() }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn content(&self) -> &Content {
        self.content.get_or_init(|| content(&self.bytes))
    }

    /// The JSON Object or Array; `None` for everything else, other JSON texts too (spec section 7).
    pub fn document(&self) -> Option<&Value> {
        let read = || match self.content() {
            Content::Other => None,
            Content::Indexed(index) => json::read_text(index.text()),
            Content::Unread(text) => json::read_text(text),
        };
        self.document.get_or_init(read).as_ref()
    }

    /// Whether the payload counts in metric `ParseError` once a statement refers to attributes.
    pub fn is_unreadable(&self) -> bool {
        !self.bytes.is_empty() && !matches!(self.content(), Content::Indexed(_)) && self.document().is_none()
    }

    /// The value of `*`.
    pub(crate) fn star(&self) -> Value {
        self.document().cloned().unwrap_or_else(|| Value::Raw(self.bytes.clone()))
    }

    /// The value of an attribute, or of the member that a path of names leads to.
    pub(crate) fn attribute<'p>(&self, path: impl Iterator<Item = &'p str> + Clone) -> Value {
        if let Content::Indexed(index) = self.content()
            && let Found::Value(value) = index.get(path.clone())
        {
            return value;
        }
        let mut at = self.document();
        for name in path {
            at = match at {
                Some(Value::Object(object)) => object.get(name),
                _ => None,
            };
        }
        at.cloned().unwrap_or_default()
    }
}

fn content(bytes: &Bytes) -> Content {
    let first = bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    if !matches!(first, Some(b'{' | b'[')) {
        return Content::Other;
    }
    let Ok(text) = Text::try_from(bytes.clone()) else { return Content::Other };
    match Index::of(&text) {
        Ok(index) => Content::Indexed(index),
        Err(Unindexed::NotJson) => Content::Other,
        Err(Unindexed::TooComplex) => Content::Unread(text),
    }
}
