//! Keys that tokens are signed with, as custom authorizers check them (security.md section 6.3).

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{Error, KeyKind, PublicKey, pem};

/// An RSA public key of at least 2048 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// PKCS #1.
    bits: Vec<u8>,
}

impl TokenKey {
    /// Reads a key from PEM (SubjectPublicKeyInfo: `PUBLIC KEY`).
    ///
    /// # Errors
    ///
    /// What is wrong with the PEM; [`Error::WeakKey`] when it is no RSA key, or has fewer than 2048 bits.
    pub fn parse_pem(text: &str) -> Result<Self, Error> {
        let der = pem::decode(text, &["PUBLIC KEY"])?;
        let malformed = |detail: String| Error::MalformedPublicKey(detail);
        let (rest, info) =
            SubjectPublicKeyInfo::from_der(&der).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("there is more behind it".to_owned()));
        }
        let key = PublicKey::of(&info);
        if key.kind != KeyKind::Rsa {
            return Err(Error::WeakKey(key));
        }
        key.check_strength()?;
        Ok(Self { bits: info.subject_public_key.data.to_vec() })
    }

    /// Whether `signature` is this key's over `token`: RSASSA-PKCS1-v1_5 with SHA-256.
    pub fn has_signed(&self, token: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.bits).verify(token, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};

    use super::*;

    #[test]
    fn signatures_are_checked_over_the_token_as_it_is() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let key = TokenKey::parse_pem(&pem::encode("PUBLIC KEY", der.as_ref())).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"token", &mut signature).unwrap();
        assert!(key.has_signed(b"token", &signature));
        assert!(!key.has_signed(b"tokem", &signature));
        assert!(!key.has_signed(b"token", &signature[1..]));
        assert!(!key.has_signed(b"token", b""));
    }

    #[test]
    fn only_rsa_keys_of_2048_bits_count() {
        let elliptic = rcgen::KeyPair::generate().unwrap();
        let der = rcgen::PublicKeyData::subject_public_key_info(&elliptic);
        assert!(matches!(TokenKey::parse_pem(&pem::encode("PUBLIC KEY", &der)), Err(Error::WeakKey(_))));
        assert!(TokenKey::parse_pem("x").is_err());
        assert!(TokenKey::parse_pem(&pem::encode("PUBLIC KEY", b"\x30\x00")).is_err());
        assert!(TokenKey::parse_pem(&pem::encode("CERTIFICATE", &der)).is_err());
    }
}
