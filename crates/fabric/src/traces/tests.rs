use std::sync::{Mutex, PoisonError};

use fleethaven_types::{MessageProperties, Publisher, QoS, Scope, Timestamp};

use super::*;

#[derive(Default)]
struct Ended(Mutex<Vec<Span>>);

impl Sink for Ended {
    fn now(&self) -> u64 {
        7
    }

    fn end(&self, span: Span) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    fn observed(&self, _: Exemplar) {}
}

impl Ended {
    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn traces(ratio: f64, continues: bool, seed: u64) -> (Traces, Arc<Ended>) {
    let ended = Arc::new(Ended::default());
    (Traces::new(Sampling { ratio, continues }, seed, ended.clone()), ended)
}

fn message(sequence: u64, traceparent: Option<&str>) -> Message {
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
    let properties = traceparent.map(|text| {
        let user_properties = vec![(TRACEPARENT.into(), text.into())];
        Box::new(MessageProperties { user_properties, ..MessageProperties::default() })
    });
    Message {
        topic: "a/b".into(),
        payload: "x".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties,
        received_at: Timestamp(1),
        expires_at: None,
        sequence,
        hops: 0,
        publisher: Arc::new(Publisher {
            scope,
            client_id: Some("lamp".into()),
            principal: None,
            source_ip: None,
            trace: 9,
        }),
    }
}

#[test]
fn processes_agree_on_what_is_recorded_and_on_who_is_below_whom() {
    let ((gateway, published), (router, routed), (worker, ran)) =
        (traces(1.0, false, 1), traces(1.0, false, 2), traces(1.0, false, 3));
    let message = message(4, None);
    let mut publish = gateway.of(&message).unwrap().publish(&message, None).unwrap();
    publish.fail("full");
    publish.end();
    router.of(&message).unwrap().route(&message).unwrap().end();
    worker.of(&message).unwrap().routed("rule", Kind::Consumer).unwrap().end();
    gateway.of(&message).unwrap().routed("deliver", Kind::Producer).unwrap().end();
    let [publish, deliver] = <[Span; 2]>::try_from(published.take()).unwrap();
    let ([route], [rule]) =
        (<[Span; 1]>::try_from(routed.take()).unwrap(), <[Span; 1]>::try_from(ran.take()).unwrap());
    assert_eq!(publish.context.trace_id(), message.trace_id());
    assert_eq!((publish.parent, publish.failure.as_deref()), (None, Some("full")));
    assert_eq!(route.parent, Some(publish.context.span_id()));
    for below in [&rule, &deliver] {
        assert_eq!(below.parent, Some(route.context.span_id()));
        assert_eq!(below.context.trace_id(), message.trace_id());
    }
    assert_ne!(rule.context, deliver.context);
    let client = publish.attributes.iter().find(|(name, _)| *name == "messaging.client.id").unwrap();
    assert_eq!(client.1, Value::from("lamp"));
}

#[test]
fn a_part_is_recorded_and_a_larger_part_holds_it() {
    let (tenth, _) = traces(0.1, false, 0);
    let (half, _) = traces(0.5, false, 0);
    let messages: Vec<_> = (0..10_000).map(|sequence| message(sequence, None)).collect();
    let recorded = |traces: &Traces| messages.iter().filter(|message| traces.of(message).is_some()).count();
    assert!((900..1100).contains(&recorded(&tenth)), "{}", recorded(&tenth));
    assert!((4800..5200).contains(&recorded(&half)), "{}", recorded(&half));
    assert!(messages.iter().all(|m| tenth.of(m).is_none() || half.of(m).is_some()));
    assert_eq!(recorded(&traces(0.0, false, 0).0), 0);
    assert_eq!(recorded(&Traces::off()), 0);
}

#[test]
fn a_client_s_trace_goes_on_where_that_is_wanted() {
    let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let message_of = |text: &str| message(1, Some(text));
    let (on, ended) = traces(0.0, true, 0);
    let traced = message_of(sampled);
    on.of(&traced).unwrap().publish(&traced, None).unwrap().end();
    let [span] = <[Span; 1]>::try_from(ended.take()).unwrap();
    let brought: TraceContext = sampled.parse().unwrap();
    assert_eq!((span.context.trace_id(), span.parent), (brought.trace_id(), Some(brought.span_id())));
    let unrecorded = sampled.replace("-01", "-00");
    assert!(on.of(&message_of(&unrecorded)).is_none(), "its sender does not record it");
    assert!(traces(1.0, true, 0).0.of(&message_of("nonsense")).is_some(), "as if there were none");
    let (own, _) = traces(0.0, false, 0);
    assert!(own.of(&traced).is_none(), "clients do not decide");
}

#[test]
fn requests_begin_a_trace_or_go_on_with_one() {
    let fresh = TraceContext::new(5, 6, true).unwrap();
    let brought: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let (off, span) = Traces::off().request(Some(brought), fresh);
    assert!(span.is_none() && !off.context.is_sampled());
    assert_eq!(off.context.trace_id(), brought.trace_id(), "what is logged can be found by it");
    let (own, ended) = traces(1.0, false, 0);
    let (trace, span) = own.request(Some(brought), fresh);
    assert_eq!((trace.context, trace.continued), (fresh, false));
    let mut span = span.unwrap();
    span.rename("CreateThing");
    let below = own.call(span.context(), || "a.B/C".to_owned()).unwrap();
    below.end();
    span.end();
    let [below, span] = <[Span; 2]>::try_from(ended.take()).unwrap();
    assert_eq!((span.parent, &*span.name), (None, "CreateThing"));
    assert_eq!(below.parent, Some(span.context.span_id()));
    let (trace, span) = traces(0.0, true, 0).0.request(Some(brought), fresh);
    assert!(trace.continued && span.is_some());
    assert_eq!((trace.context.trace_id(), trace.context.span_id()), (brought.trace_id(), 6));
    assert!(own.call(fresh.with_sampled(false), String::new).is_none());
}

#[test]
fn what_is_republished_is_another_step_of_the_same_trace() {
    let (traces, ended) = traces(1.0, false, 0);
    let first = message(1, None);
    let again = Message { hops: 1, topic: "c".into(), ..first.clone() };
    let action = traces.of(&first).unwrap().routed("action", Kind::Client).unwrap();
    action.publish(&again).unwrap().end();
    let [publish] = <[Span; 1]>::try_from(ended.take()).unwrap();
    assert_eq!(publish.parent, Some(action.context().span_id()));
    assert_eq!(publish.context.trace_id(), first.trace_id());
    let original = traces.of(&first).unwrap().publish(&first, None).unwrap();
    assert_ne!(publish.context, original.context());
}
