//! `fleethaven encryption-key`.

use std::io::Write;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fleethaven_metastore::Unsealing;
use fleethaven_storage_embedded::EmbeddedStore;
use fleethaven_vault::{Vault, master};
use serde::Serialize;

use super::masters::{Masters, random};
use super::{STORES, Safe, safe};
use crate::cli::{EncryptionKeyCommand, KeyRemoveArgs};

/// A store and a master key that its data keys are wrapped under.
#[derive(Serialize)]
struct InUse<'a> {
    store: &'a str,
    master_key: &'a str,
    data_keys: usize,
    /// Whether values may be in its files that were written before the store was encrypted.
    plain_values: bool,
}

/// Makes a key, tells which are in use, or makes stores plain.
pub(crate) fn run(command: &EncryptionKeyCommand) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        EncryptionKeyCommand::New => writeln!(out, "{}", master::line(&random()?))?,
        EncryptionKeyCommand::Status(arguments) => {
            for store in STORES {
                let Some(keyring) = safe::read(&safe::path(&arguments.data_dir.join(store)))? else {
                    continue;
                };
                let plain_values = keyring.plain_values || keyring.old_files;
                for (master_key, data_keys) in keyring.master_keys() {
                    let line = InUse { store, master_key, data_keys, plain_values };
                    writeln!(out, "{}", serde_json::to_string(&line)?)?;
                }
            }
        }
        EncryptionKeyCommand::Remove(arguments) => {
            for plain in remove(arguments)? {
                writeln!(out, "{}", serde_json::to_string(&plain)?)?;
            }
        }
    }
    out.flush().context("cannot write to standard output")
}

/// A store that is plain now.
#[derive(Serialize)]
struct MadePlain {
    store: &'static str,
    /// Values that were encrypted.
    values: u64,
}

/// Writes what is sealed in a store as it was before; how many values there were.
type Unseal = Box<dyn Fn(&Arc<Vault>) -> Result<u64>>;

fn remove(arguments: &KeyRemoveArgs) -> Result<Vec<MadePlain>> {
    let masters = Masters::of(&arguments.encryption)?;
    let mut made = Vec::new();
    for store in STORES {
        let dir = arguments.data_dir.join(store);
        if safe::read(&safe::path(&dir))?.is_none() {
            continue;
        }
        let failed = || format!("the {store} in {} cannot be made plain", dir.display());
        // As long as this is there no process can open the store.
        let unseal = unsealing(store, &dir).with_context(failed)?;
        let Some(mut safe) = Safe::open(masters.as_ref(), store, &dir)? else { continue };
        // Should it break off, the store opens with its key still.
        safe.allow_plain_values()?;
        let values = unseal(&safe.vault()).with_context(failed)?;
        safe.remove()?;
        made.push(MadePlain { store, values });
    }
    if made.is_empty() {
        bail!("nothing is encrypted in {}", arguments.data_dir.display());
    }
    Ok(made)
}

fn unsealing(store: &str, dir: &Path) -> Result<Unseal> {
    if store == "sessions" {
        let unsealing = EmbeddedStore::unsealing(dir)?;
        return Ok(Box::new(move |vault| Ok(unsealing.run(vault)?)));
    }
    let unsealing = Unsealing::of(dir)?;
    Ok(Box::new(move |vault| Ok(unsealing.run(vault)?)))
}
