//! Server configurations by listener and ALPN.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::possession::{CertificateGate, PossessionVerifier};

/// ALPN name of MQTT with a client certificate on port 443.
pub const ALPN_MQTT_CA: &[u8] = b"x-amzn-mqtt-ca";
/// ALPN name of MQTT with a custom authorizer on port 443.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// ALPN name of HTTPS with a client certificate on port 443.
pub const ALPN_HTTP_CA: &[u8] = b"x-amzn-http-ca";
/// ALPN names of plain HTTPS.
pub const ALPN_HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a server certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or holds no PEM of the expected kind.
    #[error("cannot read {what} from {path}: {source}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: String,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate and key do not go together, or the key's kind is not supported.
    #[error("the server certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// A server certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a PEM chain (server certificate first) and its PEM key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let pem = |what, path: &Path| {
            let path = path.display().to_string();
            move |source| Error::Pem { what, path, source }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(pem("the server certificate", certificate))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(pem("the server key", key))?;
        Ok(Self { chain, key })
    }
}

/// What a port offers and asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Port 8883: MQTT; a client certificate is mandatory.
    Mqtt,
    /// Port 443: by ALPN; a client certificate is asked for only under `x-amzn-…`, so that no browser prompts.
    Https,
    /// Port 8443: HTTPS with a client certificate.
    HttpsMutual,
    /// MQTT over QUIC.
    Quic,
}

/// The server configurations of all endpoints. Each has its own ticket keys, so that a session started under one
/// authentication mode cannot be resumed under another.
pub struct ServerTls {
    mqtt: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    https_mutual: Arc<ServerConfig>,
    alpn_mqtt_ca: Arc<ServerConfig>,
    alpn_mqtt: Arc<ServerConfig>,
    alpn_http_ca: Arc<ServerConfig>,
    quic: Arc<ServerConfig>,
}

impl ServerTls {
    /// Builds the configurations. TLS 1.2 and 1.3 with aws-lc-rs; QUIC is 1.3 by itself.
    pub fn new(identity: &Identity, gate: &Arc<dyn CertificateGate>) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let build = |client_certificate: bool, alpn: &[&[u8]]| -> Result<Arc<ServerConfig>, Error> {
            config(&provider, identity, client_certificate.then_some(gate), alpn)
        };
        Ok(Self {
            // Clients on 8883 offer no ALPN, or sometimes `mqtt`.
            mqtt: build(true, &[ALPN_MQTT_CA, ALPN_MQTT])?,
            https: build(false, &ALPN_HTTP)?,
            https_mutual: build(true, &[ALPN_HTTP_CA, b"http/1.1", b"h2"])?,
            alpn_mqtt_ca: build(true, &[ALPN_MQTT_CA])?,
            alpn_mqtt: build(false, &[ALPN_MQTT])?,
            alpn_http_ca: build(true, &[ALPN_HTTP_CA])?,
            quic: build(true, &[ALPN_MQTT])?,
        })
    }

    /// The configuration for a connection on `endpoint` that opened with `hello`.
    pub fn select(&self, endpoint: Endpoint, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let offered = |name: &[u8]| hello.alpn().is_some_and(|mut names| names.any(|offer| offer == name));
        match endpoint {
            Endpoint::Mqtt => &self.mqtt,
            Endpoint::HttpsMutual => &self.https_mutual,
            Endpoint::Quic => &self.quic,
            Endpoint::Https if offered(ALPN_MQTT_CA) => &self.alpn_mqtt_ca,
            Endpoint::Https if offered(ALPN_HTTP_CA) => &self.alpn_http_ca,
            Endpoint::Https if offered(ALPN_MQTT) => &self.alpn_mqtt,
            Endpoint::Https => &self.https,
        }
        .clone()
    }

    /// The configuration of an endpoint that does not depend on the client's hello.
    pub fn fixed(&self, endpoint: Endpoint) -> Arc<ServerConfig> {
        match endpoint {
            Endpoint::Mqtt => &self.mqtt,
            Endpoint::Https => &self.https,
            Endpoint::HttpsMutual => &self.https_mutual,
            Endpoint::Quic => &self.quic,
        }
        .clone()
    }
}

/// AES-128 with SHA-256 before the rest, which keep their order: with SHA-384, for which few processors have
/// instructions, a resumed handshake costs a quarter more. AWS IoT's security policies rank them so too.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let is_cheapest = |suite: CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(|one| !is_cheapest(one.suite()));
    provider
}

fn config(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    gate: Option<&Arc<dyn CertificateGate>>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match gate {
        Some(gate) => builder.with_client_cert_verifier(Arc::new(PossessionVerifier::new(
            provider.clone(),
            gate.clone(),
            true,
        ))),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.ignore_client_order = true;
    // Resumption is by stateless tickets, one per handshake; no 0-RTT.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::version::{TLS12, TLS13};

    use super::*;

    #[test]
    fn aes_128_comes_first_in_either_version() {
        let provider = provider();
        for version in [&TLS12, &TLS13] {
            let mut suites = provider.cipher_suites.iter().filter(|one| one.version() == version);
            let first = format!("{:?}", suites.next().unwrap().suite());
            assert!(first.contains("AES_128_GCM_SHA256"), "{first}");
        }
        assert_eq!(provider.cipher_suites.len(), aws_lc_rs::default_provider().cipher_suites.len());
    }
}
