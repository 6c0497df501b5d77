//! Whatever the text and the payload: parsing and evaluating end, without panic, within bounds.

mod support;

use bytes::Bytes;
use fleethaven_rulesql::{NoExternal, Outcome, Payload, SqlVersion, Statement, Template, Variables, json};
use proptest::prelude::*;
use support::input;

fn version() -> impl Strategy<Value = SqlVersion> {
    prop_oneof![Just(SqlVersion::V2015_10_08), Just(SqlVersion::V2016_03_23), Just(SqlVersion::Beta)]
}

fn evaluate(sql: &str, version: SqlVersion, payload: Vec<u8>) {
    let Ok(statement) = Statement::parse(sql, version) else { return };
    let payload = Payload::new(Bytes::from(payload));
    let outcome = statement.evaluate(&input("a/b", None), &payload, &mut NoExternal);
    if let Outcome::Fired(fired) = outcome {
        assert!(fired.output.into_bytes().len() <= json::MAX_TEXT + 1024);
    }
}

/// Words of the dialect in any order: often close to a statement.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "SELECT", "FROM", "'a/#'", "WHERE", "AS", "CASE", "WHEN", "THEN", "ELSE", "END", "(", ")", "[", "]",
        "{", "}", ",", ".", ":", "*", "+", "-", "/", "%", "=", "<>", "<", ">=", "NOT", "AND", "OR", "IN",
        "EXISTS", "VALUE", "SET", "@a", "a", "b", "1", "2.5", "1E999", "'x'", "null", "true", "get(", "abs(",
        "concat(", "cast(", "Int", "topic()", "é", "\"", "'",
    ]);
    prop::collection::vec(word, 0..25).prop_map(|words| words.join(" "))
}

/// Well-formed expressions over a payload with `a` and `b`.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "*",
        "a.b",
        "1",
        "0",
        "2.50",
        "1E999",
        "1E-999",
        "'12'",
        "'x y'",
        "''",
        "null",
        "true",
        "timestamp()",
        "9999999999999999999999999999999999",
        "[1,'a',null]",
        "{'k': a}",
        "nope",
        "'yyyy-MM-dd'",
        "'(a|b)+'",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 60, 4, |inner| {
        let operator =
            prop::sample::select(vec!["+", "-", "*", "/", "%", "=", "<>", "<", ">=", "AND", "OR", "IN"]);
        let one = prop::sample::select(vec![
            "abs",
            "ceil",
            "floor",
            "round",
            "sqrt",
            "exp",
            "ln",
            "sin",
            "upper",
            "trim",
            "length",
            "md5",
            "chr",
            "bitnot",
            "isNull",
            "topic",
            "sign",
            "numbytes",
            "newuuid",
            "concat",
            "get_user_properties",
        ]);
        let two = prop::sample::select(vec![
            "mod",
            "power",
            "trunc",
            "lpad",
            "rpad",
            "substring",
            "indexof",
            "startswith",
            "regexp_matches",
            "regexp_substr",
            "get",
            "nanvl",
            "bitor",
            "encode",
            "decode",
            "parse_time",
            "time_to_epoch",
            "concat",
            "get_or_default",
            "atan2",
        ]);
        let three = prop::sample::select(vec![
            "replace",
            "regexp_replace",
            "substring",
            "parse_time",
            "transform",
            "concat",
        ]);
        let kind = prop::sample::select(vec!["Int", "String", "Decimal", "Double", "Boolean"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (one, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (two, inner.clone(), inner.clone()).prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            (three, inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(f, a, b, c)| format!("{f}({a}, {b}, {c})")),
            (inner.clone(), kind).prop_map(|(a, t)| format!("cast({a} AS {t})")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("(SELECT *, {a} AS r FROM {b} AS e WHERE e <> 1)")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("CASE {a} WHEN {b} THEN {c} ELSE {a} END")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text(
        sql in ".{0,80}",
        version in version(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        evaluate(&sql, version, payload);
        let _ = Template::parse(&sql, version);
    }

    #[test]
    fn any_words(sql in words(), version in version()) {
        evaluate(&sql, version, br#"{"a":[1,"x",{"b":2.0}],"b":"12"}"#.to_vec());
        let _ = Statement::parse(&format!("SELECT {sql}"), version);
        let _ = Template::parse(&format!("${{{sql}}}"), version);
    }

    #[test]
    fn any_expression(
        expression in expression(),
        version in version(),
        a in "(\\PC{0,12})|-?[0-9]{1,40}(\\.[0-9]{1,40})?(E-?[0-9]{1,4})?",
    ) {
        let payload = format!(r#"{{"a":{a},"b":[{a},{{"b":"{a}"}}]}}"#);
        evaluate(&format!("SELECT VALUE {expression} WHERE true"), version, payload.clone().into_bytes());
        evaluate(&format!("SELECT *, {expression} FROM 'a/#'"), version, payload.clone().into_bytes());
        if let Ok(template) = Template::parse(&format!("x${{{expression}}}y"), version) {
            let payload = Payload::new(payload.into());
            let _ = template.render(&input("a/b", None), &payload, &Variables::default(), &mut NoExternal);
        }
    }

    #[test]
    fn generated_expressions_are_in_the_dialect(expression in expression()) {
        let parsed = Statement::parse(&format!("SELECT {expression} AS r"), SqlVersion::V2016_03_23);
        prop_assert!(parsed.is_ok(), "{}", expression);
    }
}
