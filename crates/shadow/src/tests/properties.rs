//! What holds for any updates.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Bench, parse};
use crate::document::Damaged;
use crate::{Document, Limits};

/// Values of a request: few names, so that updates meet; nulls anywhere but in arrays.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        Just(json!(1.0)),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let element = inner.clone().prop_filter("no null in arrays", |value| !has_null(value));
        prop_oneof![prop::collection::vec(element, 0..3).prop_map(Value::from), object(inner),]
    })
}

fn object(inner: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc]", inner, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

fn body() -> impl Strategy<Value = String> {
    let section = || prop_oneof![1 => Just(Value::Null), 9 => object(value())];
    let sections = (prop::option::of(section()), prop::option::of(section()));
    sections.prop_map(|(desired, reported)| {
        let named = [("desired", desired), ("reported", reported)];
        let state: Map<_, _> =
            named.into_iter().filter_map(|(name, section)| Some((name.to_owned(), section?))).collect();
        json!({ "state": state }).to_string()
    })
}

/// Equality as a delta sees it.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// RFC 7386, which an update is, apart from dates and empty objects.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut members = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        match value {
            Value::Null => drop(members.remove(name)),
            value => {
                let below = merged(members.get(name).unwrap_or(&Value::Null), value);
                members.insert(name.clone(), below);
            }
        }
    }
    Value::Object(members)
}

/// Without objects that hold nothing, except in arrays.
fn pruned(value: &Value) -> Option<Value> {
    let Value::Object(members) = value else { return Some(value.clone()) };
    let kept: Map<_, _> =
        members.iter().filter_map(|(name, value)| Some((name.clone(), pruned(value)?))).collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// Whether `metadata` has the shape of `state`: a date for each leaf.
fn mirrors(metadata: &Value, state: &Value) -> bool {
    match (metadata, state) {
        (Value::Object(metadata), Value::Object(state)) => {
            metadata.len() == state.len()
                && state.iter().all(|(name, value)| metadata.get(name).is_some_and(|m| mirrors(m, value)))
        }
        (Value::Array(metadata), Value::Array(state)) => {
            metadata.len() == state.len() && metadata.iter().zip(state).all(|(m, value)| mirrors(m, value))
        }
        (Value::Object(leaf), _) => leaf.len() == 1 && leaf.get("timestamp").is_some_and(Value::is_u64),
        _ => false,
    }
}

/// No object that holds nothing, except in arrays.
fn is_pruned(value: &Value) -> bool {
    value.as_object().is_none_or(|members| !members.is_empty() && members.values().all(is_pruned))
}

fn section(state: &Value, name: &str) -> Value {
    state.get(name).cloned().unwrap_or_else(|| json!({}))
}

proptest! {
    #[test]
    fn updates_merge_date_count_and_prune(bodies in prop::collection::vec(body(), 1..6)) {
        let mut bench = Bench::new();
        let mut expected = json!({});
        for (number, body) in bodies.iter().enumerate() {
            bench.wait(1);
            let [accepted, delta, documents] = bench.messages(body);
            let current = &documents["current"];
            expected = merged(&expected, &parse(body)["state"]);
            prop_assert_eq!(&current["state"], &pruned(&expected).unwrap_or_else(|| json!({})));
            prop_assert_eq!(&current["version"], &json!(number + 1));
            prop_assert_eq!(&documents["previous"]["version"], &json!(number));
            prop_assert!(mirrors(&current["metadata"], &current["state"]), "{}", documents);
            for name in ["desired", "reported"] {
                prop_assert!(current["state"].get(name).is_none_or(is_pruned), "{}", documents);
            }
            for message in [&accepted, &documents] {
                prop_assert_eq!(&message["timestamp"], &json!(bench.now.as_secs()));
            }
            let state = &bench.state();
            prop_assert_eq!(state.get("delta"), delta.get("state"));
        }
    }

    #[test]
    fn the_same_update_again_changes_no_state(first in body(), again in body()) {
        let mut bench = Bench::after(&[&first, &again]);
        let state = bench.state();
        bench.update(&again).unwrap();
        prop_assert_eq!(bench.state(), state);
    }

    /// Reporting the delta leaves nothing to do but what desired cannot say: the removal of members.
    #[test]
    fn a_device_that_reports_the_delta_has_done_what_is_desired(first in body(), second in body()) {
        let mut bench = Bench::after(&[&first, &second]);
        let state = bench.state();
        let (desired, reported) = (section(&state, "desired"), section(&state, "reported"));
        prop_assert_eq!(state.get("delta").is_none(), covers(&reported, &desired), "{}", state);
        let Some(delta) = state.get("delta") else { return Ok(()) };
        prop_assert!(covers(&desired, delta), "every value of the delta is desired: {}", state);
        let report = json!({"state": {"reported": delta}}).to_string();
        bench.update(&report).unwrap();
        let after = bench.state();
        prop_assert_eq!(after.get("delta"), None, "{} then {}", state, report);
    }

    #[test]
    fn stored_documents_are_read_as_they_were(first in body(), second in body()) {
        let mut bench = Bench::after(&[&first]);
        bench.wait(3);
        bench.update(&second).unwrap();
        let document = &bench.shadow().document;
        let [desired, reported] = document.to_sections();
        prop_assert_eq!(&Document::from_sections(&desired, &reported), &Ok(document.clone()));
        let mut short = desired;
        short.times.push(1);
        let damaged = Err(Damaged::Times(short.times.len()));
        if !short.json.is_empty() {
            prop_assert_eq!(Document::from_sections(&short, &reported), damaged);
        }
    }

    #[test]
    fn nothing_that_comes_panics(body in prop::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}:,\"a0-9nul-]{0,40}") {
        let _ = crate::Request::read(&body, &Limits::default());
        let _ = crate::Request::read(text.as_bytes(), &Limits::default());
    }
}

/// Whether `larger` has every value of `smaller`, with arrays as one value.
fn covers(larger: &Value, smaller: &Value) -> bool {
    match (larger, smaller) {
        (Value::Object(larger), Value::Object(smaller)) => {
            smaller.iter().all(|(name, value)| larger.get(name).is_some_and(|above| covers(above, value)))
        }
        _ => same(larger, smaller),
    }
}
