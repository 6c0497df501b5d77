//! Master keys: those of a file, and one of an external service.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand;
use fleethaven_vault::{DataKey, KeyFile, WrappedKey, master};

use super::kms::KeyService;
use crate::cli::EncryptionArgs;

/// What the names of the service's keys begin with, in keyrings.
const OF_SERVICE: &str = "kms:";

/// Where master keys come from. The service wraps what is new, if there is one; otherwise the first key of the file does.
#[derive(Clone)]
pub(crate) struct Masters {
    file: Option<PathBuf>,
    service: Option<Arc<KeyService>>,
}

impl Masters {
    /// Those that a user names, if any. A file is looked at, so that a wrong one ends the start.
    pub(crate) fn of(arguments: &EncryptionArgs) -> Result<Option<Self>> {
        let service = KeyService::of(arguments)?.map(Arc::new);
        let masters = Self { file: arguments.key_file.clone(), service };
        if masters.file.is_none() && masters.service.is_none() {
            return Ok(None);
        }
        masters.read()?;
        Ok(Some(masters))
    }

    /// The keys as they are now.
    pub(crate) fn read(&self) -> Result<Keys> {
        let file = self.file.as_deref().map(read).transpose()?;
        Ok(Keys { file, service: self.service.clone() })
    }

    /// Whether looking at them asks somebody else.
    pub(crate) fn are_elsewhere(&self) -> bool {
        self.service.is_some()
    }
}

/// Reads a file, of which no more than can be meant is believed.
pub(super) fn read(path: &Path) -> Result<KeyFile> {
    let failed = || format!("the keys in {} cannot be used", path.display());
    let mut contents = Vec::new();
    let most = master::MOST_FILE_BYTES as u64;
    let file = File::open(path).with_context(failed)?;
    file.take(most + 1).read_to_end(&mut contents).with_context(failed)?;
    KeyFile::parse(&contents).with_context(failed)
}

/// Master keys as they were at one moment. Using those of a service waits for it: not on an event loop.
pub(crate) struct Keys {
    file: Option<KeyFile>,
    service: Option<Arc<KeyService>>,
}

impl Keys {
    /// The id of the one that wraps what is new. A service is asked, as its name may be an alias.
    pub(crate) fn current(&self) -> Result<String> {
        match (&self.service, &self.file) {
            (Some(service), _) => Ok(format!("{OF_SERVICE}{}", service.wrap(0, &DataKey(random()?))?.0)),
            (None, Some(file)) => Ok(file.first().id().to_owned()),
            (None, None) => Err(anyhow!("there is no master key")),
        }
    }

    /// Wraps a data key under the current one.
    pub(crate) fn wrap(&self, number: u32, key: &DataKey) -> Result<WrappedKey> {
        let (master_key, wrapped) = match (&self.service, &self.file) {
            (Some(service), _) => {
                let (name, wrapped) = service.wrap(number, key)?;
                (format!("{OF_SERVICE}{name}"), wrapped)
            }
            (None, Some(file)) => {
                let master = file.first();
                (master.id().to_owned(), master.wrap(number, key, random()?).map_err(|_| failed())?)
            }
            (None, None) => return Err(anyhow!("there is no master key")),
        };
        Ok(WrappedKey { number, master_key, wrapped })
    }

    /// A data key that was wrapped under one of them.
    pub(crate) fn unwrap(&self, key: &WrappedKey) -> Result<DataKey> {
        let WrappedKey { number, master_key, wrapped } = key;
        let what = || format!("its data key {number} is wrapped under master key {master_key}");
        if let Some(name) = master_key.strip_prefix(OF_SERVICE) {
            let service = self.service.as_ref();
            let service = service.ok_or_else(|| anyhow!("{}: name a key by --encryption-kms-key", what()))?;
            return service.unwrap(*number, name, wrapped).with_context(what);
        }
        let master = self.file.as_ref().and_then(|file| file.find(master_key)).ok_or_else(|| {
            anyhow!(
                "{}, which is not in the file of --encryption-key-file: put that key back into it, below those that are \
                 newer",
                what()
            )
        })?;
        master.unwrap(*number, wrapped).ok_or_else(|| anyhow!("{}, and damaged", what()))
    }
}

fn failed() -> anyhow::Error {
    anyhow!("the cryptographic library failed")
}

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| failed())?;
    Ok(bytes)
}
