//! Who subscribed to what: filters, and under each the subscribers with the options of their subscriptions.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::filter_map::FilterMap;
pub use crate::filter_map::Options;

/// The subscriptions of one scope. `K` tells subscribers apart (a session), `V` is what a subscription asks
/// for (QoS, No Local, identifier, …).
pub struct SubscriptionIndex<K, V> {
    filters: FilterMap<Subscribers<K, V>>,
    subscriptions: usize,
}

/// The subscribers of one filter: nearly always one.
#[derive(Default)]
enum Subscribers<K, V> {
    #[default]
    Nobody,
    One(K, V),
    Many(Box<HashMap<K, V>>),
}

impl<K, V> Default for SubscriptionIndex<K, V> {
    fn default() -> Self {
        Self { filters: FilterMap::default(), subscriptions: 0 }
    }
}

impl<K: Eq + Hash, V> SubscriptionIndex<K, V> {
    /// An index without subscriptions.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many subscriptions there are: pairs of filter and key.
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// How many different filters there are.
    pub fn filters(&self) -> usize {
        self.filters.len()
    }

    /// Subscribes `key` to `filter` (without `$share/{name}/`); the value of the subscription that this
    /// replaces is returned.
    pub fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let replaced = match self.filters.get_mut(filter) {
            Some(subscribers) => subscribers.insert(key, value),
            None => {
                self.filters.insert(filter, Subscribers::One(key, value));
                None
            }
        };
        self.subscriptions += usize::from(replaced.is_none());
        replaced
    }

    /// Ends the subscription of `key` to `filter`; its value is returned, or `None` when there was none.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let subscribers = self.filters.get_mut(filter)?;
        let removed = subscribers.remove(key)?;
        if matches!(subscribers, Subscribers::Nobody) {
            self.filters.remove(filter);
        }
        self.subscriptions -= 1;
        Some(removed)
    }

    /// The value of the subscription of `key` to `filter`.
    pub fn get(&self, filter: &str, key: &K) -> Option<&V> {
        match self.filters.get(filter)? {
            Subscribers::Nobody => None,
            Subscribers::One(k, value) => (k == key).then_some(value),
            Subscribers::Many(map) => map.get(key),
        }
    }

    /// Calls `found` for each subscription that matches `topic`, in no particular order. A key comes once per
    /// matching filter, as a subscriber with overlapping filters may get a message once or once for each
    /// [MQTT5 section 3.3.4]: the caller decides.
    pub fn matches(&self, topic: &str, options: &Options, found: &mut impl FnMut(&K, &V)) {
        self.filters.matches(topic, options, &mut |subscribers| match subscribers {
            Subscribers::Nobody => {}
            Subscribers::One(key, value) => found(key, value),
            Subscribers::Many(map) => map.iter().for_each(|(key, value)| found(key, value)),
        });
    }
}

impl<K: Eq + Hash, V> Subscribers<K, V> {
    fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::One(k, v) if *k == key => return Some(std::mem::replace(v, value)),
            Self::Many(map) => return map.insert(key, value),
            _ => {}
        }
        *self = match std::mem::take(self) {
            Self::One(first, its) => Self::Many(Box::new(HashMap::from_iter([(first, its), (key, value)]))),
            _ => Self::One(key, value),
        };
        None
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Self::Many(map) => {
                let removed = map.remove(key)?;
                self.settle();
                Some(removed)
            }
            Self::One(k, _) if k == key => match std::mem::take(self) {
                Self::One(_, value) => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// Gives memory back: a map of one becomes the one, and a map that is mostly empty shrinks.
    fn settle(&mut self) {
        let Self::Many(map) = self else { return };
        if map.len() == 1 {
            let last = map.drain().next();
            *self = last.map_or(Self::Nobody, |(key, value)| Self::One(key, value));
        } else if map.capacity() > 8 * map.len() {
            map.shrink_to(2 * map.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Model;

    use proptest::prelude::*;

    use super::*;
    use crate::filter_map::tests::{filter_text, topic_text};
    use crate::matches;

    fn found(index: &SubscriptionIndex<u8, u32>, topic: &str, hash_matches_parent: bool) -> Vec<(u8, u32)> {
        let mut found = Vec::new();
        index.matches(topic, &Options { hash_matches_parent }, &mut |key, value| found.push((*key, *value)));
        found.sort_unstable();
        found
    }

    #[test]
    fn subscribing_again_replaces() {
        let mut index = SubscriptionIndex::new();
        assert_eq!(index.insert("a/+", 1, 10), None);
        assert_eq!(index.insert("a/+", 1, 11), Some(10));
        assert_eq!(index.insert("a/+", 2, 20), None);
        assert_eq!(index.insert("a/+", 2, 21), Some(20));
        assert_eq!((index.len(), index.filters(), index.get("a/+", &2)), (2, 1, Some(&21)));
        assert_eq!(found(&index, "a/b", true), [(1, 11), (2, 21)]);
        assert_eq!(index.remove("a/+", &3), None);
        assert_eq!(index.remove("a/b", &1), None);
        assert_eq!(index.remove("a/+", &1), Some(11));
        assert_eq!(found(&index, "a/b", true), [(2, 21)]);
        assert_eq!(index.remove("a/+", &2), Some(21));
        assert!(index.is_empty() && index.filters.is_pruned());
    }

    #[test]
    fn overlapping_filters_come_once_each() {
        let mut index = SubscriptionIndex::new();
        index.insert("a/b", 1, 10);
        index.insert("a/#", 1, 11);
        assert_eq!(found(&index, "a/b", true), [(1, 10), (1, 11)]);
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_the_rule(
            steps in prop::collection::vec((filter_text(), 0..6_u8, any::<bool>()), 1..120),
            topics in prop::collection::vec(topic_text(), 1..10),
        ) {
            let mut index = SubscriptionIndex::new();
            let mut model = Model::new();
            for (n, (filter, key, leave)) in steps.iter().enumerate() {
                let n = n as u32;
                let id = (filter.clone(), *key);
                if *leave {
                    prop_assert_eq!(index.remove(filter, key), model.remove(&id));
                } else {
                    prop_assert_eq!(index.insert(filter, *key, n), model.insert(id, n));
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for (topic, parent) in topics.iter().flat_map(|t| [(t, false), (t, true)]) {
                let matching = model.iter().filter(|((filter, _), _)| matches(filter, topic, parent));
                let mut expected: Vec<_> = matching.map(|((_, key), value)| (*key, *value)).collect();
                expected.sort_unstable();
                prop_assert_eq!(found(&index, topic, parent), expected, "{}", topic);
            }
            for ((filter, key), value) in model {
                prop_assert_eq!(index.remove(&filter, &key), Some(value));
            }
            prop_assert!(index.is_empty() && index.filters.is_pruned());
        }
    }
}
