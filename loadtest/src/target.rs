//! Where the broker is, with which certificates clients come, and from which source addresses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use fleethaven_mqtt::Version;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::options::{Common, TlsVersion};
use crate::process;

/// Connections from one source address, well within the ephemeral ports.
const PER_SOURCE: usize = 20_000;
/// File descriptors for everything but connections.
const SPARE_FILES: usize = 32;

/// Everything a new connection needs to know.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) version: Version,
    pub(crate) client_prefix: String,
    tls: Option<Tls>,
    sources: Vec<IpAddr>,
}

struct Tls {
    /// One per client certificate.
    configs: Vec<Arc<ClientConfig>>,
    server_name: ServerName<'static>,
}

/// A certificate chain and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Target {
    /// Checks the options of a run with at most `connections` at a time, `resume` with TLS resumption.
    pub(crate) fn new(common: &Common, connections: usize, resume: bool) -> anyhow::Result<Self> {
        let address = resolve(common)?;
        let files = process::open_file_limit()?;
        ensure!(
            connections + SPARE_FILES <= files,
            "{connections} connections need more than the {files} open files permitted; raise `ulimit -n`"
        );
        let tls = if common.tls { Some(Tls::new(common, resume)?) } else { None };
        Ok(Self {
            address,
            version: common.mqtt.into(),
            client_prefix: common.client_prefix.clone(),
            tls,
            sources: sources(address, connections, common.sources),
        })
    }

    /// The TLS configuration and server name of the connection with this number; `None` is plain TCP.
    pub(crate) fn tls(&self, number: usize) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let tls = self.tls.as_ref()?;
        let config = tls.configs.get(number % tls.configs.len())?;
        Some((Arc::clone(config), tls.server_name.clone()))
    }

    /// The address to connect from; `None` leaves it to the system.
    pub(crate) fn source(&self, number: usize) -> Option<IpAddr> {
        self.sources.get(number.checked_rem(self.sources.len())?).copied()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

fn resolve(common: &Common) -> anyhow::Result<SocketAddr> {
    let target = &common.target;
    let mut found = target.to_socket_addrs().with_context(|| format!("target {target}"))?;
    let address = found.next().with_context(|| format!("target {target} has no address"))?;
    if !address.ip().is_loopback() && !common.allow_remote {
        bail!("target {target} is not on loopback; load on others' machines needs --allow-remote");
    }
    Ok(address)
}

/// 127.0.0.1 upwards for targets on IPv4 loopback, where ports of one address would run out.
fn sources(target: SocketAddr, connections: usize, wanted: Option<u8>) -> Vec<IpAddr> {
    if !matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        return Vec::new();
    }
    let needed = u8::try_from(connections.div_ceil(PER_SOURCE).clamp(1, 254)).unwrap_or(254);
    let count = wanted.unwrap_or(needed);
    (1..=count).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).collect()
}

impl Tls {
    fn new(common: &Common, resume: bool) -> anyhow::Result<Self> {
        let ca = common.ca.as_deref().context("--tls needs --ca")?;
        let roots = roots(ca)?;
        let identities = identities(common)?;
        let mut configs = Vec::with_capacity(identities.len().max(1));
        for identity in identities {
            configs.push(Arc::new(config(common, roots.clone(), Some(identity), resume)?));
        }
        if configs.is_empty() {
            configs.push(Arc::new(config(common, roots, None, resume)?));
        }
        let server_name = ServerName::try_from(common.server_name.clone())
            .with_context(|| format!("server name {:?}", common.server_name))?;
        Ok(Self { configs, server_name })
    }
}

fn config(
    common: &Common,
    roots: RootCertStore,
    identity: Option<Identity>,
    resume: bool,
) -> anyhow::Result<ClientConfig> {
    let version = match common.tls_version {
        TlsVersion::V12 => &rustls::version::TLS12,
        TlsVersion::V13 => &rustls::version::TLS13,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = common.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.resumption = if resume { Resumption::in_memory_sessions(1024) } else { Resumption::disabled() };
    Ok(config)
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).with_context(|| format!("authority in {}", file.display()))?;
    }
    Ok(roots)
}

fn identities(common: &Common) -> anyhow::Result<Vec<Identity>> {
    let pairs = match (&common.cert, &common.key, &common.identities) {
        (Some(cert), Some(key), _) => vec![(cert.clone(), key.clone())],
        (_, _, Some(folder)) => identity_files(folder)?,
        _ => Vec::new(),
    };
    pairs.iter().map(|(cert, key)| identity(cert, key)).collect()
}

fn identity_files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let mut certificates = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            certificates.push(path);
        }
    }
    ensure!(!certificates.is_empty(), "no NAME.crt in {}", folder.display());
    certificates.sort();
    Ok(certificates.into_iter().map(|path| (path.clone(), path.with_extension("key"))).collect())
}

fn identity(cert: &Path, key: &Path) -> anyhow::Result<Identity> {
    let key_der = PrivateKeyDer::from_pem_file(key).with_context(|| format!("key {}", key.display()))?;
    Ok((certificates(cert)?, key_der))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let context = || format!("certificates of {}", file.display());
    CertificateDer::pem_file_iter(file)
        .with_context(context)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_address_per_twenty_thousand_connections_on_loopback_only() {
        let local = SocketAddr::from(([127, 0, 0, 1], 8883));
        assert_eq!(sources(local, 5_000, None).len(), 1);
        assert_eq!(sources(local, 50_000, None).len(), 3);
        assert_eq!(sources(local, 1, Some(9)).len(), 9);
        assert!(sources(SocketAddr::from(([192, 0, 2, 1], 8883)), 50_000, None).is_empty());
    }
}
