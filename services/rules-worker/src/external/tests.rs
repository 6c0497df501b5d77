use std::collections::VecDeque;

use fleethaven_rulesql::Failure;

use super::*;
use crate::testing::{FakeBroker, compiled, execute_with, message, republish, rule, scope};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

/// Answers in order, and notes who asked what.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<Value, String>>>,
    calls: Mutex<Vec<(Scope, Call)>>,
}

impl Scripted {
    fn answering(answers: impl IntoIterator<Item = Result<Value, String>>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    fn functions(&self) -> Vec<String> {
        self.calls.lock().iter().map(|(_, call)| call.function.clone()).collect()
    }
}

impl Functions for Scripted {
    fn answer<'a>(&'a self, asker: Asker<'a>, call: &'a Call) -> BoxFuture<'a, Result<Value, String>> {
        self.calls.lock().push((asker.scope, call.clone()));
        let answer = self.answers.lock().pop_front();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

/// What is published when a rule with this statement sees `{"id": "t"}`.
async fn published(functions: &Scripted, sql: &str, topic: &str) -> Vec<(String, String)> {
    let broker = FakeBroker::default();
    let rule = compiled(rule(sql, vec![republish(topic)], None));
    execute_with(&broker, functions, &rule, &message("a", r#"{"id": "t"}"#)).await;
    broker.published()
}

fn one(topic: &str, payload: &str) -> Vec<(String, String)> {
    vec![(topic.to_owned(), payload.to_owned())]
}

#[tokio::test]
async fn a_statement_goes_on_when_its_calls_are_answered() {
    let functions = Scripted::answering([Ok("x".into()), Ok(Value::Int(2))]);
    let sql = format!(
        "SET @n = newuuid() SELECT aws_lambda('f', @n) AS a, get_thing_shadow(id, '{ROLE}') AS b FROM 'a' WHERE id = 't'"
    );
    assert_eq!(published(&functions, &sql, "out").await, one("out", r#"{"a":"x","b":2}"#));
    assert_eq!(functions.functions(), ["aws_lambda", "get_thing_shadow"]);
    let calls = functions.calls.lock();
    assert_eq!((calls[0].0, &calls[1].1.arguments[..]), (scope(), &["t".into(), ROLE.into()][..]));
}

#[tokio::test]
async fn a_failed_call_ends_the_rule_unless_there_is_a_default() {
    let failing = || Scripted::answering([Err("no".to_owned())]);
    assert_eq!(published(&failing(), "SELECT aws_lambda('f', 1) AS a FROM 'a'", "out").await, []);
    let defaulted = "SELECT get_or_default(aws_lambda('f', 1), 'd') AS a FROM 'a'";
    assert_eq!(published(&failing(), defaulted, "out").await, one("out", r#"{"a":"d"}"#));
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline() {
    let silent = Scripted::default();
    let defaulted = "SELECT get_or_default(aws_lambda('f', 1), 'late') AS a FROM 'a'";
    assert_eq!(published(&silent, defaulted, "out").await, one("out", r#"{"a":"late"}"#));
}

#[tokio::test]
async fn templates_of_actions_call_too() {
    let functions = Scripted::answering([Ok("site".into()), Ok("x".into())]);
    let topic = format!("${{get_thing_shadow(id, '{ROLE}')}}/${{aws_lambda('f', id)}}");
    assert_eq!(published(&functions, "SELECT 1 AS a FROM 'a'", &topic).await, one("site/x", r#"{"a":1}"#));
}

#[tokio::test]
async fn calls_without_end_are_stopped() {
    let functions = Scripted::answering(std::iter::repeat_n(Ok(Value::Null), 100));
    let rule = compiled(rule("SELECT 1 AS a FROM 'a'", vec![], None));
    let answers = Answers::default();
    let mut calls = 0;
    loop {
        // Each evaluation asks something else, as none does.
        let deferred = answers.external().call("aws_lambda", &[Value::Int(calls)]);
        assert_eq!(deferred, Err(ExternalError::Deferred));
        match answers.settle(&functions, Asker { scope: rule.scope, rule: &rule.name, trace_id: None }).await
        {
            Some(settled) => assert_eq!((settled.function.as_str(), settled.failure), ("aws_lambda", None)),
            None => break,
        }
        calls += 1;
    }
    assert_eq!(usize::try_from(calls), Ok(MAX_CALLS));
    assert!(Failure::Deferred("aws_lambda").to_string().contains("answered"));
}

#[tokio::test]
async fn secrets_are_in_no_failure() {
    let broker = FakeBroker::default();
    let secret =
        || Ok(fleethaven_rulesql::json::read(br#"{"user": "anna", "key": "hush-hush", "no": 7}"#).unwrap());
    let functions = Scripted::answering([secret(), Ok("another".into())]);
    let ask = |name: &str| format!("get_secret('{name}', 'SecretString', '{ROLE}')");
    let topic = format!("${{@s.key}}/${{{}}}/#", ask("b"));
    let sql = format!("SET @s = {} SELECT 1 AS a FROM 'a'", ask("a"));
    let failing = compiled(rule(&sql, vec![republish(&topic)], Some(republish("errors"))));
    execute_with(&broker, &functions, &failing, &message("a", "{}")).await;
    let [(_, told)] = &broker.published()[..] else { panic!("one document") };
    assert!(told.contains("topic name '***/***/#' contains a wildcard"), "{told}");
    assert!(!told.contains("hush-hush") && !told.contains("another"), "{told}");
}
