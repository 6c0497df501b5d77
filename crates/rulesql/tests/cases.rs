//! Files of cases: what is read, what is refused, and how a verdict is told.
#![expect(clippy::unwrap_used, reason = "a failed test panics; these functions are called by tests")]

use fleethaven_rulesql::cases::{check, report};

/// A case with these members beside the required ones.
fn case(sql: &str, more: &str) -> String {
    format!(r#"{{"id":"c","sql":"{sql}","sqlVersion":"2016-03-23","topic":"t/x",{more}}}"#)
}

fn checked(file: &str) -> String {
    report(&check(file.as_bytes(), &|| [7; 16]).unwrap())
}

fn refused(file: &str) -> String {
    check(file.as_bytes(), &|| [7; 16]).unwrap_err().to_string()
}

#[test]
fn verdicts_are_told_in_the_order_of_the_file() {
    let fires =
        case("SELECT a FROM 't/x'", r#""payload":{"a":1.50},"expect":{"fires":true,"output":{"a":1.5}}"#);
    let refused = case("SELEKT", r#""payload":{},"expect":{"fires":false,"output":null}"#);
    let binary = case("SELECT * FROM 't/x'", r#""payloadBase64":"/w==","expect":{"fires":true,"output":1}"#);
    assert_eq!(
        checked(&format!("[{fires},{refused},{binary}]")),
        concat!(
            r#"{"results":[{"id":"c","passed":true,"got":{"fires":true,"output":{"a":1.50}},"#,
            r#""expected":{"fires":true,"output":{"a":1.5}}},"#,
            r#"{"id":"c","passed":false,"got":{"error":true,"reason":"line 1, column 1: found `SELEKT`, expected SELECT"},"#,
            r#""expected":{"fires":false,"output":null}},"#,
            r#"{"id":"c","passed":false,"got":{"fires":true,"outputBase64":"/w=="},"expected":{"fires":true,"output":1}}]}"#,
        )
    );
    assert_eq!(checked(" [ ] "), r#"{"results":[]}"#);
}

#[test]
fn payloads_reach_the_statement_as_they_are_written() {
    for payload in ["{\"a\" : 10.0,\\n \"a\":1E1000}", "9007199254740993"] {
        let payload = payload.replace("\\n", "\n");
        let text = payload.replace('"', "\\\"").replace('\n', "\\n");
        let expect = format!(r#""payload":{payload},"expect":{{"fires":true,"outputText":"{text}"}}"#);
        let told = checked(&format!("[{}]", case("SELECT * FROM 't/x'", &expect)));
        assert!(told.contains(r#""passed":true"#), "{told}");
    }
}

#[test]
fn numbers_are_compared_by_value_or_nearly() {
    let near = |approx: &str, wanted: &str| {
        let more = format!(r#""payload":{{}},{approx}"expect":{{"fires":true,"output":{{"r":{wanted}}}}}"#);
        checked(&format!("[{}]", case("SELECT 2.0 AS r FROM 't/x'", &more))).contains(r#""passed":true"#)
    };
    assert!(near("", "2") && near("", "2.000") && near("", "20E-1"));
    assert!(
        !near("", "2.0001") && near(r#""approx":1e-3,"#, "2.0001") && !near(r#""approx":1e-6,"#, "2.0001")
    );
}

#[test]
fn what_is_no_file_of_cases_is_told_where_or_why() {
    assert_eq!(refused(""), "line 1, column 1: this is not a JSON array of cases");
    assert_eq!(refused("{}"), "line 1, column 1: this is not a JSON array of cases");
    assert_eq!(refused("[\n  {\"id\" 1}]"), "line 2, column 9: this is not a JSON array of cases");
    assert_eq!(refused("[] x"), "line 1, column 4: this is not a JSON array of cases");
}

#[test]
fn an_item_that_is_no_case_fails_and_the_others_are_checked() {
    let failed = |id: &str, reason: &str, expected: &str| {
        format!(r#"{{"id":"{id}","passed":false,"got":{{"invalid":"{reason}"}},"expected":{expected}}}"#)
    };
    let told = |results: &str| format!(r#"{{"results":[{results}]}}"#);
    assert_eq!(checked("[1]"), told(&failed("case 1", "it is no object", "null")));
    let good = case("SELECT 1 FROM 'no'", r#""expect":{"fires":false}"#);
    for (bad, reason) in [
        (case("SELECT 1", r#""payload":1"#), "'expect' is missing or no object"),
        (case("SELECT 1", r#""expect":{}"#), "'expect' has no 'fires' and no 'error'"),
        (case("SELECT 1", r#""expect":{"fires":"yes"}"#), "'fires' of 'expect' is no Boolean"),
        (
            case("SELECT 1", r#""now":"x","expect":{"fires":true}"#),
            "'now' is no whole number of milliseconds",
        ),
        (case("SELECT 1", r#""payloadBase64":"!","expect":{"fires":true}"#), "'payloadBase64' is no base64"),
        (
            case("SELECT 1", r#""payload":1,"payloadBase64":"","expect":{"fires":true}"#),
            "there are 'payload' and 'payloadBase64'",
        ),
        (case("SELECT 1", r#""template":"x","expect":{"fires":true}"#), "'template' needs a 'templateInput'"),
        (
            case("SELECT 1", r#""stubs":[{"args":[]}],"expect":{"fires":true}"#),
            "a stub names no function in 'fn'",
        ),
        (
            case("SELECT 1", r#""mqttProperties":{"userProperties":[["a"]]},"expect":{"fires":true}"#),
            "a member of 'userProperties' is no pair of strings",
        ),
        (good.replace("\"sql\":\"SELECT 1 FROM 'no'\",", ""), "'sql' is missing"),
        (good.replace("\"topic\":\"t/x\",", ""), "'topic' is missing"),
    ] {
        let told = checked(&format!("[{bad},{good}]"));
        let first =
            format!(r#"{{"results":[{{"id":"c","passed":false,"got":{{"invalid":"{reason}"}},"expected":"#);
        assert!(told.starts_with(&first) && told.contains(r#""passed":true"#), "{told}");
    }
}
