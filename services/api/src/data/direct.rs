//! SendDirectMessage (broker.md section 15): a message for one connected client.

use std::time::Duration;

use fleethaven_fabric::connections::DirectMessage;
use fleethaven_policy::Action;
use fleethaven_topics::name;
use fleethaven_types::QoS;
use uuid::Uuid;

use super::authorization::{Asked, On, authorize};
use super::connections::{Rated, client_id, count};
use super::publish::message;
use crate::answer::{Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::missing;

/// Seconds that a confirmation is waited for when the request does not say, and at most.
const TIMEOUT: u64 = 5;
const LONGEST_TIMEOUT: u64 = 15;

pub(super) async fn send(call: &Call<'_>) -> Outcome {
    let client_id = client_id(call)?;
    let topic = topic(call)?;
    let confirm_within = confirm_within(call)?;
    let asked =
        Asked { topic: Some(&topic), ..Asked::new(&[Action::SendDirectMessage], On::Client(&client_id)) };
    authorize(call, &asked).await?;
    count(call, Rated::SendDirectMessage)?;
    let message = message(call, &topic, QoS::AtMostOnce, false)?;
    let trace_id = Uuid::from_u128(message.trace_id());
    call.state.connections.send(DirectMessage { client_id, message, confirm_within }).await?;
    Ok(Answer::of([("message", "OK".into()), ("traceId", trace_id.to_string().into())]))
}

fn topic(call: &Call<'_>) -> Result<String, Error> {
    let topic = call.input.query_string("topic").ok_or_else(|| missing("topic"))?;
    name::validate(&topic, call.limits()).map_err(|error| Error::invalid(error.to_string()))?;
    if topic.starts_with('$') {
        return Err(Error::invalid("'topic' must not start with '$'"));
    }
    Ok(topic)
}

/// How long to wait for the client's acknowledgement, if the request asks for it.
fn confirm_within(call: &Call<'_>) -> Result<Option<Duration>, Error> {
    let confirmation = call.input.query_boolean("confirmation")?;
    let timeout: Option<u64> = call.input.query_integer("timeout")?;
    if timeout.is_some_and(|seconds| !(1..=LONGEST_TIMEOUT).contains(&seconds)) {
        return Err(Error::invalid(format!("'timeout' must be between 1 and {LONGEST_TIMEOUT} seconds")));
    }
    Ok(confirmation.then(|| Duration::from_secs(timeout.unwrap_or(TIMEOUT))))
}
