//! Each edge case of shadow.md that concerns the document.

use serde_json::{Value, json};

use super::{Bench, parse};
use crate::error::Error;
use crate::request::client_token;
use crate::{Entry, Limits, Request, answer};

const T0: u64 = 1_700_000_000;

#[test]
fn n01_a_shadow_that_never_was_is_not_found() {
    let bench = Bench::new();
    let error = bench.get().unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (404, "No shadow exists with name: 't'"));
}

#[test]
fn n02_the_first_update_creates_version_1() {
    let mut bench = Bench::new();
    let [accepted, delta, documents] = bench.messages(r#"{"state":{"reported":{"a":1}},"clientToken":"c"}"#);
    assert_eq!(
        accepted,
        json!({
            "state": {"reported": {"a": 1}},
            "metadata": {"reported": {"a": {"timestamp": T0}}},
            "version": 1, "timestamp": T0, "clientToken": "c",
        })
    );
    assert_eq!(delta, Value::Null);
    assert_eq!(
        documents,
        json!({
            "previous": {"state": {}, "metadata": {}, "version": 0},
            "current": {
                "state": {"reported": {"a": 1}},
                "metadata": {"reported": {"a": {"timestamp": T0}}},
                "version": 1,
            },
            "timestamp": T0, "clientToken": "c",
        })
    );
}

#[test]
fn n03_an_update_that_changes_nothing_counts_and_is_dated() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1},"reported":{"a":1}}}"#]);
    bench.wait(5);
    let [accepted, delta, _] = bench.messages(r#"{"state":{"desired":{"a":1}}}"#);
    assert_eq!((accepted["version"].clone(), delta), (json!(2), Value::Null));
    let metadata = &bench.get().unwrap()["metadata"];
    assert_eq!(metadata["desired"]["a"]["timestamp"], json!(T0 + 5));
    assert_eq!(metadata["reported"]["a"]["timestamp"], json!(T0));
}

#[test]
fn n04_a_delta_tells_old_differences_too() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1,"b":2},"reported":{"a":1}}}"#]);
    bench.wait(5);
    let [_, delta, _] = bench.messages(r#"{"state":{"reported":{"c":9}},"clientToken":"x"}"#);
    assert_eq!(
        delta,
        json!({
            "version": 2, "timestamp": T0 + 5, "clientToken": "x",
            "state": {"b": 2}, "metadata": {"b": {"timestamp": T0}},
        })
    );
    assert_eq!(bench.state()["delta"], json!({"b": 2}));
    assert_eq!(bench.get().unwrap()["metadata"].get("delta"), None);
}

#[test]
fn n05_to_07_deltas_follow_desired_and_take_arrays_whole() {
    for (desired, reported, expected) in [
        (r#"{"a":1}"#, r#"{"a":1,"x":2}"#, Value::Null),
        (r#"{"n":{"p":1,"q":2}}"#, r#"{"n":{"p":1,"q":3}}"#, json!({"n": {"q": 2}})),
        ("[1,2]", "[1,2,3]", json!({"v": [1, 2]})),
        ("1", "1.0", Value::Null),
        ("[1]", "[1.0]", Value::Null),
        (r#"{"k":1}"#, "5", json!({"v": {"k": 1}})),
        ("5", r#"{"k":1}"#, json!({"v": 5})),
    ] {
        let wrap = |text: &str| {
            if text.contains("a\"") || text.contains("n\"") {
                text.to_owned()
            } else {
                format!("{{\"v\":{text}}}")
            }
        };
        let body = format!(r#"{{"state":{{"desired":{},"reported":{}}}}}"#, wrap(desired), wrap(reported));
        let [_, delta, _] = Bench::new().messages(&body);
        let state = delta.get("state").cloned().unwrap_or(Value::Null);
        assert_eq!(state, expected, "{body}");
    }
}

#[test]
fn n08_null_removes_a_key_with_its_metadata_and_the_emptied_section() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1,"b":{"c":2}},"reported":{"z":1}}}"#]);
    bench.update(r#"{"state":{"desired":{"a":null}}}"#).unwrap();
    assert_eq!(
        bench.state(),
        json!({"desired": {"b": {"c": 2}}, "reported": {"z": 1}, "delta": {"b": {"c": 2}}})
    );
    let [accepted, ..] = bench.messages(r#"{"state":{"desired":{"b":{"c":null}}}}"#);
    assert_eq!(accepted["state"], json!({"desired": {"b": {"c": null}}}));
    assert_eq!(accepted["metadata"], json!({}));
    assert_eq!(bench.state(), json!({"reported": {"z": 1}}));
    assert_eq!(bench.get().unwrap()["metadata"], json!({"reported": {"z": {"timestamp": T0}}}));
}

#[test]
fn n09_and_10_null_sections_and_a_null_state_clear() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1},"reported":{"b":1}}}"#]);
    let [accepted, delta, _] = bench.messages(r#"{"state":{"desired":null}}"#);
    assert_eq!((accepted["state"].clone(), delta), (json!({"desired": null}), Value::Null));
    assert_eq!(bench.state(), json!({"reported": {"b": 1}}));
    let [accepted, ..] = bench.messages(r#"{"state":null}"#);
    assert_eq!(accepted["state"], Value::Null);
    assert_eq!(accepted["version"], json!(3));
    assert_eq!(bench.get().unwrap(), json!({"state": {}, "metadata": {}, "version": 3, "timestamp": T0}));
}

#[test]
fn n11_null_in_an_array_is_refused() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1}}}"#]);
    for list in ["[null]", "[1,[2,null]]", r#"[{"x":null}]"#, r#"[{"x":{"y":null}}]"#] {
        let error = bench.update(&format!(r#"{{"state":{{"desired":{{"l":{list}}}}}}}"#)).unwrap_err();
        assert_eq!(error, Error::InvalidNode, "{list}");
    }
    assert_eq!(bench.shadow().version, 1);
    bench.update(r#"{"state":{"desired":{"l":[{"x":1},[],{}]}}}"#).unwrap();
    let metadata = bench.get().unwrap()["metadata"]["desired"]["l"].take();
    assert_eq!(metadata, json!([{"x": {"timestamp": T0}}, [], {}]));
}

#[test]
fn n12_removing_below_what_is_not_there_stores_nothing() {
    let mut bench = Bench::new();
    for body in [r#"{"state":{"desired":{"o":{"k":null}}}}"#, r#"{"state":{"desired":{"o":{}}}}"#] {
        bench.update(body).unwrap();
    }
    assert_eq!(bench.shadow().version, 2);
    assert_eq!(bench.state(), json!({}));
}

#[test]
fn n13_a_value_of_another_kind_replaces_the_whole() {
    let mut bench = Bench::after(&[r#"{"state":{"reported":{"v":{"a":1,"b":[1,2]}}}}"#]);
    for value in ["7", r#"{"c":{"d":1}}"#, "[1,[2]]", r#"{"a":"x"}"#, "true"] {
        bench.update(&format!(r#"{{"state":{{"reported":{{"v":{value}}}}}}}"#)).unwrap();
        let at = json!({"timestamp": T0});
        let expected = match value {
            r#"{"c":{"d":1}}"# => json!({"c": {"d": at}}),
            "[1,[2]]" => json!([at, [at]]),
            r#"{"a":"x"}"# => json!({"a": at}),
            _ => at,
        };
        assert_eq!(bench.state()["reported"]["v"], parse(value));
        assert_eq!(bench.get().unwrap()["metadata"]["reported"]["v"], expected, "{value}");
    }
}

#[test]
fn n14_and_15_a_version_that_is_not_the_stored_one_conflicts() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1}}}"#; 10]);
    let stale = r#"{"state":{"desired":{"a":2}},"version":9,"clientToken":"c"}"#;
    let error = bench.update(stale).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (409, "Version conflict"));
    assert_eq!((bench.shadow().version, &bench.state()["desired"]), (10, &json!({"a": 1})));
    let right = r#"{"state":{"desired":{"a":2}},"version":10}"#;
    assert_eq!(bench.update(right).unwrap().current.version, 11);
    assert_eq!(bench.update(right), Err(Error::VersionConflict), "the other writer with the same version");
    assert_eq!(Bench::new().update(r#"{"state":{},"version":1}"#), Err(Error::VersionConflict));
    assert!(Bench::new().update(r#"{"state":{},"version":0}"#).is_ok());
}

#[test]
fn n16_to_18_a_deleted_shadow_is_remembered_for_48_hours() {
    for (hours, version) in [(1, 5), (48, 5), (49, 1)] {
        let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1}}}"#; 4]);
        assert_eq!(bench.delete(), Ok(4));
        assert_eq!(bench.delete(), Err(Error::NoShadow("t".to_owned())));
        assert_eq!(bench.get(), Err(Error::NoShadow("t".to_owned())));
        bench.wait(hours * 3600);
        assert_eq!(bench.update(r#"{"state":{},"version":4}"#), Err(Error::VersionConflict));
        let updated = bench.update(r#"{"state":{"desired":{"b":1}},"version":0}"#).unwrap();
        assert_eq!(updated.current.version, version, "{hours} h");
        assert!(updated.previous.document.is_empty());
        assert_eq!(bench.state(), json!({"desired": {"b": 1}, "delta": {"b": 1}}));
    }
    assert!(!Entry::Live(Bench::after(&[r#"{"state":{}}"#]).shadow().clone()).is_forgotten(Bench::new().now));
}

#[test]
fn n19_client_tokens_have_64_bytes() {
    let read = |token: &str| Bench::new().read(&format!(r#"{{"state":{{}},"clientToken":{token}}}"#));
    assert!(read(&format!("\"{}\"", "x".repeat(64))).is_ok());
    for token in
        [format!("\"{}\"", "x".repeat(65)), format!("\"{}\"", "é".repeat(33)), "5".into(), "null".into()]
    {
        let rejection = read(&token).unwrap_err();
        assert_eq!((rejection.error, rejection.client_token), (Error::InvalidClientToken, None), "{token}");
    }
    assert_eq!(client_token(br#"{"clientToken":"c","x":1}"#), Ok(Some("c".to_owned())));
    for body in ["", "x", "[]", "{}", "{\"x\":1}"] {
        assert_eq!(client_token(body.as_bytes()), Ok(None), "{body}");
    }
    assert_eq!(client_token(br#"{"clientToken":1}"#), Err(Error::InvalidClientToken));
}

#[test]
fn n20_and_21_the_merged_state_has_8192_bytes() {
    let around = r#"{"desired":{"a":""}}"#.len();
    let fill = |bytes: usize| "x".repeat(bytes - around);
    let mut bench = Bench::new();
    bench.update(&format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, fill(8192))).unwrap();
    assert_eq!(bench.shadow().document.state_bytes(), 8192);
    let error = bench.update(r#"{"state":{"desired":{"b":1}}}"#).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (413, "The payload exceeds the maximum size allowed")
    );
    assert_eq!((bench.shadow().version, bench.state()["desired"].get("b")), (1, None));
    let larger = format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, fill(8193));
    assert_eq!(Bench::new().update(&larger), Err(Error::TooLarge));
    // A request may be larger than what it leaves behind.
    let mut bench = Bench::new();
    let nulls = (0..2000).map(|n| format!("\"k{n}\":null")).collect::<Vec<_>>().join(",");
    assert!(bench.update(&format!(r#"{{"state":{{"desired":{{{nulls}}}}}}}"#)).is_ok());
}

#[test]
fn n22_a_section_has_8_levels() {
    let nested = |levels: usize| format!("{}1{}", "{\"k\":".repeat(levels), "}".repeat(levels));
    let body = |levels| format!(r#"{{"state":{{"reported":{}}}}}"#, nested(levels));
    let mut bench = Bench::new();
    assert!(bench.update(&body(8)).is_ok());
    for levels in [9, 100, 200] {
        let error = bench.update(&body(levels)).unwrap_err();
        assert_eq!(error.to_string(), "JSON contains too many levels of nesting; maximum is 8", "{levels}");
    }
    let lists = format!(r#"{{"state":{{"desired":{{"l":{}{}}}}}}}"#, "[".repeat(8), "]".repeat(8));
    assert_eq!(bench.update(&lists), Err(Error::TooDeep(8)));
    let wider = Limits { depth: 32, ..Limits::default() };
    let deep = Request::read(body(32).as_bytes(), &wider).unwrap();
    let entry = crate::update(None, &deep, bench.now, &wider).unwrap().current;
    let [desired, reported] = entry.document.to_sections();
    assert_eq!(crate::Document::from_sections(&desired, &reported), Ok(entry.document));
}

#[test]
fn n24_what_is_not_utf_8_has_an_unsupported_encoding() {
    let rejection =
        Request::read(b"{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", &Limits::default()).unwrap_err();
    assert_eq!(rejection.error.code(), 415);
    let text = "Unsupported documented encoding; supported encoding is UTF-8";
    assert_eq!(rejection.error.to_string(), text);
}

#[test]
fn n25_to_26_what_else_stands_there_is_ignored_at_the_root_and_refused_in_the_state() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a":1}},"foo":1,"metadata":{}}"#]);
    assert_eq!(bench.get().unwrap().get("foo"), None);
    for body in [r#"{"state":{"delta":{}}}"#, r#"{"state":{"desired":{},"x":null}}"#] {
        assert_eq!(bench.update(body), Err(Error::InvalidNode), "{body}");
    }
}

#[test]
fn every_malformed_request_has_its_message() {
    for (body, message) in [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        ("[]", "Invalid JSON"),
        ("\"x\"", "Invalid JSON"),
        ("{}", "Missing required node: state"),
        (r#"{"state":[]}"#, "State node must be an object"),
        (r#"{"state":1}"#, "State node must be an object"),
        (r#"{"state":{"desired":1}}"#, "Desired node must be an object"),
        (r#"{"state":{"reported":[]}}"#, "Reported node must be an object"),
        (r#"{"state":{},"version":-1}"#, "Invalid version"),
        (r#"{"state":{},"version":1.5}"#, "Invalid version"),
        (r#"{"state":{},"version":"1"}"#, "Invalid version"),
    ] {
        let rejection = Bench::new().read(body).unwrap_err();
        assert_eq!((rejection.error.code(), rejection.to_string().as_str()), (400, message), "{body}");
    }
}

#[test]
fn errors_are_told_in_a_fixed_order_with_the_token() {
    // Wrong in every way: what is wrong first is told.
    let body = |token: &str, version: &str, state: &str| {
        format!(r#"{{"clientToken":{token},"version":{version},"state":{state}}}"#)
    };
    let deep = format!("{}1{}", "{\"k\":".repeat(9), "}".repeat(9));
    let nulls = r#"{"l":[null]}"#;
    for (body, error) in [
        (body("5", "-1", "[]"), Error::InvalidClientToken),
        (body("\"c\"", "-1", "[]"), Error::InvalidVersion),
        (body("\"c\"", "1", "[]"), Error::StateNotObject),
        (body("\"c\"", "1", &format!(r#"{{"desired":{deep},"reported":1}}"#)), Error::ReportedNotObject),
        (body("\"c\"", "1", &format!(r#"{{"desired":{deep},"reported":{nulls}}}"#)), Error::TooDeep(8)),
        (body("\"c\"", "1", &format!(r#"{{"desired":{nulls}}}"#)), Error::InvalidNode),
    ] {
        let rejection = Bench::new().read(&body).unwrap_err();
        let token = (error != Error::InvalidClientToken).then(|| "c".to_owned());
        assert_eq!((rejection.error, rejection.client_token), (error, token), "{body}");
    }
}

#[test]
fn n33_names_with_dots_and_one_called_timestamp_are_names() {
    let mut bench = Bench::after(&[r#"{"state":{"desired":{"a.b":1,"timestamp":{"timestamp":2}}}}"#]);
    bench.wait(1);
    bench.update(r#"{"state":{"desired":{"timestamp":{"x":1}}}}"#).unwrap();
    assert_eq!(bench.state()["desired"], json!({"a.b": 1, "timestamp": {"timestamp": 2, "x": 1}}));
    assert_eq!(
        bench.get().unwrap()["metadata"]["desired"],
        json!({
            "a.b": {"timestamp": T0},
            "timestamp": {"timestamp": {"timestamp": T0}, "x": {"timestamp": T0 + 1}},
        })
    );
}

#[test]
fn the_last_of_two_members_with_one_name_counts() {
    let bench = Bench::after(&[r#"{"state":{"desired":{"a":1}},"state":{"desired":{"a":2,"a":3}}}"#]);
    assert_eq!(bench.state()["desired"], json!({"a": 3}));
}

#[test]
fn numbers_keep_their_precision() {
    let bench = Bench::after(&[
        r#"{"state":{"desired":{"u":18446744073709551615,"i":-9223372036854775808,"f":0.1}}}"#,
    ]);
    let text = answer::document(bench.shadow(), bench.now, None);
    assert!(text.contains(r#"{"f":0.1,"i":-9223372036854775808,"u":18446744073709551615}"#), "{text}");
}

#[test]
fn numbers_with_a_fraction_stay_what_they_are_however_often_they_are_stored() {
    let bench = Bench::after(&[r#"{"state":{"desired":{"n":18446744073709551615e6,"l":[0.1,3.0e-7]}}}"#]);
    let mut document = bench.shadow().document.clone();
    for _ in 0..10 {
        let [mut desired, reported] = document.to_sections();
        let read = crate::Document::from_sections(&desired, &reported).unwrap();
        assert_eq!(read, document);
        document = read;
        desired.floats.pop();
        let damaged = crate::Document::from_sections(&desired, &reported);
        assert_eq!(damaged, Err(crate::document::Damaged::Floats(2)));
    }
}

#[test]
fn refusals_and_deletions_are_told_so() {
    let now = Bench::new().now;
    assert_eq!(
        parse(&answer::rejected(409, "Version conflict", now, Some("c"))),
        json!({"code": 409, "message": "Version conflict", "timestamp": T0, "clientToken": "c"})
    );
    assert_eq!(parse(&answer::deleted(4, now, None)), json!({"version": 4, "timestamp": T0}));
}
