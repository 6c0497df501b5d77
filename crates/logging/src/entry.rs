//! An entry, with AWS's names (AWS page "CloudWatch Logs AWS IoT log entries").

use std::net::{IpAddr, SocketAddr};

use fleethaven_registry::shapes::LogLevel;
use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Characters of a text that others have written.
const TEXT: usize = 1024;

/// How what is told of ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Well.
    Success,
    /// Not at all.
    Failure,
}

/// One log entry. Keys are only ever added: programs depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `2026-01-31 12:00:00.000`, UTC.
    pub timestamp: String,
    /// How much has to be logged for it to be written.
    pub log_level: LogLevel,
    /// The same in all entries that one request, or one message, leads to: a UUID.
    pub trace_id: String,
    /// Whose.
    pub account_id: String,
    /// How it ended.
    pub status: Status,
    /// What it tells of.
    pub event_type: String,
    /// `MQTT` or `HTTP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its certificate, or the user of its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<IpAddr>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The topic, or the filter of a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// What is told of this event only.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same, in more words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Ours: where it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Ours: the log group, where the account has chosen one for this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
}

/// A time as entries tell it. Later times are later texts.
pub(crate) fn told(at: Timestamp) -> String {
    let at = i64::try_from(at.as_millis()).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

impl Entry {
    pub(crate) fn new(scope: Scope, event: &str, level: LogLevel, trace: u128, now: Timestamp) -> Self {
        Self {
            timestamp: told(now),
            log_level: level,
            trace_id: Uuid::from_u128(trace).to_string(),
            account_id: scope.account.to_string(),
            status: if level == LogLevel::Error { Status::Failure } else { Status::Success },
            event_type: event.to_owned(),
            protocol: None,
            client_id: None,
            principal_id: None,
            source_ip: None,
            source_port: None,
            topic_name: None,
            rest: Map::new(),
            reason: None,
            details: None,
            region: Some(scope.region.to_string()),
            log_group: None,
        }
    }

    /// By what protocol it came.
    #[must_use]
    pub fn over(self, protocol: &str) -> Self {
        Self { protocol: Some(protocol.to_owned()), ..self }
    }

    /// From where.
    #[must_use]
    pub fn from(self, peer: SocketAddr) -> Self {
        Self { source_ip: Some(peer.ip()), source_port: Some(peer.port()), ..self }
    }

    /// On what topic or filter.
    #[must_use]
    pub fn on(self, topic: &str) -> Self {
        Self { topic_name: Some(shortened(topic)), ..self }
    }

    /// One more thing that is told of this event.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(shortened(&text)),
            other => other,
        };
        self.rest.insert(name.to_owned(), value);
        self
    }

    /// Why, in a word, and in more of them.
    #[must_use]
    pub fn because(self, reason: &str, details: &str) -> Self {
        let details = Some(shortened(details)).filter(|details| !details.is_empty());
        Self { reason: Some(shortened(reason)), details, ..self }
    }

    /// In more words, where there is no single one.
    #[must_use]
    pub fn explained(self, details: &str) -> Self {
        Self { details: Some(shortened(details)), ..self }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_as_aws_does() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let entry = Entry::new(scope, "Publish-In", LogLevel::Error, 7, Timestamp(1_769_860_800_012))
            .over("MQTT")
            .from("192.0.2.7:4711".parse().unwrap())
            .on("a/b")
            .with("retain", "True")
            .because("AUTHORIZATION_FAILURE", "Authorization Failure");
        let written = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"timestamp":"2026-01-31 12:00:00.012","logLevel":"ERROR","#,
                r#""traceId":"00000000-0000-0000-0000-000000000007","accountId":"123456789012","status":"Failure","#,
                r#""eventType":"Publish-In","protocol":"MQTT","sourceIp":"192.0.2.7","sourcePort":4711,"#,
                r#""topicName":"a/b","retain":"True","reason":"AUTHORIZATION_FAILURE","#,
                r#""details":"Authorization Failure","region":"eu-west-1"}"#
            )
        );
        assert_eq!(serde_json::from_str::<Entry>(&written).unwrap(), entry);
    }

    #[test]
    fn what_others_have_written_is_bounded() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let long = "ü".repeat(100_000);
        let entry = Entry::new(scope, "Connect", LogLevel::Info, 0, Timestamp(0));
        let entry = entry.on(&long).with("ruleName", long.as_str()).because(&long, &long);
        assert!(serde_json::to_string(&entry).unwrap().len() < 16 << 10);
    }
}
