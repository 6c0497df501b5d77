use proptest::prelude::*;

use super::*;
use crate::filter_map::tests::{filter_text, topic_text};
use crate::matches;

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn slot_in(region: &str, account: &str, topic: &str) -> u16 {
    let scope = Scope { account: account.parse().unwrap(), region: region.parse().unwrap() };
    slot(&scope, topic, &DepthRules::default()).index()
}

fn placed(filter: &str) -> Placement {
    Placement::of(&scope(), filter, &DepthRules::default())
}

#[test]
fn the_hash_never_changes() {
    assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf, "first output of SplitMix64 seeded with 0");
    let slots = [
        slot_in("us-east-1", "123456789012", "a"),
        slot_in("us-east-1", "123456789012", "acme/prod/device-1/state"),
        slot_in("us-east-1", "123456789012", "$aws/events/presence/connected/c"),
        slot_in("us-east-1", "123456789012", "$aws/rules/r/a/b/c"),
        slot_in("us-east-1", "123456789012", "grün/ß/a-level-that-is-longer-than-eight-bytes"),
        slot_in("us-east-1", "123456789012", "//"),
        slot_in("eu-central-1", "123456789012", "a"),
        slot_in("us-east-1", "000000000001", "a"),
    ];
    assert_eq!(slots, [188, 846, 44, 421, 959, 649, 828, 961]);
}

#[test]
fn depths_that_change_hold_what_either_wants() {
    let rules = |default| DepthRules::new(default, Vec::new()).unwrap();
    let depths = |now, next: Option<usize>| Depths { now: rules(now), next: next.map(rules) };
    let places = |filter: &str| depths(3, Some(4)).places(&scope(), filter).iter().collect::<Vec<_>>();
    let of = |filter: &str, default| Placement::of(&scope(), filter, &rules(default));
    assert_eq!(places("a/b"), [of("a/b", 3)], "the same slot by both");
    assert_eq!(places("a/b/c/d/#"), [of("a/b/c/d/#", 3), of("a/b/c/d/#", 4)]);
    assert_eq!(places("a/b/c/+"), [of("a/b/c/+", 3), Placement::Spread]);
    assert_eq!(places("#"), [Placement::Spread]);
    for (before, after, covered) in [
        (depths(3, None), depths(3, Some(4)), false),
        (depths(3, Some(4)), depths(4, None), true),
        (depths(3, Some(4)), depths(3, None), true),
        (depths(3, Some(4)), depths(3, Some(5)), false),
        (depths(3, None), depths(4, None), false),
    ] {
        assert_eq!(before.cover(&after), covered, "{before:?} {after:?}");
    }
}

#[test]
fn depth_by_prefix() {
    let rules = DepthRules::default();
    for (topic, depth) in [
        ("a/b/c/d/e/f", 3),
        ("$aws/things/t/shadow/get", 3),
        ("$aws/events/presence/connected/c", 5),
        ("$aws/events", 5),
        ("$aws/eventsx/a", 3),
        ("$aws/rules/r/a/b/c", 5),
    ] {
        assert_eq!(rules.depth(topic), depth, "{topic}");
    }
    let same = |a, b| slot(&scope(), a, &rules) == slot(&scope(), b, &rules);
    assert!(same("a/b/c", "a/b/c/d") && same("a/b/c/", "a/b/c"));
    assert!(!same("a/b", "a/b/c") && !same("a/b", "a/b/"));
    assert!(same("$aws/rules/r/a/b/c", "$aws/rules/r/a/b") && !same("$aws/rules/r/a/b", "$aws/rules/r/a/c"));
}

#[test]
fn pinned_and_spread() {
    let pinned =
        |filter, topic| placed(filter) == Placement::Pinned(slot(&scope(), topic, &DepthRules::default()));
    assert!(pinned("a/b/c", "a/b/c"));
    assert!(pinned("a", "a"));
    assert!(pinned("a/b/c/#", "a/b/c"));
    assert!(pinned("a/b/c/+/d", "a/b/c/x/d"));
    assert!(pinned("$aws/things/t/#", "$aws/things/t/shadow/get"));
    assert!(pinned("$aws/events/presence/connected/c", "$aws/events/presence/connected/c"));
    for spread in [
        "#",
        "+/b/c/d",
        "a/+/c/d",
        "a/b/+",
        "a/b/#",
        "$aws/#",
        "$aws/events/presence/connected/+",
        "$aws/events/presence/#",
        "$aws/+/a/b/c/d",
    ] {
        assert_eq!(placed(spread), Placement::Spread, "{spread}");
    }
}

#[test]
fn rules_may_nest() {
    let rules = DepthRules::new(1, vec![("a".into(), 4), ("a/b".into(), 2), ("x/y".into(), 3)]).unwrap();
    assert_eq!(["a/c/d", "a/b/d", "x/y", "x", "z"].map(|t| rules.depth(t)), [4, 2, 3, 1, 1]);
    let pinned = |filter| matches!(Placement::of(&scope(), filter, &rules), Placement::Pinned(_));
    assert!(pinned("a/b/+") && pinned("a/b/#") && pinned("z/#") && pinned("x/z/#") && pinned("a/c/d/e/#"));
    assert!(
        !pinned("x/#") && !pinned("x/+") && !pinned("a/c/d/#") && !pinned("a/+/d/e/#") && !pinned("x/y/+")
    );
}

#[test]
fn bad_rules() {
    assert_eq!(DepthRules::new(0, vec![]), Err(Error::NoDepth(String::new())));
    assert_eq!(DepthRules::new(3, vec![("a".into(), 0)]), Err(Error::NoDepth("a".into())));
    for prefix in ["", "a/", "a/+"] {
        assert_eq!(DepthRules::new(3, vec![(prefix.into(), 3)]), Err(Error::Prefix(prefix.into())));
    }
    let error = DepthRules::new(3, vec![("a/b/c".into(), 2)]);
    assert_eq!(error, Err(Error::PrefixTooDeep { prefix: "a/b/c".into(), depth: 2 }));
}

#[test]
fn topics_are_spread_evenly() {
    let mut load = vec![0_u32; usize::from(SLOTS)];
    for device in 0..102_400 {
        let topic = format!("acme/prod/device-{device}/state");
        load[usize::from(slot(&scope(), &topic, &DepthRules::default()).index())] += 1;
    }
    assert!(load.iter().all(|n| (50..=155).contains(n)), "{:?}..{:?}", load.iter().min(), load.iter().max());
}

fn rules() -> impl Strategy<Value = DepthRules> {
    let rule = (topic_text(), 0..3_usize).prop_map(|(prefix, more)| {
        let prefix = prefix.trim_end_matches('/').to_owned();
        let depth = prefix.split('/').count() + more;
        (prefix, depth)
    });
    let prefixes = prop::collection::vec(rule.prop_filter("empty", |(p, _)| !p.is_empty()), 0..5);
    (1..4_usize, prefixes).prop_map(|(default, prefixes)| DepthRules::new(default, prefixes).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_topic_of_a_pinned_filter_has_its_slot(
        rules in prop_oneof![rules(), Just(DepthRules::default())],
        filter in filter_text(),
        topics in prop::collection::vec(topic_text(), 1..30),
        below in prop_oneof![Just(""), Just("$aws/events/"), Just("$aws/rules/"), Just("a/")],
    ) {
        let filter = format!("{below}{filter}");
        let placement = Placement::of(&scope(), &filter, &rules);
        for topic in topics.iter().map(|t| format!("{below}{t}")) {
            if let Placement::Pinned(pinned) = placement && matches(&filter, &topic, true) {
                prop_assert_eq!(slot(&scope(), &topic, &rules), pinned, "{} {}", filter, topic);
            }
        }
        if !has_wildcard(&filter) {
            prop_assert_eq!(placement, Placement::Pinned(slot(&scope(), &filter, &rules)));
        }
    }
}
