//! The payload of error actions (rules-sql.md section 11): one per rule and message, with every failure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_types::Message;
use serde::Serialize;

use crate::actions::{Action, Error};

/// The document, with AWS's member names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    rule_name: &'a str,
    topic: &'a str,
    cloudwatch_trace_id: String,
    client_id: &'a str,
    base64_original_payload: String,
    failures: Vec<Failure<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    failed_action: &'a str,
    failed_resource: &'a str,
    error_message: String,
}

/// What happened, in AWS's words around it.
fn told(topic: &str, action: &dyn Action, error: &Error) -> String {
    let (kind, comma) = (action.kind(), if error.details.is_empty() { "" } else { ", " });
    format!("{}. Message arrived on: {topic}, Action: {kind}{comma}{}", error.message, error.details)
}

/// The payload for these failed actions of `rule`; `topic` is without a Basic Ingest prefix.
pub fn payload(rule: &str, topic: &str, message: &Message, failures: &[(&dyn Action, Error)]) -> Vec<u8> {
    let failures = failures.iter().map(|(action, error)| Failure {
        failed_action: action.name(),
        failed_resource: &error.resource,
        error_message: told(topic, *action, error),
    });
    let document = Document {
        rule_name: rule,
        topic,
        cloudwatch_trace_id: uuid::Uuid::from_u128(message.trace_id()).to_string(),
        client_id: message.publisher.client_id.as_deref().unwrap_or("n/a"),
        base64_original_payload: STANDARD.encode(&message.payload),
        failures: failures.collect(),
    };
    // Strings and lists only: this cannot fail.
    serde_json::to_vec(&document).unwrap_or_default()
}
