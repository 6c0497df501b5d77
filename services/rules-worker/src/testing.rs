//! A broker that records what is published, and rules and messages in few words, for the tests of this crate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{FunctionError, Invocation, Publish, RuleChange, Traces};
use fleethaven_logging::Logs;
use fleethaven_outbound::{HttpClient, OutboundSettings};
use fleethaven_registry::shapes::{RuleDescription, TopicRulePayload};
use fleethaven_rulesql::Payload;
use fleethaven_storage::{Error, RuleEntryId};
use fleethaven_types::{Behaviour, Limits, Message, Profile, Publisher, QoS, Scope, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::Rules;
use crate::execute::{Engine, MessageContext};
use crate::external::{Call, Functions};
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::outside::Outside;
use crate::room::Room;
use crate::rules::CompiledRule;
use crate::waiting::Waiting;

/// What the broker does with a publish.
pub(crate) enum Answer {
    /// Takes it.
    Taken,
    /// Says that it is unavailable.
    Unavailable,
    /// Takes it after ten seconds.
    Slow,
    /// Panics.
    Panic,
}

/// Records messages, and answers as it was told; then takes everything.
#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) published: Mutex<Vec<Message>>,
    pub(crate) tries: Mutex<usize>,
    pub(crate) answers: Mutex<VecDeque<Answer>>,
}

impl FakeBroker {
    pub(crate) fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    /// Topics and payloads.
    pub(crate) fn published(&self) -> Vec<(String, String)> {
        let text = |message: &Message| {
            (message.topic.to_string(), String::from_utf8(message.payload.to_vec()).unwrap())
        };
        self.published.lock().iter().map(text).collect()
    }
}

impl Publish for FakeBroker {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            *self.tries.lock() += 1;
            let answer = self.answers.lock().pop_front().unwrap_or(Answer::Taken);
            match answer {
                Answer::Taken => {
                    self.published.lock().push((*message).clone());
                    Ok(true)
                }
                Answer::Unavailable => Err(Error::Unavailable("no broker".to_owned())),
                Answer::Slow => {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    self.published.lock().push((*message).clone());
                    Ok(true)
                }
                Answer::Panic => panic!("the broker panics"),
            }
        })
    }
}

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_100_000);

pub(crate) fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

pub(crate) fn message(topic: &str, payload: &str) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.to_owned().into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: Timestamp(1_700_000_000_000),
        expires_at: None,
        sequence: 2,
        hops: 0,
        publisher: Arc::new(Publisher {
            scope: scope(),
            client_id: Some("sensor".into()),
            principal: None,
            source_ip: None,
            trace: 1,
        }),
    }
}

/// A republish action.
pub(crate) fn republish(topic: &str) -> Value {
    json!({"republish": {"roleArn": "arn:aws:iam::123456789012:role/r", "topic": topic, "qos": 1}})
}

pub(crate) fn change(name: &str, revision: u64, payload: TopicRulePayload) -> RuleChange {
    let description = RuleDescription {
        rule_arn: String::new(),
        rule_name: name.to_owned(),
        topic_pattern: String::new(),
        created_at: Timestamp(0),
        payload: TopicRulePayload { aws_iot_sql_version: Some("2016-03-23".to_owned()), ..payload },
    };
    RuleChange { scope: scope(), name: name.to_owned(), rule: Some((Box::new(description), revision)) }
}

pub(crate) fn rule(sql: &str, actions: Vec<Value>, error_action: Option<Value>) -> TopicRulePayload {
    TopicRulePayload { sql: sql.to_owned(), actions, error_action, ..TopicRulePayload::default() }
}

pub(crate) fn compiled(payload: TopicRulePayload) -> Arc<CompiledRule> {
    let rules = Rules::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    rules.apply_all(vec![change("R1", 1, payload)], 1);
    rules.get(scope(), "R1").unwrap()
}

/// Nobody answers.
pub(crate) struct NoFunctions;

impl Functions for NoFunctions {
    fn answer<'a>(
        &'a self,
        _: crate::external::Asker<'a>,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<fleethaven_rulesql::Value, String>> {
        Box::pin(async { Err("nobody answers".to_owned()) })
    }
}

/// No connections, and functions that nobody has mapped.
pub(crate) fn outside(metrics: &Metrics) -> Arc<Outside> {
    Arc::new(Outside {
        http: HttpClient::new(&OutboundSettings::default()).unwrap(),
        lambda: Arc::new(Unmapped),
        connections: Arc::default(),
        destinations: Arc::default(),
        lanes: Lanes::new(metrics.clone()),
        http_results: metrics.http.clone(),
        clock: || NOW,
    })
}

/// Nothing is mapped to any function.
struct Unmapped;

impl fleethaven_fabric::Functions for Unmapped {
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>> {
        Box::pin(async move { Err(FunctionError::Unmapped(call.function_arn)) })
    }

    fn send(&self, call: Invocation) -> BoxFuture<'_, Result<(), FunctionError>> {
        Box::pin(async move { Err(FunctionError::Unmapped(call.function_arn)) })
    }
}

/// Executes a rule once.
pub(crate) async fn execute(broker: &FakeBroker, rule: &CompiledRule, message: &Message) -> Metrics {
    execute_with(broker, &NoFunctions, rule, message).await
}

/// Executes a rule once; `functions` answer its statement and templates.
pub(crate) async fn execute_with(
    broker: &FakeBroker,
    functions: &dyn Functions,
    rule: &CompiledRule,
    message: &Message,
) -> Metrics {
    execute_logged(broker, functions, rule, message, &Logs::off()).await
}

/// The same with log entries.
pub(crate) async fn execute_logged(
    broker: &FakeBroker,
    functions: &dyn Functions,
    rule: &CompiledRule,
    message: &Message,
    logs: &Logs,
) -> Metrics {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let outside = outside(&metrics);
    let engine = Engine {
        entry: RuleEntryId(7),
        publish: broker,
        waiting: &Waiting::new(&metrics),
        outside: &outside,
        functions,
        room: &Room::default(),
        metrics: &metrics,
        behaviour: &Behaviour::of(Profile::Standard),
        limits: &Limits::of(Profile::Standard),
        traces: &Traces::off(),
        logs,
        clock: || NOW,
    };
    let payload = Payload::new(message.payload.clone());
    engine.execute(rule, message, &MessageContext::of(message), &payload).await;
    metrics
}
