//! Server configurations by listener and ALPN.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

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
    fn allows(self, version: &SupportedProtocolVersion) -> bool {
        match self {
            Self::Both => true,
            Self::Tls12 => version.version == ProtocolVersion::TLSv1_2,
            Self::Tls13 => version.version == ProtocolVersion::TLSv1_3,
        }
    }
}

/// What a domain's clients may use: AWS IoT's security policies, as far as there are their cipher suites here. None of them has
/// ChaCha20 in TLS 1.2, and nobody here has CBC, DHE or RSA key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityPolicy {
    /// `IoTSecurityPolicy_TLS13_1_2_2022_10`: TLS 1.2 and 1.3.
    Tls13And12,
    /// `IoTSecurityPolicy_TLS13_1_3_2022_10`: TLS 1.3 only.
    Tls13,
    /// `IoTSecurityPolicy_TLS12_1_2_2022_10`: TLS 1.2 only. The older policies differ from it in suites that nobody here has.
    Tls12,
}

impl SecurityPolicy {
    const ALL: [Self; 3] = [Self::Tls13And12, Self::Tls13, Self::Tls12];

    /// The policy of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "IoTSecurityPolicy_TLS13_1_2_2022_10" => Some(Self::Tls13And12),
            "IoTSecurityPolicy_TLS13_1_3_2022_10" => Some(Self::Tls13),
            "IoTSecurityPolicy_TLS12_1_2_2022_10"
            | "IoTSecurityPolicy_TLS12_1_0_2016_01"
            | "IoTSecurityPolicy_TLS12_1_0_2015_01" => Some(Self::Tls12),
            _ => None,
        }
    }

    /// Whether clients may speak TLS 1.3, as all do over QUIC.
    pub fn permits_tls13(self) -> bool {
        self != Self::Tls12
    }

    fn versions(self) -> Versions {
        match self {
            Self::Tls13And12 => Versions::Both,
            Self::Tls13 => Versions::Tls13,
            Self::Tls12 => Versions::Tls12,
        }
    }
}

/// What a connection is for, as its listener, its ALPN names and its domain say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// MQTT, with a client certificate.
    MqttWithCertificate,
    /// MQTT; an authorizer is to decide about the client.
    Mqtt,
    /// HTTP, with a client certificate.
    HttpWithCertificate,
    /// HTTP, with signatures or authorizers.
    Http,
}

/// What a domain configuration says of the connections of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainTls {
    /// Versions and cipher suites.
    pub policy: SecurityPolicy,
    /// What they are for, where the domain says so; otherwise listener and ALPN decide.
    pub carries: Option<Carries>,
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
    standard: Configs,
    /// For clients of domains, in the order of [`SecurityPolicy::ALL`].
    policies: [Configs; 3],
    quic: Arc<ServerConfig>,
}

/// Those of TLS over TCP.
struct Configs {
    mqtt: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    https_mutual: Arc<ServerConfig>,
    alpn_mqtt_ca: Arc<ServerConfig>,
    alpn_mqtt: Arc<ServerConfig>,
    alpn_http_ca: Arc<ServerConfig>,
}

impl ServerTls {
    /// Builds the configurations, with aws-lc-rs.
    ///
    /// # Errors
    /// None in practice: the provider has cipher suites for both versions.
    pub fn new(settings: &Settings) -> Result<Self, rustls::Error> {
        let all = Arc::new(provider());
        let of_domains = Arc::new(CryptoProvider {
            cipher_suites: all.cipher_suites.iter().copied().filter(is_of_aws).collect(),
            ..(*all).clone()
        });
        let [both, newer, older] = SecurityPolicy::ALL.map(|policy| {
            let both = |version: &&&SupportedProtocolVersion| {
                policy.versions().allows(version) && settings.versions.allows(version)
            };
            let allowed: Vec<_> = VERSIONS.iter().filter(both).copied().collect();
            // What this server is not to speak, it does not speak for any domain.
            let allowed = if allowed.is_empty() { allowed_by(settings.versions) } else { allowed };
            Configs::new(&of_domains, settings, &allowed)
        });
        let quic = [&rustls::version::TLS13];
        Ok(Self {
            standard: Configs::new(&all, settings, &allowed_by(settings.versions))?,
            policies: [both?, newer?, older?],
            quic: config(&all, settings, &quic, ("quic: any client certificate", true), &[ALPN_MQTT])?,
        })
    }

    /// The configuration for a connection on `endpoint` that opened with `hello`, asking for a domain or not; and what the
    /// connection is for.
    pub fn select(
        &self,
        endpoint: Endpoint,
        hello: &ClientHello<'_>,
        domain: Option<DomainTls>,
    ) -> (Arc<ServerConfig>, Carries) {
        let configs = match domain.map(|domain| domain.policy) {
            None => &self.standard,
            Some(policy) => self.under(policy),
        };
        let said = domain.and_then(|domain| domain.carries).filter(|carries| endpoint.may_carry(*carries));
        let offered = |name: &[u8]| hello.alpn().is_some_and(|mut names| names.any(|offer| offer == name));
        let (config, carries) = match (endpoint, said) {
            (Endpoint::Quic, _) => (&self.quic, Carries::MqttWithCertificate),
            (_, Some(Carries::MqttWithCertificate)) | (Endpoint::Mqtt, None) => {
                (&configs.mqtt, Carries::MqttWithCertificate)
            }
            (_, Some(Carries::Mqtt)) => (&configs.alpn_mqtt, Carries::Mqtt),
            (_, Some(Carries::HttpWithCertificate)) | (Endpoint::HttpsMutual, None) => {
                (&configs.https_mutual, Carries::HttpWithCertificate)
            }
            (_, Some(Carries::Http)) => (&configs.https, Carries::Http),
            (Endpoint::Https, None) if offered(ALPN_MQTT_CA) => {
                (&configs.alpn_mqtt_ca, Carries::MqttWithCertificate)
            }
            (Endpoint::Https, None) if offered(ALPN_HTTP_CA) => {
                (&configs.alpn_http_ca, Carries::HttpWithCertificate)
            }
            (Endpoint::Https, None) if offered(ALPN_MQTT) => (&configs.alpn_mqtt, Carries::Mqtt),
            (Endpoint::Https, None) => (&configs.https, Carries::Http),
        };
        (config.clone(), carries)
    }

    fn under(&self, policy: SecurityPolicy) -> &Configs {
        let [both, newer, older] = &self.policies;
        match policy {
            SecurityPolicy::Tls13And12 => both,
            SecurityPolicy::Tls13 => newer,
            SecurityPolicy::Tls12 => older,
        }
    }

    /// The configuration of QUIC, which knows no domain before it is chosen.
    pub fn quic(&self) -> Arc<ServerConfig> {
        self.quic.clone()
    }
}

impl Endpoint {
    /// Whether a listener has any use for such connections.
    fn may_carry(self, carries: Carries) -> bool {
        let mqtt = matches!(carries, Carries::Mqtt | Carries::MqttWithCertificate);
        match self {
            Self::Mqtt => mqtt,
            Self::Https => true,
            Self::HttpsMutual => !mqtt,
            Self::Quic => false,
        }
    }
}

impl Configs {
    fn new(
        provider: &Arc<CryptoProvider>,
        settings: &Settings,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self, rustls::Error> {
        let build = |context, client_certificate, alpn: &[&[u8]]| {
            config(provider, settings, versions, (context, client_certificate), alpn)
        };
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
            alpn_mqtt: build("https, mqtt: custom authorizer", false, &[ALPN_MQTT, ALPN_MQTT_CA])?,
            alpn_http_ca: build("https, http: any client certificate", true, &[ALPN_HTTP_CA])?,
        })
    }
}

/// Newest first.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

fn allowed_by(versions: Versions) -> Vec<&'static SupportedProtocolVersion> {
    VERSIONS.into_iter().filter(|version| versions.allows(version)).collect()
}

/// Whether AWS's security policies have a cipher suite.
fn is_of_aws(suite: &SupportedCipherSuite) -> bool {
    !matches!(
        suite.suite(),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    )
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
    versions: &[&'static SupportedProtocolVersion],
    (context, client_certificate): (&'static str, bool),
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
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

    #[test]
    fn policies_of_domains_by_name() {
        let named = |name: &str| SecurityPolicy::of_name(&format!("IoTSecurityPolicy_{name}"));
        assert_eq!(named("TLS13_1_2_2022_10"), Some(SecurityPolicy::Tls13And12));
        assert_eq!(named("TLS13_1_3_2022_10"), Some(SecurityPolicy::Tls13));
        assert_eq!(named("TLS12_1_0_2015_01"), Some(SecurityPolicy::Tls12));
        assert_eq!(named("TLS11"), None);
        let suites = provider().cipher_suites;
        let kept: Vec<_> = suites.iter().filter(|suite| is_of_aws(suite)).collect();
        assert_eq!(kept.len() + 2, suites.len());
        assert!(kept.iter().any(|suite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256));
    }

    #[test]
    fn listeners_carry_what_is_theirs() {
        assert!(Endpoint::Mqtt.may_carry(Carries::Mqtt) && !Endpoint::Mqtt.may_carry(Carries::Http));
        assert!(Endpoint::HttpsMutual.may_carry(Carries::Http));
        assert!(!Endpoint::HttpsMutual.may_carry(Carries::MqttWithCertificate));
        assert!(Endpoint::Https.may_carry(Carries::Mqtt) && Endpoint::Https.may_carry(Carries::Http));
    }
}
