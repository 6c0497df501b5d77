//! A map from topic filters to values that is asked by topic. Filters without wildcards match one topic and
//! live in a hash map, so that most publishes cost one look-up; the others live in a trie over their levels.
//!
//! The hash maps are keyed with hashbrown's own hasher, whose seed differs from process to process: clients
//! choose the keys. Nothing observable depends on it but the order in which matches are reported.

mod shards;
mod short;
mod trie;

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::filter;
use shards::Shards;
use trie::Trie;

/// How topics are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether `a/#` matches `a` [MQTT5 section 4.7.1.2]; AWS: no.
    pub hash_matches_parent: bool,
}

/// Values under topic filters. Filters are given without `$share/{name}/` and well formed, as
/// [`Filter::parse`](crate::Filter::parse) leaves them; another text is kept and matched by its levels all
/// the same.
pub struct FilterMap<T> {
    exact: Shards<(Box<str>, T)>,
    hasher: DefaultHashBuilder,
    wild: Trie<T>,
}

impl<T> Default for FilterMap<T> {
    fn default() -> Self {
        Self { exact: Shards::default(), hasher: DefaultHashBuilder::default(), wild: Trie::default() }
    }
}

impl<T> FilterMap<T> {
    /// How many filters have a value.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wild.len()
    }

    /// Whether no filter has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing at all is stored: no filter, and no node that once led to one.
    #[cfg(test)]
    pub(crate) fn is_pruned(&self) -> bool {
        self.exact.is_empty() && self.wild.is_pruned()
    }

    /// The value of `filter`.
    pub fn get(&self, filter: &str) -> Option<&T> {
        if filter::has_wildcard(filter) { self.wild.get(filter) } else { self.get_exact(filter) }
    }

    /// The value of `filter`, to be changed.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut T> {
        if filter::has_wildcard(filter) {
            return self.wild.get_mut(filter);
        }
        let hash = self.hasher.hash_one(filter);
        self.exact.find_mut(hash, |(text, _)| **text == *filter).map(|(_, value)| value)
    }

    /// Gives `filter` the value `value`; the one it had before is returned.
    pub fn insert(&mut self, filter: &str, value: T) -> Option<T> {
        if filter::has_wildcard(filter) {
            return self.wild.insert(filter, value);
        }
        let hash = self.hasher.hash_one(filter);
        if let Some((_, known)) = self.exact.find_mut(hash, |(text, _)| **text == *filter) {
            return Some(std::mem::replace(known, value));
        }
        self.exact.insert(hash, (filter.into(), value), |(text, _)| self.hasher.hash_one(&**text));
        None
    }

    /// Removes the value of `filter`.
    pub fn remove(&mut self, filter: &str) -> Option<T> {
        if filter::has_wildcard(filter) {
            return self.wild.remove(filter);
        }
        let hash = self.hasher.hash_one(filter);
        self.exact.remove(hash, |(text, _)| **text == *filter).map(|(_, value)| value)
    }

    /// Calls `found` with the value of each filter that matches `topic`, in no particular order.
    pub fn matches(&self, topic: &str, options: &Options, found: &mut impl FnMut(&T)) {
        if let Some(value) = self.get_exact(topic) {
            found(value);
        }
        self.wild.matches(topic, options, found);
    }

    fn get_exact(&self, filter: &str) -> Option<&T> {
        let hash = self.hasher.hash_one(filter);
        self.exact.find(hash, |(text, _)| **text == *filter).map(|(_, value)| value)
    }
}

#[cfg(test)]
pub(crate) mod tests;
