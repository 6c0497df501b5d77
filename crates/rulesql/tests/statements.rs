//! Whole statements: what is accepted, what comes out, what fails, and what stays within bounds.
#![expect(clippy::unwrap_used, reason = "a failed test panics; these functions are called by tests")]

mod support;

use bytes::Bytes;
use fleethaven_rulesql::{
    External, ExternalError, Failure, NoExternal, Outcome, Payload, SqlVersion, Statement, Template, Value,
    Variables,
};
use support::{input, run_with};

const V1: SqlVersion = SqlVersion::V2015_10_08;
const V2: SqlVersion = SqlVersion::V2016_03_23;

fn run(sql: &str, payload: &str) -> String {
    run_with(sql, V2, payload.as_bytes(), &mut NoExternal).unwrap().unwrap()
}

#[test]
fn names_of_items() {
    let payload = r#"{"a":{"b":{"c":1}},"value":2,"x":3}"#;
    for (sql, wanted) in [
        ("SELECT a.b.c", r#"{"c":1}"#),
        ("SET @v = a SELECT @v.b.c", r#"{"c":1}"#),
        ("SELECT Topic(1), upper('q')", r#"{"Topic":"a","upper":"Q"}"#),
        ("SELECT x +  1", r#"{"x +  1":4}"#),
        ("SELECT value, value AS value", r#"{"value":2}"#),
        ("SELECT VALUE value", "2"),
        ("SELECT x AS p.q, 5 AS p.r, 6 AS p.q", r#"{"p":{"q":6,"r":5}}"#),
        ("SELECT x AS p, 5 AS p.r", r#"{"p":{"r":5}}"#),
        ("SELECT 0 AS x, *, 9 AS z", r#"{"x":3,"a":{"b":{"c":1}},"value":2,"z":9}"#),
        ("SELECT x AS k, nope AS k", r#"{"k":3}"#),
        ("SELECT cast(x AS String)", r#"{"cast":"3"}"#),
        ("SELECT timestamp AS t, topic AS u", "{}"),
    ] {
        assert_eq!(run(sql, payload), wanted, "{sql}");
    }
}

#[test]
fn payloads_that_are_no_object() {
    for (sql, payload, wanted) in [
        ("SELECT *", "80", "80"),
        ("SELECT * AS m", "80", r#"{"m":"ODA="}"#),
        ("SELECT *, 1 AS n", "hi", r#"{"payload":"aGk=","n":1}"#),
        ("SELECT *, 1 AS payload", "hi", r#"{"payload":1}"#),
        ("SELECT 1 AS payload, *", "hi", r#"{"payload":1}"#),
        ("SELECT *, 1 AS n", "", r#"{"n":1}"#),
        ("SELECT *, 1 AS n", "[1]", r#"{"payload":[1],"n":1}"#),
        ("SELECT *", "[ 1.0 ]", "[ 1.0 ]"),
        ("SELECT {'k': *} AS r", "hi", r#"{"r":{"k":"aGk="}}"#),
        ("SELECT encode(*, 'base64') AS r", "{ }", r#"{"r":"eyB9"}"#),
        ("SELECT VALUE *", "raw", "raw"),
    ] {
        assert_eq!(run(sql, payload), wanted, "{sql} {payload}");
    }
}

#[test]
fn refuses_with_position_and_reason() {
    for sql in [
        "",
        "SELECT",
        "SELECT FROM 't'",
        "SELECT a FROM",
        "SELECT a,",
        "SELECT a FROM 't' WHERE",
        "SELECT a b",
        "SELECT a;",
        "SELECT * FROM '$aws/rules/r/t'",
        "SELECT a.1",
        "SELECT from FROM 't'",
        "SELECT a AS end",
        "SELECT [1,",
        "SELECT {a: 1}",
        "SELECT @x",
        "SET @a = @a SELECT 1",
        "SET a = 1 SELECT 1",
        "SELECT cast(a AS Money)",
        "SELECT cast(a, Int)",
        "SELECT nope(1)",
        "SELECT a || b",
        "SELECT a == b",
        "SELECT a IS NULL",
        "SELECT CASE WHEN a THEN b END",
        "SELECT .5",
        "SELECT VALUE a, b",
        "SELECT DISTINCT a",
        "SELECT get_or_default(a, aws_lambda('x', 1))",
        "SELECT (SELECT a)",
        "SET @m = 'x' SELECT transform(@m, {}, [])",
        "SELECT a FROM 't' LIMIT 1",
        "SELECT a WHERE b FROM 't'",
        "SELECT a NOT IN b",
    ] {
        assert!(Statement::parse(sql, V2).is_err(), "{sql}");
    }
    for sql in [
        "SELECT [1]",
        "SELECT {'a': 1}",
        "SELECT (SELECT a FROM b)",
        "SELECT EXISTS (SELECT a FROM b)",
        "SET @a = 1 SELECT @a",
        "SELECT length(a)",
        "SELECT cast(a AS Boolean)",
    ] {
        assert!(Statement::parse(sql, V1).is_err(), "{sql}");
        assert!(Statement::parse(sql, V2).is_ok(), "{sql}");
    }
    let error = Statement::parse("SELECT a,\n  b LIKE 'x' FROM 't'", V2).unwrap_err();
    assert_eq!((error.line, error.column, error.found.as_str()), (2, 5, "`LIKE`"));
    let set = |count: usize| (0..count).map(|n| format!("@v{n} = {n}")).collect::<Vec<_>>().join(", ");
    assert!(Statement::parse(&format!("SET {} SELECT 1", set(10)), V2).is_ok());
    assert!(Statement::parse(&format!("SET {} SELECT 1", set(11)), V2).is_err());
}

#[test]
fn filters_bare_and_quoted() {
    for (sql, wanted) in [
        ("SELECT * FROM topic/#", Some("topic/#")),
        ("SELECT * FROM a/+ WHERE a = 1", Some("a/+")),
        (r#"SELECT * FROM "a/b""#, Some("a/b")),
        ("SELECT *", None),
        ("SELECT value FROM a/b", Some("a/b")),
    ] {
        assert_eq!(Statement::parse(sql, V2).unwrap().topic_filter(), wanted, "{sql}");
    }
}

#[test]
fn depth_ends_at_64() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("abs(", ")"),
        ("NOT ", ""),
        ("-", ""),
        ("{'a':", "}"),
        ("a[", "]"),
        ("CASE 1 WHEN 1 THEN ", " END"),
        ("(SELECT VALUE ", " FROM a)"),
        ("cast(", " AS Int)"),
    ] {
        let nest = |depth: usize| {
            // A minus sign repeated is a comment, so that one is spaced.
            let open = if open == "-" { "- " } else { open };
            format!("SELECT {}1{} AS r", open.repeat(depth), close.repeat(depth))
        };
        let deep = Statement::parse(&nest(64), V2);
        let statement = deep.unwrap_or_else(|error| panic!("{open}: {error}"));
        let payload = Payload::new(Bytes::from_static(b"{}"));
        let outcome = statement.evaluate(&input("t", None), &payload, &mut NoExternal).is_fired();
        assert!(outcome, "{open}");
        assert!(Statement::parse(&nest(65), V2).is_err(), "{open}");
    }
    let long = format!("SELECT {} AS r", vec!["1"; 50_000].join("+"));
    assert_eq!(run(&long, "{}"), r#"{"r":50000}"#);
}

trait IsFired {
    fn is_fired(&self) -> bool;
}

impl IsFired for Outcome {
    fn is_fired(&self) -> bool {
        matches!(self, Outcome::Fired(_))
    }
}

#[test]
fn work_and_output_are_bounded() {
    let payload = format!(r#"{{"s":"{}","xs":[{}1]}}"#, "a".repeat(100_000), "1,".repeat(999));
    let fails = |sql: &str| run_with(sql, V2, payload.as_bytes(), &mut NoExternal).unwrap_err();
    let doubled: String =
        (1..10).map(|n| format!(", @v{n} = [@v{0},@v{0},@v{0},@v{0},@v{0},@v{0}]", n - 1)).collect();
    let laughs = format!("SET @v0 = [1,2,3,4,5,6]{doubled}");
    assert!(matches!(fails(&format!("{laughs} SELECT @v9")), Failure::TooLarge(_)));
    assert!(matches!(fails("SELECT s+s+s+s+s+s+s+s+s+s+s+s+s"), Failure::TooLarge(_)));
    assert!(matches!(fails("SELECT replace(s, '', s)"), Failure::TooLarge(_)));
    assert!(matches!(fails("SELECT regexp_replace(s, 'a', s)"), Failure::TooLarge(_)));
}

#[test]
fn too_much_work_ends() {
    let payload = format!(r#"{{"xs":[{}1]}}"#, "1,".repeat(2000));
    let square =
        "SET @xs = xs SELECT EXISTS (SELECT VALUE nope FROM @xs WHERE EXISTS (SELECT * FROM @xs)) AS r";
    let nest = |name: &str| {
        let steps =
            (1..6).map(|n| format!(", @{name}{n} = [{}]", vec![format!("@{name}{}", n - 1); 20].join(",")));
        format!("@{name}0 = [1]{}", steps.collect::<String>())
    };
    let comparison = format!("SET {}, @l = 1 SELECT @a5 = [@a4, @a4] AS r", nest("a"));
    assert!(run_with(&comparison, V2, b"{}", &mut NoExternal).is_ok());
    let inner = "(SELECT VALUE e = e FROM [@a5] AS e)";
    for sql in [square, &format!("SET {} SELECT {inner} AS r", nest("a"))] {
        assert_eq!(
            run_with(sql, V2, payload.as_bytes(), &mut NoExternal),
            Err(Failure::TooMuchWork),
            "{sql}"
        );
    }
}

#[test]
fn condition_tells_false_from_no_boolean() {
    let payload = Payload::new(Bytes::from_static(br#"{"a":1}"#));
    for (condition, boolean) in [("a = 2", true), ("a", false), ("nope", false), ("'false'", true)] {
        let statement = Statement::parse(&format!("SELECT * WHERE {condition}"), V2).unwrap();
        match statement.evaluate(&input("t", None), &payload, &mut NoExternal) {
            Outcome::NotFired { condition_is_boolean } => assert_eq!(condition_is_boolean, boolean),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn knows_whether_the_payload_must_be_json() {
    for (sql, wanted) in [
        ("SELECT *", false),
        ("SELECT VALUE *", false),
        ("SELECT encode(*, 'base64') AS d, topic() AS t", false),
        ("SELECT * WHERE topic(1) = 'a'", false),
        ("SELECT * WHERE a = 1", true),
        ("SELECT *, 1 AS x", true),
        ("SELECT a", true),
        ("SELECT (SELECT a FROM [1]) AS r", false),
        ("SELECT (SELECT a FROM b) AS r", true),
    ] {
        assert_eq!(Statement::parse(sql, V2).unwrap().needs_document(), wanted, "{sql}");
    }
}

/// Answers one call, defers or fails the others.
struct Lambda(Vec<String>);

impl External for Lambda {
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, ExternalError> {
        self.0.push(format!("{name} {arguments:?}"));
        match arguments {
            [Value::String(arn), _] if &**arn == "ok" => Ok(Value::Int(5)),
            [Value::String(arn), _] if &**arn == "later" => Err(ExternalError::Deferred),
            _ => Err(ExternalError::Failed("boom".into())),
        }
    }
}

#[test]
fn external_functions_end_the_rule_or_default() {
    let go = |sql: &str| run_with(sql, V2, b"{}", &mut Lambda(Vec::new()));
    assert_eq!(go("SELECT aws_lambda('ok', 1) + 1 AS r").unwrap().unwrap(), r#"{"r":6}"#);
    assert!(matches!(
        go("SELECT aws_lambda('bad', 1) AS r"),
        Err(Failure::External { function: "aws_lambda", .. })
    ));
    assert_eq!(go("SELECT get_or_default(aws_lambda('bad', 1), 2) AS r").unwrap().unwrap(), r#"{"r":2}"#);
    assert_eq!(
        go("SELECT get_or_default(aws_lambda('later', 1), 2) AS r"),
        Err(Failure::Deferred("aws_lambda"))
    );
    assert_eq!(go("SELECT aws_lambda('ok') AS r").unwrap().unwrap(), "{}");
    let twice = "SELECT get_dynamodb('ok', 1, 2, 'r') AS a, get_dynamodb('ok', 1, 2, 'r') AS b";
    assert!(go(twice).is_err());
    assert!(matches!(
        go("SELECT decode('', 'proto', 1, 2, 3, 4) AS r"),
        Err(Failure::External { function: "decode", .. })
    ));
    let mut once = Lambda(Vec::new());
    run_with("SET @l = aws_lambda('ok', 1) SELECT @l + @l AS r", V2, b"{}", &mut once).unwrap();
    assert_eq!(once.0.len(), 1);
}

#[test]
fn templates() {
    let payload = Payload::new(Bytes::from_static(br#"{"a":{"b":1.0},"n":null,"id":"x"}"#));
    let statement = Statement::parse("SET @v = a.b + 1 SELECT *", V2).unwrap();
    let message = input("t/u", None);
    let Outcome::Fired(fired) = statement.evaluate(&message, &payload, &mut NoExternal) else { panic!() };
    for (text, wanted) in [
        ("plain {text} $ }", "plain {text} $ }"),
        ("${id}-${n}-${nope}-${a}", "x---{\"b\":1}"),
        ("${get({'a':{'b':1}},'a').b}", "1"),
        ("${'}'}${\"{\"}", "}{"),
        ("${@v}", "2"),
        ("${floor(timestamp() / 1E3)}", "1700000000"),
        ("${(timestamp() % 1E3) * 1E6}", "123000000"),
        ("${topic(2)}", "u"),
    ] {
        let template = statement.template(text).unwrap();
        let rendered = template.render(&message, &payload, &fired.variables, &mut NoExternal).unwrap();
        assert_eq!(rendered, wanted, "{text}");
        assert_eq!(template.is_constant(), !text.contains("${"));
    }
    for text in ["${", "${a", "${'}", "${}", "${a b}", "${@nope}", "${decode(a,'proto',1,2,3,4)}"] {
        assert!(statement.template(text).is_err(), "{text}");
    }
    let raw = Payload::new(Bytes::from_static(b"\xff"));
    let star = Template::parse("${*}", V1).unwrap();
    assert_eq!(star.render(&message, &raw, &Variables::default(), &mut NoExternal).unwrap(), "/w==");
}

#[test]
fn what_a_message_made_is_weighed() {
    let text = "x".repeat(1000);
    let payload = Payload::new(Bytes::from(format!(r#"{{"a":"{text}"}}"#)));
    let weight = |sql: &str| {
        let statement = Statement::parse(sql, V2).unwrap();
        match statement.evaluate(&input("a", None), &payload, &mut NoExternal) {
            Outcome::Fired(fired) => fired.weight,
            other => panic!("{sql}: {other:?}"),
        }
    };
    assert_eq!(weight("SELECT a"), payload.bytes().len());
    let one = weight("SET @a = upper(a) SELECT 1 AS b");
    assert!((1000..1200).contains(&one), "{one}");
    // What is in a container again and again counts for no more than was paid for.
    let again = (1..10).map(|n| format!(", @v{n} = [@v{0}, {{'m': @v{0}}}]", n - 1)).collect::<String>();
    let shared = weight(&format!("SET @v0 = upper(a){again} SELECT 1 AS b"));
    assert!((1200..5000).contains(&shared), "{shared}");
}
