//! mTLS between services: TLS 1.3, and on both sides a certificate that the cluster's CA issued.
//!
//! Who a peer is stands in its certificate's SPIFFE ID ([`ServiceIdentity`]), and nowhere else: neither host names nor
//! addresses count, as pods come and go. A client checks that it has reached the role it wanted; a server lets each role call
//! what [`access`] says. Certificates and trusted CAs are read anew when their files change. There is no session resumption,
//! so that every connection is checked in full.
//!
//! - [`Tls`]: the files, what is in force, [`Tls::channel`]
//! - `verify`: what a peer's certificate must be
//! - `connect`, `accept`: the two sides of a connection
//! - [`Cores`]: threads that serve connections, each by itself
//! - [`access`]: which role may call what

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fleethaven_pki::{Certificate, ServiceIdentity, ServiceRole};
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tonic::transport::Endpoint;

use crate::channel::{self, Channel};

mod accept;
pub mod access;
mod connect;
mod cores;
#[cfg(test)]
mod tests;
mod verify;

pub use accept::serve;
pub use access::Peer;
pub use cores::{Cores, Served};

/// A silent connection is probed so often, and given up when a probe is not answered as long.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// HTTP/2 flow-control window of a stream, and of a connection, in bytes.
const WINDOWS: (u32, u32) = (4 << 20, 8 << 20);

/// The files of a service's identity, named as in a Kubernetes secret of type `kubernetes.io/tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and, where there are any, intermediates; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
    /// The CAs that are trusted; PEM. During a rotation both the old one and the new one.
    pub trust: PathBuf,
}

impl Files {
    /// `tls.crt`, `tls.key` and `ca.crt` in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            trust: folder.join("ca.crt"),
        }
    }

    fn read(&self) -> Result<Contents, Error> {
        let read = |path: &Path| {
            fs::read(path).map_err(|reason| Error::Unreadable { path: path.to_owned(), reason })
        };
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            trust: read(&self.trust)?,
        })
    }
}

/// What stood in the files when they were read.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    trust: Vec<u8>,
}

/// Why a service's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that is absent or may not be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A file whose contents are not what they should be.
    #[error("{path}: {reason}")]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate for another role, or of another cluster than before.
    #[error("{path} is for {found}, not for {wanted}")]
    OtherService {
        /// Which one.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

/// The identity of this service, and whom it trusts.
pub struct Tls {
    files: Files,
    identity: ServiceIdentity,
    current: ArcSwap<Current>,
    /// Raised with each change.
    generation: AtomicU64,
    seen: Mutex<Contents>,
}

/// What is in force.
struct Current {
    trust: Arc<verify::Trust>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    server: Arc<ServerConfig>,
    not_after: u64,
}

impl Tls {
    /// Reads the files of a service that is one of `roles`.
    ///
    /// # Errors
    ///
    /// [`Error`]: nothing works without them.
    pub fn open(files: Files, roles: &[ServiceRole]) -> Result<Arc<Self>, Error> {
        let contents = files.read()?;
        let (identity, current) = Current::build(&files, &contents)?;
        if !roles.contains(&identity.role()) {
            let wanted: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            return Err(Error::OtherService {
                path: files.certificate,
                found: identity.to_string(),
                wanted: format!("role {}", wanted.join(" or ")),
            });
        }
        Ok(Arc::new(Self {
            files,
            identity,
            current: ArcSwap::from_pointee(current),
            generation: AtomicU64::new(0),
            seen: Mutex::new(contents),
        }))
    }

    /// Who this service is.
    pub fn identity(&self) -> &ServiceIdentity {
        &self.identity
    }

    /// When its certificate expires, in unix seconds.
    pub fn not_after(&self) -> u64 {
        self.current.load().not_after
    }

    /// Where its certificate is.
    pub fn certificate_file(&self) -> &Path {
        &self.files.certificate
    }

    /// Looks at the files. What they hold counts for connections from here on, and open ones whose peer is not trusted any
    /// more end; `false` when nothing changed.
    ///
    /// # Errors
    ///
    /// [`Error`] for what cannot be used: what was in force stays.
    pub fn reload(&self) -> Result<bool, Error> {
        let contents = self.files.read()?;
        let mut seen = self.seen.lock();
        if *seen == contents {
            return Ok(false);
        }
        let built = Current::build(&self.files, &contents);
        // Told once for each change, good or not.
        *seen = contents;
        let (identity, current) = built?;
        if identity != self.identity {
            return Err(Error::OtherService {
                path: self.files.certificate.clone(),
                found: identity.to_string(),
                wanted: self.identity.to_string(),
            });
        }
        self.current.store(Arc::new(current));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// A channel to the service of this role at `address` (`host:port`). It connects when first used, and again after it was
    /// lost.
    ///
    /// # Errors
    ///
    /// A text when the address is none.
    pub fn channel(self: &Arc<Self>, address: &str, role: ServiceRole) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| format!("'{address}' is no address: {error}"))?;
        let connector = connect::Connector::new(self.clone(), address, role);
        let (stream, connection) = WINDOWS;
        let channel = endpoint
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(stream)
            .initial_connection_window_size(connection)
            .connect_with_connector_lazy(connector);
        Ok(channel::traced(channel))
    }

    fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How to connect to a service of `role`.
    fn client(&self, role: ServiceRole) -> Result<ClientConfig, rustls::Error> {
        let current = self.current();
        let verifier = verify::Server { trust: current.trust.clone(), role };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(current.chain.clone(), current.key.clone_key())?;
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

impl Current {
    fn build(files: &Files, contents: &Contents) -> Result<(ServiceIdentity, Self), Error> {
        let unusable = |path: &Path, reason: String| Error::Unusable { path: path.to_owned(), reason };
        let of_certificate = |reason: String| unusable(&files.certificate, reason);
        let chain = certificates(&contents.certificate).map_err(of_certificate)?;
        let first = chain.first().ok_or_else(|| of_certificate("there is no certificate".to_owned()))?;
        let certificate = Certificate::parse_der(first).map_err(|error| of_certificate(error.to_string()))?;
        let identity =
            ServiceIdentity::of(&certificate).map_err(|error| of_certificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| unusable(&files.key, format!("there is no private key: {error}")))?;
        let roots = roots(&contents.trust).map_err(|reason| unusable(&files.trust, reason))?;
        let trust = verify::Trust::new(roots, identity.cluster(), &provider());
        let trust = Arc::new(trust.map_err(|error| unusable(&files.trust, error.to_string()))?);
        let not_ours = |error: rustls::Error| of_certificate(format!("no trusted CA issued it: {error}"));
        trust.check(&chain, rustls::pki_types::UnixTime::now()).map_err(not_ours)?;
        let server = server(&trust, chain.clone(), key.clone_key())
            .map_err(|error| of_certificate(format!("it does not go with the key: {error}")))?;
        let not_after = certificate.not_after;
        Ok((identity, Self { trust, chain, key, server: Arc::new(server), not_after }))
    }
}

fn server(
    trust: &Arc<verify::Trust>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verify::Client { trust: trust.clone() }))
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no CA certificate".to_owned());
    }
    Ok(roots)
}
