//! The client-certificate verifier: the handshake proves that the peer holds the certificate's key, nothing more.
//!
//! A registered device certificate needs no known CA, so there is no chain to build; and on resumption rustls does not call
//! a verifier at all. Hence the certificate, its account and its status are looked up after every handshake. The [`Gate`]
//! only lets a full handshake with a certificate that is known to be bad end with the right TLS alert.

use std::fmt;
use std::io;
use std::sync::Arc;

use fleethaven_pki::Certificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};

/// What is known of a certificate at the time of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Registered and active, or not known yet: the look-up after the handshake decides.
    Proceed,
    /// Certainly not registered: alert `certificate_unknown`.
    Unknown,
    /// Registered, but not active: alert `certificate_revoked`.
    Inactive,
}

/// Asked during full handshakes; must answer at once.
pub trait CertificateGate: Send + Sync {
    /// What is known of this certificate (DER).
    fn check(&self, certificate: &[u8]) -> Gate;
}

/// Accepts any certificate whose key the peer proves to hold, unless the gate knows better.
pub(crate) struct PossessionVerifier {
    provider: Arc<CryptoProvider>,
    gate: Arc<dyn CertificateGate>,
    mandatory: bool,
}

impl PossessionVerifier {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        gate: Arc<dyn CertificateGate>,
        mandatory: bool,
    ) -> Self {
        Self { provider, gate, mandatory }
    }
}

impl fmt::Debug for PossessionVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PossessionVerifier").field("mandatory", &self.mandatory).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.gate.check(end_entity) {
            Gate::Proceed => Ok(ClientCertVerified::assertion()),
            // `Other` is sent as the alert certificate_unknown.
            Gate::Unknown => Err(CertificateError::Other(rustls::OtherError(Arc::new(NotRegistered))).into()),
            Gate::Inactive => Err(CertificateError::Revoked.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = read(cert)?.public_key_bits().map_err(|_| CertificateError::BadEncoding)?;
        let mut candidates = self.provider.signature_verification_algorithms.mapping.iter();
        let algorithms = candidates.find(|(scheme, _)| *scheme == dss.scheme).map_or(&[][..], |(_, all)| all);
        // A TLS 1.2 scheme leaves the curve open: the key fits one of the candidates.
        let proven = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            algorithm.verify_signature(&key, message, dss.signature()).is_ok()
        };
        match algorithms.iter().any(proven) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = read(cert)?.public_key_der().map_err(|_| CertificateError::BadEncoding)?;
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key), dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Reads a client certificate. Not by webpki, which only takes X.509 version 3: a device certificate made without extensions is
/// of version 1, and registration takes it.
fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::parse_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// Whether a handshake failed because the [gate](CertificateGate) did not let the client's certificate pass.
pub fn is_refusal(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidCertificate(CertificateError::Revoked | CertificateError::Other(_))))
}

/// The certificate is not registered in the account.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is not registered")]
struct NotRegistered;
