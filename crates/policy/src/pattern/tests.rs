use proptest::prelude::*;

use super::*;

#[test]
fn wildcards() {
    let cases = [
        ("", "", true),
        ("*", "", true),
        ("?", "", false),
        ("a*", "a/b/c", true),
        ("a/*/c", "a/b/b/c", true),
        ("a/*/c", "a/b/b/d", false),
        ("a?c", "a/c", true),
        ("a?c", "aéc", true),
        ("a??c", "aéc", false),
        ("*?é", "éé", true),
        ("*?é", "é", false),
        ("a+b", "a+b", true),
        ("a+b", "axb", false),
        ("a/#", "a/#", true),
        ("a/#", "a/b", false),
        ("**a**", "bab", true),
        ("*abc", "ababc", true),
        ("*abc", "abcd", false),
        ("a*b*c", "aXbYbc", true),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(matches(&compile(pattern), text), expected, "{pattern} on {text}");
    }
}

#[test]
fn many_stars_stay_fast() {
    let pattern = compile(&format!("{}b", "*a".repeat(1000)));
    assert!(!matches(&pattern, "a".repeat(20_000).as_str()));
}

#[test]
fn remainders_of_an_arn() {
    let prefix = "arn:aws:iot:eu-west-1:1:topic/";
    let rest = |pattern: &str| {
        remainders(&compile(pattern), prefix).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(rest("*"), [compile("*")]);
    assert_eq!(rest("arn:aws:iot:eu-west-1:1:topic/a/*"), [compile("a/*")]);
    assert_eq!(rest("arn:aws:iot:*"), [compile("*")]);
    assert_eq!(rest("arn:aws:iot:eu-west-1:1:client/a"), Vec::<Vec<u8>>::new());
    assert_eq!(rest("arn:aws:iot:*:*:topic/a"), [compile("*:topic/a"), compile("a")]);
}

/// The definition, with exponential backtracking.
fn by_definition(pattern: &[u8], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((&ANY, rest)) => (0..=text.len()).any(|from| by_definition(rest, &text[from..])),
        Some((&ONE, rest)) => !text.is_empty() && by_definition(rest, &text[1..]),
        Some(_) => {
            let literal = std::str::from_utf8(pattern.split(|b| *b >= ONE).next().unwrap()).unwrap();
            let first = literal.chars().next().unwrap();
            text.first() == Some(&first) && by_definition(&pattern[first.len_utf8()..], &text[1..])
        }
    }
}

proptest! {
    #[test]
    fn matching_is_as_defined(pattern in "[abé*?]{0,8}", text in "[abé]{0,10}") {
        let characters = text.chars().collect::<Vec<_>>();
        let pattern = compile(&pattern);
        prop_assert_eq!(matches(&pattern, text.as_str()), by_definition(&pattern, &characters));
    }

    #[test]
    fn remainders_match_as_the_whole(
        pattern in "[abé*?]{0,8}", prefix in "[abé]{0,6}", name in "[abé]{0,6}",
    ) {
        let pattern = compile(&pattern);
        let whole = format!("{prefix}{name}");
        let rest = remainders(&pattern, &prefix).iter().any(|rest| matches(rest, name.as_str()));
        prop_assert_eq!(rest, matches(&pattern, whole.as_str()));
    }

    #[test]
    fn parts_read_as_their_concatenation(
        pattern in "[abé*?]{0,8}", parts in proptest::array::uniform7("[abé]{0,2}"),
    ) {
        let parts = std::array::from_fn::<&str, 7, _>(|at| parts[at].as_str());
        let pattern = compile(&pattern);
        prop_assert_eq!(matches(&pattern, &parts), matches(&pattern, parts.concat().as_str()));
    }
}
