//! The filters that a session holds or has asked for: with what QoS, how many there are, and how much text.

use fleethaven_types::{QoS, Utf8Bytes};
use rustc_hash::FxHashMap;

/// Filters with their granted QoS (`None`: asked for), which know their size in bytes.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    held: FxHashMap<Utf8Bytes, Option<QoS>>,
    bytes: usize,
}

impl Filters {
    pub(crate) fn insert(&mut self, filter: Utf8Bytes, granted: Option<QoS>) {
        let bytes = filter.len();
        if self.held.insert(filter, granted).is_none() {
            self.bytes += bytes;
        }
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        if self.held.remove(filter).is_some() {
            self.bytes -= filter.len();
        }
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.held.contains_key(filter)
    }

    /// Whether the filter has been granted.
    pub(crate) fn is_granted(&self, filter: &str) -> bool {
        self.held.get(filter).is_some_and(Option::is_some)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Utf8Bytes, &Option<QoS>)> {
        self.held.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// UTF-8 bytes of all filters together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Filters that nobody asks about any more, to be dropped a few at a time.
#[derive(Debug)]
pub struct Leftovers(std::collections::hash_map::IntoIter<Utf8Bytes, Option<QoS>>);

impl Leftovers {
    pub(crate) fn of(filters: Filters) -> Self {
        Self(filters.held.into_iter())
    }

    /// Drops at most `count`; whether any are left.
    pub fn discard(&mut self, count: usize) -> bool {
        self.0.by_ref().take(count).for_each(drop);
        self.0.len() > 0
    }
}

impl FromIterator<(Utf8Bytes, Option<QoS>)> for Filters {
    fn from_iter<I: IntoIterator<Item = (Utf8Bytes, Option<QoS>)>>(filters: I) -> Self {
        let mut held = Self::default();
        filters.into_iter().for_each(|(filter, granted)| held.insert(filter, granted));
        held
    }
}
