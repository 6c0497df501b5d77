//! Snapshot files: a group's whole state as one stream of keys and values.
//!
//! Magic, then the header (length, protobuf), then each pair (key length, value length, key, value), a key
//! length of zero, the number of pairs, and the SHA-256 of everything before. Lengths are u32, the count u64,
//! big-endian. Where a vault seals the store, all that is sealed as a whole (`fleethaven_vault::frames`); on its way to another
//! node, which has keys of its own, it is opened. A file gets its final name only after it was fsynced, so a file by that name is whole or was
//! damaged later.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use bytes::Bytes;
use fleethaven_fabric::raft::SnapshotStream;
use fleethaven_vault::{Error as VaultError, Keyring, Opener, Sealer, Vault, frames, keyring};
use futures_util::{TryStreamExt, stream};
use parking_lot::Mutex;
use prost::Message;

use crate::blocking::blocking;
use crate::error::damaged;
use crate::record::{Applied, StateRecord};
use crate::types::SnapshotMeta;

const MAGIC: &[u8; 8] = b"FHSNAP1\n";
/// Longest header, key and value that are believed: what is longer is damage, not data.
const MAX_HEADER: u32 = 1 << 20;
const MAX_KEY: u32 = 65_535;
const MAX_VALUE: u32 = 64 << 20;
const BUFFER: usize = 256 << 10;
/// Bytes of a piece on its way to another node.
const PIECE: usize = 256 << 10;

/// Where a node's snapshot files lie, and what seals them.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    /// The node's directory.
    pub(crate) dir: PathBuf,
    pub(crate) vault: Option<Arc<Vault>>,
}

impl Shelf {
    /// Ids of the master keys under which the data keys are; none where nothing is sealed.
    pub(crate) fn master_keys(&self) -> io::Result<Vec<String>> {
        if self.vault.is_none() {
            return Ok(Vec::new());
        }
        match fs::read(self.dir.join(keyring::FILE)) {
            Ok(contents) => {
                let keyring = Keyring::parse(&contents).map_err(|error| damaged("the keyring", error))?;
                Ok(keyring.master_keys().into_keys().map(str::to_owned).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// A finished snapshot file.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    /// The last entry that it covers.
    revision: u64,
    /// Where it lies.
    pub(crate) path: PathBuf,
    vault: Option<Arc<Vault>>,
}

impl PartialEq for SnapshotFile {
    fn eq(&self, other: &Self) -> bool {
        (self.revision, &self.path) == (other.revision, &other.path)
    }
}

impl SnapshotFile {
    /// What the file covers.
    pub(crate) fn applied(&self) -> io::Result<Applied> {
        Ok(self.open()?.applied)
    }

    /// Opens the file and reads its header.
    pub(crate) fn open(&self) -> io::Result<SnapshotReader> {
        SnapshotReader::open(&self.path, self.vault.as_deref())
    }

    /// The bytes of the file, for another node.
    pub(crate) fn pieces(&self) -> io::Result<SnapshotStream> {
        Ok(pieces(opened(File::open(&self.path)?, self.vault.as_deref())?))
    }

    /// Seals a file that was written before the store was encrypted.
    fn seal(&self, vault: &Vault) -> io::Result<()> {
        let mut source = File::open(&self.path)?;
        let mut magic = [0; 8];
        source.read_exact(&mut magic)?;
        if magic == *frames::MAGIC {
            return Ok(());
        }
        replace(&self.path, &mut Cursor::new(magic).chain(source), Some(vault))
    }
}

/// Writes a file anew, sealed or plain.
fn replace(path: &Path, contents: &mut dyn Read, vault: Option<&Vault>) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut out = Out::create(&unfinished, vault)?;
    io::copy(contents, &mut out)?;
    out.finish()?.sync_all()?;
    fs::rename(&unfinished, path)
}

/// Writes all snapshot files of the node in `dir` as they were before they were sealed.
pub(crate) fn unseal(dir: &Path, vault: &Vault) -> io::Result<()> {
    let folder = folder(dir);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("snapshot") => replace(&path, &mut opened(File::open(&path)?, Some(vault))?, None)?,
            Some("unfinished") => remove(&path)?,
            _ => {}
        }
    }
    File::open(&folder)?.sync_all()
}

/// What openraft wants to know of a snapshot of `applied`.
pub(crate) fn meta(applied: &Applied) -> SnapshotMeta {
    SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() }
}

/// Directory of a node's snapshot files.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

/// The newest snapshot file of `group`, if any. Removes what was never finished, and seals what is plain if the store is sealed.
pub(crate) fn newest(shelf: &Shelf, group: u32) -> io::Result<Option<SnapshotFile>> {
    let mut found = None;
    for (revision, path) in list(&shelf.dir, group)? {
        match revision {
            None => fs::remove_file(path)?,
            Some(revision) => found = found.max(Some((revision, path))),
        }
    }
    let Some((revision, path)) = found else { return Ok(None) };
    let file = SnapshotFile { revision, path, vault: shelf.vault.clone() };
    if let Some(vault) = &shelf.vault {
        file.seal(vault)?;
    }
    Ok(Some(file))
}

/// Makes `file` the newest of `group` unless there is a newer one, and removes those before it. A newer file may wait to be installed:
/// it stays.
pub(crate) fn keep(
    dir: &Path,
    group: u32,
    newest: &Mutex<Option<SnapshotFile>>,
    file: SnapshotFile,
) -> io::Result<()> {
    let kept = {
        let mut newest = newest.lock();
        match &*newest {
            Some(newer) if newer.revision > file.revision => newer.revision,
            _ => newest.insert(file).revision,
        }
    };
    for (revision, path) in list(dir, group)? {
        if revision.is_some_and(|revision| revision < kept) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file, if another has not done so.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Files of `group` with their revision; without one when unfinished.
fn list(dir: &Path, group: u32) -> io::Result<Vec<(Option<u64>, PathBuf)>> {
    let folder = folder(dir);
    fs::create_dir_all(&folder)?;
    let prefix = format!("{group}-");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix(&prefix) else { continue };
        match rest.strip_suffix(".snapshot") {
            Some(revision) => files.push((revision.parse().ok(), path)),
            None if rest.ends_with(".unfinished") => files.push((None, path)),
            None => {}
        }
    }
    Ok(files)
}

/// The bytes that `source` yields, in pieces.
pub(crate) fn pieces(source: Box<dyn Read + Send>) -> SnapshotStream {
    Box::pin(stream::try_unfold(source, |mut source| async {
        let read = move || {
            let mut piece = Vec::with_capacity(PIECE);
            source.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            Ok((!piece.is_empty()).then(|| (Bytes::from(piece), source)))
        };
        blocking(read).await?
    }))
}

/// What `source` yields as it was before it was sealed.
pub(crate) fn opened(
    mut source: impl Read + Send + 'static,
    vault: Option<&Vault>,
) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    source.by_ref().take(frames::MAGIC.len() as u64).read_to_end(&mut start)?;
    if start != frames::MAGIC {
        return Ok(Box::new(Cursor::new(start).chain(source)));
    }
    let vault = vault.ok_or(VaultError::NoKey)?;
    Ok(Box::new(Opener::after_magic(vault, BufReader::with_capacity(BUFFER, source))?))
}

/// A file that is written, sealed or plain.
enum Out {
    Plain(BufWriter<File>),
    Sealed(Box<Sealer<BufWriter<File>>>),
}

impl Out {
    fn create(path: &Path, vault: Option<&Vault>) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        Ok(match vault {
            Some(vault) => Self::Sealed(Box::new(Sealer::new(vault, file)?)),
            None => Self::Plain(file),
        })
    }

    /// Ends what is written; the file, not yet durable.
    fn finish(self) -> io::Result<File> {
        let out = match self {
            Self::Plain(out) => out,
            Self::Sealed(sealer) => sealer.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Sealed(sealer) => sealer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Sealed(sealer) => sealer.flush(),
        }
    }
}

/// Writes a snapshot that another node sends; whole and checked on return. The sender may give a transfer up and begin another while
/// the first still has its effect here: each has a file of its own until it is whole.
pub(crate) async fn receive(shelf: &Shelf, group: u32, mut file: SnapshotStream) -> io::Result<SnapshotFile> {
    let folder = folder(&shelf.dir);
    fs::create_dir_all(&folder)?;
    let unfinished = Unfinished::of(&folder, group);
    let mut out = Out::create(&unfinished.0, shelf.vault.as_deref())?;
    while let Some(piece) = file.try_next().await? {
        let written = move || out.write_all(&piece).map(|()| out);
        out = blocking(written).await??;
    }
    let vault = shelf.vault.clone();
    let kept = move || {
        out.finish()?.sync_all()?;
        keep_received(&folder, group, &unfinished, vault)
    };
    blocking(kept).await?
}

/// The file of a transfer that is under way; removed when that comes to nothing.
struct Unfinished(PathBuf);

impl Unfinished {
    fn of(folder: &Path, group: u32) -> Self {
        static TRANSFERS: AtomicU64 = AtomicU64::new(0);
        let transfer = TRANSFERS.fetch_add(1, Ordering::Relaxed);
        Self(folder.join(format!("{group}-received-{transfer}.unfinished")))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "what was left of a snapshot could not be removed");
        }
    }
}

/// Gives a received file its name once it was read from end to end.
fn keep_received(
    folder: &Path,
    group: u32,
    unfinished: &Unfinished,
    vault: Option<Arc<Vault>>,
) -> io::Result<SnapshotFile> {
    let mut reader = SnapshotReader::open(&unfinished.0, vault.as_deref())?;
    while reader.next()?.is_some() {}
    let revision = reader.applied.revision();
    let path = folder.join(format!("{group}-{revision:020}.snapshot"));
    fs::rename(&unfinished.0, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(SnapshotFile { revision, path, vault })
}

/// Writes a snapshot file.
pub(crate) struct SnapshotWriter {
    out: Out,
    digest: digest::Context,
    pairs: u64,
    revision: u64,
    unfinished: PathBuf,
    path: PathBuf,
    vault: Option<Arc<Vault>>,
}

impl SnapshotWriter {
    /// Starts the snapshot of `group` that covers `applied`.
    pub(crate) fn create(shelf: &Shelf, group: u32, applied: &Applied) -> io::Result<Self> {
        let folder = folder(&shelf.dir);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{group}-{:020}.snapshot", applied.revision()));
        Self::at(path, applied, shelf.vault.as_ref())
    }

    /// Starts a snapshot that covers `applied` at `path`.
    pub(crate) fn at(path: PathBuf, applied: &Applied, vault: Option<&Arc<Vault>>) -> io::Result<Self> {
        let unfinished = path.with_extension("unfinished");
        let out = Out::create(&unfinished, vault.map(|vault| &**vault))?;
        let vault = vault.cloned();
        let digest = digest::Context::new(&digest::SHA256);
        let mut writer =
            Self { out, digest, pairs: 0, revision: applied.revision(), unfinished, path, vault };
        let header = applied.to_record()?.encode_to_vec();
        writer.write(MAGIC)?;
        writer.write_length(header.len())?;
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds a pair; keys must ascend.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.write_length(key.len())?;
        self.write_length(value.len())?;
        self.write(key)?;
        self.write(value)?;
        self.pairs += 1;
        Ok(())
    }

    /// Completes the file: durable under its final name on return.
    pub(crate) fn finish(mut self) -> io::Result<SnapshotFile> {
        self.write_length(0)?;
        self.write(&self.pairs.to_be_bytes())?;
        let digest = self.digest.finish();
        self.out.write_all(digest.as_ref())?;
        self.out.finish()?.sync_all()?;
        fs::rename(&self.unfinished, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(SnapshotFile { revision: self.revision, path: self.path, vault: self.vault })
    }

    fn write_length(&mut self, length: usize) -> io::Result<()> {
        let length = u32::try_from(length).map_err(|e| damaged("snapshot", e))?;
        self.write(&length.to_be_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a snapshot file. What it yields is to be believed only after [`SnapshotReader::next`] has returned
/// `None`: that is when the checksum has been compared.
pub(crate) struct SnapshotReader {
    source: BufReader<Box<dyn Read + Send>>,
    digest: digest::Context,
    pairs: u64,
    path: PathBuf,
    /// What the snapshot covers.
    pub(crate) applied: Applied,
}

impl SnapshotReader {
    /// Opens a file and reads its header.
    fn open(path: &Path, vault: Option<&Vault>) -> io::Result<Self> {
        Self::over(opened(File::open(path)?, vault)?, path)
    }

    /// Reads the header of a snapshot that `source` yields to its end; errors name `path`.
    pub(crate) fn over(source: Box<dyn Read + Send>, path: &Path) -> io::Result<Self> {
        let mut reader = Self {
            source: BufReader::with_capacity(BUFFER, source),
            digest: digest::Context::new(&digest::SHA256),
            pairs: 0,
            path: path.to_owned(),
            applied: Applied::default(),
        };
        if reader.read_array::<8>()? != *MAGIC {
            return Err(reader.damaged("it is not a snapshot"));
        }
        let length = reader.read_length(MAX_HEADER)?;
        let header = reader.read(length)?;
        let record = StateRecord::decode(&*header).map_err(|e| reader.damaged(&e.to_string()))?;
        reader.applied = record.try_into()?;
        Ok(reader)
    }

    /// The next pair; `None` after the last, when count and checksum were found right.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let key = self.read_length(MAX_KEY)?;
        if key == 0 {
            return self.verify().map(|()| None);
        }
        let value = self.read_length(MAX_VALUE)?;
        let pair = (self.read(key)?, self.read(value)?);
        self.pairs += 1;
        Ok(Some(pair))
    }

    fn verify(&mut self) -> io::Result<()> {
        let count = u64::from_be_bytes(self.read_array()?);
        if count != self.pairs {
            return Err(self.damaged("pairs are missing"));
        }
        let expected = self.digest.clone().finish();
        let mut found = Vec::new();
        self.source.read_to_end(&mut found)?;
        if found != expected.as_ref() {
            return Err(self.damaged("its checksum is wrong"));
        }
        Ok(())
    }

    fn read_length(&mut self, most: u32) -> io::Result<u32> {
        let length = u32::from_be_bytes(self.read_array()?);
        if length > most {
            return Err(self.damaged("a length is out of bounds"));
        }
        Ok(length)
    }

    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(|e| self.damaged(&e.to_string()))?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.source.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => e,
        })?;
        self.digest.update(bytes);
        Ok(())
    }

    fn damaged(&self, detail: &str) -> io::Error {
        damaged(&format!("snapshot {}", self.path.display()), detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn plain(dir: &Path) -> Shelf {
        Shelf { dir: dir.to_owned(), vault: None }
    }

    fn sealed(dir: &Path) -> Shelf {
        let vault = Vault::new([(1, fleethaven_vault::DataKey([1; 32]))], [1; 12]).unwrap();
        Shelf { dir: dir.to_owned(), vault: Some(Arc::new(vault)) }
    }

    fn write(shelf: &Shelf) -> SnapshotFile {
        let applied = Applied { last: Some(log_id(2, 17)), term: 2, sequence: 5, ..Applied::default() };
        let mut writer = SnapshotWriter::create(shelf, 0, &applied).unwrap();
        for n in 0..100_u32 {
            writer.add(format!("key{n:03}").as_bytes(), &vec![7; n as usize]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(path: &Path) -> io::Result<usize> {
        let mut reader = SnapshotReader::open(path, None)?;
        let mut pairs = 0;
        while reader.next()?.is_some() {
            pairs += 1;
        }
        Ok(pairs)
    }

    #[test]
    fn a_file_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&plain(dir.path()));
        assert_eq!(read(&file.path).unwrap(), 100);
        assert_eq!(file.applied().unwrap().revision(), 17);
        assert_eq!(newest(&plain(dir.path()), 0).unwrap(), Some(file));
        assert_eq!(newest(&plain(dir.path()), 1).unwrap(), None);
    }

    #[tokio::test]
    async fn a_sealed_file_is_opened_on_its_way_and_sealed_where_it_arrives() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = write(&sealed(from.path()));
        let holds = |path: &Path| fs::read(path).unwrap().windows(6).any(|window| window == b"key050");
        assert!(!holds(&file.path) && read(&file.path).is_err(), "without the keys");
        let other = Vault::new([(7, fleethaven_vault::DataKey([2; 32]))], [2; 12]).unwrap();
        let shelf = Shelf { dir: to.path().to_owned(), vault: Some(Arc::new(other)) };
        let received = receive(&shelf, 0, file.pieces().unwrap()).await.unwrap();
        assert!(!holds(&received.path));
        assert_eq!(received.applied().unwrap(), file.applied().unwrap());
        let in_the_clear = receive(&plain(to.path()), 1, received.pieces().unwrap()).await.unwrap();
        assert!(holds(&in_the_clear.path));
        assert_eq!(read(&in_the_clear.path).unwrap(), 100);
    }

    #[test]
    fn a_plain_file_is_sealed_when_its_store_is() {
        let dir = tempfile::tempdir().unwrap();
        write(&plain(dir.path()));
        let file = newest(&sealed(dir.path()), 0).unwrap().unwrap();
        assert!(fs::read(&file.path).unwrap().starts_with(frames::MAGIC));
        assert_eq!(file.applied().unwrap().revision(), 17);
    }

    #[test]
    fn what_is_newer_stays() {
        let dir = tempfile::tempdir().unwrap();
        let written = |index| {
            let applied = Applied { last: Some(log_id(2, index)), ..Applied::default() };
            SnapshotWriter::create(&plain(dir.path()), 0, &applied).unwrap().finish().unwrap()
        };
        let [old, present, waiting] = [3, 5, 9].map(written);
        let newest = Mutex::new(None);
        keep(dir.path(), 0, &newest, present.clone()).unwrap();
        assert!(!old.path.exists() && present.path.exists() && waiting.path.exists());
        keep(dir.path(), 0, &newest, waiting.clone()).unwrap();
        // One that was begun before and is done later.
        keep(dir.path(), 0, &newest, written(7)).unwrap();
        assert_eq!(*newest.lock(), Some(waiting.clone()));
        assert_eq!(list(dir.path(), 0).unwrap(), [(Some(9), waiting.path)]);
    }

    #[tokio::test]
    async fn transfers_under_way_do_not_touch_each_other() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = write(&plain(from.path()));
        let given_up: SnapshotStream = Box::pin(stream::pending());
        {
            let shelf = plain(to.path());
            let first = receive(&shelf, 0, given_up);
            tokio::pin!(first);
            assert!(futures_util::poll!(&mut first).is_pending());
            let second = receive(&plain(to.path()), 0, file.pieces().unwrap()).await.unwrap();
            assert_eq!(read(&second.path).unwrap(), 100);
        }
        let names: Vec<_> = list(to.path(), 0).unwrap().into_iter().map(|(revision, _)| revision).collect();
        assert_eq!(names, [Some(17)], "nothing is left of what was given up");
    }

    #[test]
    fn any_damaged_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&plain(dir.path()));
        let whole = fs::read(&file.path).unwrap();
        for position in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x10;
            fs::write(&file.path, bytes).unwrap();
            assert!(read(&file.path).is_err(), "byte {position}");
        }
        fs::write(&file.path, &whole[..whole.len() - 40]).unwrap();
        assert_eq!(read(&file.path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn unfinished_files_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let writer = SnapshotWriter::create(&plain(dir.path()), 3, &Applied::default()).unwrap();
        drop(writer);
        assert_eq!(newest(&plain(dir.path()), 3).unwrap(), None);
        assert_eq!(fs::read_dir(folder(dir.path())).unwrap().count(), 0);
    }
}
