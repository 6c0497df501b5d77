//! Publish: `POST /topics/{topic}` (broker.md section 15).

use std::sync::Arc;

use fleethaven_fabric::traces::TRACEPARENT;
use fleethaven_policy::Action;
use fleethaven_topics::{name, reserved};
use fleethaven_types::{Message, Publisher, QoS};
use fleethaven_usage::messages;
use uuid::Uuid;

use super::authorization::{Asked, On, authorize};
use super::parameters;
use crate::answer::{Answer, Outcome};
use crate::authentication::Principal;
use crate::call::Call;
use crate::error::Error;

/// Topics whose answers go to the client that asked: over HTTPS there is none (provisioning.md section 5).
const NEEDS_A_CLIENT: [&str; 2] = ["$aws/certificates/", "$aws/provisioning-templates/"];

pub(super) async fn publish(call: &Call<'_>) -> Outcome {
    let topic = call.input.label("topic")?;
    let qos = parameters::qos(&call.input)?;
    let retain = call.input.query_boolean("retain")?;
    check_topic(call, &topic)?;
    authorize_publish(call, &topic, retain).await?;
    let message = message(call, &topic, qos, retain)?;
    let (trace_id, counted) = (Uuid::from_u128(message.trace_id()), messages::published(&message));
    let owner = call.state.usage.owner_of_message(&message.publisher);
    call.state.data_plane.publish(message).await?;
    call.state.usage.add(owner, messages::amounts(counted));
    Ok(Answer::of([("message", "OK".into()), ("traceId", trace_id.to_string().into())]))
}

fn check_topic(call: &Call<'_>, topic: &str) -> Result<(), Error> {
    name::validate(topic, call.limits()).map_err(|error| Error::invalid(error.to_string()))?;
    reserved::may_publish(topic, &call.state.config.behaviour)
        .map_err(|error| Error::invalid(error.to_string()))?;
    if NEEDS_A_CLIENT.iter().any(|prefix| topic.starts_with(prefix)) {
        return Err(Error::invalid(format!("'{topic}' answers MQTT clients only")));
    }
    Ok(())
}

async fn authorize_publish(call: &Call<'_>, topic: &str, retain: bool) -> Result<(), Error> {
    let with_retain: &[Action] = &[Action::Publish, Action::RetainPublish];
    let actions = if retain { with_retain } else { &[Action::Publish] };
    authorize(call, &Asked::new(actions, On::Topic(topic))).await
}

/// The message of a request: its body, its MQTT 5 parameters, its caller as the publisher. Where the request goes on with its
/// client's trace, so does the message.
pub(super) fn message(call: &Call<'_>, topic: &str, qos: QoS, retain: bool) -> Result<Message, Error> {
    let limits = call.limits();
    let payload = call.input.body.clone();
    // The message is part of the request's trace: it has the same id.
    let trace_id = call.trace.map_or_else(|| Uuid::new_v4().as_u128(), |trace| trace.context.trace_id());
    let (trace, sequence) = Uuid::from_u128(trace_id).as_u64_pair();
    let principal = match &call.principal {
        Principal::Operator(signed) => signed.principal_id(),
        Principal::Certificate(id) | Principal::Both(id, _) => id.clone(),
        Principal::Authorized(granted) => granted.principal_id.clone(),
    };
    let publisher = Publisher {
        scope: call.scope,
        client_id: None,
        principal: Some(principal.as_str().into()),
        source_ip: Some(call.source_ip),
        trace,
    };
    let mut properties = parameters::properties(&call.input, &payload, limits)?;
    if let Some(trace) = call.trace.filter(|trace| trace.continued) {
        let of_message = &mut properties.get_or_insert_default().user_properties;
        if of_message.iter().all(|(name, _)| &**name != TRACEPARENT) {
            of_message.push((TRACEPARENT.into(), trace.context.to_string().into()));
        }
    }
    Ok(Message {
        topic: topic.into(),
        qos,
        retain,
        properties,
        payload,
        received_at: call.now,
        expires_at: parameters::expires_at(&call.input, call.now, limits)?,
        sequence,
        hops: 0,
        publisher: Arc::new(publisher),
    })
}
