use std::time::Duration;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_types::QoS;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::retry::Policy;
use crate::testing::{Answer, FakeBroker, NOW, compiled, execute, message, republish, rule};

fn text(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

#[tokio::test]
async fn what_passes_the_filter_is_republished() {
    let broker = FakeBroker::default();
    let sql = "SELECT temperature AS t, topic() AS at FROM 'dt/+/up' WHERE temperature > 50";
    let hot = compiled(rule(sql, vec![republish("hot/${topic(2)}/${clientid()}")], None));
    execute(&broker, &hot, &message("dt/s1/up", r#"{"temperature": 20}"#)).await;
    execute(&broker, &hot, &message("dt/s1/up", r#"{"temperature": 51.5, "x": 1}"#)).await;
    assert_eq!(broker.published(), [text("hot/s1/sensor", r#"{"t":51.5,"at":"dt/s1/up"}"#)]);
    let published = broker.published.lock();
    let sent = &published[0];
    assert_eq!((sent.qos, sent.retain, sent.hops, sent.received_at), (QoS::AtLeastOnce, false, 1, NOW));
    assert_eq!((sent.publisher.client_id.as_deref(), sent.trace_id()), (None, (1 << 64) | 2));
}

#[tokio::test]
async fn a_lone_star_forwards_the_bytes() {
    let broker = FakeBroker::default();
    let all = compiled(rule("SELECT * FROM 'a'", vec![republish("b")], None));
    for payload in [" {\"a\" :1.0} ", "no JSON", ""] {
        let metrics = execute(&broker, &all, &message("a", payload)).await;
        assert_eq!(broker.published.lock().pop().unwrap().payload, payload.as_bytes());
        assert_eq!(metrics.parse_error.with_label_values(&["123456789012", "R1"]).get(), 0);
    }
}

#[tokio::test]
async fn basic_ingest_messages_have_the_rest_as_topic() {
    let broker = FakeBroker::default();
    let basic = compiled(rule("SELECT topic() AS t", vec![republish("x/${topic(1)}")], None));
    execute(&broker, &basic, &message("$aws/rules/R1/a/b", "{}")).await;
    assert_eq!(broker.published(), [text("x/a", r#"{"t":"a/b"}"#)]);
}

#[tokio::test]
async fn reserved_topics_are_named_with_two_dollars() {
    let broker = FakeBroker::default();
    let actions =
        vec![republish("$$aws/things/${topic(1)}/shadow/update"), republish("$aws/things/a/shadow/update")];
    execute(&broker, &compiled(rule("SELECT VALUE 1 FROM 'a'", actions, None)), &message("a", "{}")).await;
    assert_eq!(broker.published(), [text("$aws/things/a/shadow/update", "1")]);
}

#[tokio::test]
async fn all_failures_of_a_message_make_one_error_document() {
    let broker = FakeBroker::default();
    let actions = vec![republish("a/#"), republish("ok"), json!({"kafka": {"bucketName": "b"}})];
    let failing = compiled(rule("SELECT * FROM 'a/b'", actions, Some(republish("errors"))));
    let metrics = execute(&broker, &failing, &message("a/b", "raw")).await;
    let published = broker.published();
    let [ok, (error_topic, document)] = &published[..] else { panic!("{published:?}") };
    assert_eq!((ok, error_topic.as_str()), (&text("ok", "raw"), "errors"));
    let document: Value = serde_json::from_str(document).unwrap();
    let expected = json!({
        "ruleName": "R1",
        "topic": "a/b",
        "cloudwatchTraceId": "00000000-0000-0001-0000-000000000002",
        "clientId": "sensor",
        "base64OriginalPayload": "cmF3",
        "failures": [
            {
                "failedAction": "RepublishAction",
                "failedResource": "a/#",
                "errorMessage": "topic name 'a/#' contains a wildcard. Message arrived on: a/b, Action: republish",
            },
            {
                "failedAction": "KafkaAction",
                "failedResource": "kafka",
                "errorMessage":
                    "kafka: destinationArn is required. Message arrived on: a/b, Action: kafka",
            },
        ],
    });
    assert_eq!(document, expected);
    let failures = |action| {
        let labels = ["123456789012", "R1", action, "failure"];
        (
            metrics.action.with_label_values(&labels).get(),
            metrics.error_action.with_label_values(&labels).get(),
        )
    };
    assert_eq!((failures("RepublishAction"), failures("KafkaAction")), ((1, 0), (1, 0)));
}

#[tokio::test]
async fn an_error_action_that_fails_is_counted_and_nothing_more() {
    let broker = FakeBroker::default();
    let failing = rule("SELECT * FROM 'a'", vec![republish("b/#")], Some(republish("c/#")));
    let metrics = execute(&broker, &compiled(failing), &message("a", "{}")).await;
    assert_eq!(*broker.tries.lock(), 0);
    let labels = ["123456789012", "R1", "RepublishAction", "failure"];
    assert_eq!(metrics.error_action.with_label_values(&labels).get(), 1);
}

/// Fails so often, and not for ever; `None` does not answer.
struct Flaky(Mutex<Option<u32>>);

impl Action for Flaky {
    fn name(&self) -> &'static str {
        "FlakyAction"
    }

    fn kind(&self) -> &str {
        "flaky"
    }

    fn run<'a>(&'a self, _: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let left = *self.0.lock();
            match left {
                None => std::future::pending().await,
                Some(0) => Ok(()),
                Some(failures) => {
                    *self.0.lock() = Some(failures - 1);
                    Err(Error::transient("target", "not now"))
                }
            }
        })
    }
}

/// A rule with this action, and an error action.
fn flaky(failures: Option<u32>) -> CompiledRule {
    let rule = compiled(rule("SELECT * FROM 'a'", vec![republish("b")], Some(republish("errors"))));
    let mut rule = Arc::into_inner(rule).unwrap();
    rule.actions = vec![Box::new(Flaky(Mutex::new(failures)))];
    rule
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_tried_three_times() {
    let (broker, began) = (FakeBroker::default(), Instant::now());
    execute(&broker, &flaky(Some(2)), &message("a", "{}")).await;
    assert!(broker.published().is_empty() && began.elapsed() <= Policy::DEFAULT.backoff.first * 3);
    execute(&broker, &flaky(Some(3)), &message("a", "{}")).await;
    assert_eq!(broker.published()[0].0, "errors");
}

#[tokio::test(start_paused = true)]
async fn an_action_that_does_not_answer_fails_when_its_time_is_over() {
    let (broker, began) = (FakeBroker::default(), Instant::now());
    execute(&broker, &flaky(None), &message("a", "{}")).await;
    assert_eq!(
        (began.elapsed().as_secs(), broker.published()[0].0.as_str()),
        (Policy::DEFAULT.budget.as_secs(), "errors")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_republished_waits_for_the_broker() {
    use Answer::{Slow, Unavailable};
    let again = compiled(rule("SELECT * FROM 'a'", vec![republish("b")], Some(republish("errors"))));
    let broker = FakeBroker::answering([Unavailable, Unavailable, Unavailable, Unavailable, Slow]);
    let metrics = execute(&broker, &again, &message("a", "{}")).await;
    assert_eq!((broker.published(), *broker.tries.lock()), (vec![text("b", "{}")], 5));
    assert_eq!(metrics.waiting.with_label_values(&["republish"]).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_asks_a_service_is_tried_three_times() {
    use Answer::Unavailable;
    let shadow = republish("$$aws/things/t/shadow/update");
    let asks = compiled(rule("SELECT * FROM 'a'", vec![shadow], Some(republish("errors"))));
    let broker = FakeBroker::answering([Unavailable, Unavailable, Unavailable]);
    execute(&broker, &asks, &message("a", "{}")).await;
    assert_eq!(*broker.tries.lock(), 4, "and the error action");
    assert_eq!(broker.published()[0].0, "errors");
}

#[tokio::test]
async fn a_chain_is_cut_after_ten_republishes() {
    let broker = FakeBroker::default();
    let looping = compiled(rule("SELECT * FROM 'a'", vec![republish("a")], Some(republish("errors"))));
    let mut last = message("a", "{}");
    for hops in 1..=10 {
        execute(&broker, &looping, &last).await;
        last = broker.published.lock().pop().unwrap();
        assert_eq!((last.topic.as_str(), last.hops), ("a", hops));
    }
    execute(&broker, &looping, &last).await;
    let told = broker.published.lock().pop().unwrap();
    assert_eq!((told.topic.as_str(), told.hops), ("errors", 11), "the error action tells of the cut");
    let metrics = execute(&broker, &looping, &told).await;
    assert!(broker.published().is_empty(), "and is of the chain, too");
    let labels = ["123456789012", "R1", "RepublishAction", "failure"];
    assert_eq!(metrics.error_action.with_label_values(&labels).get(), 1);
}

fn with_headers(headers: &Value) -> Value {
    json!({"republish": {"roleArn": "r", "topic": "b", "headers": headers}})
}

#[tokio::test]
async fn headers_become_properties() {
    let broker = FakeBroker::default();
    let headers = json!({
        "payloadFormatIndicator": "UTF8_DATA",
        "contentType": "${type}",
        "responseTopic": "answers/${clientid()}",
        "correlationData": "${encode(id, 'base64')}",
        "messageExpiry": "${ttl}",
        "userProperties": [{"key": "k${ttl}", "value": "v"}, {"key": "k", "value": "${nothing}"}],
    });
    let sends = compiled(rule("SELECT * FROM 'a'", vec![with_headers(&headers)], None));
    execute(&broker, &sends, &message("a", r#"{"type": "text/plain", "id": "x", "ttl": 60}"#)).await;
    let sent = broker.published.lock().pop().unwrap();
    let properties = sent.properties.as_deref().unwrap();
    assert_eq!(properties.payload_is_utf8, Some(true));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic.as_deref(), Some("answers/sensor"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"x"[..]));
    assert_eq!(properties.user_properties, [("k60".into(), "v".into()), ("k".into(), "".into())]);
    assert_eq!((sent.expires_at, sent.qos), (Some(NOW.after(Duration::from_secs(60))), QoS::AtMostOnce));
}

#[tokio::test]
async fn headers_that_come_out_empty_are_left_out_and_wrong_ones_fail() {
    let broker = FakeBroker::default();
    let empty = json!({"contentType": "${x}", "responseTopic": "${x}", "messageExpiry": "${x}",
        "payloadFormatIndicator": "${x}", "correlationData": "${x}"});
    let nothing = compiled(rule("SELECT * FROM 'a'", vec![with_headers(&empty)], None));
    execute(&broker, &nothing, &message("a", "{}")).await;
    let sent = broker.published.lock().pop().unwrap();
    assert_eq!((sent.properties, sent.expires_at), (None, None));
    for (wrong, value) in [
        ("messageExpiry", "soon".to_owned()),
        ("payloadFormatIndicator", "TEXT".to_owned()),
        ("responseTopic", "a/#".to_owned()),
        ("correlationData", "!".to_owned()),
        ("contentType", "x".repeat(1025)),
        ("contentType", "\0".to_owned()),
    ] {
        let refused = compiled(rule("SELECT * FROM 'a'", vec![with_headers(&json!({wrong: value}))], None));
        execute(&broker, &refused, &message("a", "{}")).await;
        assert_eq!(*broker.tries.lock(), 1, "{wrong}");
    }
}

#[tokio::test]
async fn a_result_above_the_payload_limit_is_not_published() {
    let broker = FakeBroker::default();
    let limit = Limits::of(fleethaven_types::Profile::Standard).payload_bytes;
    let wraps = compiled(rule("SELECT * AS a, * AS b FROM 'a'", vec![republish("b")], None));
    let half = limit / 2 + 1;
    execute(&broker, &wraps, &message("a", &format!(r#"{{"x":"{}"}}"#, "y".repeat(half)))).await;
    assert_eq!(*broker.tries.lock(), 0);
}

/// Notes by which ids it runs, and fails.
struct Noting(Arc<parking_lot::Mutex<Vec<Uuid>>>);

impl Action for Noting {
    fn name(&self) -> &'static str {
        "RepublishAction"
    }

    fn kind(&self) -> &str {
        "republish"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        self.0.lock().push(invocation.id());
        Box::pin(std::future::ready(Err(Error::transient("r", "no"))))
    }
}

#[tokio::test(start_paused = true)]
async fn tries_of_an_action_have_one_id_and_no_two_actions_or_messages_the_same() {
    let ids = Arc::default();
    let noting = || Box::new(Noting(Arc::clone(&ids))) as Box<dyn Action>;
    let mut noted = Arc::into_inner(compiled(rule("SELECT * FROM 'a'", vec![], None))).unwrap();
    noted.actions = vec![noting(), noting()];
    noted.error_action = Some(noting());
    let run = async |sequence| {
        execute(&FakeBroker::default(), &noted, &Message { sequence, ..message("a", "{}") }).await;
        let mut ids = std::mem::take(&mut *ids.lock());
        assert_eq!(ids.len(), 9, "three tries of each");
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let first = run(1).await;
    assert_eq!(first.len(), 3);
    assert_eq!(run(1).await, first, "it is given out again");
    assert!(run(2).await.iter().all(|id| !first.contains(id)));
}
