use proptest::prelude::*;

use super::*;
use crate::{
    Decimal,
    value::{Object, Text, Value},
};

fn through(text: &str, normalize: bool) -> Option<String> {
    read(text.as_bytes()).map(|value| write(&value, normalize).unwrap())
}

#[test]
fn numbers_stay_exact() {
    let text = r#"[10.0,9007199254740993,0.1,-0,1E-7,12345678901234567890123456789012]"#;
    assert_eq!(
        through(text, false).unwrap(),
        r#"[10.0,9007199254740993,0.1,0,1E-7,12345678901234567890123456789012]"#
    );
    assert_eq!(through("[10.0, 1e3,10.50]", true).unwrap(), "[10,1000,10.50]");
    assert_eq!(through("[1e2000,1]", true).unwrap(), "[1]");
    assert_eq!(
        read(b"1234567890123456789012345678901234567"),
        Decimal::new(1234567890123456789012345678901235, 3).map(Value::Decimal)
    );
}

#[test]
fn last_duplicate_wins_in_first_place() {
    assert_eq!(through(r#"{"a":1,"b":2,"a":3}"#, true).unwrap(), r#"{"a":3,"b":2}"#);
}

#[test]
fn escapes() {
    assert_eq!(read(br#""\u00e9\ud83d\ude00\n\ud800x""#), Some(Value::string("é😀\n\u{fffd}x")));
    assert_eq!(through(r#""\u0001\"\\\/""#, true).unwrap(), r#""\u0001\"\\/""#);
}

#[test]
fn refuses_what_is_not_json() {
    for text in [
        "",
        " ",
        "01",
        "1.",
        ".5",
        "+1",
        "[1,]",
        "{\"a\":}",
        "{a:1}",
        "'a'",
        "tru",
        "[1 2]",
        "\"a",
        "\"\u{1}\"",
        "1e",
        "-",
        "{}x",
        "\"\\x\"",
    ] {
        assert_eq!(read(text.as_bytes()), None, "{text}");
    }
    assert_eq!(read(b"\"\xff\""), None);
    assert!(read("[".repeat(MAX_DEPTH + 1).as_bytes()).is_none());
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(read(deep.as_bytes()).is_some());
}

#[test]
fn output_is_bounded() {
    let mut value = Value::from("0123456789");
    for _ in 0..40 {
        value = Value::array(vec![value.clone(), value]);
    }
    assert_eq!(write(&value, true), Err(TooLarge));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(|n| Value::Int(n.into())),
        any::<i128>().prop_map(Value::whole),
        (any::<i64>(), -50_i64..-1).prop_map(|(c, e)| Value::decimal(Decimal::new(c.into(), e))),
        ".*".prop_map(Value::string),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::array),
            prop::collection::vec((".{0,6}", inner), 0..20)
                .prop_map(|m| Value::object(m.into_iter().map(|(k, v)| (k.into(), v)).collect::<Object>())),
        ]
    })
}

/// An object with members `a` and `b`, some of them twice, around a value.
fn json_of_short_members(value: &Value) -> String {
    let value = write(value, false).unwrap();
    format!(r#" {{"a":{{"b":{value},"a":1.50}},"b":{value} , "b" : -3, "ab":"x","b":{value}}}"#)
}

proptest! {
    #[test]
    fn round_trip_is_exact(value in value()) {
        let text = write(&value, false).unwrap();
        let back = read(text.as_bytes()).unwrap();
        prop_assert_eq!(write(&back, false).unwrap(), text);
        prop_assert_eq!(back, value);
    }

    #[test]
    fn any_bytes_end(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[\\[\\]{}\",:0-9eE.+\\\\-]{0,60}",
    ) {
        let _ = read(&bytes);
        let _ = read(text.as_bytes());
    }

    #[test]
    fn an_index_says_what_the_reader_says(
        value in value(),
        noise in "[\\[\\]{}\",:0-9eE.ab \\\\-]{0,24}",
        names in prop::collection::vec("[ab]{0,2}", 1..3),
    ) {
        let plain = json_of_short_members(&value);
        for text in [write(&value, false).unwrap(), plain, noise] {
            let text = Text::from(text);
            match Index::of(&text) {
                Err(Unindexed::NotJson) => prop_assert_eq!(read(text.as_bytes()), None),
                Err(Unindexed::TooComplex) => {}
                Ok(index) => {
                    let mut wanted = read(text.as_bytes()).unwrap();
                    for name in &names {
                        wanted = wanted.member(name);
                    }
                    match index.get(names.iter().map(String::as_str)) {
                        Found::Value(value) => prop_assert_eq!(value, wanted),
                        Found::Container => {
                            prop_assert!(matches!(wanted, Value::Array(_) | Value::Object(_)));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn accepts_what_serde_accepts(text in "[\\[\\]{}\",:0-9eE.a+ \\\\-]{0,12}") {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let out_of_range = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert_eq!(read(text.as_bytes()).is_some(), theirs.is_ok() || out_of_range);
    }
}
