//! Connections for what speaks no HTTP: in the clear, or by TLS with the same certificate authorities.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::client::OutboundError;
use crate::connect::Connector;

/// A connection in the clear, or by TLS.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Whom connections by TLS trust, and who we are there, where that is not the same for all.
#[derive(Default)]
pub struct Trust {
    /// The certificate authorities, instead of those of the system and the operator; none: those.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What servers are shown that ask for a certificate.
    pub identity: Option<Identity>,
}

impl Trust {
    /// Reads PEM: certificate authorities, and a certificate with its chain and with its key, which is not encrypted.
    ///
    /// # Errors
    /// When there is no certificate or no key in it, or one that cannot be used; for people.
    pub fn from_pem(authorities: Option<&str>, identity: Option<(&str, &str)>) -> Result<Self, String> {
        let trust = Self {
            authorities: authorities.map(certificates).transpose()?.unwrap_or_default(),
            identity: identity.map(|(chain, key)| Identity::from_pem(chain, key)).transpose()?,
        };
        // What cannot be used is told here, and not when a connection is opened.
        client_config(Arc::new(roots(&trust.authorities)?), trust.identity.as_ref())?;
        Ok(trust)
    }
}

/// A certificate with its chain, and its key.
pub struct Identity {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    fn from_pem(chain: &str, key: &str) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|_| "there is no PEM key that is not encrypted".to_owned())?;
        Ok(Self { chain: certificates(chain)?, key })
    }
}

/// The certificates in PEM, at least one.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| format!("certificates in PEM cannot be read: {error}"))?;
    if read.is_empty() { Err("there is no certificate in PEM".to_owned()) } else { Ok(read) }
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let unusable = |error| format!("a certificate authority cannot be used: {error}");
        roots.add(authority.clone()).map_err(unusable)?;
    }
    Ok(roots)
}

/// Opens connections to what passes the [`AddressGuard`](crate::AddressGuard).
#[derive(Clone)]
pub struct Dialer {
    connector: Connector,
    roots: Arc<RootCertStore>,
    tls: Arc<ClientConfig>,
}

impl Dialer {
    pub(crate) fn new(connector: Connector, roots: RootCertStore) -> Result<Self, String> {
        let roots = Arc::new(roots);
        let tls = client_config(roots.clone(), None)?;
        Ok(Self { connector, roots, tls: Arc::new(tls) })
    }

    /// Connections with the same guard, by TLS that trusts somebody else or shows a certificate.
    ///
    /// # Errors
    /// When a certificate or the key cannot be used; for people.
    pub fn trusting(&self, trust: &Trust) -> Result<Self, String> {
        let Trust { authorities, identity } = trust;
        if authorities.is_empty() && identity.is_none() {
            return Ok(self.clone());
        }
        let roots = match authorities.is_empty() {
            true => self.roots.clone(),
            false => Arc::new(roots(authorities)?),
        };
        let tls = client_config(roots.clone(), identity.as_ref())?;
        Ok(Self { connector: self.connector.clone(), roots, tls: Arc::new(tls) })
    }

    /// A connection to `host`, a name or an address; `secured`: by TLS, with a certificate for that name.
    ///
    /// # Errors
    /// [`OutboundError`]: `Refused`, `Unreachable`, or `Broken` when no TLS comes about.
    pub async fn open(&self, host: &str, port: u16, secured: bool) -> Result<Stream, OutboundError> {
        let stream = self.tcp(host, port, secured).await?;
        if !secured {
            return Ok(Either::Left(stream));
        }
        let stream = self.secure(host, stream).await;
        stream
            .map(|stream| Either::Right(Box::new(stream)))
            .map_err(|error| OutboundError::Broken(error.to_string()))
    }

    /// A TCP connection. `secured`: whoever asks [makes it secure](Self::secure); otherwise only addresses that an operator
    /// has named are connected to.
    ///
    /// # Errors
    /// [`OutboundError`]: `Refused` or `Unreachable`.
    pub async fn tcp(&self, host: &str, port: u16, secured: bool) -> Result<TcpStream, OutboundError> {
        self.connector.connect_to(host, port, secured).await.map_err(|error| OutboundError::from(&error))
    }

    /// An address that `host` stands for and that may be called, for a client that connects by itself.
    ///
    /// # Errors
    /// [`OutboundError`]: `Refused` or `Unreachable`.
    pub async fn address(&self, host: &str, port: u16, secured: bool) -> Result<SocketAddr, OutboundError> {
        let resolved = self.connector.resolve(host, port, secured).await;
        let addresses = resolved.map_err(|error| OutboundError::from(&error))?;
        addresses.first().copied().ok_or_else(|| OutboundError::Refused(format!("'{host}' names no host")))
    }

    /// TLS over a stream, with a certificate for `host`.
    ///
    /// # Errors
    /// Those of the handshake.
    pub async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.tls.clone()).connect(name, stream).await
    }

    /// Connections over TCP, for a client that makes its own TLS.
    pub(crate) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// What [`secure`](Self::secure) uses, for a client that makes its own TLS.
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }
}

/// TLS as all connections to the outside have it.
fn client_config(roots: Arc<RootCertStore>, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| format!("the certificate and its key cannot be used: {error}")),
    }
}
