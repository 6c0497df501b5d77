//! `fleethaven pki kubernetes`: the certificates of a cluster, kept in secrets.
//!
//! The CAs' folder lives in one secret, `PREFIX-ca`, which no pod mounts: it is laid out on disk for as long as this runs, the other
//! commands' work is done on it, and it is put back before anything that it issued is handed out.

use std::path::Path;

use anyhow::{Context, Result};
use fleethaven_pki::{Certificate, ServiceRole};

use super::{CA_KEY, DAY, Done, TRUST, init, issue, load, retire, rotate};
use crate::certificates;
use crate::cli::{CaArgs, InitArgs, IssueArgs, KubernetesArgs};
use crate::data_dir::DataDir;
use crate::encryption::issuing_keys;
use crate::kubernetes::{Data, OPAQUE, Secrets, TLS};

/// The files of the secret with the CAs, and where they lie on disk below the folder.
const SERVICES: [(&str, &str); 2] = [("trust.pem", TRUST), ("ca-key.pem", CA_KEY)];
const SERVER: [(&str, &str); 2] = [("server-ca.pem", "ca.pem"), ("server-ca-key.pem", "ca-key.pem")];
/// Those of the secret with the server certificate. The names in it tell whether it is still what is asked for.
const SHOWN: [(&str, &str); 4] = [
    ("ca.crt", "ca.pem"),
    ("tls.crt", "server.pem"),
    ("tls.key", "server-key.pem"),
    ("names.txt", "server-names.txt"),
];

/// Makes and renews what is asked for.
pub(super) async fn keep(arguments: &KubernetesArgs, now: u64) -> Result<Done> {
    let secrets = Secrets::of_this_pod(&arguments.pod)?;
    let scratch = Scratch::new()?;
    let mut job = Job { arguments, secrets, now, folder: &scratch.0, changed: Vec::new() };
    job.run().await?;
    Ok(Done::Kept { changed: job.changed })
}

/// A folder for the time of one run: it holds keys.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("fleethaven-pki-{}", uuid::Uuid::new_v4().simple()));
        DataDir::open(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Job<'a> {
    arguments: &'a KubernetesArgs,
    secrets: Secrets,
    now: u64,
    folder: &'a Path,
    changed: Vec<String>,
}

impl Job<'_> {
    async fn run(&mut self) -> Result<()> {
        let arguments = self.arguments;
        let (services, server) =
            (DataDir::open(&self.folder.join("services"))?, DataDir::open(&self.folder.join("server"))?);
        let with_server = !arguments.server_name.is_empty() || arguments.base_domain.is_some();
        let kept = self.secrets.read(&self.name("ca")).await?.unwrap_or_default();
        lay_out(&services, &SERVICES, &kept)?;
        lay_out(&server, &SERVER, &kept)?;
        if arguments.services {
            self.make_authority(&services)?;
        }
        if with_server {
            let shown = self.secrets.read(&self.name("server")).await?.unwrap_or_default();
            lay_out(&server, &SHOWN, &shown)?;
            let names =
                certificates::names_with(None, &arguments.server_name, arguments.base_domain.as_deref());
            certificates::own(&server, &names, self.now)?;
        }
        // What is not asked for this time stays.
        let authorities =
            kept.into_iter().chain(pick_up(&services, &SERVICES)?).chain(pick_up(&server, &SERVER)?);
        let authorities: Data = authorities.collect();
        if !authorities.is_empty() {
            self.keep("ca", OPAQUE, authorities).await?;
        }
        if arguments.services {
            for role in ServiceRole::ALL {
                self.service(&services, role).await?;
            }
        }
        if with_server {
            self.keep("server", TLS, pick_up(&server, &SHOWN)?).await?;
        }
        if arguments.issuing_keys {
            self.issuing_keys().await?;
        }
        match &arguments.redis {
            Some(address) => self.redis(address).await,
            None => Ok(()),
        }
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.arguments.prefix)
    }

    async fn keep(&mut self, what: &str, kind: &str, data: Data) -> Result<()> {
        let name = self.name(what);
        if self.secrets.keep(&name, kind, data).await? {
            self.changed.push(name);
        }
        Ok(())
    }

    fn ca(&self, services: &DataDir) -> CaArgs {
        CaArgs { dir: services.path("") }
    }

    /// The CA of the services, made on first use.
    fn make_authority(&self, services: &DataDir) -> Result<()> {
        let ca = self.ca(services);
        if services.read(CA_KEY)?.is_none() {
            init(
                &InitArgs { ca: ca.clone(), cluster: self.arguments.cluster.clone(), if_absent: false },
                self.now,
            )?;
        }
        if self.arguments.rotate {
            rotate(&ca, self.now)?;
        }
        if self.arguments.retire {
            retire(&ca)?;
        }
        Ok(())
    }

    /// The certificate of a role. In a rotation all must trust the new CA before it issues, so that the run which makes it only
    /// hands out what is trusted.
    async fn service(&mut self, services: &DataDir, role: ServiceRole) -> Result<()> {
        let trust = services.read(TRUST)?.context("there is no CA")?;
        let present = self.secrets.read(&self.name(role.as_str())).await?;
        let data = match present {
            Some(mut present) if self.arguments.rotate || self.is_good(services, &present)? => {
                present.insert("ca.crt".to_owned(), trust);
                present
            }
            _ => {
                let out = services.path(role.as_str());
                let (ca, name, days) = (self.ca(services), self.name(role.as_str()), self.arguments.days);
                issue(&IssueArgs { ca, role, name, days, out: Some(out.clone()) }, self.now)?;
                let files = ["ca.crt", "tls.crt", "tls.key"].map(|file| (file, file));
                pick_up(&DataDir::open(&out)?, &files)?
            }
        };
        self.keep(role.as_str(), TLS, data).await
    }

    /// Whether a certificate has used up less than two thirds of its time, and the newest CA issued it.
    fn is_good(&self, services: &DataDir, present: &Data) -> Result<bool> {
        let certificate = present.get("tls.crt").and_then(|pem| Certificate::parse_pem(pem).ok());
        let Some(certificate) = certificate else { return Ok(false) };
        let newest = load(services)?;
        let soon = self.now + self.arguments.days * DAY / 3;
        Ok(certificate.not_after > soon.min(newest.certificate().not_after)
            && certificate.check_issued_by(newest.certificate()).is_ok())
    }

    /// What seals the private keys of issuing CAs. It is made once: what it has sealed would be lost with it.
    async fn issuing_keys(&mut self) -> Result<()> {
        let mut present = self.secrets.read(&self.name(issuing_keys::FILE)).await?.unwrap_or_default();
        if !present.contains_key("keys") {
            present.insert("keys".to_owned(), issuing_keys::new_file()?);
        }
        self.keep(issuing_keys::FILE, OPAQUE, present).await
    }

    /// A password for the Redis of this cluster, as Redis and as its clients read it.
    async fn redis(&mut self, address: &str) -> Result<()> {
        let present = self.secrets.read(&self.name("redis")).await?.unwrap_or_default();
        let made = || format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let password = present.get("password").cloned().unwrap_or_else(made);
        let data = [
            ("url", format!("redis://:{password}@{address}")),
            ("redis.conf", format!("requirepass {password}\n")),
            ("password", password),
        ];
        self.keep("redis", OPAQUE, data.map(|(key, text)| (key.to_owned(), text)).into()).await
    }
}

/// Writes what a secret holds of these files.
fn lay_out(folder: &DataDir, files: &[(&str, &str)], secret: &Data) -> Result<()> {
    for (key, file) in files {
        if let Some(text) = secret.get(*key) {
            folder.write(file, text)?;
        }
    }
    Ok(())
}

/// Reads those of these files that there are.
fn pick_up(folder: &DataDir, files: &[(&str, &str)]) -> Result<Data> {
    let mut data = Data::new();
    for (key, file) in files {
        if let Some(text) = folder.read(file)? {
            data.insert((*key).to_owned(), text);
        }
    }
    Ok(data)
}
