//! The id under which AWS IoT knows a certificate.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::Error;

/// SHA-256 of the certificate's DER; 64 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId([u8; 32]);

impl CertificateId {
    /// The id of the certificate with this DER.
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The id with these bytes, as [`Self::as_bytes`] gave them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes upper-case digits and a leading `0x` too, as the API's pattern `(0x)?[a-fA-F0-9]+` does.
impl FromStr for CertificateId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 32];
        let digits = text.strip_prefix("0x").unwrap_or(text);
        match hex::decode_to_slice(digits, &mut id) {
            Ok(()) => Ok(Self(id)),
            Err(_) => Err(Error::CertificateId(text.chars().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id = CertificateId::of_der(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(id.to_string(), text);
        for form in [text.to_owned(), text.to_uppercase(), format!("0x{text}")] {
            assert_eq!(form.parse(), Ok(id));
        }
        for wrong in ["", "0x", "e3", &text[1..], &text.replace('e', "g")] {
            assert!(wrong.parse::<CertificateId>().is_err(), "{wrong}");
        }
    }
}
