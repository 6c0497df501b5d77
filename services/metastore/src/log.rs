//! A group's log: entries, vote and purge point.
//!
//! Appending puts entries into an in-memory tail, where they can be read at once, and queues them for the
//! commit thread; openraft is told when the fsync that covers them is done. Below the tail, entries are read
//! from disk.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, RaftLogReader};
use parking_lot::Mutex;
use prost::Message;

use crate::commit::Commit;
use crate::disk::{Disk, Meta};
use crate::error::{damaged, store_io};
use crate::record::{LogIdRecord, VoteRecord, decode_entry, encode_entry};
use crate::types::{Entry, LogId, Types, Vote};

/// Entries kept in memory after they were written, for applying and replicating without a read from disk.
const TAIL_ENTRIES: usize = 1024;
/// Deletions per commit while purging.
const PURGE_BATCH: u64 = 4096;

/// The log of one group. Clones are readers of the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    group: u32,
    disk: Arc<Disk>,
    shared: Arc<Mutex<Shared>>,
}

/// What readers and the writer share.
struct Shared {
    /// The newest entries without a gap, each with the append it came by. Holds at least all that is not on
    /// disk yet.
    tail: BTreeMap<u64, (u64, Entry)>,
    /// Number of the last append.
    append: u64,
    /// Index of the oldest entry.
    first: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

impl Shared {
    /// Forgets entries that came by appends up to `append`, which are on disk, beyond what is kept for speed.
    fn written(&mut self, append: u64) {
        while self.tail.len() > TAIL_ENTRIES {
            match self.tail.first_entry() {
                Some(first) if first.get().0 <= append => first.remove(),
                _ => break,
            };
        }
    }

    /// The indexes that exist, half open.
    fn bounds(&self) -> (u64, u64) {
        (self.first, self.last.map_or(self.first, |id| id.index + 1))
    }

    /// Adds an entry that came by append number `append`.
    fn push(&mut self, append: u64, entry: Entry) {
        if self.last == self.purged {
            self.first = entry.log_id.index;
        }
        self.last = Some(entry.log_id);
        self.tail.insert(entry.log_id.index, (append, entry));
    }
}

impl LogStore {
    /// Opens the log of `group`.
    pub(crate) fn open(disk: Arc<Disk>, group: u32) -> io::Result<Self> {
        let purged = disk.record::<LogIdRecord>(group, Meta::Purged)?.map(LogId::from);
        let vote = disk.record::<VoteRecord>(group, Meta::Vote)?.map(Vote::from);
        let after = purged.map_or(0, |id| id.index + 1);
        let oldest = disk.log.keyspace().prefix(group.to_be_bytes()).next();
        let oldest = oldest.map(|entry| index_of(&entry.key().map_err(store_io)?)).transpose()?;
        let newest = disk.log.keyspace().prefix(group.to_be_bytes()).next_back();
        let last = newest.map(|entry| {
            let (key, value) = disk.log.pair(entry).map_err(store_io)?;
            Ok::<_, io::Error>(decode_entry(index_of(&key)?, &value)?.log_id)
        });
        let last = purged.max(last.transpose()?);
        let first = oldest.map_or(after, |oldest| oldest.max(after));
        if purged.is_some() && last > purged && first > after {
            return Err(damaged("log", format!("entries {after} to {first} of group {group} are missing")));
        }
        let shared = Shared { tail: BTreeMap::new(), append: 0, first, last, purged, vote };
        let log = Self { group, disk, shared: Arc::new(Mutex::new(shared)) };
        if let Some(oldest) = oldest.filter(|oldest| *oldest < after) {
            // What a purge cut short by a crash has left.
            log.delete(oldest, after - 1);
        }
        Ok(log)
    }

    fn key(&self, index: u64) -> [u8; 12] {
        let mut key = [0; 12];
        let (group, rest) = key.split_at_mut(4);
        group.copy_from_slice(&self.group.to_be_bytes());
        rest.copy_from_slice(&index.to_be_bytes());
        key
    }

    /// Queues the deletion of the entries from `first` to `last`, inclusive.
    fn delete(&self, first: u64, last: u64) {
        let mut next = first;
        while next <= last {
            let end = last.min(next.saturating_add(PURGE_BATCH - 1));
            let mut commit = Commit::new(false, |result| {
                if let Err(error) = result {
                    tracing::error!(%error, "log entries could not be deleted");
                }
            });
            (next..=end).for_each(|index| commit.remove(&self.disk.log, self.key(index)));
            self.disk.committer.submit(commit);
            next = end + 1;
        }
    }

    fn read_disk(&self, from: u64, to: u64, entries: &mut Vec<Entry>) -> io::Result<()> {
        let items = self.disk.log.keyspace().range(self.key(from)..self.key(to));
        for (expected, item) in (from..to).zip(items) {
            let (key, value) = self.disk.log.pair(item).map_err(store_io)?;
            let index = index_of(&key)?;
            if index != expected {
                return Err(damaged("log", format!("entry {expected} of group {} is missing", self.group)));
            }
            entries.push(decode_entry(index, &value)?);
        }
        match u64::try_from(entries.len()) {
            Ok(read) if read == to - from => Ok(()),
            _ => Err(damaged("log", format!("entries below {to} of group {} are missing", self.group))),
        }
    }
}

fn index_of(key: &[u8]) -> io::Result<u64> {
    let index = key.get(4..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
    index.ok_or_else(|| damaged("log", format!("key of {} bytes", key.len())))
}

fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (from, to) = half_open(&range);
        let (from, boundary, tail) = {
            let shared = self.shared.lock();
            let (first, end) = shared.bounds();
            let (from, to) = (from.max(first), to.min(end));
            if from >= to {
                return Ok(Vec::new());
            }
            let boundary = shared.tail.keys().next().copied().unwrap_or(u64::MAX).clamp(from, to);
            let tail: Vec<_> = shared.tail.range(boundary..to).map(|(_, (_, entry))| entry.clone()).collect();
            (from, boundary, tail)
        };
        let mut entries = Vec::with_capacity(tail.len());
        self.read_disk(from, boundary, &mut entries)?;
        entries.extend(tail);
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let shared = self.shared.lock();
        Ok(LogState { last_purged_log_id: shared.purged, last_log_id: shared.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let record = VoteRecord::from(*vote).encode_to_vec();
        let key = Meta::Vote.key(self.group);
        self.disk.committer.commit(true, |commit| commit.put(&self.disk.meta, key, record)).await?;
        self.shared.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let append = {
            let mut shared = self.shared.lock();
            shared.append += 1;
            shared.append
        };
        let shared = self.shared.clone();
        let mut commit = Commit::new(true, move |result| {
            if result.is_ok() {
                shared.lock().written(append);
            }
            callback.io_completed(result);
        });
        for entry in entries {
            commit.put(&self.disk.log, self.key(entry.log_id.index), encode_entry(&entry)?);
            self.shared.lock().push(append, entry);
        }
        self.disk.committer.submit(commit);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let first = last_log_id.map_or(0, |id| id.index + 1);
        let (oldest, end) = self.shared.lock().bounds();
        if first >= end {
            return Ok(());
        }
        // From the end backwards, in commits of their own: a crash in between leaves no hole.
        let mut end = end;
        while end > first.max(oldest) {
            let start = end.saturating_sub(PURGE_BATCH).max(first).max(oldest);
            self.delete(start, end - 1);
            end = start;
        }
        let mut shared = self.shared.lock();
        shared.tail.split_off(&first);
        shared.last = last_log_id.max(shared.purged);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let (first, end) = self.shared.lock().bounds();
        let record = LogIdRecord::from(log_id).encode_to_vec();
        let key = Meta::Purged.key(self.group);
        self.disk.committer.commit(false, |commit| commit.put(&self.disk.meta, key, record)).await?;
        {
            let mut shared = self.shared.lock();
            shared.tail = shared.tail.split_off(&(log_id.index + 1));
            shared.purged = Some(log_id);
            shared.first = shared.first.max(log_id.index + 1);
            shared.last = shared.last.max(Some(log_id));
        }
        if let Some(last) = end.checked_sub(1) {
            self.delete(first, last.min(log_id.index));
        }
        Ok(())
    }
}
