//! Server configurations by listener and ALPN.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};

use crate::certificates::ServerCertificates;
use crate::possession::{CertificateGate, PossessionVerifier};
use crate::tickets::{TicketKeys, Ticketer};

/// ALPN name of MQTT with a client certificate on port 443.
pub const ALPN_MQTT_CA: &[u8] = b"x-amzn-mqtt-ca";
/// ALPN name of MQTT with a custom authorizer on port 443.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// ALPN name of HTTPS with a client certificate on port 443.
pub const ALPN_HTTP_CA: &[u8] = b"x-amzn-http-ca";
/// ALPN names of plain HTTPS.
pub const ALPN_HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Versions of TLS that clients may use. QUIC is 1.3 by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 only.
    Tls12,
    /// 1.3 only.
    Tls13,
}

impl Versions {
    fn allowed(self) -> Vec<&'static SupportedProtocolVersion> {
        let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
        match self {
            Self::Both => vec![new, old],
            Self::Tls12 => vec![old],
            Self::Tls13 => vec![new],
        }
    }
}

/// What the configurations are made of.
#[derive(Clone)]
pub struct Settings {
    /// What clients are shown; may be replaced while running.
    pub certificates: Arc<ServerCertificates>,
    /// Under what sessions are resumed; may be replaced while running.
    pub tickets: Arc<TicketKeys>,
    /// Asked about client certificates during full handshakes.
    pub gate: Arc<dyn CertificateGate>,
    /// Versions of TLS.
    pub versions: Versions,
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

/// The server configurations of all endpoints. A session started under one cannot be resumed under another.
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
    /// Builds the configurations, with aws-lc-rs.
    ///
    /// # Errors
    /// None in practice: the provider has cipher suites for both versions.
    pub fn new(settings: &Settings) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider());
        let build = |context, client_certificate, alpn: &[&[u8]]| {
            config(&provider, settings, context, client_certificate, alpn)
        };
        let quic = Settings { versions: Versions::Tls13, ..settings.clone() };
        // The contexts bind tickets (`tickets`): whoever changes how an endpoint authenticates clients gives it another.
        Ok(Self {
            // Clients on 8883 offer no ALPN, or sometimes `mqtt`.
            mqtt: build("mqtt: any client certificate", true, &[ALPN_MQTT_CA, ALPN_MQTT])?,
            https: build("https: no client certificate", false, &ALPN_HTTP)?,
            https_mutual: build(
                "https-mtls: any client certificate",
                true,
                &[ALPN_HTTP_CA, b"http/1.1", b"h2"],
            )?,
            alpn_mqtt_ca: build("https, mqtt: any client certificate", true, &[ALPN_MQTT_CA])?,
            alpn_mqtt: build("https, mqtt: custom authorizer", false, &[ALPN_MQTT])?,
            alpn_http_ca: build("https, http: any client certificate", true, &[ALPN_HTTP_CA])?,
            quic: config(&provider, &quic, "quic: any client certificate", true, &[ALPN_MQTT])?,
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
    settings: &Settings,
    context: &'static str,
    client_certificate: bool,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&settings.versions.allowed())?;
    let builder = match client_certificate {
        true => builder.with_client_cert_verifier(Arc::new(PossessionVerifier::new(
            provider.clone(),
            settings.gate.clone(),
            true,
        ))),
        false => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(settings.certificates.clone());
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.ignore_client_order = true;
    // Resumption is by stateless tickets, one per handshake; no 0-RTT.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Ticketer::new(settings.tickets.clone(), context));
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
