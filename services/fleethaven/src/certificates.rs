//! The server's own CA and certificate, made on first start (P-256).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use fleethaven_net::Identity;
use fleethaven_pki::{Attribute, Authority, Certificate, EndEntityUse, Name, Serial, ServerName, Validity};

use crate::cli::{ServerArgs, SniCertificate};
use crate::data_dir::DataDir;

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const SERVER: &str = "server.pem";
const SERVER_KEY: &str = "server-key.pem";
/// Names in the server certificate, to notice when others are asked for.
const SERVER_NAMES: &str = "server-names.txt";

const DAY: u64 = 86_400;
/// Ten years for the CA, and for a server certificate what TLS libraries still accept.
const CA_DAYS: u64 = 3650;
const SERVER_DAYS: u64 = 820;
/// A server certificate that is good for less than this is made anew.
const RENEW_DAYS: u64 = 30;

/// The files of what the listeners show, and of what clients trust.
#[derive(Clone)]
pub(crate) struct ServerFiles {
    /// Shown where no name fits.
    pub(crate) default: SniCertificate,
    /// Shown by name.
    pub(crate) others: Vec<SniCertificate>,
    /// The CA file that clients are given.
    pub(crate) ca_file: PathBuf,
}

impl ServerFiles {
    /// All of them, the default first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SniCertificate> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// Reads all: the default certificate, then the others.
    pub(crate) fn read(&self) -> Result<(Identity, Vec<Identity>)> {
        let others = self.others.iter().map(identity).collect::<Result<_>>()?;
        Ok((identity(&self.default)?, others))
    }
}

/// Reads a server certificate and its key.
pub(crate) fn identity(files: &SniCertificate) -> Result<Identity> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let identity = Identity::from_files(&files.certificate, &files.key, &provider)?;
    Ok(match files.names.is_empty() {
        true => identity,
        false => identity.for_names(files.names.clone()),
    })
}

/// A server certificate by name without a name would never be shown.
pub(crate) fn check_names(files: &SniCertificate, identity: &Identity) -> Result<()> {
    if identity.names().is_empty() {
        bail!("{} has no DNS name: say which it is for with name=NAME", files.certificate.display());
    }
    Ok(())
}

/// The user's server certificate if one was given; otherwise our own, made or renewed as needed.
pub(crate) fn server(arguments: &ServerArgs, data: &DataDir, now: u64) -> Result<ServerFiles> {
    let own = own(data, &names(&arguments.san, arguments.base_domain.as_deref()), now)?;
    let others = arguments.sni_cert.clone();
    match &arguments.given() {
        // Clients trust whoever issued it; its chain is the best that we know of that.
        Some(given) => {
            let ca_file = given.certificate.canonicalize().unwrap_or(own.ca_file);
            Ok(ServerFiles { default: given.clone(), others, ca_file })
        }
        None => Ok(ServerFiles { others, ..own }),
    }
}

/// The user's server certificate.
pub(crate) fn given(arguments: &ServerArgs) -> Result<ServerFiles> {
    let default = arguments.given().context("there is no server certificate")?;
    let ca_file = default.certificate.clone();
    Ok(ServerFiles { default, others: arguments.sni_cert.clone(), ca_file })
}

/// A server certificate for these names by a CA of its own, both made or renewed as needed.
pub(crate) fn own(data: &DataDir, names: &[ServerName], now: u64) -> Result<ServerFiles> {
    let authority = authority(data, now)?;
    let listed = names.iter().map(|name| format!("{name:?}\n")).collect::<String>();
    if data.read(SERVER_NAMES)?.as_deref() != Some(&listed) || expires_soon(data, now)? {
        let validity = Validity { not_before: now - DAY, not_after: now + SERVER_DAYS * DAY };
        let issued = authority
            .issue_server(names, EndEntityUse::Server, serial(), validity)
            .context("cannot make the server certificate")?;
        data.write(SERVER_KEY, &issued.private_key_pem)?;
        data.write(SERVER, &issued.certificate.pem())?;
        data.write(SERVER_NAMES, &listed)?;
    }
    let default =
        SniCertificate { certificate: data.path(SERVER), key: data.path(SERVER_KEY), names: Vec::new() };
    Ok(ServerFiles { default, others: Vec::new(), ca_file: data.path(CA) })
}

/// Whether a certificate can be made for the names that the first start, or a new `--san`, asks for.
pub(crate) fn check_san(arguments: &ServerArgs, now: u64) -> Result<()> {
    let validity = Validity { not_before: now - DAY, not_after: now + DAY };
    let authority = create("check", now)?;
    let names = names(&arguments.san, arguments.base_domain.as_deref());
    authority.issue_server(&names, EndEntityUse::Server, serial(), validity)?;
    Ok(())
}

/// A new CA for an account's devices: PEM certificate and PEM key.
pub(crate) fn issuing_ca(account: &str, now: u64) -> Result<(String, String)> {
    let authority = create(&format!("Fleethaven device CA {account}"), now)?;
    Ok((authority.certificate().pem(), authority.private_key_pem().to_owned()))
}

fn authority(data: &DataDir, now: u64) -> Result<Authority> {
    match (data.read(CA)?, data.read(CA_KEY)?) {
        (Some(certificate), Some(key)) => {
            Authority::from_pem(&certificate, &key).context("the CA in the data directory cannot be read")
        }
        // The key is written first: without a certificate, no client was ever given one.
        (None, _) => {
            let authority = create("Fleethaven server CA", now)?;
            data.write(CA_KEY, authority.private_key_pem())?;
            data.write(CA, &authority.certificate().pem())?;
            Ok(authority)
        }
        // Made anew, every client would lose its trust in this server.
        (Some(_), None) => bail!(
            "{} is there, but its key {} is not: restore the key, or move both away to have a new CA made, which every \
             client must then be given",
            data.path(CA).display(),
            data.path(CA_KEY).display()
        ),
    }
}

fn create(common_name: &str, now: u64) -> Result<Authority> {
    let name = Name::new(&[(Attribute::Organization, "Fleethaven"), (Attribute::CommonName, common_name)])?;
    let validity = Validity { not_before: now - DAY, not_after: now + CA_DAYS * DAY };
    Authority::create(&name, serial(), validity).context("cannot make a CA")
}

fn serial() -> Serial {
    Serial(*uuid::Uuid::new_v4().as_bytes())
}

fn expires_soon(data: &DataDir, now: u64) -> Result<bool> {
    let Some(pem) = data.read(SERVER)? else { return Ok(true) };
    let certificate = Certificate::parse_pem(&pem).context("the server certificate cannot be read")?;
    Ok(certificate.not_after < now + RENEW_DAYS * DAY)
}

/// localhost, the loopback addresses, the host's name, and what the user adds.
pub(crate) fn names(san: &[String], domain: Option<&str>) -> Vec<ServerName> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    names_with(host.as_deref(), san, domain)
}

/// The same with or without the name of a host.
pub(crate) fn names_with(host: Option<&str>, san: &[String], domain: Option<&str>) -> Vec<ServerName> {
    let mut names = vec![
        ServerName::Dns("localhost".to_owned()),
        ServerName::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ServerName::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let by_domain = domain.into_iter().flat_map(|domain| {
        ["data", "jobs", "credentials", "iot"].map(|service| format!("*.{service}.{domain}"))
    });
    let further = host
        .map(str::to_owned)
        .into_iter()
        .chain(san.iter().cloned())
        .chain(domain.map(str::to_owned))
        .chain(by_domain);
    for name in further {
        let name = name.trim();
        let name = match name.parse::<IpAddr>() {
            Ok(address) => ServerName::Ip(address),
            Err(_) => ServerName::Dns(name.to_owned()),
        };
        if !names.contains(&name) && name != ServerName::Dns(String::new()) {
            names.push(name);
        }
    }
    names
}
