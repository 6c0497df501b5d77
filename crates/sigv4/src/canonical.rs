//! The canonical request, the string to sign and the signing key ("Create a signed AWS API request", IAM
//! guide).

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::{ALGORITHM, request::RequestParts};

/// What a signer writes in place of the body's hash when the body is not signed.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The SHA-256 of the request's body, or the absence of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadHash {
    /// The hash of the whole body.
    Sha256([u8; 32]),
    /// The body takes no part in the signature (`UNSIGNED-PAYLOAD`).
    Unsigned,
}

impl PayloadHash {
    /// The hash of this body; of `b""` when there is none.
    pub fn of(body: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(body).into())
    }

    /// As it stands in the canonical request and in `X-Amz-Content-Sha256`.
    pub fn text(&self) -> String {
        match self {
            Self::Sha256(hash) => hex::encode(hash),
            Self::Unsigned => UNSIGNED_PAYLOAD.to_owned(),
        }
    }
}

/// One reading of a request, every part already in canonical form.
#[derive(Clone, Copy)]
pub(crate) struct Canonical<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) query: &'a str,
    /// `name:value\n` of each signed header.
    pub(crate) headers: &'a [u8],
    /// Names joined by `;`.
    pub(crate) signed_headers: &'a str,
    pub(crate) payload: &'a str,
}

impl Canonical<'_> {
    fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for part in [self.method.as_bytes(), self.uri.as_bytes(), self.query.as_bytes(), self.headers] {
            sha.update(part);
            sha.update(b"\n");
        }
        sha.update(self.signed_headers);
        sha.update(b"\n");
        sha.update(self.payload);
        hex::encode(sha.finalize())
    }

    /// The text the signing key signs. `scope` is `date/region/service/aws4_request`.
    pub(crate) fn string_to_sign(&self, amz_date: &str, scope: &str) -> String {
        format!("{ALGORITHM}\n{amz_date}\n{scope}\n{}", self.hash())
    }
}

/// `name:value\n` of each signed header, in the order given; `None` when the request lacks one.
///
/// `host` stands in for the value of the `host` header.
pub(crate) fn canonical_headers(
    request: &RequestParts<'_>,
    signed: &[String],
    host: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for name in signed {
        let values: Vec<Vec<u8>> = match host {
            Some(host) if name == "host" => vec![collapse(host)],
            _ => request.header_values(name).map(collapse).collect(),
        };
        if values.is_empty() {
            return None;
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(&values.join(&b','));
        out.push(b'\n');
    }
    Some(out)
}

/// Trims the value and turns every run of white space within it into one space.
fn collapse(value: &[u8]) -> Vec<u8> {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// The key that signs requests of one day, region and service.
pub(crate) struct SigningKey([u8; 32]);

impl SigningKey {
    pub(crate) fn derive(secret: &str, day: &str, region: &str, service: &str) -> Self {
        let first = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
        let key = [region, service, "aws4_request"]
            .iter()
            .fold(first, |key, part| hmac(&key.finalize().into_bytes(), part.as_bytes()));
        Self(key.finalize().into_bytes().into())
    }

    /// The signature, in lower-case hex.
    pub(crate) fn sign(&self, string_to_sign: &str) -> String {
        hex::encode(hmac(&self.0, string_to_sign.as_bytes()).finalize().into_bytes())
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, string_to_sign: &str, signature: &[u8]) -> bool {
        hmac(&self.0, string_to_sign.as_bytes()).verify_slice(signature).is_ok()
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC key of any length");
    mac.update(data);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_the_key_of_the_iam_guide() {
        let key =
            SigningKey::derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
        assert_eq!(hex::encode(key.0), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn values_are_trimmed_and_collapsed() {
        assert_eq!(collapse(b"  \"a   b \t c\" "), b"\"a b c\"");
        assert_eq!(collapse(b"   "), b"");
    }
}
