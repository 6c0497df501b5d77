//! Backups: all groups in one file.
//!
//! There are no transactions across groups, so a backup records a revision of each (protocols.md E4). All that was committed
//! in any group when the backup was asked for is in it. The control group's moment comes first, and the other groups are level
//! with theirs after it: what control knows to be done in them is done.
//!
//! Magic, then the header (length as u32, protobuf), then a snapshot file of each group, and the SHA-256 of everything
//! before. The header tells how long each snapshot is, so that a file that was cut short, or goes on, is told apart from a
//! whole one before anything of it is believed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::iter;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use fleethaven_fabric::admin::{BackupInfo, FileStream};
use fleethaven_fabric::metadata::{BoxFuture, Error as CallError};
use fleethaven_vault::{Keyring, Vault, keyring};
use futures_util::future::join_all;
use futures_util::{TryStreamExt, stream};
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;

use crate::blocking::blocking;
use crate::error::damaged;
use crate::evaluator::{confirmed, confirmed_term};
use crate::group::Group;
use crate::leader::Leader;
use crate::metastore::Metastore;
use crate::record::Applied;
use crate::snapshot::{self, Shelf, SnapshotReader, SnapshotWriter};
use crate::state::{State, StateView};

const MAGIC: &[u8; 8] = b"FHBACK1\n";
/// Longest header that is believed.
const MAX_HEADER: u32 = 8 << 20;
/// Length of the checksum.
const DIGEST: u64 = 32;
const BUFFER: usize = 256 << 10;
/// How long this node may take to have what is committed in a group that another one leads.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);

/// What a backup file says about itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    /// Incarnation of the data.
    #[prost(uint64, tag = "1")]
    incarnation: u64,
    /// When it was made, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    made_at: u64,
    /// The groups, in the order in which they follow.
    #[prost(message, repeated, tag = "3")]
    pub(crate) groups: Vec<GroupHeader>,
    /// The store's keyring, as its file has it, when the snapshots are sealed; else empty. The header and the checksum are not.
    #[prost(bytes = "vec", tag = "4")]
    keyring: Vec<u8>,
}

/// What it says about one group.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GroupHeader {
    /// Its number.
    #[prost(uint32, tag = "1")]
    group: u32,
    /// The revision of its state.
    #[prost(uint64, tag = "2")]
    revision: u64,
    /// Length of its snapshot, in bytes.
    #[prost(uint64, tag = "3")]
    pub(crate) bytes: u64,
}

impl Metastore {
    /// Writes a backup aside and hands out its bytes. One at a time.
    pub(crate) async fn make_backup(&self) -> Result<FileStream, CallError> {
        let permit = self.backups.clone().try_acquire_owned();
        let permit = permit.map_err(|_| CallError::Unavailable("another backup is being made".to_owned()))?;
        self.control.leading()?;
        confirmed_term(&self.control.raft).await?;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a backup failed");
            CallError::Unavailable(format!("the backup failed: {error}"))
        };
        let control = Moment::of(&self.control.state).map_err(|e| failed(&e))?;
        let caught_up = join_all(self.states.iter().map(|group| self.catch_up(group))).await;
        caught_up.into_iter().collect::<Result<(), _>>().map_err(|e| failed(&e))?;
        let states = self.states.iter().map(|group| Moment::of(&group.state));
        let moments: Vec<_> =
            iter::once(Ok(control)).chain(states).collect::<io::Result<_>>().map_err(|e| failed(&e))?;
        let shelf = self.disk.snapshots.clone();
        let (incarnation, made_at) = (self.incarnation, (self.clock)().as_millis());
        let written = blocking(move || write(&moments, &shelf, incarnation, made_at)).await;
        let (head, parts) = written.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        let sending = Sending {
            head: Some(head),
            next: parts.files.clone().into_iter(),
            file: None,
            digest: Some(digest::Context::new(&digest::SHA256)),
            _parts: parts,
            _permit: permit,
        };
        Ok(Box::pin(stream::try_unfold(sending, |mut sending| async move {
            Ok(sending.next().await?.map(|piece| (piece, sending)))
        })))
    }

    /// Waits until this node has applied what is committed in a state group now, whoever leads it.
    async fn catch_up(&self, group: &Group) -> Result<(), CallError> {
        let within = |error: &dyn std::fmt::Display| {
            CallError::Unavailable(format!("state group {}: {error}", group.id))
        };
        let asked = AtomicBool::new(false);
        let asking = group.compass.ask(true, &asked, |leader| read_index(group, leader));
        let answer = tokio::time::timeout(CATCH_UP_WITHIN, asking).await;
        let revision = answer.map_err(|_| within(&"its leader does not answer"))??;
        let wait = group.raft.wait(Some(CATCH_UP_WITHIN));
        wait.applied_index_at_least(Some(revision), "what is committed")
            .await
            .map(drop)
            .map_err(|e| within(&e))
    }
}

fn read_index(group: &Group, leader: Leader) -> BoxFuture<'_, Result<u64, CallError>> {
    Box::pin(async move {
        match leader {
            Leader::Here => Ok(confirmed(&group.raft).await?.1),
            Leader::Elsewhere(peer) => {
                let answer = peer.read_index_as_leader(group.id).await;
                // Whatever went wrong, it can be asked again.
                answer.map_err(|error| CallError::Unavailable(error.to_string()))
            }
        }
    })
}

/// Where the parts of a backup lie while it is sent.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join("backup")
}

/// The files of a backup that is being sent; removed with it.
struct Parts {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "the parts of a backup could not be removed");
        }
    }
}

/// A group as of one moment.
struct Moment {
    group: u32,
    view: StateView,
    applied: Applied,
}

impl Moment {
    fn of(state: &State) -> io::Result<Self> {
        let (view, applied) = state.now_with_position()?;
        Ok(Self { group: state.group, view, applied })
    }
}

fn write(moments: &[Moment], shelf: &Shelf, incarnation: u64, made_at: u64) -> io::Result<(Bytes, Parts)> {
    let folder = folder(&shelf.dir);
    fs::create_dir_all(&folder)?;
    let mut parts = Parts { folder, files: Vec::new() };
    let mut groups = Vec::new();
    for Moment { group, view, applied } in moments {
        let path = parts.folder.join(format!("{group}.snapshot"));
        let mut writer = SnapshotWriter::at(path.clone(), applied, shelf.vault.as_ref())?;
        for pair in view.pairs(b"", None) {
            let (key, value) = pair?;
            writer.add(&key, &value)?;
        }
        writer.finish()?;
        let bytes = fs::metadata(&path)?.len();
        groups.push(GroupHeader { group: *group, revision: applied.revision(), bytes });
        parts.files.push(path);
    }
    // After the snapshots, so that it has all that they are sealed under.
    let keyring = match shelf.vault {
        Some(_) => fs::read(shelf.dir.join(keyring::FILE))?,
        None => Vec::new(),
    };
    let header = Header { incarnation, made_at, groups, keyring }.encode_to_vec();
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let head = [MAGIC.as_slice(), &length.to_be_bytes(), &header].concat();
    Ok((head.into(), parts))
}

/// A backup on its way out.
struct Sending {
    head: Option<Bytes>,
    next: std::vec::IntoIter<PathBuf>,
    file: Option<FileStream>,
    /// `None` once the checksum was sent.
    digest: Option<digest::Context>,
    _parts: Parts,
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = match self.head.take() {
            Some(head) => Some(head),
            None => self.piece().await?,
        };
        match piece {
            Some(piece) => {
                self.digest.iter_mut().for_each(|digest| digest.update(&piece));
                Ok(Some(piece))
            }
            None => {
                let digest = self.digest.take();
                Ok(digest.map(|digest| Bytes::copy_from_slice(digest.finish().as_ref())))
            }
        }
    }

    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(file) = &mut self.file
                && let Some(piece) = file.try_next().await?
            {
                return Ok(Some(piece));
            }
            let Some(path) = self.next.next() else { return Ok(None) };
            self.file = Some(snapshot::pieces(Box::new(File::open(&path)?)));
        }
    }
}

/// A backup file that was found whole.
pub(crate) struct BackupFile {
    path: PathBuf,
    header: Header,
    /// Where the first snapshot begins.
    start: u64,
}

impl BackupFile {
    /// Opens a file and reads it from end to end.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let damage = |detail: &str| damaged("the backup", detail);
        let mut source = BufReader::with_capacity(BUFFER, File::open(path)?);
        let length = source.get_ref().metadata()?.len();
        let mut start = [0; 12];
        source.read_exact(&mut start).map_err(|_| damage("it ends too early"))?;
        let [magic @ .., a, b, c, d] = start;
        if magic != *MAGIC {
            return Err(damage("it is not a backup of the metastore"));
        }
        let header_length = u32::from_be_bytes([a, b, c, d]);
        if header_length > MAX_HEADER {
            return Err(damage("its header is too long"));
        }
        let mut header = vec![0; usize::try_from(header_length).map_err(io::Error::other)?];
        source.read_exact(&mut header).map_err(|_| damage("it ends too early"))?;
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(&start);
        digest.update(&header);
        let header = Header::decode(header.as_slice()).map_err(|e| damage(&e.to_string()))?;
        let start = 12 + u64::from(header_length);
        let parts = header.groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(group.bytes));
        let whole = parts.and_then(|parts| parts.checked_add(start + DIGEST));
        match whole.map(|whole| length.cmp(&whole)) {
            Some(std::cmp::Ordering::Equal) => {}
            Some(std::cmp::Ordering::Greater) => return Err(damage("something follows its end")),
            Some(std::cmp::Ordering::Less) | None => return Err(damage("it ends too early")),
        }
        let mut rest = source.by_ref().take(length - start - DIGEST);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = rest.read(&mut buffer)?;
            let Some(read) = buffer.get(..read).filter(|read| !read.is_empty()) else { break };
            digest.update(read);
        }
        let mut expected = Vec::new();
        source.read_to_end(&mut expected)?;
        if expected != digest.finish().as_ref() {
            return Err(damage("its checksum is wrong"));
        }
        Ok(Self { path: path.to_owned(), header, start })
    }

    pub(crate) fn info(&self) -> BackupInfo {
        BackupInfo {
            incarnation: self.header.incarnation,
            revisions: self.header.groups.iter().map(|group| group.revision).collect(),
            made_at: self.header.made_at,
        }
    }

    /// How many state groups there were: none when the backup is older than these.
    pub(crate) fn state_groups(&self) -> io::Result<Option<NonZeroU32>> {
        let numbers: Vec<u32> = self.header.groups.iter().map(|group| group.group).collect();
        let count = u32::try_from(numbers.len()).unwrap_or_default();
        if count == 0 || !numbers.iter().copied().eq(0..count) {
            return Err(damaged("the backup", format!("its groups are {numbers:?}")));
        }
        Ok(NonZeroU32::new(count - 1))
    }

    /// Whether it has `group`.
    pub(crate) fn holds(&self, group: u32) -> bool {
        self.header.groups.iter().any(|part| part.group == group)
    }

    /// The keyring that it is sealed under, if it is.
    pub(crate) fn keyring(&self) -> io::Result<Option<Keyring>> {
        let keyring = Some(self.header.keyring.as_slice()).filter(|keyring| !keyring.is_empty());
        let keyring = keyring.map(Keyring::parse).transpose();
        keyring.map_err(|error| damaged("the backup's keyring", error))
    }

    /// The snapshot of `group`, which `vault` opens.
    pub(crate) fn snapshot(&self, group: u32, vault: Option<&Vault>) -> io::Result<SnapshotReader> {
        let mut at = self.start;
        for part in &self.header.groups {
            if part.group == group {
                let mut file = File::open(&self.path)?;
                file.seek(SeekFrom::Start(at))?;
                return SnapshotReader::over(snapshot::opened(file.take(part.bytes), vault)?, &self.path);
            }
            at += part.bytes;
        }
        Err(damaged("the backup", format!("it has no group {group}")))
    }
}
