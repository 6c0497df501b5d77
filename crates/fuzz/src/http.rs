//! What an HTTPS publish says in its query and headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_api::data::Parameters;
use fleethaven_types::{Limits, MessageProperties, Profile, QoS, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::lines;

const NOW: Timestamp = Timestamp(1_440_938_160_000);

/// Lines: query, payload, then headers. What was read is within the limits, and reads the same when it is written again.
pub(crate) fn publish(data: &[u8]) {
    let lines = lines(data, 24);
    let [query, payload, headers @ ..] = &lines[..] else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let payload = Bytes::copy_from_slice(payload);
    for profile in [Profile::Standard, Profile::Aws] {
        let limits = Limits::of(profile);
        let headers = headers.iter().filter_map(|line| header(line)).collect();
        let Ok(read) = Parameters::read((query, headers, payload.clone()), NOW, &limits) else { continue };
        assert!(read.qos <= QoS::AtLeastOnce);
        assert!(read.expires_at.is_none_or(|at| at >= NOW));
        let properties = read.properties.unwrap_or_default();
        check_sizes(&properties, &limits);
        let (query, headers) = written(&properties);
        let again = Parameters::read((&query, headers, payload.clone()), NOW, &limits);
        assert_eq!(again.unwrap().properties.unwrap_or_default(), properties);
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
}

fn check_sizes(properties: &MessageProperties, limits: &Limits) {
    let size = |text: &Option<fleethaven_types::Utf8Bytes>| text.as_ref().map_or(0, |text| text.len());
    assert!(size(&properties.content_type) <= limits.content_type_bytes);
    assert!(size(&properties.response_topic) <= limits.response_topic_bytes);
    assert!(properties.correlation_data.as_ref().map_or(0, Bytes::len) <= limits.correlation_data_bytes);
    let pairs = &properties.user_properties;
    assert!(
        pairs.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() <= limits.user_property_bytes
    );
}

/// A query and headers that say this.
fn written(properties: &MessageProperties) -> (String, HeaderMap) {
    let members = [("contentType", &properties.content_type), ("responseTopic", &properties.response_topic)];
    let members = members.into_iter().filter_map(|(name, text)| {
        Some(format!("{name}={}", utf8_percent_encode(text.as_ref()?, NON_ALPHANUMERIC)))
    });
    let mut headers = HeaderMap::new();
    let mut put = |name, value: &str| drop(headers.insert(name, HeaderValue::from_str(value).unwrap()));
    if let Some(is_utf8) = properties.payload_is_utf8 {
        let value = if is_utf8 { "UTF8_DATA" } else { "UNSPECIFIED_BYTES" };
        put("x-amz-mqtt5-payload-format-indicator", value);
    }
    if let Some(correlation_data) = &properties.correlation_data {
        put("x-amz-mqtt5-correlation-data", &STANDARD.encode(correlation_data));
    }
    if !properties.user_properties.is_empty() {
        let pairs = properties.user_properties.iter();
        let pairs: Vec<Value> = pairs.map(|(key, value)| json!({ key.as_str(): value.as_str() })).collect();
        put("x-amz-mqtt5-user-properties", &STANDARD.encode(Value::from(pairs).to_string()));
    }
    (members.collect::<Vec<_>>().join("&"), headers)
}
