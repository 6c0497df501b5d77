//! The writer of a journal.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fleethaven_types::Timestamp;
use prometheus::IntCounter;
use serde::Serialize;

use crate::segment::{self, Open};

/// How soon a record is fsynced that nobody waits for.
pub const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Records that wait for the writer.
const QUEUE: usize = 16_384;
/// Records that are written in one go.
const BATCH: usize = 1024;

/// How much a journal may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all segments, about: one segment more is held for a while.
    pub bytes: u64,
    /// How old a segment may be.
    pub age: Duration,
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it is called in the process's own log, and its thread by the system.
    pub name: &'static str,
    /// Its folder, which is made if need be.
    pub dir: PathBuf,
    /// How much it may hold.
    pub bounds: Bounds,
    /// Tells the wall time.
    pub clock: fn() -> Timestamp,
    /// Counts records that are not kept.
    pub lost: IntCounter,
}

/// A journal that is open for writing.
pub struct Journal<R> {
    dir: PathBuf,
    queue: Option<SyncSender<Entry<R>>>,
    writer: Option<JoinHandle<()>>,
    lost: IntCounter,
}

struct Entry<R> {
    record: R,
    /// Called when the record is on disk; dropped when it cannot be.
    written: Option<Written>,
}

/// Called when a record is fsynced; dropped when that cannot be.
pub type Written = Box<dyn FnOnce() + Send>;

impl<R: Serialize + Send + 'static> Journal<R> {
    /// Opens the folder and begins a segment.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or written to.
    pub fn open(options: Options) -> io::Result<Self> {
        let Options { name, dir, lost, .. } = options.clone();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let open = Open::begin(&dir, (options.clock)().as_millis())?;
        let writer = Writer { options, open };
        writer.prune();
        let (queue, entries) = sync_channel(QUEUE);
        let writer = thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(&entries))?;
        Ok(Self { dir, queue: Some(queue), writer: Some(writer), lost })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes a record, which is fsynced within [`FLUSH_AFTER`].
    pub fn record(&self, record: R) {
        self.send(Entry { record, written: None });
    }

    /// Takes a record that somebody waits for.
    pub fn record_durably(&self, record: R, written: Written) {
        self.send(Entry { record, written: Some(written) });
    }

    fn send(&self, entry: Entry<R>) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(entry) {
            self.lost.inc();
        }
    }
}

/// What was taken is written before the journal is gone.
impl<R> Drop for Journal<R> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    options: Options,
    open: Open,
}

impl Writer {
    /// Until the journal is dropped and its queue empty.
    fn run<R: Serialize>(mut self, entries: &Receiver<Entry<R>>) {
        let mut unsynced = false;
        loop {
            let first = match entries.recv_timeout(FLUSH_AFTER) {
                Ok(entry) => Some(entry),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let batch: Vec<Entry<R>> = first.into_iter().chain(entries.try_iter().take(BATCH)).collect();
            let waited_for = batch.iter().any(|entry| entry.written.is_some());
            // When it is quiet, or somebody waits; under load nobody waits longer than a full batch.
            let sync = waited_for || batch.is_empty() && unsynced || batch.len() > BATCH;
            if let Err(error) = self.write(&batch, sync) {
                self.complain(&error, "the journal cannot be written");
                self.options.lost.inc_by(batch.len() as u64);
                continue;
            }
            unsynced = !sync && (unsynced || !batch.is_empty());
            for written in batch.into_iter().filter_map(|entry| entry.written) {
                written();
            }
        }
        if let Err(error) = self.open.sync() {
            self.complain(&error, "the journal was not closed in order");
        }
    }

    fn complain(&self, error: &io::Error, what: &str) {
        let Options { name, dir, .. } = &self.options;
        tracing::error!(journal = name, dir = %dir.display(), %error, "{what}");
    }

    fn write<R: Serialize>(&mut self, batch: &[Entry<R>], sync: bool) -> io::Result<()> {
        let now = (self.options.clock)().as_millis();
        if self.open.is_full(now) {
            self.open.sync()?;
            self.open = Open::begin(&self.options.dir, now)?;
            self.prune();
        }
        let mut lines = Vec::new();
        for entry in batch {
            serde_json::to_writer(&mut lines, &entry.record)?;
            lines.push(b'\n');
        }
        self.open.write(&lines)?;
        if sync { self.open.sync() } else { Ok(()) }
    }

    /// Deletes what is too old or too much; never the segment that is written to.
    fn prune(&self) {
        let Options { dir, bounds, clock, .. } = &self.options;
        let now = clock().as_millis();
        let age = u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX);
        let segments = match segment::all(dir) {
            Ok(segments) => segments,
            Err(error) => return self.complain(&error, "the journal cannot be read"),
        };
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        // A segment is as old as its last record, which is no younger than the next segment. An empty one is of a process that
        // had nothing to tell.
        for pair in segments.windows(2) {
            let [segment, next] = pair else { continue };
            let is_kept = bytes <= bounds.bytes && now.saturating_sub(next.since) <= age;
            if is_kept && segment.bytes > 0 {
                continue;
            }
            match fs::remove_file(&segment.path) {
                Ok(()) => bytes = bytes.saturating_sub(segment.bytes),
                Err(error) => return self.complain(&error, "a segment of the journal cannot be deleted"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{Span, read};

    fn clock() -> Timestamp {
        Timestamp(1_700_000_000_000)
    }

    fn open(dir: &Path, bytes: u64) -> Journal<String> {
        let bounds = Bounds { bytes, age: Duration::from_secs(3600) };
        let lost = IntCounter::new("lost_total", "Lost.").unwrap();
        Journal::open(Options { name: "test", dir: dir.to_owned(), bounds, clock, lost }).unwrap()
    }

    fn kept(dir: &Path) -> Vec<String> {
        let all = read(dir, &Span::default(), |_: &String| true).unwrap();
        all.into_iter().map(|(_, record)| record).collect()
    }

    /// Returns when the record is on disk.
    fn durably(journal: &Journal<String>, record: &str) {
        let (written, told) = sync_channel(1);
        journal.record_durably(record.to_owned(), Box::new(move || written.send(()).unwrap()));
        told.recv().unwrap();
    }

    #[test]
    fn what_was_waited_for_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), 1 << 30);
        journal.record("A".to_owned());
        durably(&journal, "B");
        assert_eq!(kept(dir.path()), ["A", "B"]);
        drop(journal);
        // A start begins a segment of its own.
        let journal = open(dir.path(), 1 << 30);
        journal.record("C".to_owned());
        drop(journal);
        assert_eq!(kept(dir.path()), ["A", "B", "C"]);
        assert_eq!(segment::all(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn what_is_too_much_goes_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let long = |letter: &str| letter.repeat(200);
        for letter in ["a", "b", "c"] {
            durably(&open(dir.path(), 300), &long(letter));
        }
        // Each start prunes.
        drop(open(dir.path(), 300));
        assert_eq!(kept(dir.path()), [long("c")]);
    }

    #[test]
    fn what_had_nothing_to_tell_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            drop(open(dir.path(), 1 << 30));
        }
        assert_eq!(segment::all(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0000000000000001.jsonl"), "\"A\"\n\"B").unwrap();
        fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
        assert_eq!(kept(dir.path()), ["A"]);
    }
}
