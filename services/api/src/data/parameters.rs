//! The MQTT 5 parameters of an HTTPS publish: query members and `x-amz-mqtt5-…` headers (broker.md section
//! 15).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_topics::name;
use fleethaven_types::{Limits, MessageProperties, QoS, Timestamp, Utf8Bytes};
use http::HeaderMap;
use serde_json::Value;

use crate::error::Error;
use crate::input::Input;

const USER_PROPERTIES: &str = "x-amz-mqtt5-user-properties";
const PAYLOAD_FORMAT: &str = "x-amz-mqtt5-payload-format-indicator";
const CORRELATION_DATA: &str = "x-amz-mqtt5-correlation-data";

/// What an HTTPS publish says beside its topic and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// How the message is to be delivered.
    pub qos: QoS,
    /// When it is dropped; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// What travels with it; `None` when the request has none.
    pub properties: Option<Box<MessageProperties>>,
}

impl Parameters {
    /// Reads a request of this query (what follows the `?`), these headers and this body.
    ///
    /// # Errors
    /// The message of AWS's InvalidRequestException.
    pub fn read(
        (query, headers, payload): (&str, HeaderMap, Bytes),
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Self, String> {
        let read = || {
            let input = Input::new(Vec::new(), query, headers, payload)?;
            Ok(Self {
                qos: qos(&input)?,
                expires_at: expires_at(&input, now, limits)?,
                properties: properties(&input, &input.body, limits)?,
            })
        };
        read().map_err(|error: Error| error.to_string())
    }
}

/// `qos`: 0 (default) or 1.
pub(super) fn qos(input: &Input) -> Result<QoS, Error> {
    match input.query("qos") {
        None | Some("0") => Ok(QoS::AtMostOnce),
        Some("1") => Ok(QoS::AtLeastOnce),
        Some(_) => Err(Error::invalid("'qos' must be 0 or 1")),
    }
}

/// When the message expires: `messageExpiry` seconds from `now`, or the longest that is allowed.
pub(super) fn expires_at(input: &Input, now: Timestamp, limits: &Limits) -> Result<Option<Timestamp>, Error> {
    let seconds: Option<u32> = input.query_integer("messageExpiry")?;
    let most = match limits.message_expiry_max {
        0 => u32::MAX,
        most => most,
    };
    Ok(seconds.map(|seconds| now.after(Duration::from_secs(seconds.min(most).into()))))
}

/// The properties that travel with the message; `None` when the request has none.
pub(super) fn properties(
    input: &Input,
    payload: &Bytes,
    limits: &Limits,
) -> Result<Option<Box<MessageProperties>>, Error> {
    let properties = MessageProperties {
        payload_is_utf8: payload_is_utf8(input, payload)?,
        content_type: input.query("contentType").map(text).transpose()?,
        response_topic: response_topic(input, limits)?,
        correlation_data: correlation_data(input)?,
        user_properties: user_properties(input, limits)?,
    };
    check_sizes(&properties, limits)?;
    Ok((properties != MessageProperties::default()).then(|| Box::new(properties)))
}

fn check_sizes(properties: &MessageProperties, limits: &Limits) -> Result<(), Error> {
    let sizes = [
        ("contentType", properties.content_type.as_ref().map(|text| text.len()), limits.content_type_bytes),
        (
            "responseTopic",
            properties.response_topic.as_ref().map(|text| text.len()),
            limits.response_topic_bytes,
        ),
        (
            "correlationData",
            properties.correlation_data.as_ref().map(Bytes::len),
            limits.correlation_data_bytes,
        ),
    ];
    match sizes.iter().find(|(_, size, most)| size.is_some_and(|size| size > *most)) {
        Some((name, _, most)) => Err(Error::invalid(format!("'{name}' is larger than {most} bytes"))),
        None => Ok(()),
    }
}

fn payload_is_utf8(input: &Input, payload: &[u8]) -> Result<Option<bool>, Error> {
    match input.header(PAYLOAD_FORMAT)? {
        None => Ok(None),
        Some("UNSPECIFIED_BYTES") => Ok(Some(false)),
        Some("UTF8_DATA") if std::str::from_utf8(payload).is_ok() => Ok(Some(true)),
        Some("UTF8_DATA") => Err(Error::invalid("the payload is declared to be UTF-8 and is not")),
        Some(_) => Err(Error::invalid("'payloadFormatIndicator' must be UNSPECIFIED_BYTES or UTF8_DATA")),
    }
}

fn response_topic(input: &Input, limits: &Limits) -> Result<Option<Utf8Bytes>, Error> {
    let Some(topic) = input.query("responseTopic") else { return Ok(None) };
    name::validate(topic, limits).map_err(|error| Error::invalid(format!("'responseTopic': {error}")))?;
    Ok(Some(topic.into()))
}

fn correlation_data(input: &Input) -> Result<Option<Bytes>, Error> {
    let decode = |text| base64(CORRELATION_DATA, text).map(Bytes::from);
    input.header(CORRELATION_DATA)?.map(decode).transpose()
}

/// Base64 of a JSON array of objects with one member each, whose order is kept.
fn user_properties(input: &Input, limits: &Limits) -> Result<Vec<(Utf8Bytes, Utf8Bytes)>, Error> {
    let Some(encoded) = input.header(USER_PROPERTIES)? else { return Ok(Vec::new()) };
    let malformed =
        || Error::invalid("'userProperties' must be a JSON array of objects with one string each");
    let mut json: Value =
        serde_json::from_slice(&base64(USER_PROPERTIES, encoded)?).map_err(|_| malformed())?;
    // AWS's page calls the member "a JSON string", and SDKs encode whatever they are given once more.
    if let Value::String(inner) = &json {
        json = serde_json::from_str(inner).map_err(|_| malformed())?;
    }
    let mut properties = Vec::new();
    let mut bytes = 0;
    for item in json.as_array().ok_or_else(malformed)? {
        let mut members = item.as_object().ok_or_else(malformed)?.iter();
        let (Some((key, Value::String(value))), None) = (members.next(), members.next()) else {
            return Err(malformed());
        };
        bytes += key.len() + value.len();
        properties.push((text(key)?, text(value)?));
    }
    let most = limits.user_property_bytes;
    if bytes > most {
        return Err(Error::invalid(format!("'userProperties' of {bytes} bytes are larger than {most}")));
    }
    Ok(properties)
}

/// An MQTT string: without U+0000 [MQTT-1.5.4-2], and of at most 65,535 bytes.
fn text(text: &str) -> Result<Utf8Bytes, Error> {
    if text.contains('\0') || text.len() > usize::from(u16::MAX) {
        return Err(Error::invalid("a property is no MQTT string: it has a null character or 65,536 bytes"));
    }
    Ok(text.into())
}

fn base64(name: &str, text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::invalid(format!("the header '{name}' is not base64")))
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Profile;
    use http::HeaderValue;

    use super::*;

    fn input(query: &str, headers: &[(&'static str, &str)]) -> Input {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Input::new(Vec::new(), query, map, Bytes::new()).unwrap()
    }

    fn read(input: &Input) -> Result<Option<Box<MessageProperties>>, Error> {
        properties(input, &Bytes::from_static(b"{}"), &Limits::of(Profile::Standard))
    }

    #[test]
    fn user_properties_keep_their_order() {
        let json = r#"[{"b":"1"},{"a":"2"},{"b":"3"}]"#;
        for json in [json.to_owned(), Value::from(json).to_string()] {
            let encoded = STANDARD.encode(json);
            let found = read(&input("", &[(USER_PROPERTIES, &encoded)])).unwrap().unwrap();
            let pairs: Vec<_> = found.user_properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(pairs, [("b", "1"), ("a", "2"), ("b", "3")]);
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for json in [r#"{"a":"1"}"#, r#"[{"a":"1","b":"2"}]"#, r#"[{}]"#, r#"[{"a":1}]"#, "[", "[\"a\"]"] {
            let encoded = STANDARD.encode(json);
            assert!(read(&input("", &[(USER_PROPERTIES, &encoded)])).is_err(), "{json}");
        }
        assert!(read(&input("", &[(USER_PROPERTIES, "%%%")])).is_err());
        assert!(read(&input("", &[(CORRELATION_DATA, "%")])).is_err());
        assert!(read(&input("", &[(PAYLOAD_FORMAT, "TEXT")])).is_err());
        assert!(read(&input("responseTopic=a/%2B", &[])).is_err());
        assert!(read(&input("contentType=a%00", &[])).is_err());
        assert!(qos(&input("qos=2", &[])).is_err());
        assert!(
            expires_at(&input("messageExpiry=-1", &[]), Timestamp(0), &Limits::of(Profile::Standard))
                .is_err()
        );
    }

    #[test]
    fn sizes_are_bounded() {
        let limits = Limits {
            content_type_bytes: 3,
            response_topic_bytes: 3,
            correlation_data_bytes: 3,
            ..Limits::of(Profile::Standard)
        };
        let fits = |input: &Input| properties(input, &Bytes::new(), &limits).is_ok();
        for (size, expected) in [(2, true), (3, true), (4, false)] {
            let text = "x".repeat(size);
            assert_eq!(fits(&input(&format!("contentType={text}"), &[])), expected, "{size}");
            assert_eq!(fits(&input(&format!("responseTopic={text}"), &[])), expected, "{size}");
            let encoded = STANDARD.encode(&text);
            assert_eq!(fits(&input("", &[(CORRELATION_DATA, &encoded)])), expected, "{size}");
        }
    }

    #[test]
    fn what_is_absent_stays_absent() {
        assert_eq!(read(&input("qos=1&retain=true", &[])).unwrap(), None);
        assert_eq!(qos(&input("qos=1", &[])).unwrap(), QoS::AtLeastOnce);
        let limits = Limits { message_expiry_max: 10, ..Limits::of(Profile::Standard) };
        assert_eq!(expires_at(&input("", &[]), Timestamp(5), &limits).unwrap(), None);
        let capped = expires_at(&input("messageExpiry=60", &[]), Timestamp(5), &limits).unwrap();
        assert_eq!(capped, Some(Timestamp(10_005)));
    }
}
