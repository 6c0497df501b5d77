//! Applied state as it will be once all proposals in flight are applied.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use fleethaven_registry::{Effects, View, Write};

use crate::state::StateView;

/// Changes of proposals that are not known to be applied yet, the newest of each key.
#[derive(Default)]
pub(crate) struct Overlay {
    /// Key → the proposal that wrote it last, and its value (`None`: removed).
    keys: BTreeMap<Bytes, (u64, Option<Bytes>)>,
}

impl Overlay {
    /// Adds what proposal `sequence` changes.
    pub(crate) fn add(&mut self, sequence: u64, effects: &Effects) {
        for write in &effects.writes {
            let value = match write {
                Write::Put { value, .. } => Some(value.clone()),
                Write::Delete { .. } => None,
            };
            self.keys.insert(write.key().clone(), (sequence, value));
        }
    }

    /// Forgets what proposal `sequence`, now applied, changed in `keys`, where no later one changed it again.
    pub(crate) fn applied(&mut self, sequence: u64, keys: &[Bytes]) {
        for key in keys {
            if self.keys.get(key).is_some_and(|(by, _)| *by == sequence) {
                self.keys.remove(key);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }

    /// The view of `base` below this overlay.
    pub(crate) fn over<'a>(&'a self, base: &'a StateView) -> Overlaid<'a> {
        Overlaid { overlay: self, base }
    }

    fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.keys
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, (_, value))| (key, value.as_ref()))
    }
}

/// Applied state with an overlay on top.
pub(crate) struct Overlaid<'a> {
    overlay: &'a Overlay,
    base: &'a StateView,
}

impl View for Overlaid<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        match self.overlay.keys.get(key) {
            Some((_, value)) => value.clone(),
            None => self.base.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let below = self.base.pairs(prefix, after).map_while(|pair| self.base.noting(pair)).peekable();
        let above = self.overlay.range(prefix, after).peekable();
        Merge { below, above }.take(limit).collect()
    }
}

/// Two ordered sequences as one; where both have a key, the upper one counts, and its removals hide.
struct Merge<B: Iterator, A: Iterator> {
    below: Peekable<B>,
    above: Peekable<A>,
}

impl<'a, B, A> Iterator for Merge<B, A>
where
    B: Iterator<Item = (Bytes, Bytes)>,
    A: Iterator<Item = (&'a Bytes, Option<&'a Bytes>)>,
{
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        loop {
            let Some((upper, _)) = self.above.peek() else { return self.below.next() };
            if let Some(lower) = self.below.next_if(|(key, _)| key < *upper) {
                return Some(lower);
            }
            let (key, value) = self.above.next()?;
            self.below.next_if(|(lower, _)| lower == key);
            if let Some(value) = value {
                return Some((key.clone(), value.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(merged: impl Iterator<Item = (Bytes, Bytes)>) -> Vec<String> {
        merged
            .map(|(k, v)| format!("{}={}", String::from_utf8_lossy(&k), String::from_utf8_lossy(&v)))
            .collect()
    }

    #[test]
    fn the_overlay_hides_replaces_and_adds() {
        let mut overlay = Overlay::default();
        let mut effects = Effects::default();
        effects.put("p/b", "new");
        effects.delete("p/c");
        effects.delete("p/absent");
        effects.put("p/e", "added");
        effects.put("q", "other");
        overlay.add(1, &effects);
        let below = ["p/a", "p/b", "p/c", "p/d"].map(|k| (Bytes::from(k), Bytes::from("old")));
        let merged = |after: Option<&'static [u8]>| Merge {
            below: below.clone().into_iter().filter(move |(k, _)| after.is_none_or(|a| *k > a)).peekable(),
            above: overlay.range(b"p/", after).peekable(),
        };
        assert_eq!(pairs(merged(None)), ["p/a=old", "p/b=new", "p/d=old", "p/e=added"]);
        assert_eq!(pairs(merged(Some(b"p/b"))), ["p/d=old", "p/e=added"]);
        assert_eq!(pairs(merged(Some(b"p/e"))), [""; 0]);
    }

    #[test]
    fn a_key_stays_until_its_last_writer_is_applied() {
        let mut overlay = Overlay::default();
        let mut effects = Effects::default();
        effects.put("k", "1");
        overlay.add(1, &effects);
        overlay.add(2, &effects);
        overlay.applied(1, &["k".into()]);
        assert_eq!(overlay.keys.len(), 1);
        overlay.applied(2, &["k".into()]);
        assert!(overlay.keys.is_empty());
    }
}
