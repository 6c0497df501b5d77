//! The payload of error actions (rules-sql.md section 11): one per rule and message, with every failure; of a batch, one for all of its
//! messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_types::Message;
use serde::Serialize;

use crate::actions::{Action, Error, FailedBatch};

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
    /// Of a batch: the messages that it is the failure of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    affected_ids: Vec<String>,
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
        affected_ids: Vec::new(),
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

/// The document of a batch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchDocument<'a> {
    rule_name: &'a str,
    /// That of all messages, unless they may be of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    payloads_with_metadata: Vec<InBatch<'a>>,
    failures: [Failure<'a>; 1],
}

/// One message of a batch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InBatch<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    cloudwatch_trace_id: String,
    client_id: &'a str,
    base64_original_payload: String,
}

/// The payload for a batch of `rule` that failed.
pub fn payload_of_batch(rule: &str, batch: &FailedBatch, action: &dyn Action, error: &Error) -> Vec<u8> {
    let FailedBatch { members, across_topics, .. } = batch;
    let topic = members.first().map(|member| member.topic.as_str());
    let id = |index: usize| (index + 1).to_string();
    let entries = members.iter().enumerate().map(|(index, member)| InBatch {
        id: id(index),
        topic: across_topics.then_some(member.topic.as_str()),
        cloudwatch_trace_id: uuid::Uuid::from_u128(member.trace_id).to_string(),
        client_id: member.client_id.as_deref().unwrap_or("n/a"),
        base64_original_payload: STANDARD.encode(&member.payload),
    });
    let failure = Failure {
        affected_ids: (0..members.len()).map(id).collect(),
        failed_action: action.name(),
        failed_resource: &error.resource,
        error_message: told(topic.unwrap_or_default(), action, error),
    };
    let document = BatchDocument {
        rule_name: rule,
        topic: topic.filter(|_| !across_topics),
        payloads_with_metadata: entries.collect(),
        failures: [failure],
    };
    // Strings and lists only: this cannot fail.
    serde_json::to_vec(&document).unwrap_or_default()
}
