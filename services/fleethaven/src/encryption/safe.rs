//! A store's keyring on disk, and the vault that the store seals with.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use fleethaven_vault::keyring::{FILE, MOST_BYTES};
use fleethaven_vault::{DataKey, Keyring, Vault};

use super::masters::{Keys, Masters, random};

/// What a store is sealed with.
pub(crate) struct Safe {
    store: &'static str,
    path: PathBuf,
    keyring: Keyring,
    keys: BTreeMap<u32, DataKey>,
    vault: Arc<Vault>,
    /// Whether files with plain values may have been there when the keyring was opened, which nothing reads any more.
    had_old_files: bool,
}

impl Safe {
    /// Opens the keyring of the store in `dir`, or makes one where there is none; `None` when nothing is encrypted. A keyring is
    /// made before its store is opened, and changed only while it is: see [`rotate`](Self::rotate).
    ///
    /// # Errors
    /// When data keys cannot be opened: the message says what to do.
    pub(crate) fn open(masters: Option<&Masters>, store: &'static str, dir: &Path) -> Result<Option<Self>> {
        let path = path(dir);
        let failed = || format!("the {store} in {} cannot be opened", dir.display());
        let (masters, keyring) = match (masters, read(&path)?) {
            (None, None) => return Ok(None),
            (None, Some(keyring)) => return Err(no_key(&keyring)).with_context(failed),
            (Some(masters), keyring) => (masters.read()?, keyring),
        };
        let keyring = match keyring {
            Some(keyring) => keyring,
            None => make(&masters, dir, &path).with_context(failed)?,
        };
        let keys = unwrapped(&keyring, &masters).with_context(failed)?;
        let Some(vault) = Vault::new(keys.clone(), random()?) else { bail!("{} is empty", path.display()) };
        if !keyring.plain_values {
            vault.refuse_plain_values();
        }
        let had_old_files = keyring.old_files;
        Ok(Some(Self { store, path, keyring, keys, vault: Arc::new(vault), had_old_files }))
    }

    /// The same, for callers that may not wait for the disk or a key service.
    pub(crate) async fn opened(
        masters: Option<&Masters>,
        store: &'static str,
        dir: &Path,
    ) -> Result<Option<Self>> {
        let (masters, dir) = (masters.cloned(), dir.to_owned());
        tokio::task::spawn_blocking(move || Self::open(masters.as_ref(), store, &dir)).await?
    }

    /// What the store seals with.
    pub(crate) fn vault(&self) -> Arc<Vault> {
        self.vault.clone()
    }

    /// The store's name.
    pub(crate) fn store(&self) -> &'static str {
        self.store
    }

    /// What is in the keyring.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Puts the data keys under the current master key, if they are not, and makes a new one for what is new; whether it did. The
    /// store is open, so that no other process does the same.
    pub(crate) fn rotate(&mut self, masters: &Keys) -> Result<bool> {
        let current = masters.current()?;
        if self.keyring.keys().iter().all(|key| key.master_key == current) {
            return Ok(false);
        }
        let mut keyring = self.keyring.clone();
        let mut wrapped = BTreeMap::new();
        for (number, key) in &self.keys {
            wrapped.insert(*number, masters.wrap(*number, key)?);
        }
        let new = match keyring.next_number() {
            Some(number) => Some((number, DataKey(random()?))),
            None => None,
        };
        keyring.rewrap(|key| {
            if let Some(other) = wrapped.remove(&key.number).filter(|_| key.master_key != current) {
                *key = other;
            }
        });
        if let Some((number, key)) = &new {
            keyring.add(masters.wrap(*number, key)?);
        }
        self.keep(keyring)?;
        if let Some((number, key)) = new {
            self.vault.add(number, &key);
            self.keys.insert(number, key);
        }
        tracing::info!(store = self.store, master_key = %current, "data keys are under another master key");
        Ok(true)
    }

    /// Notes that no plain value is left: one that turns up is refused.
    pub(crate) fn all_sealed(&mut self) -> Result<()> {
        let mut keyring = self.keyring.clone();
        (keyring.plain_values, keyring.old_files) = (false, true);
        self.keep(keyring)?;
        self.vault.refuse_plain_values();
        tracing::info!(store = self.store, "everything is encrypted that was written before");
        Ok(())
    }

    /// Notes that the files are gone whose plain values were sealed before this process opened the store, which deletes them. The store
    /// must be open.
    pub(crate) fn old_files_are_gone(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.had_old_files) {
            return Ok(());
        }
        let mut keyring = self.keyring.clone();
        keyring.old_files = false;
        self.keep(keyring)
    }

    /// Notes that plain values are there, before the first one is written.
    pub(crate) fn allow_plain_values(&mut self) -> Result<()> {
        let mut keyring = self.keyring.clone();
        keyring.plain_values = true;
        self.keep(keyring)
    }

    /// Takes the keyring away: nothing is sealed under it any more. The store is locked, so that nobody seals meanwhile.
    pub(crate) fn remove(self) -> Result<()> {
        let remove = || -> io::Result<()> {
            fs::remove_file(&self.path)?;
            sync_folder(&self.path)
        };
        remove().with_context(|| format!("cannot remove {}", self.path.display()))
    }

    /// Writes the keyring as a whole: after a crash it is the old one or the new one.
    fn keep(&mut self, keyring: Keyring) -> Result<()> {
        let temporary = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            write(options.open(&temporary)?, &keyring)?;
            fs::rename(&temporary, &self.path)?;
            sync_folder(&self.path)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.keyring = keyring;
        Ok(())
    }
}

/// What opens a backup that was sealed under the data keys of `keyring`.
///
/// # Errors
/// When they cannot be opened: the message says what to do.
pub(crate) fn vault_of(keyring: &Keyring, masters: Option<&Masters>) -> Result<Arc<Vault>> {
    let Some(masters) = masters else { return Err(no_key(keyring)) };
    let vault = Vault::new(unwrapped(keyring, &masters.read()?)?, random()?);
    vault.map(Arc::new).context("its keyring is empty")
}

fn unwrapped(keyring: &Keyring, masters: &Keys) -> Result<BTreeMap<u32, DataKey>> {
    keyring.keys().iter().map(|key| Ok((key.number, masters.unwrap(key)?))).collect()
}

fn no_key(keyring: &Keyring) -> anyhow::Error {
    let names: Vec<_> = keyring.master_keys().into_keys().collect();
    let names = names.join(", ");
    anyhow!(
        "it is encrypted under {names}: name the file of that key by --encryption-key-file, or a key of a service by --encryption-kms-key"
    )
}

/// Where the keyring of the store in `dir` is.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// The keyring there; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Keyring>> {
    let failed = || format!("the keyring {} cannot be read", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(failed)?,
    };
    let mut contents = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut contents).with_context(failed)?;
    Keyring::parse(&contents).map(Some).with_context(failed)
}

/// Makes the keyring of a store that was not encrypted, unless another process has just done so.
fn make(masters: &Keys, dir: &Path, path: &Path) -> Result<Keyring> {
    fs::create_dir_all(dir)?;
    let plain_values = fs::read_dir(dir)?.next().is_some();
    let keyring = Keyring::new(masters.wrap(1, &DataKey(random()?))?, plain_values);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            write(file, &keyring)?;
            sync_folder(path)?;
            Ok(keyring)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.with_context(|| format!("{} came and went", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
}

fn write(mut file: File, keyring: &Keyring) -> io::Result<()> {
    file.write_all(&keyring.encode())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::EncryptionArgs;

    struct Scene {
        dir: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn store(&self) -> PathBuf {
            self.dir.path().join("sessions")
        }

        fn keys(&self, keys: &[u8]) -> Option<Masters> {
            let file = self.dir.path().join("keys");
            let lines: String =
                keys.iter().map(|key| fleethaven_vault::master::line(&[*key; 32]) + "\n").collect();
            fs::write(&file, lines).unwrap();
            Masters::of(&EncryptionArgs { key_file: Some(file), ..EncryptionArgs::default() }).unwrap()
        }

        fn open(&self, masters: Option<&Masters>) -> Result<Option<Safe>> {
            Safe::open(masters, "sessions", &self.store())
        }

        fn refused(&self, masters: Option<&Masters>) -> String {
            format!("{:#}", self.open(masters).err().unwrap())
        }
    }

    #[test]
    fn without_a_key_nothing_is_encrypted_and_what_is_does_not_open() {
        let scene = Scene::new();
        assert!(scene.open(None).unwrap().is_none() && !scene.store().exists());
        let masters = scene.keys(&[1]);
        let safe = scene.open(masters.as_ref()).unwrap().unwrap();
        assert!(!safe.keyring().plain_values);
        assert!(scene.refused(None).contains("--encryption-key-file"));
        let other = scene.refused(scene.keys(&[2]).as_ref());
        assert!(other.contains("is not in") && other.contains("put that key back"), "{other}");
    }

    #[test]
    fn a_store_that_was_plain_may_hold_plain_values() {
        let scene = Scene::new();
        fs::create_dir_all(scene.store()).unwrap();
        fs::write(scene.store().join("durable"), "").unwrap();
        let masters = scene.keys(&[1]);
        let mut safe = scene.open(masters.as_ref()).unwrap().unwrap();
        assert!(safe.keyring().plain_values);
        safe.all_sealed().unwrap();
        safe.old_files_are_gone().unwrap();
        assert!(safe.keyring().old_files, "as long as the process runs that sealed them");
        let mut safe = scene.open(masters.as_ref()).unwrap().unwrap();
        assert!(!safe.keyring().plain_values && safe.keyring().old_files);
        safe.old_files_are_gone().unwrap();
        assert!(!scene.open(masters.as_ref()).unwrap().unwrap().keyring().old_files);
    }

    #[test]
    fn a_new_master_key_takes_over_and_the_old_one_may_go() {
        let scene = Scene::new();
        let mut safe = scene.open(scene.keys(&[1]).as_ref()).unwrap().unwrap();
        let sealed = safe.vault().seal("t", b"k", b"old").unwrap();
        let both = scene.keys(&[2, 1]).unwrap();
        assert!(safe.rotate(&both.read().unwrap()).unwrap());
        assert!(!safe.rotate(&both.read().unwrap()).unwrap(), "once");
        let newer = safe.vault().seal("t", b"k", b"new").unwrap();
        let only_new = scene.keys(&[2]);
        let safe = scene.open(only_new.as_ref()).unwrap().unwrap();
        assert_eq!(safe.vault().open("t", b"k", &sealed).unwrap().unwrap(), b"old");
        assert_eq!(safe.vault().open("t", b"k", &newer).unwrap().unwrap(), b"new");
        assert_eq!(safe.keyring().master_keys().into_values().collect::<Vec<_>>(), [2]);
        assert!(scene.refused(scene.keys(&[1]).as_ref()).contains("is not in"));
    }
}
