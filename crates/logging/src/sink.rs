//! Where entries are kept.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use fleethaven_journal::{Bounds, Journal};
use fleethaven_types::Timestamp;
use prometheus::IntCounter;

use crate::entry::Entry;

/// Entries that wait for a stream.
const QUEUE: usize = 16_384;
/// Entries that are written in one go.
const BATCH: usize = 1024;

/// Where entries are to be kept.
pub enum Place {
    /// In a journal in a folder, which holds so much.
    Folder(PathBuf, Bounds),
    /// Told on a stream, an entry a line, for whoever reads it: the standard error of a container.
    Stream(Box<dyn Write + Send>),
}

/// An open place.
pub(crate) enum Sink {
    /// A journal.
    Journal(Journal<Entry>),
    /// A stream.
    Stream(Stream),
}

/// The thread that writes to a stream.
pub(crate) struct Stream {
    queue: Option<SyncSender<Entry>>,
    writer: Option<JoinHandle<()>>,
    lost: IntCounter,
}

impl Sink {
    /// Opens a place.
    pub(crate) fn open(place: Place, clock: fn() -> Timestamp, lost: IntCounter) -> io::Result<Self> {
        match place {
            Place::Folder(dir, bounds) => {
                let options = fleethaven_journal::Options { name: "logs", dir, bounds, clock, lost };
                Journal::open(options).map(Self::Journal)
            }
            Place::Stream(stream) => Stream::start(stream, lost).map(Self::Stream),
        }
    }

    /// Takes an entry, or drops and counts it.
    pub(crate) fn write(&self, entry: Entry) {
        match self {
            Self::Journal(journal) => journal.record(entry),
            Self::Stream(stream) => stream.write(entry),
        }
    }
}

impl Stream {
    fn start(stream: Box<dyn Write + Send>, lost: IntCounter) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let counter = lost.clone();
        let writer = thread::Builder::new().name("logs".to_owned());
        let writer = writer.spawn(move || write_all(stream, &entries, &counter))?;
        Ok(Self { queue: Some(queue), writer: Some(writer), lost })
    }

    fn write(&self, entry: Entry) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(entry) {
            self.lost.inc();
        }
    }
}

/// What was taken is written before the stream is given up.
impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Until the queue is closed and empty.
fn write_all(mut stream: Box<dyn Write + Send>, entries: &Receiver<Entry>, lost: &IntCounter) {
    while let Ok(first) = entries.recv() {
        let (mut lines, mut count) = (Vec::new(), 0);
        for entry in [first].into_iter().chain(entries.try_iter().take(BATCH)) {
            // Texts and numbers only: this cannot fail.
            if serde_json::to_writer(&mut lines, &entry).is_ok() {
                lines.push(b'\n');
                count += 1;
            }
        }
        if stream.write_all(&lines).and_then(|()| stream.flush()).is_err() {
            lost.inc_by(count);
        }
    }
}
