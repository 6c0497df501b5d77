//! The writer of a journal.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fleethaven_types::Timestamp;
use prometheus::{IntCounter, Registry};
use tokio::sync::oneshot;

use crate::metrics;
use crate::record::Record;
use crate::segment::{self, Open};

/// How soon a record is fsynced that nobody waits for.
pub const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// How long a call waits for its record at most.
pub const PATIENCE: Duration = Duration::from_secs(5);
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

/// A journal that is open for writing.
pub struct Journal {
    dir: PathBuf,
    queue: Option<SyncSender<Entry>>,
    writer: Option<JoinHandle<()>>,
    lost: IntCounter,
}

struct Entry {
    record: Record,
    /// Told when the record is on disk; dropped when it cannot be.
    written: Option<oneshot::Sender<()>>,
}

impl Journal {
    /// Opens the folder, which is made if need be, and begins a segment. `clock` tells the wall time.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or written to, or the registry has metrics of the same names.
    pub fn open(
        dir: &Path,
        bounds: Bounds,
        clock: fn() -> Timestamp,
        registry: &Registry,
    ) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lost = metrics::lost(registry).map_err(io::Error::other)?;
        let writer = Writer {
            dir: dir.to_owned(),
            bounds,
            clock,
            open: Open::begin(dir, clock().as_millis())?,
            lost: lost.clone(),
        };
        writer.prune();
        let (queue, entries) = sync_channel(QUEUE);
        let writer = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&entries))?;
        Ok(Self { dir: dir.to_owned(), queue: Some(queue), writer: Some(writer), lost })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes a record, which is fsynced within [`FLUSH_AFTER`].
    pub fn record(&self, record: Record) {
        self.send(Entry { record, written: None });
    }

    /// Takes a record, and returns when it is fsynced, or when that takes too long or cannot be.
    pub async fn record_durably(&self, record: Record) {
        let (written, told) = oneshot::channel();
        self.send(Entry { record, written: Some(written) });
        if tokio::time::timeout(PATIENCE, told).await.is_err() {
            tracing::error!("an audit record was not written in time");
        }
    }

    fn send(&self, entry: Entry) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(entry) {
            self.lost.inc();
        }
    }
}

/// What was taken is written before the journal is gone.
impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    dir: PathBuf,
    bounds: Bounds,
    clock: fn() -> Timestamp,
    open: Open,
    lost: IntCounter,
}

impl Writer {
    /// Until the journal is dropped and its queue empty.
    fn run(mut self, entries: &Receiver<Entry>) {
        let mut unsynced = false;
        loop {
            let first = match entries.recv_timeout(FLUSH_AFTER) {
                Ok(entry) => Some(entry),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let batch: Vec<Entry> = first.into_iter().chain(entries.try_iter().take(BATCH)).collect();
            let waited_for = batch.iter().any(|entry| entry.written.is_some());
            // When it is quiet, or somebody waits; under load nobody waits longer than a full batch.
            let sync = waited_for || batch.is_empty() && unsynced || batch.len() > BATCH;
            if let Err(error) = self.write(&batch, sync) {
                tracing::error!(dir = %self.dir.display(), %error, records = batch.len(), "the audit journal cannot be written");
                self.lost.inc_by(batch.len() as u64);
                continue;
            }
            unsynced = !sync && (unsynced || !batch.is_empty());
            for written in batch.into_iter().filter_map(|entry| entry.written) {
                let _ = written.send(());
            }
        }
        if let Err(error) = self.open.sync() {
            tracing::error!(dir = %self.dir.display(), %error, "the audit journal was not closed in order");
        }
    }

    fn write(&mut self, batch: &[Entry], sync: bool) -> io::Result<()> {
        let now = (self.clock)().as_millis();
        if self.open.is_full(now) {
            self.open.sync()?;
            self.open = Open::begin(&self.dir, now)?;
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
        let now = (self.clock)().as_millis();
        let age = u64::try_from(self.bounds.age.as_millis()).unwrap_or(u64::MAX);
        let segments = match segment::all(&self.dir) {
            Ok(segments) => segments,
            Err(error) => {
                return tracing::error!(dir = %self.dir.display(), %error, "the audit journal cannot be read");
            }
        };
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        // A segment is as old as its last record, which is no younger than the next segment.
        for pair in segments.windows(2) {
            let [segment, next] = pair else { continue };
            if bytes <= self.bounds.bytes && now.saturating_sub(next.since) <= age {
                return;
            }
            match fs::remove_file(&segment.path) {
                Ok(()) => bytes = bytes.saturating_sub(segment.bytes),
                Err(error) => {
                    return tracing::error!(path = %segment.path.display(), %error, "an audit segment cannot be deleted");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{Filter, read};
    use crate::record::Outcome;

    fn clock() -> Timestamp {
        Timestamp(1_700_000_000_000)
    }

    fn record(operation: &str) -> Record {
        Record {
            at: clock().as_millis(),
            account: Some("123456789012".to_owned()),
            region: None,
            service: "iot".to_owned(),
            operation: operation.to_owned(),
            principal: None,
            access_key_id: None,
            source_ip: "192.0.2.7".to_owned(),
            user_agent: None,
            request_id: "r".to_owned(),
            path: "/things".to_owned(),
            outcome: Outcome::Done,
            status: 200,
            error: None,
            reason: None,
        }
    }

    fn open(dir: &Path, bytes: u64) -> Journal {
        let bounds = Bounds { bytes, age: Duration::from_secs(3600) };
        Journal::open(dir, bounds, clock, &Registry::new()).unwrap()
    }

    fn operations(dir: &Path) -> Vec<String> {
        read(dir, &Filter::default()).unwrap().into_iter().map(|record| record.operation).collect()
    }

    #[tokio::test]
    async fn what_was_waited_for_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), 1 << 30);
        journal.record(record("A"));
        journal.record_durably(record("B")).await;
        assert_eq!(operations(dir.path()), ["A", "B"]);
        drop(journal);
        // A start begins a segment of its own.
        let journal = open(dir.path(), 1 << 30);
        journal.record(record("C"));
        drop(journal);
        assert_eq!(operations(dir.path()), ["A", "B", "C"]);
        assert_eq!(segment::all(dir.path()).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_is_too_much_goes_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        for operation in ["A", "B", "C"] {
            open(dir.path(), 300).record_durably(record(operation)).await;
        }
        // Each start prunes; a record has some 200 bytes.
        drop(open(dir.path(), 300));
        assert_eq!(operations(dir.path()), ["C"]);
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = serde_json::to_vec(&record("A")).unwrap();
        lines.extend(b"\n{\"at\":17");
        fs::write(dir.path().join("0000000000000001.jsonl"), lines).unwrap();
        fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
        assert_eq!(operations(dir.path()), ["A"]);
    }
}
