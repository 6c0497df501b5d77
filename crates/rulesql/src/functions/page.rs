//! The examples of `docs/rules.md`, run.

use bytes::Bytes;

use super::FUNCTIONS;
use crate::{
    External, ExternalError, Input, Outcome, Payload, SqlVersion, Statement, Template, Value, Variables,
    cases, json, value::Object,
};

const PAGE: &str = include_str!("../../../../docs/rules.md");

/// Answers every call.
struct Answers;

impl External for Answers {
    fn call(&mut self, _: &str, _: &[Value]) -> Result<Value, ExternalError> {
        Ok(Value::object(Object::from_iter([("ok".into(), Value::Boolean(true))])))
    }
}

/// The fenced blocks of the page with their languages.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = PAGE.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

/// First and second cell of the rows of tables below a heading.
fn rows(first_cell: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for table in PAGE.split("\n\n").filter(|part| part.starts_with(&format!("| {first_cell} |"))) {
        for row in table.lines().skip(2) {
            let mut cells =
                row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
            rows.push((cells.next().unwrap(), cells.next().unwrap()));
        }
    }
    rows
}

fn message() -> Payload {
    let (_, payload) = blocks().into_iter().find(|(language, _)| *language == "message").unwrap();
    Payload::new(Bytes::from_static(payload.as_bytes()))
}

fn input() -> Input<'static> {
    Input {
        topic: "plant/line1/press-7",
        client_id: Some("press-7"),
        principal: None,
        source_ip: None,
        trace_id: None,
        account_id: "123456789012",
        rule_name: "rule",
        now_ms: 1_700_000_000_123,
        properties: None,
        random: &|| [7; 16],
    }
}

/// The payload of the actions.
fn output(sql: &str) -> String {
    let statement =
        Statement::parse(sql, SqlVersion::V2016_03_23).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(statement.matches(input().topic), "{sql}");
    match statement.evaluate(&input(), &message(), &mut Answers) {
        Outcome::Fired(fired) => String::from_utf8(fired.output.into_bytes().to_vec()).unwrap(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn statements_give_what_the_page_says() {
    let blocks = blocks();
    let examples = blocks.windows(2).filter(|pair| pair[0].0 == "sql" && pair[1].0 == "json");
    assert!(examples.clone().count() >= 4);
    for pair in examples {
        let (sql, wanted) = (pair[0].1, json::read(pair[1].1.as_bytes()).unwrap());
        assert_eq!(output(sql.trim_end()), json::write(&wanted, false).unwrap(), "{sql}");
    }
}

#[test]
fn expressions_give_what_the_page_says() {
    let mut examples = rows("expression");
    examples.extend(rows("example"));
    assert!(examples.len() > 100);
    for (expression, wanted) in examples {
        let wanted = if wanted == "Undefined" { "" } else { &wanted };
        assert_eq!(output(&format!("SELECT VALUE {expression}")), wanted, "{expression}");
    }
}

#[test]
fn every_function_has_an_example_that_says_since_when() {
    for function in &FUNCTIONS {
        let row = PAGE.lines().find(|line| {
            line.starts_with("| `") && line.to_ascii_lowercase().contains(&format!("{}(", function.name))
        });
        let row = row.unwrap_or_else(|| panic!("no example of {}", function.name));
        let since = row.split(" | ").nth(2).and_then(|cell| cell.trim().parse().ok());
        // `rand() < 1` and `length(newuuid())` are of the function that the row is about, too.
        assert_eq!(since, Some(function.since), "{}: {row}", function.name);
    }
}

#[test]
fn templates_give_what_the_page_says() {
    let examples = rows("template");
    assert!(examples.len() > 2);
    for (text, wanted) in examples {
        let template = Template::parse(&text, SqlVersion::V2016_03_23).unwrap();
        let rendered = template.render(&input(), &message(), &Variables::default(), &mut Answers).unwrap();
        assert_eq!(rendered, wanted, "{text}");
    }
}

#[test]
fn the_cases_of_the_page_pass() {
    let (_, file) = blocks().into_iter().find(|(language, _)| *language == "cases").unwrap();
    for verdict in cases::check(file.as_bytes(), &|| [7; 16]).unwrap() {
        assert!(verdict.passed, "{verdict:?}");
    }
}
