//! `kafka`: each message is a record of a topic of Kafka (rules-actions.md 5.10), sent by a client of our own: the one place that
//! connects is the guarded dialer, so that brokers which a cluster names are held to the operator's rules as those are that a rule
//! names (docs/decisions/0012).
//!
//! - `properties`, `stores`: what the rule says about the producer; its certificates and keys
//! - `producer`: batches, tries, numbers; `partition`: where records go
//! - `cluster`: brokers and leaders; `link`: a connection to one of them; `scram`: how it is told who we are
//! - `messages`, `records`, `wire`: the protocol

mod cluster;
mod link;
mod messages;
mod partition;
mod producer;
mod properties;
mod records;
mod scram;
mod stores;
mod wire;

use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::Value;

use super::{Action, Error, Fields, Invocation};
use crate::connections::Connected;
use crate::lanes::Key;

use producer::{Producer, Road};
use properties::Properties;
use records::Record;

const KIND: &str = "kafka";
/// Longest name of a topic.
const MAX_TOPIC: usize = 249;
/// Most bytes of a header's name or value.
const MAX_HEADER: usize = 16_384;

/// A kafka action with its templates parsed.
pub(super) struct Kafka {
    /// What stands for the connection in rules.
    destination: String,
    topic: Template,
    key: Option<Template>,
    partition: Option<Template>,
    headers: Vec<(Template, Template)>,
    properties: Vec<(String, Template)>,
}

impl Kafka {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let properties = fields.settings.get("clientProperties").and_then(Value::as_object);
        let property = |(name, value): (&String, &Value)| {
            Ok((name.clone(), fields.parse(value.as_str().unwrap_or_default())?))
        };
        let headers = match fields.settings.get("headers") {
            Some(Value::Array(_)) => fields.list("headers")?,
            _ => Vec::new(),
        };
        let header = |fields: &Fields<'_>| Ok((fields.template("key")?, fields.template("value")?));
        Ok(Self {
            destination: fields.text("destinationArn")?.to_owned(),
            topic: fields.template("topic")?,
            key: fields.template_if_given("key")?,
            partition: fields.template_if_given("partition")?,
            headers: headers.iter().map(header).collect::<Result<_, String>>()?,
            properties: properties.into_iter().flatten().map(property).collect::<Result<_, String>>()?,
        })
    }

    fn record(&self, invocation: &Invocation<'_>, topic: &str) -> Result<Record, Error> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for (key, value) in &self.headers {
            let header = (invocation.possibly_empty(key, topic)?, invocation.possibly_empty(value, topic)?);
            if header.0.len() > MAX_HEADER || header.1.len() > MAX_HEADER {
                return Err(Error::permanent(topic, format!("a header has more than {MAX_HEADER} bytes")));
            }
            headers.push(header);
        }
        Ok(Record {
            key: invocation.optional(self.key.as_ref(), topic)?,
            value: invocation.payload.clone(),
            headers,
            at: i64::try_from(invocation.now.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// The partition that the rule names.
    fn named(&self, invocation: &Invocation<'_>, topic: &str) -> Result<Option<i32>, Error> {
        let partition = invocation.optional(self.partition.as_ref(), topic)?;
        let number = |text: String| {
            text.parse().map_err(|_| Error::permanent(topic, "partition is no whole number for this message"))
        };
        partition.map(number).transpose()
    }

    /// The producer that all rules with the same properties share.
    fn producer(
        &self,
        invocation: &Invocation<'_>,
        connected: &Connected,
        topic: &str,
    ) -> Result<Arc<Producer>, Error> {
        let render =
            |(name, value): &(String, Template)| Ok((name.clone(), invocation.possibly_empty(value, topic)?));
        let given: Vec<_> = self.properties.iter().map(render).collect::<Result<_, Error>>()?;
        let make = || {
            let properties = Properties::read(&given, &connected.connection)?;
            Producer::new(&invocation.outside.http.dialer(), properties).map(Arc::new)
        };
        let made: Result<_, String> = connected.client(&name_of(&given), make);
        made.map_err(|reason| Error::permanent(topic, reason))
    }
}

/// A name for properties that has none of their secrets.
fn name_of(properties: &[(String, String)]) -> String {
    let mut content = digest::Context::new(&digest::SHA256);
    for (name, value) in properties {
        for text in [name, value] {
            content.update(&text.len().to_be_bytes());
            content.update(text.as_bytes());
        }
    }
    let mut name = String::new();
    for byte in content.finish().as_ref() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Whether Kafka has topics of this name.
fn is_topic(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_TOPIC).contains(&name.len()) && name.bytes().all(known) && name != "." && name != ".."
}

impl Action for Kafka {
    fn name(&self) -> &'static str {
        "KafkaAction"
    }

    fn kind(&self) -> &str {
        KIND
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let topic = invocation.text(&self.topic, "topic", KIND)?;
            if !is_topic(&topic) {
                let expected = "letters, digits, '.', '_' and '-', at most 249";
                return Err(Error::permanent(
                    topic,
                    format!("this is no name of a topic of Kafka: {expected}"),
                ));
            }
            let record = self.record(invocation, &topic)?;
            let named = self.named(invocation, &topic)?;
            let connected = invocation.connected(KIND, &self.destination, &topic)?;
            let producer = self.producer(invocation, &connected, &topic)?;
            let key = Key { account: invocation.scope.account, kind: KIND, target: connected.name.clone() };
            let road = Road { lanes: &invocation.outside.lanes, key, span: invocation.span };
            let sent = producer.send(&road, &topic, named, record).await;
            sent.map_err(|error| {
                let message =
                    format!("Failed to send the message to Kafka. The error received was {}", error.message);
                Error { message, ..error }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_topics_are_kafkas() {
        assert!(is_topic("a.b_c-1") && is_topic(&"x".repeat(249)));
        for name in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(250)] {
            assert!(!is_topic(name), "{name}");
        }
    }

    #[test]
    fn other_properties_have_another_producer() {
        let name = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            name_of(&pairs)
        };
        assert_eq!(name(&[("a", "b")]), name(&[("a", "b")]));
        assert_ne!(name(&[("a", "b")]), name(&[("a", "c")]));
        assert_ne!(name(&[("ab", "c")]), name(&[("a", "bc")]));
    }
}
