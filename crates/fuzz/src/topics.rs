//! Topic names and filters: parsing, and matching beside a matcher so plain that it must be right.

use fleethaven_topics::{Filter, Options, SubscriptionIndex, matches, name};
use fleethaven_types::{Limits, Profile};

use crate::lines;

/// Lines: a filter, a topic.
pub(crate) fn filter(data: &[u8]) {
    let lines = lines(data, 2);
    let [filter, topic] = [lines[0], lines.get(1).copied().unwrap_or_default()].map(String::from_utf8_lossy);
    for limits in [Limits::of(Profile::Standard), Limits::of(Profile::Aws)] {
        let Ok(parsed) = Filter::parse(&filter, &limits) else { continue };
        assert_eq!(parsed.as_str(), filter);
        // What follows a share name is a filter of its own; one that looks shared itself may be none.
        if !parsed.topic_filter().starts_with("$share/") {
            assert!(Filter::parse(parsed.topic_filter(), &limits).is_ok());
        }
        let is_name = name::validate(&topic, &limits).is_ok();
        if is_name {
            for parent in [false, true] {
                assert_eq!(
                    parsed.matches(&topic, parent),
                    plainly(parsed.topic_filter(), &topic, parent),
                    "{filter} {topic}"
                );
            }
        }
    }
}

/// Lines: a topic, then filters. The index finds what matches, one by one, before and after some are gone again.
pub(crate) fn index(data: &[u8]) {
    let limits = Limits::of(Profile::Standard);
    let lines = lines(data, 40);
    let topic = String::from_utf8_lossy(lines[0]);
    if name::validate(&topic, &limits).is_err() {
        return;
    }
    let parse = |line: &&[u8]| Filter::parse(&String::from_utf8_lossy(line), &limits).ok();
    let filters: Vec<_> = lines[1..].iter().filter_map(parse).collect();
    let mut index = SubscriptionIndex::new();
    for (key, filter) in filters.iter().enumerate() {
        index.insert(filter.topic_filter(), key, ());
    }
    check(&index, &filters, &topic, |_| true);
    for (key, filter) in filters.iter().enumerate().filter(|(key, _)| key % 2 == 0) {
        assert_eq!(index.remove(filter.topic_filter(), &key), Some(()));
    }
    check(&index, &filters, &topic, |key| key % 2 == 1);
    for (key, filter) in filters.iter().enumerate().filter(|(key, _)| key % 2 == 1) {
        index.remove(filter.topic_filter(), &key);
    }
    assert!(index.is_empty() && index.filters() == 0);
}

fn check(
    index: &SubscriptionIndex<usize, ()>,
    filters: &[Filter],
    topic: &str,
    held: impl Fn(usize) -> bool,
) {
    for hash_matches_parent in [false, true] {
        let mut found = Vec::new();
        index.matches(topic, &Options { hash_matches_parent }, &mut |key, ()| found.push(*key));
        found.sort_unstable();
        let matching =
            |key: &usize| held(*key) && matches(filters[*key].topic_filter(), topic, hash_matches_parent);
        let expected: Vec<_> = (0..filters.len()).filter(matching).collect();
        assert_eq!(found, expected, "{topic} among {filters:?}");
    }
}

/// Section 4.7 of MQTT 5, word for word.
fn plainly(filter: &str, topic: &str, hash_matches_parent: bool) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    levels(&filter, &topic, hash_matches_parent)
}

fn levels(filter: &[&str], topic: &[&str], parent: bool) -> bool {
    match (filter, topic) {
        ([], []) => true,
        (["#"], []) => parent,
        (["#"], _) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic, parent),
        ([same, filter @ ..], [level, topic @ ..]) => same == level && levels(filter, topic, parent),
        _ => false,
    }
}
