//! The shared table of statements and what AWS makes of them (`tests/vectors/rules-sql-vectors.json`).
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test panics; these functions are called by tests"
)]

use std::{cmp::Ordering, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use fleethaven_rulesql::{
    External, ExternalError, Input, MqttProperties, Object, Outcome, Output, Payload, SqlVersion, Statement,
    Value, Variables, json,
};

/// Vectors known not to pass, with the reason. The test fails if one of them passes.
const NOT_PASSING: [(&str, &str); 0] = [];

/// Canned results of external functions: the vector's member `stubs`.
struct Stubs(Value);

impl External for Stubs {
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, ExternalError> {
        let Value::Array(stubs) = &self.0 else { return Err(ExternalError::NotAvailable) };
        let arguments = Value::array(arguments.to_vec());
        let fits = |stub: &&Value| {
            text(&stub.member("fn")).is_some_and(|function| function.eq_ignore_ascii_case(name))
                && same(&stub.member("args"), &arguments, None)
        };
        stubs.iter().find(fits).map(|stub| stub.member("returns")).ok_or(ExternalError::NotAvailable)
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Equality of JSON: numbers by value, within `approx` where the vector has one, members in any order.
fn same(a: &Value, b: &Value, approx: Option<f64>) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b, approx))
        }
        (Value::Object(a), Value::Object(b)) => {
            let member = |key: &Arc<str>, a: &Value| b.get(key).is_some_and(|b| same(a, b, approx));
            a.len() == b.len() && a.iter().all(|(key, a)| member(key, a))
        }
        (Value::Int(_) | Value::Decimal(_), Value::Int(_) | Value::Decimal(_)) => {
            let (a, b) = (a.to_decimal().unwrap(), b.to_decimal().unwrap());
            let (x, y) = (a.to_double(), b.to_double());
            approx.map_or(a.compare(b) == Ordering::Equal, |near| (x - y).abs() <= near * x.abs().max(1.0))
        }
        (a, b) => a == b,
    }
}

fn bytes_of(vector: &Value, member: &str) -> Option<Bytes> {
    text(&vector.member(member)).map(|encoded| STANDARD.decode(encoded).unwrap().into())
}

fn properties(vector: &Value) -> Option<MqttProperties> {
    let given = vector.member("mqttProperties");
    let Value::Object(_) = given else { return None };
    let owned = |member: &str| text(&given.member(member)).map(str::to_owned);
    let user = match given.member("userProperties") {
        Value::Array(pairs) => pairs.iter().map(pair).collect(),
        _ => Vec::new(),
    };
    let indicator = given.member("payloadFormatIndicator");
    Some(MqttProperties {
        content_type: owned("contentType"),
        response_topic: owned("responseTopic"),
        correlation_data: bytes_of(&given, "correlationData"),
        utf8_payload: indicator == Value::Int(1) || text(&indicator) == Some("UTF8_DATA"),
        user_properties: user,
    })
}

fn pair(pair: &Value) -> (String, String) {
    let Value::Array(pair) = pair else { panic!("a user property is a pair") };
    (text(&pair[0]).unwrap().to_owned(), text(&pair[1]).unwrap().to_owned())
}

/// What the vector is judged by.
struct Run {
    outcome: Option<Outcome>,
    rendered: Option<String>,
}

fn run(vector: &Value) -> Result<Run, fleethaven_rulesql::Error> {
    let member = |name: &str| vector.member(name);
    let owned = |name: &str| text(&vector.member(name)).map(str::to_owned);
    let version: SqlVersion = text(&member("sqlVersion")).unwrap().parse().unwrap();
    let statement = Statement::parse(text(&member("sql")).unwrap(), version)?;
    let template = owned("templateInput").map(|text| statement.template(&text)).transpose()?;
    let payload = bytes_of(vector, "payloadBase64")
        .unwrap_or_else(|| json::write(&member("payload"), false).unwrap().into());
    let payload = Payload::new(payload);
    let rule_name = owned("ruleName").unwrap_or_default();
    let published = owned("topic").unwrap();
    let ingest = published.strip_prefix(&format!("$aws/rules/{rule_name}"));
    let topic = ingest.map_or(published.as_str(), |rest| rest.strip_prefix('/').unwrap_or(rest));
    let properties = properties(vector);
    let (client_id, principal) = (owned("clientId"), owned("principal"));
    let (source_ip, trace_id) = (owned("sourceIp"), owned("traceId"));
    let account_id = owned("accountId").unwrap_or_else(|| "123456789012".to_owned());
    let input = Input {
        topic,
        client_id: client_id.as_deref(),
        principal: principal.as_deref(),
        source_ip: source_ip.as_deref(),
        trace_id: trace_id.as_deref(),
        account_id: &account_id,
        rule_name: &rule_name,
        now_ms: match member("now") {
            Value::Int(now) => now.try_into().unwrap(),
            _ => 1_700_000_000_123,
        },
        properties: properties.as_ref(),
        random: &|| [7; 16],
    };
    let mut stubs = Stubs(member("stubs"));
    let outcome = statement.matches(input.topic).then(|| statement.evaluate(&input, &payload, &mut stubs));
    let variables = match &outcome {
        Some(Outcome::Fired(fired)) => fired.variables.clone(),
        _ => Variables::default(),
    };
    let rendered =
        template.map(|template| template.render(&input, &payload, &variables, &mut stubs).unwrap());
    Ok(Run { outcome, rendered })
}

fn check(vector: &Value) -> Result<(), String> {
    let expect = vector.member("expect");
    let refused = expect.member("error") == Value::Boolean(true);
    let run = match run(vector) {
        Err(error) => return if refused { Ok(()) } else { Err(format!("refused: {error}")) },
        Ok(_) if refused => return Err("accepted".to_owned()),
        Ok(run) => run,
    };
    if let Some(wanted) = text(&vector.member("template"))
        && run.rendered.as_deref() != Some(wanted)
    {
        return Err(format!("rendered {:?}", run.rendered));
    }
    let failed = expect.member("failed") == Value::Boolean(true);
    match (run.outcome, expect.member("fires") == Value::Boolean(true)) {
        (Some(Outcome::Fired(fired)), true) => check_output(fired.output, &expect, vector),
        (None | Some(Outcome::NotFired { .. }), false) if !failed => Ok(()),
        (Some(Outcome::Failed(_)), false) if failed => Ok(()),
        (outcome, _) => Err(format!("outcome {outcome:?}")),
    }
}

fn check_output(output: Output, expect: &Value, vector: &Value) -> Result<(), String> {
    let bytes = output.into_bytes();
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    let approx = vector.member("approx").to_decimal().map(fleethaven_rulesql::Decimal::to_double);
    let wanted = expect.member("output");
    let got = || json::read(&bytes).unwrap_or_default();
    let right = (wanted.is_undefined() || same(&wanted, &got(), approx))
        && text(&expect.member("outputText")).is_none_or(|text| text == shown)
        && bytes_of(expect, "outputBase64").is_none_or(|raw| raw == bytes);
    if right { Ok(()) } else { Err(format!("output {shown}")) }
}

#[test]
fn every_vector_passes() {
    let Some(Value::Array(vectors)) = json::read(include_bytes!("vectors/rules-sql-vectors.json")) else {
        panic!("the vectors are a JSON array");
    };
    let mut wrong = Vec::new();
    for vector in vectors.iter() {
        let id = text(&vector.member("id")).unwrap().to_owned();
        let listed = NOT_PASSING.iter().any(|(listed, _)| *listed == id);
        match check(vector) {
            Ok(()) if listed => wrong.push(format!("{id}: passes, take it off the list")),
            Err(reason) if !listed => wrong.push(format!("{id}: {reason}")),
            _ => {}
        }
    }
    assert!(vectors.len() > 160, "the table is there");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_harness_compares_by_value() {
    let value = |text: &str| json::read(text.as_bytes()).unwrap();
    assert!(same(&value(r#"{"a":10.0,"b":[1]}"#), &value(r#"{"b":[1],"a":10}"#), None));
    assert!(!same(&value(r#"{"a":1}"#), &value(r#"{"a":1,"b":2}"#), None));
    assert!(!same(&Value::object(Object::new()), &Value::Undefined, None));
}
