use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::matches;

/// Levels drawn from few words, so that filters share prefixes, end inside one another and match.
pub(crate) fn filter_text() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        4 => "[ab$]?", 3 => Just("+".to_owned()), 1 => Just("a-level-longer-than-22-bytes".to_owned())
    ];
    let levels = prop::collection::vec(level, 1..5);
    (levels, any::<bool>()).prop_filter_map("empty", |(mut levels, hash)| {
        if hash && let Some(last) = levels.last_mut() {
            *last = "#".to_owned();
        }
        Some(levels.join("/")).filter(|text| !text.is_empty())
    })
}

pub(crate) fn topic_text() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab$]?|a-level-longer-than-22-bytes", 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("empty", |text| !text.is_empty())
}

fn found(map: &FilterMap<u32>, topic: &str, hash_matches_parent: bool) -> Vec<u32> {
    let mut found = Vec::new();
    map.matches(topic, &Options { hash_matches_parent }, &mut |value| found.push(*value));
    found.sort_unstable();
    found
}

#[test]
fn filters_that_end_inside_one_another() {
    let mut map = FilterMap::default();
    let filters = ["+", "+/#", "+/b", "+/b/", "+/b/#", "+/b/c/d/e", "a/b", "a/#", "#", "+/+", "+/b/+"];
    for (value, filter) in filters.iter().enumerate() {
        assert_eq!(map.insert(filter, value as u32), None);
    }
    assert_eq!(found(&map, "a", false), [0, 8]);
    assert_eq!(found(&map, "a", true), [0, 1, 7, 8]);
    assert_eq!(found(&map, "a/b", true), [1, 2, 4, 6, 7, 8, 9]);
    assert_eq!(found(&map, "a/b", false), [1, 2, 6, 7, 8, 9]);
    assert_eq!(found(&map, "a/b/", false), [1, 3, 4, 7, 8, 10]);
    assert_eq!(found(&map, "x/b/c/d/e", true), [1, 4, 5, 8]);
    assert_eq!(found(&map, "$x/b", true), [0_u32; 0]);
    assert_eq!(map.insert("+/b/c/d/e", 50), Some(5));
    assert_eq!(map.get("+/b/c/d/e"), Some(&50));
    assert_eq!(map.get("+/b/c/d"), None);
}

#[test]
fn many_branches_leave_nothing_behind() {
    let mut map = FilterMap::default();
    let filters: Vec<_> = (0..500).map(|n| format!("site-{}/+/device-{n}/state/#", n % 7)).collect();
    for filter in &filters {
        map.insert(filter, 0);
    }
    assert_eq!(map.len(), 500);
    for filter in &filters {
        assert_eq!(map.remove(filter), Some(0));
        assert_eq!(map.remove(filter), None);
    }
    assert!(map.is_pruned() && map.is_empty());
}

#[test]
fn a_very_deep_filter_does_not_recurse() {
    let mut map = FilterMap::default();
    let deep = "+/".repeat(60_000) + "a";
    map.insert(&deep, 1);
    map.insert(&deep[4..], 2);
    let topic = "a/".repeat(60_000) + "a";
    assert_eq!(found(&map, &topic, true), [1]);
    assert_eq!(found(&map, &topic[4..], true), [2]);
    assert_eq!(map.remove(&deep), Some(1));
    assert_eq!(map.remove(&deep[4..]), Some(2));
    assert!(map.is_pruned());
}

proptest! {
    #[test]
    fn the_map_agrees_with_the_rule(
        steps in prop::collection::vec((filter_text(), 0..4_u32), 1..80),
        topics in prop::collection::vec(topic_text(), 1..20),
    ) {
        let mut map = FilterMap::default();
        let mut model = HashMap::new();
        for (n, (filter, kind)) in steps.iter().enumerate() {
            if *kind == 0 {
                prop_assert_eq!(map.remove(filter), model.remove(filter));
            } else {
                prop_assert_eq!(map.insert(filter, n as u32), model.insert(filter, n as u32));
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert_eq!(map.get(filter), model.get(filter));
        }
        for topic in &topics {
            for parent in [false, true] {
                let mut expected: Vec<_> =
                    model.iter().filter(|(f, _)| matches(f, topic, parent)).map(|(_, v)| *v).collect();
                expected.sort_unstable();
                prop_assert_eq!(found(&map, topic, parent), expected, "{}", topic);
            }
        }
        for (filter, value) in model {
            prop_assert_eq!(map.remove(filter), Some(value));
        }
        prop_assert!(map.is_pruned());
    }
}
