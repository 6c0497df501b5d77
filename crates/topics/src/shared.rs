//! Shared subscriptions [MQTT5 section 4.8.2]: groups of members under a share name and a filter. The index
//! finds the groups of a topic; which member of a group gets the message is the router's to decide.

use crate::filter_map::{FilterMap, Options};

/// The groups of one scope, told apart by share name and filter. `K` tells members apart, `V` is what a
/// member's subscription asks for.
pub struct SharedIndex<K, V> {
    filters: FilterMap<Vec<Group<K, V>>>,
    groups: usize,
}

/// The members that share one subscription; never empty.
pub struct Group<K, V> {
    key: Box<str>,
    name_len: usize,
    members: Vec<(K, V)>,
}

impl<K, V> Group<K, V> {
    /// What tells the group from others: `{name}/{filter}` (AWS: mqtt, shared subscriptions).
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The share name.
    pub fn name(&self) -> &str {
        self.key.get(..self.name_len).unwrap_or_default()
    }

    /// The topic filter, without `$share/{name}/`.
    pub fn filter(&self) -> &str {
        self.key.get(self.name_len + 1..).unwrap_or_default()
    }

    /// The members, in no particular order, which stays the same until one joins or leaves.
    pub fn members(&self) -> &[(K, V)] {
        &self.members
    }
}

impl<K, V> Default for SharedIndex<K, V> {
    fn default() -> Self {
        Self { filters: FilterMap::default(), groups: 0 }
    }
}

impl<K: Eq, V> SharedIndex<K, V> {
    /// An index without groups.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }

    /// The group `name` of `filter`.
    pub fn group(&self, name: &str, filter: &str) -> Option<&Group<K, V>> {
        self.filters.get(filter)?.iter().find(|g| g.name() == name)
    }

    /// Makes `key` a member of the group `name` of `filter`; the value of the membership that this replaces
    /// is returned.
    pub fn insert(&mut self, name: &str, filter: &str, key: K, value: V) -> Option<V> {
        let groups = self.filters.get_mut(filter);
        if let Some(group) = groups.and_then(|all| all.iter_mut().find(|g| g.name() == name)) {
            return group.insert(key, value);
        }
        let group = Group {
            key: format!("{name}/{filter}").into(),
            name_len: name.len(),
            members: Vec::from([(key, value)]),
        };
        self.groups += 1;
        match self.filters.get_mut(filter) {
            Some(groups) => groups.push(group),
            None => {
                self.filters.insert(filter, Vec::from([group]));
            }
        }
        None
    }

    /// Ends the membership of `key`; its value is returned, or `None` when there was none. A group ends with
    /// its last member.
    pub fn remove(&mut self, name: &str, filter: &str, key: &K) -> Option<V> {
        let groups = self.filters.get_mut(filter)?;
        let at = groups.iter().position(|g| g.name() == name)?;
        let group = groups.get_mut(at)?;
        let removed = group.remove(key)?;
        if group.members.is_empty() {
            groups.swap_remove(at);
            self.groups -= 1;
            if groups.is_empty() {
                self.filters.remove(filter);
            }
        }
        Some(removed)
    }

    /// Calls `found` for each group that matches `topic`, in no particular order. Each is owed one copy of
    /// the message.
    pub fn matches(&self, topic: &str, options: &Options, found: &mut impl FnMut(&Group<K, V>)) {
        self.filters.matches(topic, options, &mut |groups| groups.iter().for_each(&mut *found));
    }
}

impl<K: Eq, V> Group<K, V> {
    fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.members.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.members.push((key, value));
                None
            }
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.members.iter().position(|(k, _)| k == key)?;
        Some(self.members.swap_remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::filter_map::tests::{filter_text, topic_text};
    use crate::matches;

    fn found(index: &SharedIndex<u8, u32>, topic: &str, hash_matches_parent: bool) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        index.matches(topic, &Options { hash_matches_parent }, &mut |group| {
            let mut keys: Vec<_> = group.members().iter().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            found.push((group.key().to_owned(), keys));
        });
        found.sort_unstable();
        found
    }

    #[test]
    fn each_matching_group_comes_once() {
        let mut index = SharedIndex::new();
        for (name, filter, key) in [("a", "t", 1), ("a", "t", 2), ("a", "#", 3), ("b", "t", 4), ("c", "u", 5)]
        {
            assert_eq!(index.insert(name, filter, key, 0), None);
        }
        let expected = [("a/#", vec![3]), ("a/t", vec![1, 2]), ("b/t", vec![4])];
        assert_eq!(found(&index, "t", true), expected.map(|(key, members)| (key.to_owned(), members)));
        let group = index.group("b", "t").unwrap();
        assert_eq!((group.name(), group.filter(), group.members()), ("b", "t", [(4, 0)].as_slice()));
        assert_eq!(index.insert("a", "t", 2, 7), Some(0));
        assert_eq!(index.remove("a", "t", &2), Some(7));
        assert_eq!(index.remove("a", "t", &2), None);
        assert_eq!(index.groups(), 4);
    }

    proptest! {
        #[test]
        fn groups_agree_with_the_rule(
            steps in prop::collection::vec((filter_text(), "[gh]", 0..4_u8, any::<bool>()), 1..80),
            topics in prop::collection::vec(topic_text(), 1..10),
        ) {
            let mut index = SharedIndex::new();
            let mut model = BTreeMap::new();
            for (n, (filter, name, key, leave)) in steps.iter().enumerate() {
                let (n, id) = (n as u32, (name.clone(), filter.clone(), *key));
                if *leave {
                    prop_assert_eq!(index.remove(name, filter, key), model.remove(&id));
                } else {
                    prop_assert_eq!(index.insert(name, filter, *key, n), model.insert(id, n));
                }
            }
            for (topic, parent) in topics.iter().flat_map(|t| [(t, false), (t, true)]) {
                let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
                let matching = model.keys().filter(|(_, filter, _)| matches(filter, topic, parent));
                for (name, filter, key) in matching {
                    expected.entry(format!("{name}/{filter}")).or_default().push(*key);
                }
                prop_assert_eq!(found(&index, topic, parent), Vec::from_iter(expected));
            }
            for ((name, filter, key), value) in model {
                prop_assert_eq!(index.remove(&name, &filter, &key), Some(value));
            }
            prop_assert!(index.is_empty() && index.filters.is_pruned());
        }
    }
}
