//! What a handler gives back, and AWS's form of it.

use bytes::Bytes;
use fleethaven_types::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Error;

/// The body of a successful answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// No body: operations without an output shape.
    Empty,
    /// A JSON object.
    Json(Value),
    /// A JSON document, written elsewhere.
    Document(String),
    /// JSON objects, one a line.
    Lines(String),
    /// An XML document: the query protocol's answers.
    Xml(String),
}

impl Answer {
    /// An object without members: operations whose output shape is empty.
    pub(crate) fn object() -> Self {
        Self::Json(Value::Object(Map::new()))
    }

    /// An object of those members that are not null: AWS leaves out what has no value.
    pub(crate) fn of<const N: usize>(members: [(&str, Value); N]) -> Self {
        Self::Json(members_of(members))
    }

    /// The media type of the body, if there is one.
    pub(crate) const fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Json(_) | Self::Document(_) => Some("application/json"),
            Self::Lines(_) => Some("application/x-ndjson"),
            Self::Xml(_) => Some("text/xml"),
        }
    }

    pub(crate) fn into_body(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Json(value) => Bytes::from(value.to_string()),
            Self::Document(text) | Self::Lines(text) | Self::Xml(text) => Bytes::from(text),
        }
    }
}

/// What every handler returns.
pub(crate) type Outcome = Result<Answer, Error>;

/// An object of those members that are not null.
pub(crate) fn members_of<const N: usize>(members: [(&str, Value); N]) -> Value {
    let present = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(present.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A timestamp as rest-json has it: seconds since the epoch, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53 for 285,000 years")]
pub(crate) fn seconds(at: Timestamp) -> Value {
    Value::from(at.as_millis() as f64 / 1000.0)
}

/// The value an enumeration has in JSON.
pub(crate) fn word(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// A list with each item turned to JSON.
pub(crate) fn list<T>(items: impl IntoIterator<Item = T>, to_json: impl FnMut(T) -> Value) -> Value {
    Value::Array(items.into_iter().map(to_json).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out() {
        let answer = Answer::of([("a", Value::from("x")), ("b", Value::Null)]);
        assert_eq!(answer.into_body(), r#"{"a":"x"}"#);
        assert_eq!(Answer::object().into_body(), "{}");
        assert_eq!(Answer::Empty.into_body(), "");
    }

    #[test]
    fn timestamps_are_seconds() {
        assert_eq!(seconds(Timestamp(1_700_000_000_123)).to_string(), "1700000000.123");
        assert_eq!(seconds(Timestamp(0)).to_string(), "0.0");
    }
}
