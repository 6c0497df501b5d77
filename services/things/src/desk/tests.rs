use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::testing::Bench;

const UPDATE: &str = "$aws/things/t/shadow/update";
const GET: &str = "$aws/things/t/shadow/get";

/// Hands in a request of a connection; its number comes back when it is done.
fn hand_in(
    bench: &Bench,
    (topic, payload): (&str, &str),
    from: u64,
    number: usize,
    done: &mpsc::UnboundedSender<(usize, bool)>,
) {
    let message = bench.message(topic, payload);
    let done = done.clone();
    let taken = bench.desk.take(&message, Some(SessionId(from)), || {
        Box::new(move |result| done.send((number, result.is_ok())).unwrap())
    });
    assert!(taken, "{topic}");
}

fn set(value: usize) -> String {
    format!(r#"{{"state":{{"reported":{{"v":{value}}}}},"clientToken":"{value}"}}"#)
}

#[tokio::test]
async fn other_topics_are_nobodys_request() {
    let bench = Bench::new(true, |_| ());
    for topic in ["a", "$aws/things/t/jobs/get", "$aws/things/t/shadow/update/accepted", "$aws/events/x"] {
        let message = bench.message(topic, "{}");
        assert!(!bench.desk.take(&message, None, || unreachable!("{topic}")));
    }
}

#[tokio::test]
async fn requests_of_a_thing_are_carried_out_in_order() {
    let bench = Bench::new(true, |_| ());
    let (sender, mut done) = mpsc::unbounded_channel();
    for number in 0..50 {
        hand_in(&bench, (UPDATE, &set(number)), 1 + number as u64 % 3, number, &sender);
    }
    hand_in(&bench, (GET, r#"{"clientToken":"g"}"#), 1, 50, &sender);
    hand_in(&bench, ("$aws/things/t/shadow/delete", ""), 1, 51, &sender);
    hand_in(&bench, (GET, ""), 1, 52, &sender);
    for number in 0..53 {
        assert_eq!(done.recv().await, Some((number, true)));
    }
    let told = bench.told();
    let [(accepted, document), (rejected, refusal)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(accepted, "$aws/things/t/shadow/get/accepted");
    assert_eq!((&document["version"], &document["state"]["reported"]["v"]), (&json!(50), &json!(49)));
    assert_eq!(document["clientToken"], "g");
    assert_eq!(rejected, "$aws/things/t/shadow/get/rejected");
    assert_eq!(
        (&refusal["code"], &refusal["message"]),
        (&json!(404), &json!("No shadow exists with name: 't'"))
    );
    assert!(bench.desk.waiting.lock().things.is_empty() && bench.desk.waiting.lock().connections.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_told_and_done() {
    let bench = Bench::new(true, |_| ());
    let (sender, mut done) = mpsc::unbounded_channel();
    for (number, (topic, payload)) in [
        (UPDATE, "{"),
        (UPDATE, r#"{"state":{},"version":7,"clientToken":"c"}"#),
        ("$aws/things/t/shadow/name/n/delete", r#"{"clientToken":"d"}"#),
        (GET, r#"{"clientToken":7}"#),
    ]
    .into_iter()
    .enumerate()
    {
        hand_in(&bench, (topic, payload), 1, number, &sender);
        assert_eq!(done.recv().await, Some((number, true)));
    }
    let told = bench.told();
    let told: Vec<_> =
        told.iter().map(|(topic, told)| (topic.as_str(), &told["code"], told.get("clientToken"))).collect();
    assert_eq!(
        told,
        [
            ("$aws/things/t/shadow/update/rejected", &json!(400), None),
            ("$aws/things/t/shadow/update/rejected", &json!(409), Some(&json!("c"))),
            ("$aws/things/t/shadow/name/n/delete/rejected", &json!(404), Some(&json!("d"))),
            ("$aws/things/t/shadow/get/rejected", &json!(400), None),
        ]
    );
    let message = bench.broker.messages.lock()[0].clone();
    assert_eq!((message.qos, message.retain), (fleethaven_types::QoS::AtLeastOnce, false));
}

#[tokio::test]
async fn a_connection_has_so_many_requests_in_flight() {
    let bench = Bench::new(false, |limits| limits.shadow_requests_in_flight = 10);
    let (sender, mut done) = mpsc::unbounded_channel();
    for number in 0..10 {
        hand_in(&bench, (UPDATE, &set(number)), 1, number, &sender);
    }
    hand_in(&bench, (UPDATE, &set(10)), 1, 10, &sender);
    assert_eq!(done.recv().await, Some((10, true)), "refused while the others wait");
    let told = bench.told();
    assert_eq!((&told[0].1["code"], &told[0].1["clientToken"]), (&json!(429), &json!("10")));
    hand_in(&bench, (UPDATE, &set(11)), 2, 11, &sender);
    bench.metadata.permits.add_permits(1000);
    for number in (0..10).chain([11]) {
        assert_eq!(done.recv().await, Some((number, true)));
    }
    hand_in(&bench, (UPDATE, &set(12)), 1, 12, &sender);
    assert_eq!(done.recv().await, Some((12, true)));
    assert_eq!(bench.told().len(), 1, "nothing else was refused");
    assert_eq!(bench.metadata.executed.lock().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_thing_has_so_many_requests_a_second() {
    let bench = Bench::new(true, |limits| limits.shadow_requests_per_sec_thing = Some(3));
    let (sender, mut done) = mpsc::unbounded_channel();
    for number in 0..5 {
        hand_in(&bench, (GET, ""), 1, number, &sender);
    }
    for _ in 0..5 {
        assert!(matches!(done.recv().await, Some((_, true))));
    }
    let told = bench.told();
    let codes: Vec<_> = told.iter().filter_map(|(_, told)| told["code"].as_u64()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 429).count(), 2, "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_metastore_that_does_not_answer_is_asked_again_under_the_same_key() {
    let bench = Bench::new(true, |_| ());
    let (sender, mut done) = mpsc::unbounded_channel();
    let unavailable = || fleethaven_fabric::metadata::Error::Unavailable("no leader".to_owned());
    let unknown = || fleethaven_fabric::metadata::Error::Unknown;
    bench.metadata.failures.lock().extend([unavailable(), unknown(), unavailable()]);
    hand_in(&bench, (UPDATE, &set(1)), 1, 1, &sender);
    assert_eq!(done.recv().await, Some((1, true)));
    assert!(bench.metadata.executed.lock()[0].key.is_some());
    // Nothing was done: it is rejected. That something may have been done is not known: it is neither.
    bench.metadata.failures.lock().extend((0..1000).map(|_| unavailable()));
    hand_in(&bench, (UPDATE, &set(2)), 1, 2, &sender);
    assert_eq!(done.recv().await, Some((2, true)));
    assert_eq!(bench.told()[0].1["code"], json!(503));
    bench.metadata.failures.lock().push_front(unknown());
    hand_in(&bench, (UPDATE, &set(3)), 1, 3, &sender);
    assert_eq!(done.recv().await, Some((3, false)));
}

#[tokio::test]
async fn an_answer_that_cannot_be_published_leaves_the_request_unknown() {
    let bench = Bench::new(true, |_| ());
    let (sender, mut done) = mpsc::unbounded_channel();
    *bench.broker.is_broken.lock() = true;
    hand_in(&bench, (GET, ""), 1, 1, &sender);
    assert_eq!(done.recv().await, Some((1, false)));
}
