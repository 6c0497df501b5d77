//! Which registry events are published (provisioning.md section 11).

use std::collections::BTreeMap;

use fleethaven_registry::shapes::UpdateEventConfigurations;
use fleethaven_registry::{Action, QueryKind, QueryReply};
use serde_json::{Map, Value, json};

use super::expect_reply;
use crate::answer::{Answer, Outcome, seconds};
use crate::call::Call;
use crate::members::{Members, enumerated};

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let reply = call.query(QueryKind::DescribeEventConfigurations).await?;
    let described = expect_reply!(reply, QueryReply::EventConfigurations(described) => *described);
    let switch = |(kind, enabled): (fleethaven_registry::shapes::EventType, bool)| {
        (kind.as_str().to_owned(), json!({"Enabled": enabled}))
    };
    let configurations: Map<String, Value> = described.enabled.into_iter().map(switch).collect();
    Ok(Answer::of([
        ("eventConfigurations", configurations.into()),
        ("creationDate", described.created_at.map_or(Value::Null, seconds)),
        ("lastModifiedDate", described.modified_at.map_or(Value::Null, seconds)),
    ]))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let mut enabled = BTreeMap::new();
    if let Some(configurations) = body.object("eventConfigurations")? {
        for name in configurations.names() {
            let configuration = configurations.object(name)?;
            let is_enabled =
                configuration.map_or(Ok(false), |configuration| configuration.boolean("Enabled"))?;
            enabled.insert(enumerated("eventConfigurations", name)?, is_enabled);
        }
    }
    call.carry_out(Action::UpdateEventConfigurations(Box::new(UpdateEventConfigurations { enabled })))
        .await?;
    Ok(Answer::object())
}
