//! A group's applied state as it can be read: consistent moments of it, each knowing its revision.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Readable, Snapshot};
use fleethaven_registry::View;
use fleethaven_storage_embedded::space::Space;
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, Meta, decode};
use crate::error::store_io;
use crate::record::{Applied, StateRecord};

/// The state of one group. Readers never wait for writers.
pub(crate) struct State {
    pub(crate) group: u32,
    pub(crate) disk: Arc<Disk>,
    /// The generation in use; replaced when a snapshot is installed.
    current: RwLock<(u64, Space)>,
}

impl State {
    /// Opens the state of `group` at the generation that its record names, and removes other generations.
    pub(crate) fn open(disk: Arc<Disk>, group: u32) -> io::Result<(Self, Applied)> {
        let applied = match disk.record::<StateRecord>(group, Meta::State)? {
            Some(record) => Applied::try_from(record)?,
            None => Applied::default(),
        };
        disk.drop_other_states(group, applied.generation)?;
        let space = disk.state(group, applied.generation)?;
        Ok((Self { group, disk, current: RwLock::new((applied.generation, space)) }, applied))
    }

    /// The keyspace in use.
    pub(crate) fn space(&self) -> Space {
        self.current.read().1.clone()
    }

    /// Makes `space` the state, which its record on disk already says.
    pub(crate) fn flip(&self, generation: u64, space: Space) {
        *self.current.write() = (generation, space);
    }

    /// The state as it is now.
    pub(crate) fn now(&self) -> StateView {
        StateView::of(&self.disk, self.space())
    }

    /// The state as it is now, and what it covers.
    pub(crate) fn now_with_position(&self) -> io::Result<(StateView, Applied)> {
        loop {
            let (generation, space) = self.current.read().clone();
            let snapshot = self.disk.db.snapshot();
            let record =
                snapshot.get(self.disk.meta.keyspace(), Meta::State.key(self.group)).map_err(store_io)?;
            let applied = match record {
                Some(bytes) => Applied::try_from(decode::<StateRecord>(self.group, Meta::State, &bytes)?)?,
                None => Applied::default(),
            };
            // Unequal only between the two steps of an install.
            if applied.generation == generation {
                return Ok((StateView { snapshot, space, failure: Mutex::new(None) }, applied));
            }
            std::thread::yield_now();
        }
    }
}

/// The state as of one moment. A read that fails says so through [`StateView::finish`]: a [`View`] has no way
/// to.
pub(crate) struct StateView {
    snapshot: Snapshot,
    space: Space,
    failure: Mutex<Option<io::Error>>,
}

impl StateView {
    /// The pairs of `space` as they are now.
    pub(crate) fn of(disk: &Disk, space: Space) -> Self {
        Self { snapshot: disk.db.snapshot(), space, failure: Mutex::new(None) }
    }

    /// Pairs whose keys start with `prefix` and are above `after`, in key order.
    pub(crate) fn pairs(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = io::Result<(Bytes, Bytes)>> + use<> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let (prefix, space) = (prefix.to_vec(), self.space.clone());
        self.snapshot
            .range(self.space.keyspace(), (start, Bound::<Vec<u8>>::Unbounded))
            .map(move |item| {
                let (key, value) = space.pair(item).map_err(store_io)?;
                Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
            })
            .take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
    }

    /// Notes a failed read; yields nothing in its place.
    pub(crate) fn noting<T>(&self, read: io::Result<T>) -> Option<T> {
        read.map_err(|e| self.failure.lock().get_or_insert(e).kind()).ok()
    }

    /// Whether all that was read so far is true.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.failure.lock().take().map_or(Ok(()), Err)
    }
}

impl View for StateView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        let value = self.snapshot.get(self.space.keyspace(), key);
        let value = value.and_then(|value| value.map(|value| self.space.opened(key, value)).transpose());
        self.noting(value.map_err(store_io)).flatten().map(|v| Bytes::copy_from_slice(&v))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        self.pairs(prefix, after).map_while(|pair| self.noting(pair)).take(limit).collect()
    }
}
