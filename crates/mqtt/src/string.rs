//! The UTF-8 encoded string of section 1.5.4: checked once, then shared without copying.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;

use fleethaven_types::Utf8Bytes;

/// A UTF-8 string as MQTT carries it.
///
/// Decoded ones are slices of the received frame: cloning costs a reference count, reading as `&str` costs
/// nothing (well-formedness was checked on arrival). A slice keeps the whole receive buffer alive, so
/// [`MqttString::detached`] is for strings that outlive the packet by much, such as client identifiers.
///
/// Strings made with `From` may be longer than 65 535 bytes or hold U+0000; encoding those fails with
/// [`EncodeError::StringTooLong`](crate::EncodeError::StringTooLong) or
/// [`EncodeError::NulInString`](crate::EncodeError::NulInString), never writes them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MqttString(ByteString);

/// Why bytes are not an MQTT string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not well-formed UTF-8 from this byte on [MQTT-1.5.4-1].
    #[error("ill-formed UTF-8 after {valid_up_to} bytes")]
    IllFormed {
        /// How many bytes before it are well-formed.
        valid_up_to: usize,
    },
    /// Holds the null character [MQTT-1.5.4-2].
    #[error("null character at byte {at}")]
    Nul {
        /// Its byte offset.
        at: usize,
    },
    /// Longer than a two byte length can say (section 1.5.4).
    #[error("{len} bytes are more than 65535")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl MqttString {
    /// The empty string.
    pub const fn empty() -> Self {
        Self(ByteString::new())
    }

    /// A string that needs no allocation.
    pub const fn from_static(text: &'static str) -> Self {
        Self(ByteString::from_static(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes of the text, sharing its memory.
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    /// A copy in memory of its own, which keeps no receive buffer alive.
    pub fn detached(&self) -> Self {
        Self::from(self.as_str())
    }
}

impl TryFrom<Bytes> for MqttString {
    type Error = Error;

    fn try_from(bytes: Bytes) -> Result<Self, Error> {
        let len = bytes.len();
        if len > usize::from(u16::MAX) {
            return Err(Error::TooLong { len });
        }
        // `contains` searches by the word; the position matters only once there is one.
        if bytes.contains(&0) {
            let at = bytes.iter().position(|byte| *byte == 0).unwrap_or_default();
            return Err(Error::Nul { at });
        }
        ByteString::try_from(bytes)
            .map(Self)
            .map_err(|error| Error::IllFormed { valid_up_to: error.valid_up_to() })
    }
}

impl From<&str> for MqttString {
    fn from(text: &str) -> Self {
        Self(ByteString::from(text))
    }
}

impl From<String> for MqttString {
    fn from(text: String) -> Self {
        Self(ByteString::from(text))
    }
}

impl From<Utf8Bytes> for MqttString {
    fn from(text: Utf8Bytes) -> Self {
        Self(text.into())
    }
}

impl From<MqttString> for Utf8Bytes {
    fn from(text: MqttString) -> Self {
        text.0.into()
    }
}

impl Deref for MqttString {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for MqttString {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for MqttString {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for MqttString {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for MqttString {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for MqttString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MqttString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_the_memory_it_was_made_from() {
        let bytes = Bytes::from(b"room/1".to_vec());
        let text = MqttString::try_from(bytes.clone()).unwrap();
        assert_eq!(text, "room/1");
        assert_eq!(text.as_str().as_ptr(), bytes.as_ptr());
        assert_ne!(text.detached().as_str().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn refuses_what_mqtt_refuses() {
        let refused = |bytes: &[u8]| MqttString::try_from(Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(refused(b"a\0"), Error::Nul { at: 1 });
        assert_eq!(refused(b"ab\xff"), Error::IllFormed { valid_up_to: 2 });
        assert_eq!(refused(b"\xed\xa0\x80"), Error::IllFormed { valid_up_to: 0 }, "a surrogate");
        assert_eq!(refused(&[b'a'; 65_536]), Error::TooLong { len: 65_536 });
    }

    #[test]
    fn keeps_a_byte_order_mark() {
        let text = MqttString::try_from(Bytes::from_static(b"\xef\xbb\xbfa")).unwrap();
        assert_eq!(text, "\u{feff}a", "[MQTT-1.5.4-3]");
    }
}
