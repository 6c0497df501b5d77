//! What a peer's certificate must be: issued by a trusted CA, within its validity, for a service of this cluster.

use std::sync::Arc;

use fleethaven_pki::{Certificate, ServiceIdentity, ServiceRole};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

/// The CAs of a cluster.
#[derive(Debug)]
pub(super) struct Trust {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    clients: Arc<dyn ClientCertVerifier>,
    cluster: String,
}

impl Trust {
    pub(super) fn new(
        roots: RootCertStore,
        cluster: &str,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { roots, algorithms, clients, cluster: cluster.to_owned() })
    }

    /// Checks a peer's chain, its own certificate first, and tells who it is.
    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ServiceIdentity, Error> {
        let (first, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.clients.verify_client_cert(first, intermediates, now)?;
        self.identity(first)
    }

    fn identity(&self, certificate: &CertificateDer<'_>) -> Result<ServiceIdentity, Error> {
        let parsed = Certificate::parse_der(certificate).map_err(refused)?;
        let identity = ServiceIdentity::of(&parsed).map_err(refused)?;
        match identity.cluster() == self.cluster {
            true => Ok(identity),
            false => Err(refused(Stranger::Cluster(identity.to_string()))),
        }
    }
}

/// A peer with a valid certificate that is not the one wanted.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("the peer is {0}, of another cluster")]
    Cluster(String),
    #[error("the peer is {0}, not a {1}")]
    Role(String, ServiceRole),
}

fn refused(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(reason))).into()
}

/// A server that is connected to must be of the role wanted.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) trust: Arc<Trust>,
    pub(super) role: ServiceRole,
}

impl ServerCertVerifier for Server {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let Trust { roots, algorithms, .. } = &*self.trust;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms.all)?;
        let identity = self.trust.identity(certificate)?;
        match identity.role() == self.role {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(refused(Stranger::Role(identity.to_string(), self.role))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

/// A client must be a service of the cluster; what it may call depends on its role.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) trust: Arc<Trust>,
}

impl ClientCertVerifier for Client {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.trust.clients.verify_client_cert(certificate, intermediates, now)?;
        self.trust.identity(certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.clients.supported_verify_schemes()
    }
}

fn only_tls13() -> Error {
    Error::General("services speak TLS 1.3 only".to_owned())
}
