//! Group commit: the one thread that writes to a node's store.
//!
//! Every write of every group goes through here in the order it was handed over; one fsync then covers all
//! that was waiting. The raft core and the state machine never block on the disk.

use std::io;
use std::{iter, thread};

use fjall::{Database, PersistMode};
use fleethaven_storage_embedded::Witness;
use fleethaven_storage_embedded::space::{Batch, Space};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::error::store_io;

/// Commits that one fsync may cover, at most: bounds the wait of the first for the last.
const MAX_GROUP: usize = 1024;

/// Key of the number of the last durable commit.
pub(crate) const COUNTER: &[u8] = b"c";

/// What becomes of a commit.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Writes that take effect together. A key must not occur twice: the store cannot order writes within a
/// commit.
pub(crate) struct Commit {
    writes: Vec<(Space, Vec<u8>, Option<Vec<u8>>)>,
    durable: bool,
    done: Done,
}

impl Commit {
    /// An empty commit: `done` is called when it can be read and, if `durable`, has been fsynced.
    pub(crate) fn new(durable: bool, done: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Self { writes: Vec::new(), durable, done: Box::new(done) }
    }

    /// Sets a value.
    pub(crate) fn put(&mut self, space: &Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push((space.clone(), key.into(), Some(value.into())));
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, space: &Space, key: impl Into<Vec<u8>>) {
        self.writes.push((space.clone(), key.into(), None));
    }

    fn write(&mut self, db: &Database) -> io::Result<()> {
        let mut batch = Batch::of(db);
        for (space, key, value) in self.writes.drain(..) {
            match value {
                Some(value) => batch.insert(&space, key, value),
                None => batch.remove(&space, key),
            }
        }
        batch.commit(None).map_err(store_io)
    }
}

/// Hands commits to the writing thread, which ends when this is closed or dropped.
pub(crate) struct Committer {
    requests: Mutex<Option<mpsc::UnboundedSender<Commit>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread. Durable commits are numbered in `counter` from `last` on, and noted by `witness`.
    pub(crate) fn start(db: Database, counter: Space, last: u64, witness: Witness) -> io::Result<Self> {
        let (requests, queue) = mpsc::unbounded_channel();
        let writer = Writer { db, counter, number: last, witness, waiting: Vec::new() };
        #[cfg(test)]
        if let Some(host) = crate::tests::simulation::here() {
            host.has_opened(writer.db.clone());
            tokio::spawn(writer.run_on(queue, host));
            return Ok(Self { requests: Mutex::new(Some(requests)), thread: Mutex::default() });
        }
        let thread =
            thread::Builder::new().name("metastore-commit".into()).spawn(move || writer.run(queue))?;
        Ok(Self { requests: Mutex::new(Some(requests)), thread: Mutex::new(Some(thread)) })
    }

    /// Queues a commit behind all earlier ones.
    pub(crate) fn submit(&self, commit: Commit) {
        let refused = match &*self.requests.lock() {
            Some(requests) => requests.send(commit).err().map(|mpsc::error::SendError(commit)| commit),
            None => Some(commit),
        };
        if let Some(commit) = refused {
            (commit.done)(Err(closed()));
        }
    }

    /// Queues what `fill` puts into a commit and waits for it.
    pub(crate) async fn commit(&self, durable: bool, fill: impl FnOnce(&mut Commit)) -> io::Result<()> {
        let (answer, done) = oneshot::channel();
        let mut commit = Commit::new(durable, move |result| {
            // Nobody waits any more: the writes stand all the same.
            let _ = answer.send(result);
        });
        fill(&mut commit);
        self.submit(commit);
        done.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Refuses further commits, finishes those queued and waits for the thread.
    pub(crate) fn close(&self) {
        drop(self.requests.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread panicked");
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the metastore's store is closed")
}

/// The writing thread.
struct Writer {
    db: Database,
    counter: Space,
    /// Number of the last durable commit written.
    number: u64,
    witness: Witness,
    /// Those whose commit is written but not yet fsynced.
    waiting: Vec<Done>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Commit>) {
        while let Some(first) = queue.blocking_recv() {
            self.write(first);
            for next in iter::from_fn(|| queue.try_recv().ok()).take(MAX_GROUP) {
                self.write(next);
            }
            if !self.waiting.is_empty() {
                let result = self.sync();
                self.synced(&result);
            }
        }
    }

    /// The same on a simulated node, whose disk takes its time, and may be full.
    #[cfg(test)]
    async fn run_on(
        mut self,
        mut queue: mpsc::UnboundedReceiver<Commit>,
        host: std::sync::Arc<crate::tests::simulation::Host>,
    ) {
        while let Some(first) = queue.recv().await {
            for next in iter::once(first).chain(iter::from_fn(|| queue.try_recv().ok()).take(MAX_GROUP)) {
                match host.has_room() {
                    Ok(()) => self.write(next),
                    Err(full) => (next.done)(Err(full)),
                }
            }
            if !self.waiting.is_empty() {
                let result = host.syncs(|| self.db.persist(PersistMode::Buffer).map_err(store_io)).await;
                let result = result.and_then(|()| self.witness.note(self.number));
                self.synced(&result);
            }
        }
    }

    /// Tells those who waited for an fsync what came of it.
    fn synced(&mut self, result: &io::Result<()>) {
        for done in self.waiting.drain(..) {
            done(result.as_ref().copied().map_err(again));
        }
    }

    fn write(&mut self, mut commit: Commit) {
        if commit.durable {
            self.number += 1;
            commit.put(&self.counter, COUNTER, self.number.to_be_bytes());
        }
        match commit.write(&self.db) {
            Ok(()) if commit.durable => self.waiting.push(commit.done),
            result => (commit.done)(result),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.db.persist(PersistMode::SyncData).map_err(store_io)?;
        self.witness.note(self.number)
    }
}

/// The same error for another listener.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
