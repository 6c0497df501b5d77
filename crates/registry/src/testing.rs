//! A [`View`] in memory, for tests of this crate and of those that use it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::view::{Effects, View, Write};

/// Keys and values in a sorted map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryView {
    entries: BTreeMap<Bytes, Bytes>,
}

impl MemoryView {
    /// Carries out the writes, in order.
    pub fn apply(&mut self, effects: &Effects) {
        for write in &effects.writes {
            match write {
                Write::Put { key, value } => self.entries.insert(key.clone(), value.clone()),
                Write::Delete { key } => self.entries.remove(key),
            };
        }
    }

    /// Every key and value.
    pub fn entries(&self) -> &BTreeMap<Bytes, Bytes> {
        &self.entries
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
