//! The server's certificates: chosen by the name that a client asks for and the signatures it can check, and replaced
//! without a restart.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleethaven_pki::Certificate;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a server certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or holds no PEM of the expected kind.
    #[error("cannot read {what} from {path}: {reason}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: String,
        /// Why not.
        reason: rustls_pki_types::pem::Error,
    },
    /// A file without a certificate.
    #[error("{path} holds no certificate: a PEM chain is expected, server certificate first")]
    Empty {
        /// Where.
        path: String,
    },
    /// The certificate is another key's.
    #[error("the key in {key} is not that of the certificate in {certificate}")]
    Mismatch {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
    },
    /// The key's kind is not supported.
    #[error("the key in {path} cannot be used: {reason}")]
    Key {
        /// Where.
        path: String,
        /// Why not.
        reason: rustls::Error,
    },
}

/// Why a chain and a key from the metadata cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// One of them is no PEM of the expected kind.
    #[error("cannot read {0}: {1}")]
    Pem(&'static str, rustls_pki_types::pem::Error),
    /// There is no certificate.
    #[error("there is no certificate")]
    Empty,
    /// The key's kind is not supported, or the key is another certificate's.
    #[error("the key cannot be used: {0}")]
    Key(rustls::Error),
}

/// A server certificate chain with its key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    not_after: Option<u64>,
}

impl Identity {
    /// Reads a PEM chain (server certificate first) and its PEM key. It is shown for the DNS names that the certificate
    /// is for.
    ///
    /// # Errors
    /// When one of the files cannot be read, or they do not go together.
    pub fn from_files(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self, Error> {
        let (at, key_at) = (certificate.display().to_string(), key.display().to_string());
        let pem = |what, path: &str| {
            let path = path.to_owned();
            move |reason| Error::Pem { what, path, reason }
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(pem("the server certificate", &at))?;
        let Some(first) = chain.first() else { return Err(Error::Empty { path: at }) };
        // A certificate that we cannot read all of, such as an Ed25519 one, may still be shown.
        let parsed = Certificate::parse_der(first).ok();
        let names = parsed.as_ref().map(|parsed| parsed.subject_alternative_names.dns_names.clone());
        let der = PrivateKeyDer::from_pem_file(key).map_err(pem("the server key", &key_at))?;
        let signing = provider.key_provider.load_private_key(der);
        let signing = signing.map_err(|reason| Error::Key { path: key_at.clone(), reason })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // What the key's library cannot tell is left to the first handshake.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(Error::Mismatch { certificate: at, key: key_at });
            }
            Err(reason) => return Err(Error::Key { path: key_at, reason }),
        }
        let identity = Self {
            certified: Arc::new(certified),
            names: Vec::new(),
            not_after: parsed.map(|parsed| parsed.not_after),
        };
        Ok(identity.for_names(names.unwrap_or_default()))
    }

    /// Reads a PEM chain (server certificate first) and its PEM key, which were checked when they were handed in.
    ///
    /// # Errors
    /// When they cannot be used after all.
    pub fn from_pem(chain: &str, key: &str, provider: &CryptoProvider) -> Result<Self, PemError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| PemError::Pem("the chain", error))?;
        if chain.is_empty() {
            return Err(PemError::Empty);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|error| PemError::Pem("the key", error))?;
        let signing = provider.key_provider.load_private_key(key).map_err(PemError::Key)?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(PemError::Key(error)),
        }
        Ok(Self { certified: Arc::new(certified), names: Vec::new(), not_after: None })
    }

    /// The same for other names: exact ones, or with `*` as the first label.
    #[must_use]
    pub fn for_names(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().map(|name| normal(&name)).collect(), ..self }
    }

    /// The same with an OCSP answer (DER) that is given to clients that ask for one.
    #[must_use]
    pub fn stapled(&self, answer: Option<&[u8]>) -> Self {
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = answer.map(<[u8]>::to_vec);
        Self { certified: Arc::new(certified), ..self.clone() }
    }

    /// The names it is shown for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it expires, in unix seconds, as far as that can be read.
    pub fn not_after(&self) -> Option<u64> {
        self.not_after
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Names are compared without case, and without the dot that ends an absolute one.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// All certificates of a server. Cloned handles share it through an `Arc`; [`replace`](Self::replace) and
/// [`replace_domains`](Self::replace_domains) count from the next handshake on.
pub struct ServerCertificates {
    files: ArcSwap<Choice>,
    /// Those of domain configurations, by their names.
    domains: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

/// What there is to choose from. Each list has cheap signatures first.
struct Choice {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl ServerCertificates {
    /// `default` is shown where no name is asked for or none fits; `others` by their names, at which `default` is one of
    /// them.
    pub fn new(default: &Identity, others: &[Identity]) -> Self {
        let files = ArcSwap::from_pointee(Choice::new(default, others));
        Self { files, domains: ArcSwap::default() }
    }

    /// Shows these instead from now on.
    pub fn replace(&self, default: &Identity, others: &[Identity]) {
        self.files.store(Arc::new(Choice::new(default, others)));
    }

    /// Shows these from now on to clients that ask for exactly one of the names, whatever else there is for it.
    pub fn replace_domains<'a>(&self, domains: impl IntoIterator<Item = (&'a str, &'a Identity)>) {
        let shown = domains.into_iter().map(|(name, identity)| (normal(name), identity.certified.clone()));
        self.domains.store(Arc::new(shown.collect()));
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let own = name.and_then(|name| self.domains.load().get(&normal(name)).cloned());
        // A client that cannot check it is told so by the handshake: no other certificate is for the name.
        own.or_else(|| self.files.load().choose(name, schemes))
    }
}

impl Choice {
    fn new(default: &Identity, others: &[Identity]) -> Self {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for identity in std::iter::once(default).chain(others) {
            for name in &identity.names {
                by_name.entry(name.clone()).or_default().push(identity.certified.clone());
            }
        }
        // What stands beside the default certificate under one of its names is there for clients that cannot use it.
        let shares = |other: &&Identity| other.names.iter().any(|name| default.names.contains(name));
        let mut defaults = vec![default.certified.clone()];
        defaults.extend(others.iter().filter(shares).map(|other| other.certified.clone()));
        by_name.values_mut().for_each(|found| cheap_first(found));
        cheap_first(&mut defaults);
        Self { by_name, default: defaults }
    }

    /// The certificates for a name: exact, then by wildcard, else the default.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(normal);
        let exact = name.as_ref().and_then(|name| self.by_name.get(name));
        let parent = name.as_ref().and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let wildcard = parent.and_then(|parent| self.by_name.get(&format!("*.{parent}")));
        let mut candidates = exact.into_iter().chain(wildcard).flatten().chain(&self.default).peekable();
        let first = candidates.peek().copied();
        // With none that the client can check, the handshake fails, and says why.
        candidates.find(|certified| certified.key.choose_scheme(schemes).is_some()).or(first).cloned()
    }
}

/// An RSA signature costs the server many times an ECDSA one.
fn cheap_first(certified: &mut [Arc<CertifiedKey>]) {
    certified.sort_by_key(|certified| certified.key.algorithm() == SignatureAlgorithm::RSA);
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl fmt::Debug for ServerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
