//! What kind of key a certificate or a CSR carries, and how strong it is.

use std::fmt;

use x509_parser::x509::SubjectPublicKeyInfo;

use crate::Error;

/// The kind and size of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey {
    /// The kind.
    pub kind: KeyKind,
    /// Length of the modulus or of the curve's field, in bits; 0 for kinds we do not know.
    pub bits: usize,
}

/// The kinds of keys we tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// DSA.
    Dsa,
    /// Any other.
    Other,
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            KeyKind::Rsa => write!(f, "an RSA key of {} bits", self.bits),
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => write!(f, "a key on NIST P-{}", self.bits),
            KeyKind::Dsa => f.write_str("a DSA key"),
            KeyKind::Other => f.write_str("a key of another kind or curve"),
        }
    }
}

impl PublicKey {
    pub(crate) fn of(info: &SubjectPublicKeyInfo<'_>) -> Self {
        match info.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => Self { kind: KeyKind::Rsa, bits: rsa_bits(info) },
            "1.2.840.10045.2.1" => Self::on_curve(info),
            "1.2.840.10040.4.1" => Self { kind: KeyKind::Dsa, bits: 0 },
            _ => Self { kind: KeyKind::Other, bits: 0 },
        }
    }

    fn on_curve(info: &SubjectPublicKeyInfo<'_>) -> Self {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let (kind, bits) = match curve.map(|oid| oid.to_id_string()).as_deref() {
            Some("1.2.840.10045.3.1.7") => (KeyKind::P256, 256),
            Some("1.3.132.0.34") => (KeyKind::P384, 384),
            Some("1.3.132.0.35") => (KeyKind::P521, 521),
            _ => (KeyKind::Other, 0),
        };
        Self { kind, bits }
    }

    /// The rule for CSRs: RSA of at least 2048 bits, or a NIST curve of 256, 384 or 521 bits.
    pub(crate) fn check_strength(self) -> Result<(), Error> {
        match self.kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => Ok(()),
            KeyKind::Rsa if self.bits >= 2048 => Ok(()),
            _ => Err(Error::WeakKey(self)),
        }
    }
}

fn rsa_bits(info: &SubjectPublicKeyInfo<'_>) -> usize {
    let Ok(x509_parser::public_key::PublicKey::RSA(key)) = info.parsed() else { return 0 };
    let mut significant = key.modulus.iter().skip_while(|byte| **byte == 0);
    let Some(top) = significant.next() else { return 0 };
    let top_bits = 8 - top.leading_zeros() as usize;
    significant.count() * 8 + top_bits
}
