//! Reading what lies in many partitions, each in order, as one list in order.

use std::collections::VecDeque;

use fleethaven_storage::Error;

/// How far one partition has been read.
pub(crate) struct Source<K, V> {
    pub(crate) partition: u8,
    /// Read and not yet used, in order.
    pub(crate) ready: VecDeque<(K, V)>,
    /// Where to read on.
    pub(crate) next: String,
    /// There is no more.
    pub(crate) done: bool,
}

impl<K, V> Source<K, V> {
    pub(crate) fn new(partition: u8, next: String) -> Self {
        Self { partition, ready: VecDeque::new(), next, done: false }
    }

    fn is_dry(&self) -> bool {
        self.ready.is_empty() && !self.done
    }
}

/// How much to ask of each of so many partitions for `limit` in all: what evenly spread keys need, and a little more.
pub(crate) fn share(limit: usize, partitions: usize) -> usize {
    limit.min(limit / partitions.max(1) + 8)
}

/// The first `limit` of all sources. `refill` reads on those that have nothing ready and are not done.
pub(crate) fn merge<K: Ord, V>(
    mut sources: Vec<Source<K, V>>,
    limit: usize,
    mut refill: impl FnMut(Vec<&mut Source<K, V>>) -> Result<(), Error>,
) -> Result<Vec<(K, V)>, Error> {
    let mut merged = Vec::new();
    while merged.len() < limit {
        let dry: Vec<_> = sources.iter_mut().filter(|source| source.is_dry()).collect();
        if !dry.is_empty() {
            refill(dry)?;
            continue;
        }
        let filled = sources.iter_mut().filter(|source| !source.ready.is_empty());
        let least = filled.min_by(|a, b| key(a).cmp(&key(b)));
        let Some(item) = least.and_then(|source| source.ready.pop_front()) else { break };
        merged.push(item);
    }
    Ok(merged)
}

fn key<K, V>(source: &Source<K, V>) -> Option<&K> {
    source.ready.front().map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_merged_in_order_and_read_no_further_than_needed() {
        let all: Vec<Vec<u32>> = vec![vec![1, 4, 7, 10], vec![], vec![2, 3, 5, 6, 8, 9]];
        let sources = || (0..3).map(|partition| Source::new(partition, "0".to_owned())).collect();
        let mut reads = 0;
        let mut refill = |dry: Vec<&mut Source<u32, ()>>| {
            reads += dry.len();
            for source in dry {
                let at: usize = source.next.parse().unwrap();
                let found = &all[usize::from(source.partition)][at..];
                source.ready.extend(found.iter().take(2).map(|n| (*n, ())));
                source.done = found.len() <= 2;
                source.next = (at + 2).to_string();
            }
            Ok(())
        };
        let first = merge(sources(), 5, &mut refill).unwrap();
        assert_eq!(first.iter().map(|(n, ())| *n).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let whole = merge(sources(), 100, &mut refill).unwrap();
        assert!(whole.iter().map(|(n, ())| *n).eq(1..=10));
        assert!(reads < 15, "{reads}");
    }
}
