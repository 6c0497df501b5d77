//! A hash table that never grows all at once. A table that doubles moves every entry, and whoever caused it waits: a hundred
//! milliseconds among a million. A large one is therefore many small ones, which grow one by one.

use hashbrown::HashTable;

/// Entries from which one table becomes many.
const LARGE: usize = 4096;
/// How many, a power of two.
const SHARDS: usize = 256;
/// Bits of the hash that choose among them: those that hashbrown looks at last.
const SHIFT: u32 = 40;

pub(super) struct Shards<E> {
    /// One, or [`SHARDS`].
    tables: Vec<HashTable<E>>,
}

impl<E> Default for Shards<E> {
    fn default() -> Self {
        Self { tables: Vec::new() }
    }
}

impl<E> Shards<E> {
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(HashTable::len).sum()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(HashTable::is_empty)
    }

    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        self.tables.get(self.shard(hash))?.find(hash, is_it)
    }

    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&mut E> {
        let shard = self.shard(hash);
        self.tables.get_mut(shard)?.find_mut(hash, is_it)
    }

    /// Takes the entry out, if it is there.
    pub(super) fn remove(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<E> {
        let shard = self.shard(hash);
        let table = self.tables.get_mut(shard)?;
        let (removed, _) = table.find_entry(hash, is_it).ok()?.remove();
        // Memory goes back with the last entry.
        if table.is_empty() {
            *table = HashTable::new();
            if self.tables.len() == 1 {
                self.tables = Vec::new();
            }
        }
        Some(removed)
    }

    /// Adds an entry that is not there.
    pub(super) fn insert(&mut self, hash: u64, entry: E, hasher: impl Fn(&E) -> u64) {
        if self.tables.len() <= 1 {
            match self.tables.first_mut() {
                None => self.tables.push(HashTable::new()),
                Some(only) if only.len() >= LARGE => self.part(&hasher),
                Some(_) => {}
            }
        }
        let shard = self.shard(hash);
        if let Some(table) = self.tables.get_mut(shard) {
            table.insert_unique(hash, entry, hasher);
        }
    }

    fn part(&mut self, hasher: impl Fn(&E) -> u64) {
        let entries: Vec<E> = self.tables.drain(..).flatten().collect();
        self.tables.resize_with(SHARDS, HashTable::new);
        for entry in entries {
            let hash = hasher(&entry);
            let shard = self.shard(hash);
            if let Some(table) = self.tables.get_mut(shard) {
                table.insert_unique(hash, entry, &hasher);
            }
        }
    }

    fn shard(&self, hash: u64) -> usize {
        (hash >> SHIFT) as usize & self.tables.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use hashbrown::DefaultHashBuilder;

    use super::*;

    #[test]
    fn entries_are_found_however_many_there_are() {
        let build = DefaultHashBuilder::default();
        let hash = |number: &u64| build.hash_one(number);
        let mut shards = Shards::default();
        let most = 5 * LARGE as u64;
        for number in 0..most {
            assert!(shards.find(hash(&number), |&entry| entry == number).is_none());
            shards.insert(hash(&number), number, hash);
        }
        assert_eq!((shards.len(), shards.tables.len()), (most as usize, SHARDS));
        for number in 0..most {
            assert_eq!(shards.find(hash(&number), |&entry| entry == number), Some(&number));
            assert_eq!(shards.find_mut(hash(&number), |&entry| entry == number), Some(&mut { number }));
        }
        for number in (0..most).rev() {
            assert_eq!(shards.remove(hash(&number), |&entry| entry == number), Some(number));
            assert_eq!(shards.remove(hash(&number), |&entry| entry == number), None);
        }
        assert!(shards.is_empty());
    }

    #[test]
    fn a_small_one_that_is_empty_takes_no_memory() {
        let mut shards = Shards::default();
        shards.insert(7, 'x', |_| 7);
        assert_eq!(shards.remove(7, |_| true), Some('x'));
        assert_eq!(shards.tables.capacity(), 0);
    }
}
