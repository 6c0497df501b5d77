//! Where devices and API users connect, and what they are shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fleethaven_api::Origin;
use fleethaven_net::proxy::Network;
use fleethaven_net::tls::Versions;

/// Listeners. Any port may be 0: the ready line tells which was chosen.
#[derive(Args, Clone)]
pub(crate) struct ListenerArgs {
    /// MQTT over TLS with client certificates.
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_MQTT_TLS", default_value = "127.0.0.1:8883")]
    pub(crate) mqtt_tls: SocketAddr,

    #[command(flatten)]
    pub(crate) web: WebArgs,

    /// AWS's port 8443: HTTPS with client certificates. Off unless given.
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_HTTPS_MTLS")]
    pub(crate) https_mtls: Option<SocketAddr>,

    /// MQTT over QUIC with client certificates. Off unless given.
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_QUIC")]
    pub(crate) quic: Option<SocketAddr>,

    /// Plain MQTT for local tools, where anonymous clients may do everything. Off unless given; loopback only unless
    /// --mqtt-any-address.
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_MQTT")]
    pub(crate) mqtt: Option<SocketAddr>,

    /// Allow --mqtt on an address that is not loopback.
    #[arg(long, env = "FLEETHAVEN_MQTT_ANY_ADDRESS")]
    pub(crate) mqtt_any_address: bool,

    /// Networks of load balancers in front of --mqtt-tls: connections from there begin with a PROXY protocol header
    /// (version 1 or 2), which tells the client's address. May be repeated.
    #[arg(long, value_name = "CIDR", env = "FLEETHAVEN_MQTT_TLS_PROXY", value_delimiter = ',')]
    pub(crate) mqtt_tls_proxy: Vec<Network>,

    /// The same for --https-mtls.
    #[arg(long, value_name = "CIDR", env = "FLEETHAVEN_HTTPS_MTLS_PROXY", value_delimiter = ',')]
    pub(crate) https_mtls_proxy: Vec<Network>,

    /// The same for --mqtt.
    #[arg(long, value_name = "CIDR", env = "FLEETHAVEN_MQTT_PROXY", value_delimiter = ',')]
    pub(crate) mqtt_proxy: Vec<Network>,
}

/// The HTTPS port.
#[derive(Args, Clone)]
pub(crate) struct WebArgs {
    /// AWS's port 443: API, HTTPS publish, WebSocket, and MQTT by ALPN.
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_HTTPS", default_value = "127.0.0.1:8443")]
    pub(crate) https: SocketAddr,

    /// Networks of load balancers in front of --https: connections from there begin with a PROXY protocol header (version 1
    /// or 2), which tells the client's address. May be repeated.
    #[arg(long, value_name = "CIDR", env = "FLEETHAVEN_HTTPS_PROXY", value_delimiter = ',')]
    pub(crate) https_proxy: Vec<Network>,

    /// Web pages that may call the data plane on --https and open WebSockets there: an origin as browsers send it, such as
    /// https://app.example, or * for all. May be repeated. Without any, browsers are told nothing (no CORS), and the origin of
    /// WebSockets is not looked at.
    #[arg(long, value_name = "ORIGIN", env = "FLEETHAVEN_CORS_ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<Origin>,
}

/// How those who connect from outside are sent elsewhere.
#[derive(Args, Clone)]
pub(crate) struct DrainArgs {
    /// Seconds between SIGTERM and the drain: /readyz is 503 already, and clients are served as before, so that load
    /// balancers send nobody here any more when the listeners close.
    #[arg(long, value_name = "SECONDS", env = "FLEETHAVEN_DRAIN_DELAY", default_value_t = 0)]
    drain_delay: u16,
}

impl DrainArgs {
    /// Returns when the drain is to begin.
    pub(crate) async fn delay(&self) {
        tokio::time::sleep(Duration::from_secs(self.drain_delay.into())).await;
    }
}

/// Server certificates and the names in them.
#[derive(Args, Clone)]
pub(crate) struct ServerArgs {
    /// A further name or address in the server certificate that the first start makes. May be repeated.
    #[arg(long, value_name = "NAME", env = "FLEETHAVEN_SAN", value_delimiter = ',')]
    pub(crate) san: Vec<String>,

    /// A server certificate of your own: a PEM chain, server certificate first.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_SERVER_CERT", requires = "server_key")]
    pub(crate) server_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_SERVER_KEY", requires = "server_cert")]
    pub(crate) server_key: Option<PathBuf>,

    /// A further server certificate, shown to clients that ask for one of its names (SNI). Without `name=`, those are the DNS
    /// names in the certificate. May be repeated; in the environment parted by semicolons.
    #[arg(
        long,
        value_name = "cert=FILE,key=FILE[,name=NAME]...",
        env = "FLEETHAVEN_SNI_CERT",
        value_delimiter = ';'
    )]
    pub(crate) sni_cert: Vec<SniCertificate>,

    /// Versions of TLS that clients may use. QUIC is 1.3 by itself.
    #[arg(
        long,
        value_name = "1.2|1.3",
        env = "FLEETHAVEN_TLS_VERSIONS",
        value_delimiter = ',',
        default_values_t = [TlsVersion::Tls12, TlsVersion::Tls13]
    )]
    pub(crate) tls_versions: Vec<TlsVersion>,

    /// Endpoints are named `<account>.{data,jobs,credentials}.<base domain>`.
    #[arg(long, value_name = "DOMAIN", env = "FLEETHAVEN_BASE_DOMAIN")]
    pub(crate) base_domain: Option<String>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersion {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// A server certificate for some names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SniCertificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Empty: those in the certificate.
    pub(crate) names: Vec<String>,
}

impl FromStr for SniCertificate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut certificate, mut key, mut names) = (None, None, Vec::new());
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("cert", file)) if certificate.is_none() => certificate = Some(file.into()),
                Some(("key", file)) if key.is_none() => key = Some(file.into()),
                Some(("name", name)) if !name.is_empty() => names.push(name.to_owned()),
                _ => {
                    return Err(format!("'{part}' is none of cert=FILE, key=FILE (once each) and name=NAME"));
                }
            }
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Self { certificate, key, names }),
            _ => Err(format!("'{text}' needs both cert=FILE and key=FILE")),
        }
    }
}

impl ListenerArgs {
    /// What cannot work is refused at start, with the fix.
    pub(crate) fn check(&self, server: &ServerArgs) -> Result<(), String> {
        if let Some(mqtt) = self.mqtt
            && !mqtt.ip().is_loopback()
            && !self.mqtt_any_address
        {
            return Err(format!(
                "--mqtt {mqtt} would let anyone who reaches it publish and subscribe without a certificate: use a \
                 loopback address, or add --mqtt-any-address if that is what you want"
            ));
        }
        if self.quic.is_some() && !server.tls_versions.contains(&TlsVersion::Tls13) {
            return Err("--quic needs TLS 1.3: add 1.3 to --tls-versions, or leave --quic out".to_owned());
        }
        Ok(())
    }
}

impl ServerArgs {
    /// In a cluster certificates are given: each process would make one of its own.
    pub(crate) fn check_given(&self) -> Result<(), String> {
        match self.given() {
            Some(_) => Ok(()),
            None => {
                Err("--server-cert and --server-key are needed: `fleethaven pki server` makes both"
                    .to_owned())
            }
        }
    }

    /// The default certificate, if the user has one.
    pub(crate) fn given(&self) -> Option<SniCertificate> {
        let (certificate, key) = (self.server_cert.clone()?, self.server_key.clone()?);
        Some(SniCertificate { certificate, key, names: Vec::new() })
    }

    /// The versions of TLS in force.
    pub(crate) fn versions(&self) -> Versions {
        let allowed = |version| self.tls_versions.contains(&version);
        match (allowed(TlsVersion::Tls12), allowed(TlsVersion::Tls13)) {
            (true, false) => Versions::Tls12,
            (false, true) => Versions::Tls13,
            _ => Versions::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_for_names() {
        let read = |text: &str| text.parse::<SniCertificate>();
        let plain = read("cert=/a.pem,key=/a.key").unwrap();
        assert_eq!((plain.certificate, plain.key, plain.names), ("/a.pem".into(), "/a.key".into(), vec![]));
        assert_eq!(read("key=k,cert=c,name=a.b,name=*.b").unwrap().names, ["a.b", "*.b"]);
        for (bad, part) in [
            ("cert=c", "needs both"),
            ("cert=c,key=k,cert=d", "'cert=d'"),
            ("cert=c,key=k,name=", "'name='"),
            ("/a.pem,/a.key", "'/a.pem'"),
        ] {
            assert!(read(bad).unwrap_err().contains(part), "{bad}");
        }
    }
}
