use fleethaven_types::Profile;
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Filter, Error> {
    Filter::parse(text, &Limits::of(Profile::Aws))
}

#[test]
fn well_formed_filters() {
    for good in
        ["#", "+", "/", "a", "a/#", "a/+", "+/+", "+/a/#", "/#", "a//b", "$SYS/#", "$share", "$shared/a"]
    {
        let filter = parse(good).unwrap();
        assert_eq!((filter.as_str(), filter.topic_filter(), filter.share_name()), (good, good, None));
    }
}

#[test]
fn misplaced_wildcards() {
    for bad in ["a#", "a/#/b", "##", "#/", "a+", "+a", "a/b+/c", "++", "a/#b", "$share/g/#/a"] {
        assert_eq!(parse(bad), Err(Error::Wildcard(bad.into())));
    }
}

#[test]
fn texts_that_are_refused() {
    assert_eq!(parse(""), Err(Error::Text(name::Error::Empty)));
    assert_eq!(parse("a\0"), Err(Error::Text(name::Error::Nul("a\0".into()))));
    assert!(matches!(parse(&"x".repeat(257)), Err(Error::Text(name::Error::TooLong { .. }))));
    assert!(matches!(parse("1/2/3/4/5/6/7/8/#"), Err(Error::Text(name::Error::TooManyLevels { .. }))));
}

#[test]
fn shared_filters() {
    let filter = parse("$share/g/a/+").unwrap();
    assert_eq!((filter.share_name(), filter.topic_filter()), (Some("g"), "a/+"));
    assert!(filter.has_wildcard() && filter.matches("a/b", true));
    let filter = parse("$share/g//a").unwrap();
    assert_eq!((filter.share_name(), filter.topic_filter()), (Some("g"), "/a"));
    for bad in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/a#/a"] {
        assert_eq!(parse(bad), Err(Error::Share(bad.into())), "{bad}");
    }
}

#[test]
fn shared_filters_have_their_own_limits() {
    let name = "ß".repeat(128);
    assert!(parse(&format!("$share/{name}/1/2/3/4/5/6/7/8")).is_ok());
    assert!(parse(&format!("$share/{name}/{}", "x".repeat(256))).is_ok());
    assert!(parse(&format!("$share/{name}/{}", "x".repeat(257))).is_err());
    assert!(parse(&format!("$share/{name}x/a")).is_err());
    assert!(parse("$share/g/1/2/3/4/5/6/7/8/9").is_err());
}

#[test]
fn matching() {
    let cases: &[(&str, &str, bool)] = &[
        ("a/b", "a/b", true),
        ("a/b", "a/B", false),
        ("a/b", "a/b/", false),
        ("a/+", "a/b", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("a/+", "a/b/c", false),
        ("+", "a", true),
        ("+", "/a", false),
        ("+/+", "/a", true),
        ("/+", "/a", true),
        ("a/+/c", "a//c", true),
        ("sensor/#", "sensor/", true),
        ("sensor/#", "sensor/a/b", true),
        ("sensor/#", "sensors", false),
        ("#", "a/b/c", true),
        ("#", "/", true),
        ("+/#", "a/b", true),
        ("#", "$SYS/a", false),
        ("+/a", "$SYS/a", false),
        ("+/#", "$aws/a", false),
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/+", "$SYS/a", true),
        ("a/+", "a/$x", true),
        ("grün/+", "grün/ß", true),
    ];
    for (filter, topic, expected) in cases {
        for parent in [false, true] {
            assert_eq!(matches(filter, topic, parent), *expected, "{filter} {topic}");
        }
    }
}

#[test]
fn hash_and_its_parent() {
    for (filter, topic) in [("a/#", "a"), ("a/b/#", "a/b"), ("+/#", "a"), ("$SYS/#", "$SYS"), ("/#", "")] {
        assert!(matches(filter, topic, true), "{filter} {topic}");
        assert!(!matches(filter, topic, false), "{filter} {topic}");
    }
    assert!(!matches("+/#", "$SYS", true));
}

proptest! {
    #[test]
    fn parse_never_panics(text in ".{0,40}|(\\$share/)?[ab+#/$\u{0}é]{0,12}") {
        for profile in [Profile::Aws, Profile::Standard] {
            let limits = Limits::of(profile);
            let _ = name::validate(&text, &limits);
            if let Ok(filter) = Filter::parse(&text, &limits) {
                prop_assert_eq!(filter.as_str(), &text);
                prop_assert!(text.ends_with(filter.topic_filter()));
                prop_assert!(!filter.topic_filter().is_empty());
            }
        }
    }

    #[test]
    fn a_name_matches_itself(text in "[ab/$é]{1,12}") {
        prop_assert!(name::validate(&text, &Limits::of(Profile::Standard)).is_ok());
        prop_assert!(matches(&text, &text, false));
    }
}
