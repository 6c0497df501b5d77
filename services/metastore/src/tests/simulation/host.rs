//! What one node of the simulation stands on: its disk, its clocks, its chance.
//!
//! The store is the real one. What is simulated is when an fsync is done, and what a crash leaves of the journal: all that was
//! fsynced, and of the rest as much as chance wants, to the byte.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use fjall::{Database, PersistMode};
use fleethaven_types::Timestamp;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::Mistake;

/// Wall clock when a simulation begins.
const BEGINNING: u64 = 1_700_000_000_000;
/// Milliseconds that an fsync takes on a disk that is well.
const QUICK: Range<u64> = 1..8;

thread_local! {
    static HERE: RefCell<Option<Arc<Host>>> = const { RefCell::new(None) };
}

/// The simulated node that this thread runs just now.
pub(crate) fn here() -> Option<Arc<Host>> {
    HERE.with_borrow(Clone::clone)
}

/// Tells the node that runs just now, if it is a simulated one, that its journal was fsynced.
pub(crate) fn synced() {
    if let Some(host) = here() {
        host.mark_synced();
    }
}

/// The wall clock of the node that runs just now.
pub(super) fn clock() -> Timestamp {
    let (now, skew) =
        here().map_or((0, 0), |host| (host.now.load(Ordering::Relaxed), host.skew.load(Ordering::Relaxed)));
    Timestamp(BEGINNING.saturating_add(now).saturating_add_signed(skew))
}

/// What a node stands on; outlives its crashes.
pub(crate) struct Host {
    pub(super) node: u64,
    pub(super) dir: PathBuf,
    pub(super) mistake: Option<Mistake>,
    /// Milliseconds since the simulation began.
    pub(super) now: AtomicU64,
    /// Milliseconds that the wall clock is ahead.
    pub(super) skew: AtomicI64,
    /// Some proposals are rejected.
    rejecting: AtomicBool,
    chance: Mutex<SmallRng>,
    disk: Mutex<Disk>,
    database: Mutex<Option<Database>>,
}

struct Disk {
    /// The journal, and how far it was fsynced.
    journal: PathBuf,
    synced: u64,
    takes: Range<u64>,
    full: bool,
    /// It was full once: nothing is written any more until the store is opened again.
    failed: bool,
}

impl Host {
    pub(super) fn new(node: u64, dir: PathBuf, seed: u64, mistake: Option<Mistake>) -> Self {
        let disk = Disk { journal: PathBuf::new(), synced: 0, takes: QUICK, full: false, failed: false };
        Self {
            node,
            dir,
            mistake,
            now: AtomicU64::new(0),
            skew: AtomicI64::new(0),
            rejecting: AtomicBool::new(false),
            chance: Mutex::new(SmallRng::seed_from_u64(seed)),
            disk: Mutex::new(disk),
            database: Mutex::default(),
        }
    }

    /// Does `work` as this node.
    pub(super) fn enter<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        HERE.set(Some(self.clone()));
        let done = work();
        HERE.set(None);
        done
    }

    /// The next random number of this node.
    pub(super) fn chance(&self) -> u64 {
        self.chance.lock().next_u64()
    }

    /// Random bytes of this node.
    pub(crate) fn entropy(&self) -> [u8; 32] {
        self.chance.lock().random()
    }

    fn between(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.chance.lock().random_range(range))
    }

    /// Whether some of what the node proposes is rejected from now on.
    pub(super) fn rejections(&self, begin: bool) {
        self.rejecting.store(begin, Ordering::Relaxed);
    }

    /// Whether Raft rejects what the node is about to propose, as it does when a leader's lease has lapsed.
    pub(crate) fn rejects(&self) -> bool {
        self.rejecting.load(Ordering::Relaxed) && self.chance.lock().random_ratio(1, 4)
    }

    /// Whether a leader here does not remember what it was asked before.
    pub(crate) fn forgets(&self) -> bool {
        self.mistake == Some(Mistake::RepliesForgotten)
    }

    /// The time that work with files takes.
    pub(crate) async fn works(&self) {
        tokio::time::sleep(self.between(0..20)).await;
    }

    /// Whether something can be written.
    pub(crate) fn has_room(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.failed |= disk.full;
        match disk.failed {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "no space is left")),
            false => Ok(()),
        }
    }

    /// Flushes what was written, and takes the time of an fsync.
    pub(crate) async fn syncs(&self, flush: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.mistake == Some(Mistake::FsyncSkipped) {
            return Ok(());
        }
        let takes = self.disk.lock().takes.clone();
        flush()?;
        tokio::time::sleep(self.between(takes)).await;
        self.mark_synced();
        Ok(())
    }

    fn mark_synced(&self) {
        let mut disk = self.disk.lock();
        let Some(journal) = journal(&self.dir) else { return };
        if disk.journal != journal {
            (disk.journal, disk.synced) = (journal, 0);
        }
        disk.synced = end_of(&disk.journal, disk.synced).unwrap_or(disk.synced);
    }

    /// How long an fsync takes from now on; `None`: as on a disk that is well.
    pub(super) fn fsync_takes(&self, takes: Option<Range<u64>>) {
        self.disk.lock().takes = takes.unwrap_or(QUICK);
    }

    /// Whether there is no space from now on.
    pub(super) fn is_full(&self, full: bool) {
        self.disk.lock().full = full;
    }

    /// The store is open.
    pub(crate) fn has_opened(&self, database: Database) {
        *self.database.lock() = Some(database);
    }

    /// The process ends: `close` closes all it has open. With `power` the machine goes down, too.
    pub(super) fn crashes(&self, power: bool, close: impl FnOnce()) {
        let database = self.database.lock().take();
        if let Some(database) = &database {
            // What the store holds back would be written by whichever of its threads ends last.
            database.persist(PersistMode::Buffer).expect("the journal can be written");
        }
        close();
        drop(database);
        self.is_closed();
        let mut disk = self.disk.lock();
        disk.failed = false;
        let Some(journal) = journal(&self.dir) else { return };
        let synced = if disk.journal == journal { disk.synced } else { 0 };
        let end = end_of(&journal, synced).unwrap_or(synced);
        // Who lost power has lost all that was not fsynced, or none of it, or something between.
        let mut chance = self.chance.lock();
        let left = match (power, chance.random_range(0..4)) {
            (false, _) | (true, 0) => end,
            (true, 1) => synced,
            (true, _) => chance.random_range(synced..=end),
        };
        let file = OpenOptions::new().write(true).open(&journal);
        file.and_then(|file| file.set_len(left)).expect("the journal can be cut");
    }

    /// Waits until the threads of the store have let go of it.
    fn is_closed(&self) {
        let Ok(lock) = File::open(self.dir.join("db").join("lock")) else { return };
        while lock.try_lock().is_err() {
            std::thread::yield_now();
        }
    }
}

/// The journal that is written to.
fn journal(dir: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(dir.join("db")).ok()?.flatten().map(|entry| entry.path());
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).max_by_key(number)
}

/// Where what was written ends, which is at `from` or behind: the space behind it is allocated, and zero.
fn end_of(journal: &Path, from: u64) -> io::Result<u64> {
    let mut file = File::open(journal)?;
    file.seek(SeekFrom::Start(from))?;
    let (mut end, mut at, mut page) = (from, from, [0; 8192]);
    loop {
        let read = file.read(&mut page)?;
        match page.iter().take(read).rposition(|byte| *byte != 0) {
            None => return Ok(end),
            Some(last) => end = at + last as u64 + 1,
        }
        at += read as u64;
    }
}
