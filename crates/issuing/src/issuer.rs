//! One certificate, whichever way.

use fleethaven_pki::{Authority, Certificate, ExternalAuthority, Serial, SigningRequest};
use fleethaven_registry::shapes::{IssuingCa, IssuingKey};
use uuid::Uuid;

use crate::signer::{Signer, SignerError};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA or the request cannot be used.
    #[error(transparent)]
    Pki(#[from] fleethaven_pki::Error),
    /// The CA's key is with an external signer, and this process knows none.
    #[error(
        "the key of the account's issuing CA is with an external signer, and none is set: --issuing-signer"
    )]
    NoSigner,
    /// The CA's key is sealed under a key that the metadata store does not have.
    #[error(
        "the private key of the account's issuing CA is sealed under {0}, which the metadata store does not have: give it that key by \
         --issuing-key-file, or the account another CA by `fleethaven issuing-ca put`"
    )]
    Sealed(String),
    /// The signer does not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The process is shutting down.
    #[error("making a certificate was broken off")]
    BrokenOff,
}

/// Issues certificates.
#[derive(Debug, Default)]
pub struct Issuer {
    signer: Option<Signer>,
}

impl Issuer {
    /// Issues by keys that are here, and with `signer` by those that are not.
    pub fn new(signer: Option<Signer>) -> Self {
        Self { signer }
    }

    /// The certificate of `ca` for a request, from `now` to `not_after` (unix seconds).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn issue(
        &self,
        ca: IssuingCa,
        request: SigningRequest,
        (now, not_after): (u64, u64),
    ) -> Result<Certificate, Error> {
        let serial = Serial(Uuid::new_v4().into_bytes());
        match ca.key {
            IssuingKey::PrivateKeyPem(key) => {
                // Off the threads that serve connections: a signature takes a core for a while.
                let made = tokio::task::spawn_blocking(move || {
                    let authority = Authority::from_pem(&ca.certificate_pem, &key.0)?;
                    authority.issue_device_until(&request, serial, (now, not_after))
                });
                Ok(made.await.map_err(|_| Error::BrokenOff)??)
            }
            IssuingKey::SealedKey(sealed) => Err(Error::Sealed(sealed.under)),
            IssuingKey::ExternalKey(key) => {
                let signer = self.signer.as_ref().ok_or(Error::NoSigner)?;
                let authority = ExternalAuthority::from_pem(&ca.certificate_pem)?;
                let unsigned = authority.device(&request, serial, (now, not_after))?;
                let signature = signer.sign(&key, unsigned.digest()).await?;
                Ok(unsigned.signed(&signature).map_err(SignerError::AnotherKey)?)
            }
        }
    }
}
