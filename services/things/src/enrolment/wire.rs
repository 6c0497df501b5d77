//! Requests and answers as JSON and as CBOR: the same members, by the same names.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// How a client writes, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 8259.
    Json,
    /// RFC 8949; member names are text strings.
    Cbor,
}

impl Format {
    /// The format that the last level of a topic names.
    pub(crate) fn of(level: &str) -> Option<Self> {
        match level {
            "json" => Some(Self::Json),
            "cbor" => Some(Self::Cbor),
            _ => None,
        }
    }

    /// Reads exactly one object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, String> {
        let members: Map<String, Value> = match self {
            Self::Json => serde_json::from_slice(payload).map_err(|error| error.to_string())?,
            Self::Cbor => {
                let mut rest = payload;
                let members = ciborium::from_reader(&mut rest).map_err(|error| described(&error))?;
                if !rest.is_empty() {
                    return Err("bytes follow the value".to_owned());
                }
                members
            }
        };
        serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
    }

    /// Writes a value.
    pub(crate) fn write(self, value: &Value) -> Vec<u8> {
        match self {
            Self::Json => value.to_string().into_bytes(),
            Self::Cbor => {
                let mut bytes = Vec::new();
                // A vector takes everything, and JSON has nothing that CBOR has not.
                let _ = ciborium::into_writer(value, &mut bytes);
                bytes
            }
        }
    }
}

/// As the client is told; the library's own texts are made for programmers.
fn described(error: &ciborium::de::Error<std::io::Error>) -> String {
    match error {
        ciborium::de::Error::Io(_) => "the value ends too early".to_owned(),
        ciborium::de::Error::Syntax(at) => format!("no CBOR at byte {at}"),
        ciborium::de::Error::Semantic(_, reason) => reason.clone(),
        ciborium::de::Error::RecursionLimitExceeded => "values are nested too deep".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn both_say_the_same() {
        let value = json!({"thingName": "lamp", "deviceConfiguration": {"a": "1"}, "statusCode": 400});
        for format in [Format::Json, Format::Cbor] {
            assert_eq!(format.read::<Value>(&format.write(&value)), Ok(value.clone()));
        }
        // {"a": "b"} with a text of indefinite length, as small devices write it.
        let cbor = b"\xbf\x61a\x7f\x61b\xff\xff";
        let read: BTreeMap<String, String> = Format::Cbor.read(cbor).unwrap();
        assert_eq!(read, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"\xff", b"\xa1", b"\xa0\xa0", b"\x80", b"{", b"{}{}", b"[]"] {
            for format in [Format::Json, Format::Cbor] {
                assert!(format.read::<BTreeMap<String, String>>(garbage).is_err(), "{format:?} {garbage:?}");
            }
        }
        let nested = [&b"\xa1\x61a"[..], &[0x81; 10_000]].concat();
        assert_eq!(Format::Cbor.read::<Value>(&nested), Err("values are nested too deep".to_owned()));
        assert!(Format::Json.read::<Value>(format!(r#"{{"a":{}"#, "[".repeat(10_000)).as_bytes()).is_err());
        let long = b"\xa1\x61a\x9b\xff\xff\xff\xff\xff\xff\xff\xff";
        assert!(Format::Cbor.read::<Value>(long).is_err(), "an array that is told to be long");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [Format::Json, Format::Cbor] {
                let _ = format.read::<Value>(&bytes);
                let _ = format.read::<BTreeMap<String, String>>(&bytes);
            }
        }
    }
}
