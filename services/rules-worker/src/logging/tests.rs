use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error as CallError, Executed, Position, WatchEvent, WatchStream,
};
use fleethaven_logging::{Logs, Options, Place, follow};
use fleethaven_registry::shapes::{LogTarget, LogTargetConfiguration, LogTargetType, SetV2LoggingOptions};
use fleethaven_registry::testing::Registry;
use fleethaven_registry::{Action as Asked, Command, Query, QueryReply};
use fleethaven_rulesql::{SqlVersion, Statement};
use fleethaven_types::Publisher;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::actions::Invocation;
use crate::metrics::Metrics;
use crate::series::Series;
use crate::testing::{FakeBroker, NOW, NoFunctions, execute_logged, message};

/// What an account asks for, which does not change any more.
struct Settled(Registry);

impl Metadata for Settled {
    fn execute(&self, _: Command) -> BoxFuture<'_, Result<Executed, CallError>> {
        unreachable!("nothing changes")
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, CallError>> {
        Box::pin(std::future::ready(self.query_local(query)))
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, CallError> {
        Ok(self.0.ask(query.kind)?)
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn watch(&self, prefixes: Vec<Bytes>, _: Option<Position>) -> WatchStream {
        let watched = |key: &Bytes| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let stored = self.0.view.entries().iter().filter(|(key, _)| watched(key));
        let put = |(key, value): (&Bytes, &Bytes)| WatchEvent::Put {
            key: key.clone(),
            value: value.clone(),
            revision: 1,
        };
        let position = Position { incarnation: 1, group: 0, revision: 1 };
        let listing: Vec<_> = [WatchEvent::Reset]
            .into_iter()
            .chain(stored.map(put))
            .chain([WatchEvent::Synced(position)])
            .collect();
        Box::pin(stream::iter(listing).chain(stream::pending()))
    }

    fn register(&self, _: &'static str) -> AppliedMarker {
        Box::new(|_| ())
    }

    fn in_force(&self, _: u64) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// An action whose target has too much to do.
struct Crowded;

impl Action for Crowded {
    fn name(&self) -> &'static str {
        "HttpAction"
    }

    fn kind(&self) -> &'static str {
        "http"
    }

    fn run<'a>(&'a self, _: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Err(Error::throttled("https://a.example/x", "a.example"))))
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_message_that_a_target_has_no_room_for_is_told_of_by_its_rule() {
    let mut registry = Registry::new().unwrap();
    let role_arn = Some("arn:aws:iam::123456789012:role/logs".to_owned());
    let options = SetV2LoggingOptions { role_arn, ..SetV2LoggingOptions::default() };
    registry.run(Asked::SetV2LoggingOptions(Box::new(options))).unwrap();
    let log_target =
        LogTarget { target_type: LogTargetType::RuleName, target_name: Some("crowded".to_owned()) };
    let level = LogTargetConfiguration { log_target, log_level: LogLevel::Warn };
    registry.run(Asked::SetV2LoggingLevel(Box::new(level))).unwrap();
    let (scope, lines) = (registry.scope, Lines::default());
    let place = Place::Stream(Box::new(lines.clone()));
    let logs = Logs::open(Options { place, rate: 10, clock: || NOW }, &prometheus::Registry::new()).unwrap();
    let following = tokio::spawn(follow(logs.clone(), Arc::new(Settled(registry))));
    while !logs.is_on() {
        tokio::task::yield_now().await;
    }
    let counted = Metrics::new(&prometheus::Registry::new()).unwrap();
    let rule = |name: &str, sql: &str| CompiledRule {
        scope,
        name: name.to_owned(),
        revision: 1,
        statement: Statement::parse(sql, SqlVersion::default()).unwrap(),
        actions: vec![Box::new(Crowded)],
        error_action: None,
        series: Arc::new(Series::new(&counted, scope.account, name)),
    };
    let mut sent = message("a", "{}");
    sent.publisher = Arc::new(Publisher { scope, ..(*sent.publisher).clone() });
    for name in ["crowded", "other"] {
        let metrics = execute_logged(
            &FakeBroker::default(),
            &NoFunctions,
            &rule(name, "SELECT * FROM 'a'"),
            &sent,
            &logs,
        )
        .await;
        let throttled = metrics.rule_throttled.with_label_values(&["123456789012", name]);
        assert_eq!(throttled.get(), 1);
    }
    for condition in ["missing > 1", "1 > 2", "regexp_matches('a', '(?=a)') AND 1 > 2"] {
        let refuses = rule("crowded", &format!("SELECT * FROM 'a' WHERE {condition}"));
        execute_logged(&FakeBroker::default(), &NoFunctions, &refuses, &sent, &logs).await;
    }
    following.abort();
    let _ = following.await;
    drop(logs);
    let written = String::from_utf8(lines.0.lock().clone()).unwrap();
    let entries: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let told: Vec<_> = entries.iter().map(|entry| (of(entry, "ruleName"), of(entry, "eventType"))).collect();
    let crowded = |event: &str| ("crowded".to_owned(), event.to_owned());
    let execution = || crowded("RuleExecution");
    assert_eq!(told, [crowded("RuleMessageThrottled"), execution(), execution(), execution(), execution()]);
    let [first, _, condition, pattern, _] = &entries[..] else { panic!("five entries") };
    assert_eq!(of(pattern, "details"), "the regular expression '(?=a)' cannot be used");
    assert_eq!(of(condition, "logLevel"), "WARN", "that WHERE is false is nothing to be told");
    assert_eq!(of(condition, "details"), "WHERE is neither true nor false");
    assert_eq!(of(first, "reason"), "RuleExecutionThrottled");
    assert_eq!(of(first, "details"), "Message for Rule crowded throttled");
    assert_eq!((of(first, "topicName"), of(first, "logLevel")), ("a".to_owned(), "ERROR".to_owned()));
}
