//! Shadow updates: each line is the body of one, carried out on the same shadow.

use fleethaven_shadow::{Document, Entry, Limits, Request, ShadowName, answer, update};
use fleethaven_types::Timestamp;
use serde_json::Value;

use crate::lines;

const MOST: usize = 16;

pub(crate) fn updates(data: &[u8]) {
    let limits = Limits { state_bytes: 512, ..Limits::default() };
    let mut entry: Option<Entry> = None;
    for (second, body) in lines(data, MOST).into_iter().enumerate() {
        let now = Timestamp(second as u64 * 1000);
        let Ok(request) = Request::read(body, &limits) else { continue };
        let Ok(updated) = update(entry.clone(), &request, now, &limits) else { continue };
        assert_eq!(updated.current.version, updated.previous.version + 1);
        let document = &updated.current.document;
        assert!(document.state_bytes() <= limits.state_bytes);
        let [desired, reported] = document.to_sections();
        assert_eq!(Document::from_sections(&desired, &reported).as_ref(), Ok(document));
        check_answers(&request, &updated, now);
        entry = Some(Entry::Live(updated.current));
    }
    if let Ok(topic) = std::str::from_utf8(data)
        && let Some((name, operation)) = fleethaven_shadow::topic::request(topic)
    {
        assert_eq!(fleethaven_shadow::topic::of(&name, operation.as_str()), topic);
        assert_eq!(ShadowName::new(name.thing(), name.shadow()), Some(name));
    }
}

/// Each is JSON, and its metadata has the shape of its state.
fn check_answers(request: &Request, updated: &fleethaven_shadow::Update, now: Timestamp) {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    parse(&updated.accepted(request));
    let documents = parse(&updated.documents(request.client_token()));
    let current = &documents["current"];
    assert!(mirrors(&current["metadata"], &current["state"]), "{documents}");
    if let Some(delta) = updated.delta(None).as_deref().map(parse) {
        assert!(mirrors(&delta["metadata"], &delta["state"]), "{delta}");
    }
    let document = parse(&answer::document(&updated.current, now, None));
    assert_eq!(document["metadata"], current["metadata"]);
}

fn mirrors(metadata: &Value, state: &Value) -> bool {
    match (metadata, state) {
        (Value::Object(metadata), Value::Object(state)) => {
            metadata.len() == state.len()
                && state
                    .iter()
                    .all(|(name, value)| metadata.get(name).is_some_and(|below| mirrors(below, value)))
        }
        (Value::Array(metadata), Value::Array(state)) => {
            metadata.len() == state.len()
                && metadata.iter().zip(state).all(|(below, value)| mirrors(below, value))
        }
        (Value::Object(leaf), _) => leaf.len() == 1 && leaf.get("timestamp").is_some_and(Value::is_u64),
        _ => false,
    }
}
