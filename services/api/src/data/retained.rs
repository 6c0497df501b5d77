//! GetRetainedMessage and ListRetainedMessages (broker.md section 15).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_policy::Action;
use fleethaven_topics::name;
use fleethaven_types::MessageProperties;
use serde_json::{Value, json};

use super::authorization::{Asked, On, authorize};
use super::page::Page;
use crate::answer::{Answer, Outcome, list as list_of, members_of};
use crate::call::Call;
use crate::error::Error;

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let topic = call.input.label("topic")?;
    name::validate(&topic, call.limits()).map_err(|error| Error::invalid(error.to_string()))?;
    authorize(call, &Asked::new(&[Action::GetRetainedMessage], On::Topic(&topic))).await?;
    call.count(|account| account.retained_reads.as_ref())?;
    let found = call.state.retained.get(call.scope, &topic).map_err(unavailable)?;
    let message = found.ok_or_else(|| Error::NotFound(format!("no message is retained on '{topic}'")))?;
    Ok(Answer::of([
        ("topic", topic.into()),
        ("payload", STANDARD.encode(&message.payload).into()),
        ("qos", (message.qos as u8).into()),
        ("lastModifiedTime", message.received_at.as_millis().into()),
        ("userProperties", user_properties(message.properties.as_deref())),
    ]))
}

/// As Publish takes them: base64 of a JSON array of objects with one member each; null when there are none.
fn user_properties(properties: Option<&MessageProperties>) -> Value {
    let pairs = properties.map(|properties| properties.user_properties.as_slice()).unwrap_or_default();
    if pairs.is_empty() {
        return Value::Null;
    }
    let objects = list_of(pairs, |(name, value)| json!({ name.as_str(): value.as_str() }));
    STANDARD.encode(objects.to_string()).into()
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let page = Page::read(&call.input)?;
    authorize(call, &Asked::new(&[Action::ListRetainedMessages], On::Everything)).await?;
    call.count(|account| account.retained_lists.as_ref())?;
    let store = &call.state.retained;
    let mut topics = store.list(call.scope, page.after.as_deref(), page.limit + 1).map_err(unavailable)?;
    let next_token = page.next_token(&mut topics, |kept| &kept.topic);
    let summary = |kept: &fleethaven_storage::RetainedTopic| {
        members_of([
            ("topic", kept.topic.as_str().into()),
            ("payloadSize", kept.payload_bytes.into()),
            ("qos", (kept.qos as u8).into()),
            ("lastModifiedTime", kept.received_at.as_millis().into()),
        ])
    };
    Ok(Answer::of([("retainedTopics", list_of(&topics, summary)), ("nextToken", next_token)]))
}

fn unavailable(error: fleethaven_storage::Error) -> Error {
    Error::Unavailable(error.to_string())
}
