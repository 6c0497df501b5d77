//! The file with the keys that seal the private keys of issuing CAs: where it is, and what is done when it changes.
//!
//! `fleethaven dev`, and commands on a data directory, make one in the directory when none is named. The nodes of a cluster share one: it
//! is named, or lies beside the certificate of the node, where `fleethaven pki issue` puts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_fabric::admin::NodeRole;
use fleethaven_fabric_grpc::tls::Tls;
use fleethaven_metastore::{Metastore, Sealed, Sealing};
use fleethaven_vault::{KeyFile, master};
use tokio::signal::unix::{SignalKind, signal};

use super::masters::{self, random};
use crate::cli::EncryptionArgs;
use crate::data_dir::DataDir;
use crate::operate::Store;

/// The file's name in a data directory, and beside a certificate.
pub(crate) const FILE: &str = "issuing-keys";
/// How often the file is looked at, and whether there is a key to be sealed.
const INTERVAL: Duration = Duration::from_secs(5);

/// The file of a data directory: the one that is named, or the directory's own, which is made on first use.
pub(crate) fn of_directory(arguments: &EncryptionArgs, data: &DataDir) -> Result<PathBuf> {
    match &arguments.issuing_key_file {
        Some(file) => Ok(file.clone()),
        None => data.make(FILE, &new_file()?),
    }
}

/// The file of a node of a cluster: the one that is named, or that beside the node's certificate, if there is one.
pub(crate) fn of_node(arguments: &EncryptionArgs, certificate: &Path) -> Option<PathBuf> {
    let beside = || Some(certificate.join(FILE)).filter(|file| file.exists());
    arguments.issuing_key_file.clone().or_else(beside)
}

/// A file with one new key.
pub(crate) fn new_file() -> Result<String> {
    Ok(master::line(&random()?) + "\n")
}

/// The keys of a file.
pub(crate) fn read(file: &Path) -> Result<KeyFile> {
    masters::read(file)
}

/// What seals by the keys of a file.
pub(crate) fn sealing(file: &Path) -> Result<Arc<Sealing>> {
    Ok(Sealing::new(Some(read(file)?)))
}

/// Keeps the keys of issuing CAs sealed by the first key of a file.
pub(crate) struct Keeper {
    pub(crate) metastore: Arc<Metastore>,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) file: PathBuf,
    /// How the other nodes are asked which keys they have; nothing where there are none.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What was logged last.
    pub(crate) told: String,
}

impl Keeper {
    /// Goes on for as long as the process runs.
    ///
    /// # Errors
    /// When SIGHUP cannot be listened to.
    pub(crate) fn start(mut self) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            let mut level = false;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = hangup.recv() => {}
                }
                level = match self.look(level).await {
                    Ok(level) => level,
                    Err(error) => {
                        self.tell(error, true);
                        false
                    }
                };
            }
        });
        Ok(())
    }

    /// Takes up another file, and seals what is not sealed by its first key; whether all is. Nodes that do not lead have nothing to do
    /// until they do.
    async fn look(&mut self, level: bool) -> Result<bool> {
        let file = self.file.clone();
        let keys = tokio::task::spawn_blocking(move || read(&file)).await??;
        let ids: Vec<String> = keys.all().map(|key| key.id().to_owned()).collect();
        let same = ids == self.sealing.ids();
        if !same {
            self.sealing.replace(keys);
            tracing::info!(keys = ?ids, "other keys seal the private keys of issuing CAs");
        }
        if level && same {
            return Ok(true);
        }
        let status = self.metastore.status_now();
        if status.control.role != NodeRole::Leader || !status.control.confirmed {
            return Ok(false);
        }
        if let Err(reason) = self.check_others(&ids).await {
            // They may be starting.
            self.tell(reason, false);
            return Ok(false);
        }
        let Sealed { changed, unopened } = self.metastore.seal_issuing_keys().await?;
        if changed > 0 {
            tracing::info!(changed, "private keys of issuing CAs were sealed");
        }
        match unopened.into_iter().next() {
            None => {
                self.told.clear();
                Ok(true)
            }
            Some((under, accounts)) => bail!(
                "the private keys of {accounts} issuing CAs are sealed under {under}, which does not open them or is not in {}: put that \
                 key back into it, below those that are newer, or give the accounts another CA by `fleethaven issuing-ca put`",
                self.file.display()
            ),
        }
    }

    /// Refuses to seal what another node could not open: one without the key, or of a release that knows no sealed keys.
    async fn check_others(&self, ids: &[String]) -> Result<()> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let status = self.metastore.status_now();
        let others = status.control.nodes.into_iter().filter(|node| node.node != status.node);
        let others: Vec<String> = others.map(|node| node.address).collect();
        if others.is_empty() {
            return Ok(());
        }
        let first = ids.first().context("there is no key")?;
        for (address, status) in Store::new(tls.clone(), others).standing().await {
            let status =
                status.with_context(|| format!("the node at {address} does not say which keys it has"))?;
            if !status.issuing_keys.contains(first) {
                bail!("the node at {address} does not have the key {first} yet");
            }
        }
        Ok(())
    }

    /// Once for each reason.
    fn tell(&mut self, error: anyhow::Error, is_wrong: bool) {
        let reason = format!("{error:#}");
        if reason == self.told {
            return;
        }
        match is_wrong {
            true => {
                tracing::error!(reason, "private keys of issuing CAs are not all sealed as they should be")
            }
            false => tracing::info!(reason, "private keys of issuing CAs wait to be sealed"),
        }
        self.told = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_the_key_that_it_made() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let file = of_directory(&EncryptionArgs::default(), &data).unwrap();
        let made = read(&file).unwrap();
        let again = read(&of_directory(&EncryptionArgs::default(), &data).unwrap()).unwrap();
        assert_eq!(again.first().id(), made.first().id());
        let named = EncryptionArgs { issuing_key_file: Some("keys".into()), ..EncryptionArgs::default() };
        assert_eq!(of_directory(&named, &data).unwrap(), Path::new("keys"));
        assert_eq!(of_node(&named, folder.path()).unwrap(), Path::new("keys"));
        assert_eq!(of_node(&EncryptionArgs::default(), folder.path()), Some(folder.path().join(FILE)));
        assert_eq!(of_node(&EncryptionArgs::default(), Path::new("/nowhere")), None);
    }
}
