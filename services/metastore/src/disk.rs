//! One node's store: a single database with a single journal for all groups.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `log` | group (u32), index (u64) | log entry |
//! | `meta` | `n` | the node's record |
//! | `meta` | `c` | number of the last durable commit (see `Witness`) |
//! | `meta` | `g`, group (u32), name | a group's vote, purge point, state record |
//! | `state-GROUP-GENERATION` | as the registry lays them out | as the registry encodes them |
//!
//! Where a vault seals the store, it seals log entries and the state's values. Keys stay as they are, and so does `meta`: who
//! voted for whom, and how far everything has come.
//!
//! Numbers are big-endian. Log and state share the journal, so after a crash the state never runs ahead of
//! the log.

use std::fs;
use std::io;
use std::iter;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use fleethaven_storage_embedded::Witness;
use fleethaven_storage_embedded::space::{self, Space};
use fleethaven_vault::Vault;
use prost::Message;

use crate::commit::{COUNTER, Committer};
use crate::error::{Error, damaged, store_io};
use crate::record::NodeRecord;
use crate::snapshot::{self, Shelf};

/// Layout of keyspaces and records; raised when it changes.
const FORMAT: u32 = 2;
/// The format that had the control group alone: what a node needs besides is added when it is opened.
const CONTROL_ALONE: u32 = 1;
/// The keyspace that is never sealed.
const META: &str = "meta";
/// Memtable size: what has to be replayed at start is bounded by it.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// All journals together, at most.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Cache for blocks read back from disk.
const CACHE_BYTES: u64 = 64 << 20;

/// Names of a group's records in `meta`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    /// The vote.
    Vote,
    /// The last log id purged.
    Purged,
    /// How far the state has come.
    State,
}

impl Meta {
    /// The record's key for `group`.
    pub(crate) fn key(self, group: u32) -> Vec<u8> {
        let name: &[u8] = match self {
            Self::Vote => b"vote",
            Self::Purged => b"purged",
            Self::State => b"state",
        };
        [b"g", group.to_be_bytes().as_slice(), name].concat()
    }
}

/// The open store of a node. The directory stays locked until the last reference is gone.
pub(crate) struct Disk {
    pub(crate) db: Database,
    pub(crate) log: Space,
    pub(crate) meta: Space,
    pub(crate) committer: Committer,
    pub(crate) snapshots: Shelf,
}

impl Disk {
    /// Opens the store below `dir`, creating it when absent; `vault` seals it.
    pub(crate) fn open(dir: &Path, vault: Option<Arc<Vault>>) -> Result<Arc<Self>, Error> {
        fs::create_dir_all(dir).map_err(|e| Error::from_io(dir, e))?;
        let builder =
            Database::builder(dir.join("db")).max_journaling_size(JOURNAL_BYTES).cache_size(CACHE_BYTES);
        let db =
            space::sealing(builder, vault.as_ref(), &[META]).open().map_err(|e| Error::from_store(dir, e))?;
        let log = db.keyspace("log", keyspace_options).map_err(|e| Error::from_store(dir, e))?;
        let meta = db.keyspace(META, keyspace_options).map_err(|e| Error::from_store(dir, e))?;
        let (log, meta) = (Space::new(log, vault.clone()), Space::new(meta, None));
        let (witness, noted) = Witness::open(dir).map_err(|e| Error::from_io(dir, e))?;
        let last = last_durable(&meta).map_err(|e| Error::from_io(dir, e))?;
        if last < noted {
            let path = Witness::path(dir);
            let detail = format!(
                "commits {} to {noted} are missing ({} says they were made)",
                last + 1,
                path.display()
            );
            return Err(Error::Corrupt { dir: dir.to_owned(), detail });
        }
        let started = Committer::start(db.clone(), meta.clone(), last, witness);
        let committer = started.map_err(|e| Error::from_io(dir, e))?;
        let snapshots = Shelf { dir: dir.to_owned(), vault };
        Ok(Arc::new(Self { db, log, meta, committer, snapshots }))
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.snapshots.dir
    }

    /// The node's record; absent before bootstrap.
    pub(crate) fn node(&self, expected: u64) -> Result<Option<NodeRecord>, Error> {
        let Some(bytes) = self.meta.get(b"n").map_err(|e| Error::from_store(self.dir(), e))? else {
            return Ok(None);
        };
        let record = NodeRecord::decode(&*bytes)
            .map_err(|e| Error::from_io(self.dir(), damaged("the node's record", e)))?;
        let dir = self.dir().to_owned();
        if record.format != FORMAT && record.format != CONTROL_ALONE {
            return Err(Error::Format { dir, expected: FORMAT, found: record.format });
        }
        if record.node != expected {
            return Err(Error::OtherNode { dir, expected, found: record.node });
        }
        Ok(Some(record))
    }

    /// Makes this the store of `node` in a cluster of incarnation `incarnation` with so many state groups. Durable on return.
    pub(crate) async fn bootstrap(
        &self,
        node: u64,
        incarnation: u64,
        state_groups: NonZeroU32,
    ) -> Result<NodeRecord, Error> {
        let state_groups = state_groups.get();
        let record = NodeRecord { format: FORMAT, node, incarnation, state_groups };
        self.committer
            .commit(true, |commit| commit.put(&self.meta, b"n".as_slice(), record.encode_to_vec()))
            .await
            .map_err(|e| Error::from_io(self.dir(), e))?;
        Ok(record)
    }

    /// A group's record, decoded.
    pub(crate) fn record<M: Message + Default>(&self, group: u32, name: Meta) -> io::Result<Option<M>> {
        let bytes = self.meta.get(name.key(group)).map_err(store_io)?;
        bytes.map(|b| decode(group, name, &b)).transpose()
    }

    /// The keyspace of a generation of a group's state, created when absent.
    pub(crate) fn state(&self, group: u32, generation: u64) -> io::Result<Space> {
        let keyspace =
            self.db.keyspace(&state_name(group, generation), keyspace_options).map_err(store_io)?;
        Ok(Space::new(keyspace, self.snapshots.vault.clone()))
    }

    /// Removes all generations of a group's state but `keep`: leftovers of an install that was cut short or
    /// replaced.
    pub(crate) fn drop_other_states(&self, group: u32, keep: u64) -> io::Result<()> {
        let (prefix, keep) = (format!("state-{group}-"), state_name(group, keep));
        for name in self.db.list_keyspace_names() {
            if name.starts_with(&prefix) && *name != *keep {
                let old = self.db.keyspace(&name, keyspace_options).map_err(store_io)?;
                self.db.delete_keyspace(old).map_err(store_io)?;
            }
        }
        Ok(())
    }

    /// Bytes that the store takes on disk, snapshot files not counted; 0 when that cannot be told.
    pub(crate) fn bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or_default()
    }

    /// Seals what was written before the store was encrypted, `states` beside the log: how many values are left that could not be
    /// sealed yet.
    pub(crate) fn seal_plain_values(&self, states: impl IntoIterator<Item = Space>) -> io::Result<u64> {
        let sealed: Vec<_> = iter::once(self.log.clone()).chain(states).collect();
        space::seal_plain_values(&self.db, &sealed, std::slice::from_ref(&self.meta)).map_err(store_io)
    }

    /// Fsyncs all that was written so far.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.db.persist(PersistMode::SyncAll).map_err(store_io)?;
        #[cfg(test)]
        crate::tests::simulation::synced();
        Ok(())
    }
}

/// A node's store that nobody uses, to be made plain again. The directory stays locked as long as this is there.
pub struct Unsealing {
    database: space::Unsealing,
    dir: PathBuf,
}

impl Unsealing {
    /// Opens the store of the node in `dir`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let database =
            space::Unsealing::of(&dir.join("db"), &[META]).map_err(|e| Error::from_store(dir, e))?;
        Ok(Self { database, dir: dir.to_owned() })
    }

    /// Writes every value and snapshot file as it was before it was sealed; durable on return. How many values there were.
    ///
    /// # Errors
    /// When something cannot be opened, or the disk fails.
    pub fn run(&self, vault: &Arc<Vault>) -> Result<u64, Error> {
        let values = self.database.run(vault).map_err(|e| Error::from_store(&self.dir, e))?;
        snapshot::unseal(&self.dir, vault).map_err(|e| Error::from_io(&self.dir, e))?;
        Ok(values)
    }
}

/// The number of the last durable commit that the store holds.
fn last_durable(meta: &Space) -> io::Result<u64> {
    let Some(bytes) = meta.get(COUNTER).map_err(store_io)? else { return Ok(0) };
    let number = bytes.as_ref().try_into().map_err(|e| damaged("number of the last durable commit", e))?;
    Ok(u64::from_be_bytes(number))
}

/// Decodes a group's record.
pub(crate) fn decode<M: Message + Default>(group: u32, name: Meta, bytes: &[u8]) -> io::Result<M> {
    M::decode(bytes).map_err(|e| damaged(&format!("{name:?} of group {group}"), e))
}

fn state_name(group: u32, generation: u64) -> String {
    format!("state-{group}-{generation}")
}

fn keyspace_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
}
