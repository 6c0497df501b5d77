use std::sync::Mutex;

use fleethaven_fabric::traces::TraceContext;
use http::StatusCode;
use prometheus::IntCounter;

use super::*;

fn counters() -> Counters {
    let counter = || IntCounter::new("spans", "Spans").unwrap();
    Counters { exported: counter(), dropped: counter(), failed: counter() }
}

fn settings() -> Settings {
    Settings {
        endpoint: "http://receiver:4318/v1/traces".to_owned(),
        service: "fleethaven-gateway".to_owned(),
        instance: "one".to_owned(),
        version: "1.2.3",
        sampling: Sampling { ratio: 1.0, continues: false },
        seed: 1,
    }
}

/// A receiver that answers with `status`, and what it got.
fn receiver(status: StatusCode) -> (Transport, Arc<Mutex<Vec<Request<Bytes>>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let keeps = got.clone();
    let send: Transport = Arc::new(move |request| {
        keeps.lock().unwrap().push(request);
        Box::pin(async move {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = status;
            Ok(answer)
        })
    });
    (send, got)
}

fn record(traces: &Traces) {
    let fresh = TraceContext::new(0x0102, 0x0304, false).unwrap();
    let (_, span) = traces.request(None, fresh);
    let mut span = span.unwrap();
    span.rename("CreateThing");
    span.end();
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test(start_paused = true)]
async fn spans_leave_in_batches_and_the_last_ones_at_the_end() {
    let (send, got) = receiver(StatusCode::OK);
    let counters = counters();
    let (traces, exporter) = start(&settings(), send, counters.clone(), Exemplars::default()).unwrap();
    for _ in 0..BATCH + 1 {
        record(&traces);
    }
    exporter.close().await;
    assert_eq!((counters.exported.get(), counters.failed.get()), (BATCH as u64 + 1, 0));
    let got = got.lock().unwrap();
    assert!(got.len() >= 2, "{}", got.len());
    let first = &got[0];
    assert_eq!(first.uri(), "http://receiver:4318/v1/traces");
    assert_eq!(first.headers()["content-type"], "application/x-protobuf");
    for part in ["CreateThing", "fleethaven-gateway", "service.instance.id", "1.2.3"] {
        assert!(holds(first.body(), part.as_bytes()), "{part}");
    }
    assert!(
        holds(first.body(), &0x0102_u128.to_be_bytes()) && holds(first.body(), &0x0304_u64.to_be_bytes())
    );
}

#[tokio::test(start_paused = true)]
async fn a_span_waits_a_second_for_others() {
    let (send, _) = receiver(StatusCode::OK);
    let counters = counters();
    let (traces, exporter) = start(&settings(), send, counters.clone(), Exemplars::default()).unwrap();
    let begun = time::Instant::now();
    record(&traces);
    while counters.exported.get() == 0 {
        time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() >= EVERY);
    exporter.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_counted() {
    let (send, got) = receiver(StatusCode::SERVICE_UNAVAILABLE);
    let counters = counters();
    let (traces, exporter) = start(&settings(), send, counters.clone(), Exemplars::default()).unwrap();
    record(&traces);
    exporter.close().await;
    assert_eq!((counters.exported.get(), counters.failed.get()), (0, 1));
    assert_eq!(got.lock().unwrap().len(), 1, "it is not sent again");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_costs_the_spans_that_find_no_room() {
    let send: Transport = Arc::new(|_| Box::pin(pending()));
    let counters = counters();
    let (traces, exporter) = start(&settings(), send, counters.clone(), Exemplars::default()).unwrap();
    for _ in 0..2 * QUEUE + BATCH {
        record(&traces);
        tokio::task::yield_now().await;
    }
    let dropped = counters.dropped.get();
    assert!((1..=QUEUE as u64 + BATCH as u64).contains(&dropped), "{dropped}");
    let begun = time::Instant::now();
    exporter.close().await;
    assert!(begun.elapsed() <= LAST_WITHIN + Duration::from_millis(10), "the process ends all the same");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let settings = Settings { endpoint: "no address".to_owned(), ..settings() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    assert!(start(&settings, receiver(StatusCode::OK).0, counters(), Exemplars::default()).is_err());
}
