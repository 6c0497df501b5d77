//! The key pair that `CreateKeysAndCertificate` and its MQTT twin hand to a device.

use std::fmt;

use rcgen::{KeyPair, PKCS_RSA_SHA256};
use x509_parser::asn1_rs::{Any, FromDer};

use crate::{Error, SigningRequest, pem};

/// An RSA-2048 key pair, in the two forms AWS returns.
#[derive(Clone)]
pub struct DeviceKey {
    /// PKCS #1: `-----BEGIN RSA PRIVATE KEY-----`. Secret; given to the device once and never stored.
    pub private_key_pem: String,
    /// SubjectPublicKeyInfo: `-----BEGIN PUBLIC KEY-----`.
    pub public_key_pem: String,
    request: SigningRequest,
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKey").field("public_key", &self.public_key_pem).finish_non_exhaustive()
    }
}

impl DeviceKey {
    /// Makes a key with the crypto library's own generator. Takes some tens of milliseconds or more: call it
    /// off the async threads.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`].
    pub fn generate() -> Result<Self, Error> {
        let key =
            KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|error| Error::Crypto(error.to_string()))?;
        let pkcs1 = unwrap_pkcs8(key.serialized_der())
            .ok_or_else(|| Error::Crypto("generated key is not PKCS #8".into()))?;
        Ok(Self {
            private_key_pem: pem::encode("RSA PRIVATE KEY", pkcs1),
            public_key_pem: key.public_key_pem(),
            request: SigningRequest::unnamed(&key)?,
        })
    }

    /// A request for a certificate of this key with the default subject.
    pub fn signing_request(&self) -> &SigningRequest {
        &self.request
    }
}

/// The key inside `SEQUENCE { INTEGER, AlgorithmIdentifier, OCTET STRING }`.
fn unwrap_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let (_, outer) = Any::from_der(der).ok()?;
    let (rest, _version) = Any::from_der(outer.data).ok()?;
    let (rest, _algorithm) = Any::from_der(rest).ok()?;
    let (_, key) = Any::from_der(rest).ok()?;
    Some(key.data)
}
