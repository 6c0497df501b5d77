//! One message and what a statement makes of it, as text.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test panics; these functions are called by tests"
)]

use bytes::Bytes;
use fleethaven_rulesql::{
    External, Failure, Input, MqttProperties, NoExternal, Outcome, Payload, SqlVersion, Statement,
};

/// The message all tests send.
pub(crate) fn input<'a>(topic: &'a str, properties: Option<&'a MqttProperties>) -> Input<'a> {
    Input {
        topic,
        client_id: Some("client"),
        principal: None,
        source_ip: Some("192.0.2.1"),
        trace_id: None,
        account_id: "123456789012",
        rule_name: "rule",
        now_ms: 1_700_000_000_123,
        properties,
        random: &|| [7; 16],
    }
}

/// The output of a statement in a dialect; `None` if it does not fire.
#[allow(dead_code, reason = "each test binary uses a part of this file")]
pub(crate) fn run_with(
    sql: &str,
    version: SqlVersion,
    payload: &[u8],
    external: &mut dyn External,
) -> Result<Option<String>, Failure> {
    let statement = Statement::parse(sql, version).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let payload = Payload::new(Bytes::copy_from_slice(payload));
    match statement.evaluate(&input("a/b/c", None), &payload, external) {
        Outcome::NotFired { .. } => Ok(None),
        Outcome::Failed(failure) => Err(failure),
        Outcome::Fired(fired) => Ok(Some(String::from_utf8_lossy(&fired.output.into_bytes()).into_owned())),
    }
}

/// The JSON of one expression over a payload; empty for Undefined.
#[allow(dead_code, reason = "each test binary uses a part of this file")]
pub(crate) fn value_of(expression: &str, version: SqlVersion, payload: &str) -> String {
    let sql = format!("SELECT VALUE {expression}");
    run_with(&sql, version, payload.as_bytes(), &mut NoExternal).unwrap().unwrap()
}
