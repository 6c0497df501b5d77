//! Keyspaces whose values may be sealed, and batches of writes to them. The metadata store keeps its own in the same way.
//!
//! Values are sealed, keys are not: their order is what they are looked up by. Numbers that a store counts with lie in plain
//! keyspaces.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::{Database, DatabaseBuilder, Guard, Keyspace, OwnedWriteBatch, PersistMode, Slice};
use fleethaven_vault::{Error, Vault, is_sealed};

/// A keyspace and what its values are sealed by, if they are.
#[derive(Clone)]
pub struct Space {
    keyspace: Keyspace,
    vault: Option<Arc<Vault>>,
}

impl Space {
    /// A keyspace whose values `vault` seals; without it they are plain.
    pub fn new(keyspace: Keyspace, vault: Option<Arc<Vault>>) -> Self {
        Self { keyspace, vault }
    }

    /// The keyspace, for all that has to do with keys alone: what is read of it directly may be sealed.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub fn get(&self, key: impl AsRef<[u8]>) -> fjall::Result<Option<Slice>> {
        let value = self.keyspace.get(key.as_ref())?;
        value.map(|value| self.opened(key.as_ref(), value)).transpose()
    }

    /// All pairs, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = fjall::Result<(Slice, Slice)>> + use<'_> {
        self.keyspace.iter().map(|guard| self.pair(guard))
    }

    /// What a read of this keyspace yielded, with the value opened.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub fn pair(&self, guard: Guard) -> fjall::Result<(Slice, Slice)> {
        let (key, value) = guard.into_inner()?;
        let value = self.opened(&key, value)?;
        Ok((key, value))
    }

    /// A value as it was before it was sealed.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn opened(&self, key: &[u8], value: Slice) -> fjall::Result<Slice> {
        let opened = match &self.vault {
            Some(vault) => vault.open(self.keyspace.name(), key, &value),
            None if is_sealed(&value) => Err(Error::NoKey),
            None => Ok(None),
        };
        match opened {
            Ok(Some(opened)) => Ok(opened.into()),
            Ok(None) => Ok(value),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// A value as it is stored.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn sealed(&self, key: &[u8], value: Slice) -> fjall::Result<Slice> {
        match &self.vault {
            Some(vault) => {
                let sealed = vault.seal(self.keyspace.name(), key, &value);
                sealed.map(Slice::from).map_err(|error| self.failed(error))
            }
            None => Ok(value),
        }
    }

    /// Which value it was stays unsaid: keys are for owners' eyes.
    fn failed(&self, error: Error) -> fjall::Error {
        let text = format!("a value in '{}': {error}", &**self.keyspace.name());
        fjall::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, text))
    }

    /// How many values are not sealed and should be.
    fn plain_values(&self) -> fjall::Result<u64> {
        let mut plain = 0;
        for guard in self.keyspace.iter() {
            plain += u64::from(!is_sealed(&guard.value()?));
        }
        Ok(plain)
    }
}

/// Writes that take effect together.
pub struct Batch {
    writes: OwnedWriteBatch,
    failure: Option<fjall::Error>,
}

impl Batch {
    /// No writes yet.
    pub fn of(database: &Database) -> Self {
        Self { writes: database.batch(), failure: None }
    }

    /// Sets a value.
    pub fn insert(&mut self, space: &Space, key: impl Into<Slice>, value: impl Into<Slice>) {
        let (key, value) = (key.into(), value.into());
        match space.sealed(&key, value) {
            Ok(value) => self.writes.insert(&space.keyspace, key, value),
            Err(error) => self.failure = Some(error),
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, space: &Space, key: impl Into<Slice>) {
        self.writes.remove(&space.keyspace, key);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Writes everything, or nothing; as durably as said, or as it comes.
    ///
    /// # Errors
    /// When a value could not be sealed or the batch could not be written.
    pub fn commit(self, durability: Option<PersistMode>) -> fjall::Result<()> {
        match self.failure {
            Some(failure) => Err(failure),
            None => self.writes.durability(durability).commit(),
        }
    }
}

/// A builder of a database in whose keyspaces, but for those named `plain`, compactions seal what is not.
pub fn sealing(
    builder: DatabaseBuilder<Database>,
    vault: Option<&Arc<Vault>>,
    plain: &'static [&'static str],
) -> DatabaseBuilder<Database> {
    let Some(vault) = vault.cloned() else { return builder };
    builder.with_compaction_filter_factories(Arc::new(move |name| {
        let sealing = Sealing { table: name.to_owned(), vault: AssertUnwindSafe(vault.clone()) };
        (!plain.contains(&name)).then(|| Arc::new(sealing) as Arc<dyn Factory>)
    }))
}

/// Seals what was written before the store was encrypted.
struct Sealing {
    table: String,
    /// Nothing of it is left half done when a thread panics.
    vault: AssertUnwindSafe<Arc<Vault>>,
}

impl Factory for Sealing {
    fn name(&self) -> &str {
        "sealing"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter { table: self.table.clone(), vault: self.vault.0.clone() })
    }
}

struct Filter {
    table: String,
    vault: Arc<Vault>,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        if is_sealed(&value) {
            return Ok(Verdict::Keep);
        }
        let sealed = self.vault.seal(&self.table, item.key(), &value).map_err(std::io::Error::from)?;
        Ok(Verdict::ReplaceValue(sealed.into()))
    }
}

/// A journal is followed by the next one above so many bytes.
const JOURNAL_BYTES: usize = 64 << 20;
/// Filler is written in pieces of this size.
const FILLER: usize = 1 << 20;
/// Where filler goes.
const FILLER_SPACE: &str = "filler";

/// Seals every value of `sealed` that was written before the store was encrypted, while it is used; how many are left, as something
/// else was compacting them. Journals with such values go, too: they are filled until the next one begins, and nothing of theirs is
/// needed once all keyspaces, `plain` ones as well, have their tables.
///
/// # Errors
/// When the disk fails.
pub fn seal_plain_values(database: &Database, sealed: &[Space], plain: &[Space]) -> fjall::Result<u64> {
    let vault = sealed.iter().find_map(|space| space.vault.clone());
    let filler = Space::new(database.keyspace(FILLER_SPACE, Default::default)?, vault);
    for number in 0..=JOURNAL_BYTES / FILLER {
        let mut batch = Batch::of(database);
        batch.insert(&filler, number.to_be_bytes(), vec![0; FILLER]);
        batch.commit(None)?;
    }
    filler.keyspace.rotate_memtable_and_wait()?;
    for space in plain.iter().chain(sealed) {
        space.keyspace.rotate_memtable_and_wait()?;
    }
    // Journals go when a memtable is put away, as far as the newest entries in tables show that they are not needed. That is looked at
    // once more before compaction may drop those entries: then they would stay.
    let mut batch = Batch::of(database);
    batch.insert(&filler, 0_usize.to_be_bytes(), Vec::<u8>::new());
    batch.commit(None)?;
    filler.keyspace.rotate_memtable_and_wait()?;
    let mut left = 0;
    for space in sealed {
        space.keyspace.major_compact()?;
        left += space.plain_values()?;
    }
    database.delete_keyspace(filler.keyspace)?;
    Ok(left)
}

/// Bytes of values that are written together while a store is made plain.
const UNSEALED_BYTES: usize = 4 << 20;

/// A database that nobody else uses, whose values are made plain again. The directory stays locked as long as this is there.
pub struct Unsealing {
    database: Database,
    plain: &'static [&'static str],
}

impl Unsealing {
    /// Opens the database in `dir`; keyspaces named `plain` hold nothing that is sealed.
    ///
    /// # Errors
    /// When it cannot be opened: another process uses it, the disk fails.
    pub fn of(dir: &Path, plain: &'static [&'static str]) -> fjall::Result<Self> {
        Ok(Self { database: Database::builder(dir).open()?, plain })
    }

    /// Writes every value as it was before it was sealed; durable on return. How many there were: none are left. What was done of it
    /// stays done when it breaks off, and need not be done again.
    ///
    /// # Errors
    /// When a value cannot be opened, or the disk fails.
    pub fn run(&self, vault: &Arc<Vault>) -> fjall::Result<u64> {
        let mut opened = 0;
        for name in self.database.list_keyspace_names() {
            if !self.plain.contains(&&*name) {
                let keyspace = self.database.keyspace(&name, Default::default)?;
                opened += self.open_values(&Space::new(keyspace, Some(vault.clone())))?;
            }
        }
        self.database.persist(PersistMode::SyncAll)?;
        Ok(opened)
    }

    fn open_values(&self, space: &Space) -> fjall::Result<u64> {
        let (mut batch, mut bytes, mut opened) = (self.database.batch(), 0, 0);
        // A read of one moment: what is written meanwhile is not met again.
        for guard in space.keyspace.iter() {
            let (key, value) = guard.into_inner()?;
            if !is_sealed(&value) {
                continue;
            }
            let value = space.opened(&key, value)?;
            bytes += value.len();
            opened += 1;
            batch.insert(&space.keyspace, key, value);
            if bytes >= UNSEALED_BYTES {
                std::mem::replace(&mut batch, self.database.batch()).commit()?;
                bytes = 0;
            }
        }
        batch.commit()?;
        Ok(opened)
    }
}
