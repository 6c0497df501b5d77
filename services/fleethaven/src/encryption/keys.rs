//! `fleethaven encryption-key`.

use std::io::Write;

use anyhow::{Context, Result};
use fleethaven_vault::master;
use serde::Serialize;

use super::masters::random;
use super::{STORES, safe};
use crate::cli::EncryptionKeyCommand;

/// A store and a master key that its data keys are wrapped under.
#[derive(Serialize)]
struct InUse<'a> {
    store: &'a str,
    master_key: &'a str,
    data_keys: usize,
    /// Whether values may be there that were written before the store was encrypted.
    plain_values: bool,
}

/// Makes a key, or tells which are in use.
pub(crate) fn run(command: &EncryptionKeyCommand) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        EncryptionKeyCommand::New => writeln!(out, "{}", master::line(&random()?))?,
        EncryptionKeyCommand::Status(arguments) => {
            for store in STORES {
                let Some(keyring) = safe::read(&safe::path(&arguments.data_dir.join(store)))? else {
                    continue;
                };
                let plain_values = keyring.plain_values;
                for (master_key, data_keys) in keyring.master_keys() {
                    let line = InUse { store, master_key, data_keys, plain_values };
                    writeln!(out, "{}", serde_json::to_string(&line)?)?;
                }
            }
        }
    }
    out.flush().context("cannot write to standard output")
}
