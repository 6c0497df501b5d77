//! Restoring a backup into an empty directory: the first node of a new cluster with the data of the old one.
//!
//! The new store has a name of its own, hence another incarnation: whoever watched the old one starts afresh. Nobody is a
//! member of it, and what is counted (incarnations of processes, epochs of slots) goes on above all that the old one can
//! have counted since, so that a session store that remembers the old one refuses nothing. Other nodes join it, and get the
//! data by snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleethaven_fabric::admin::BackupInfo;
use fleethaven_registry::{Write, cluster};
use fleethaven_storage_embedded::space::Space;
use fleethaven_types::Timestamp;
use fleethaven_vault::{Keyring, Vault};
use openraft::{BasicNode, StoredMembership};
use prost::Message;

use crate::backup::BackupFile;
use crate::blocking::blocking;
use crate::disk::{Disk, Meta};
use crate::error::Error;
use crate::group::CONTROL;
use crate::machine::ingest;
use crate::metastore::incarnation_of;
use crate::record::{Applied, LogIdRecord, VoteRecord};
use crate::sealing;
use crate::snapshot::SnapshotWriter;
use crate::state::StateView;
use crate::types::{Membership, log_id};

/// The generation of a restored state: not the first, so that what an interrupted restore leaves behind is never taken for the
/// state of a new node.
const GENERATION: u64 = 1;

/// What to restore, and as what.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// The directory of the new node's data: absent, or empty.
    pub dir: PathBuf,
    /// The new node's id.
    pub node: u64,
    /// Where other nodes will reach it; empty for one that stays alone.
    pub address: String,
    /// How many state groups the new store has if the backup is older than these; else it has as many as the old one.
    pub state_groups: NonZeroU32,
    /// Name of the new cluster, which must not be the old one's; empty for a node that stays alone.
    pub cluster: String,
    /// Wall time.
    pub now: Timestamp,
    /// Seals the new store, whose keyring is already in its directory. Without it nothing is sealed.
    pub vault: Option<Arc<Vault>>,
    /// Opens the backup, if it is sealed (see [`keyring`]).
    pub opens: Option<Arc<Vault>>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup holds.
    pub backup: BackupInfo,
    /// How many state groups the new store has: the node is started with as many.
    pub state_groups: NonZeroU32,
    /// The ids of what seals the keys of issuing CAs in it: the node needs these to issue certificates.
    pub issuing_keys: BTreeSet<String>,
}

/// What a backup holds, once the whole of it was found right.
///
/// # Errors
/// [`Error::Backup`] when it is damaged.
pub fn inspect(file: &Path) -> Result<BackupInfo, Error> {
    let opened = BackupFile::open(file);
    let refused = |error: io::Error| Error::Backup { path: file.to_owned(), detail: error.to_string() };
    opened.map(|backup| backup.info()).map_err(refused)
}

/// The keyring that a backup is sealed under; `None` when it is plain.
///
/// # Errors
/// [`Error::Backup`] when it is damaged.
pub fn keyring(file: &Path) -> Result<Option<Keyring>, Error> {
    let opened = BackupFile::open(file).and_then(|backup| backup.keyring());
    opened.map_err(|error| Error::Backup { path: file.to_owned(), detail: error.to_string() })
}

/// Restores a backup; the node can be started on return. Nothing is written unless the whole backup is right.
///
/// # Errors
/// [`Error::Backup`] when the file is damaged or is of a cluster of that name, [`Error::NotEmpty`] when the directory is not
/// empty.
pub async fn restore(restore: Restore) -> Result<Restored, Error> {
    let refused = |detail: String| Error::Backup { path: restore.file.clone(), detail };
    let path = restore.file.clone();
    let opened = blocking(move || BackupFile::open(&path)).await.flatten();
    let backup = Arc::new(opened.map_err(|error| refused(error.to_string()))?);
    let state_groups = backup.state_groups().map_err(|error| refused(error.to_string()))?;
    let state_groups = state_groups.unwrap_or(restore.state_groups);
    let incarnation = incarnation_of(&restore.cluster);
    if backup.info().incarnation == incarnation {
        let name = &restore.cluster;
        return Err(refused(format!("it is of a store named '{name}': the new one needs another name")));
    }
    begin(&restore.dir).map_err(|e| match e.kind() {
        io::ErrorKind::DirectoryNotEmpty => Error::NotEmpty(restore.dir.clone()),
        _ => Error::from_io(&restore.dir, e),
    })?;
    let disk = Disk::open(&restore.dir, restore.vault.clone())?;
    for group in CONTROL..=state_groups.get() {
        let restored = restore_group(&disk, &backup, group, &restore).await;
        restored.map_err(|e| Error::from_io(&restore.dir, e))?;
    }
    let issuing_keys = issuing_keys(&disk, restore.now).map_err(|error| refused(error.to_string()))?;
    disk.bootstrap(restore.node, incarnation, state_groups).await?;
    let dir = restore.dir.clone();
    let closed = blocking(move || {
        disk.committer.close();
        disk.sync()?;
        drop(disk);
        complete(&dir)
    });
    closed.await.flatten().map_err(|e| Error::from_io(&restore.dir, e))?;
    Ok(Restored { backup: backup.info(), state_groups, issuing_keys })
}

/// The ids of what seals the keys of issuing CAs.
fn issuing_keys(disk: &Arc<Disk>, now: Timestamp) -> io::Result<BTreeSet<String>> {
    let view = StateView::of(disk, disk.state(CONTROL, GENERATION)?);
    let found = sealing::sealed_under(&view, now).map_err(io::Error::other)?;
    view.finish()?;
    Ok(found)
}

/// Whether a restore into `dir` was begun and not completed.
pub(crate) fn is_incomplete(dir: &Path) -> bool {
    marker(dir).exists()
}

fn marker(dir: &Path) -> PathBuf {
    dir.join("restoring")
}

fn begin(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        if entry?.file_name() != fleethaven_vault::keyring::FILE {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
    }
    fs::File::create(marker(dir))?.sync_all()?;
    fs::File::open(dir)?.sync_all()
}

fn complete(dir: &Path) -> io::Result<()> {
    fs::remove_file(marker(dir))?;
    fs::File::open(dir)?.sync_all()
}

/// Makes the group what it would be on a node that had just installed a snapshot: the log begins above it.
async fn restore_group(
    disk: &Arc<Disk>,
    backup: &Arc<BackupFile>,
    group: u32,
    restore: &Restore,
) -> io::Result<()> {
    let space = disk.state(group, GENERATION)?;
    let mut applied = match backup.holds(group) {
        true => {
            let (source, target, opens) = (backup.clone(), space.clone(), restore.opens.clone());
            blocking(move || ingest(source.snapshot(group, opens.as_deref())?, &target)).await??
        }
        // As after a log with nothing but its first membership.
        false => Applied { last: Some(log_id(0, 0)), ..Applied::default() },
    };
    applied.generation = GENERATION;
    applied.membership = membership(&applied, restore)?;
    if group == CONTROL {
        begin_again(disk, &space, restore.now).await?;
    }
    let (store, state, covered) = (disk.clone(), space.clone(), applied.clone());
    blocking(move || write_snapshot(&store, group, state, &covered)).await??;
    let Some(last) = applied.last else { return Err(io::Error::other("the backup is of an empty group")) };
    let vote = VoteRecord { term: last.leader_id.term, node: restore.node, committed: false };
    let record = applied.to_record()?;
    let meta = &disk.meta;
    disk.committer
        .commit(true, |commit| {
            commit.put(meta, Meta::State.key(group), record.encode_to_vec());
            commit.put(meta, Meta::Purged.key(group), LogIdRecord::from(last).encode_to_vec());
            commit.put(meta, Meta::Vote.key(group), vote.encode_to_vec());
        })
        .await
}

/// The new node alone.
fn membership(applied: &Applied, restore: &Restore) -> io::Result<Membership> {
    let voters = vec![BTreeSet::from([restore.node])];
    let nodes = BTreeMap::from([(restore.node, BasicNode::new(&restore.address))]);
    let membership = openraft::Membership::new(voters, nodes).map_err(io::Error::other)?;
    Ok(StoredMembership::new(applied.last, membership))
}

async fn begin_again(disk: &Arc<Disk>, space: &Space, now: Timestamp) -> io::Result<()> {
    let view = StateView::of(disk, space.clone());
    let effects = cluster::begin_again(&view, now).map_err(io::Error::other)?;
    view.finish()?;
    disk.committer
        .commit(true, |commit| {
            for write in effects.writes {
                match write {
                    Write::Put { key, value } => commit.put(space, key, value),
                    Write::Delete { key } => commit.remove(space, key),
                }
            }
        })
        .await
}

/// What other nodes will be brought level with.
fn write_snapshot(disk: &Arc<Disk>, group: u32, space: Space, applied: &Applied) -> io::Result<()> {
    let mut writer = SnapshotWriter::create(&disk.snapshots, group, applied)?;
    for pair in StateView::of(disk, space).pairs(b"", None) {
        let (key, value) = pair?;
        writer.add(&key, &value)?;
    }
    writer.finish().map(drop)
}
