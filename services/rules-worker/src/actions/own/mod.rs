//! Actions that AWS has not (rules-actions.md section 7), each in the clothes of an `http` action.
//!
//! - `target`: the connection that a rule names, and its address
//! - `carried`: what connections to brokers have in common
//! - `redis`, `postgres`, …: one file per system

mod amqp;
mod carried;
mod loki;
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
mod prometheus;
#[cfg(feature = "redis")]
mod redis;
mod target;
mod web;

use fleethaven_registry::own_actions::{self, OwnAction};
use fleethaven_rulesql::{Statement, Template};

use super::{Action, Error, Fields, Invocation};

use target::Target;

/// The action, if this build has its type.
pub(super) fn build(fields: &Fields<'_>) -> Result<Box<dyn Action>, String> {
    let own = own_actions::read(fields.settings)?;
    let settings = Settings { own: &own, statement: fields.statement };
    Ok(match own.kind.name {
        "amqp" => Box::new(amqp::Amqp::new(&settings)?),
        "lokiPush" => Box::new(loki::Push::new(&settings)?),
        "mqttBridge" => Box::new(mqtt::Bridge::new(&settings)?),
        #[cfg(feature = "nats")]
        "nats" => Box::new(nats::Nats::new(&settings)?),
        #[cfg(feature = "postgres")]
        "postgres" => Box::new(postgres::Postgres::new(&settings)?),
        "prometheusRemoteWrite" => Box::new(prometheus::RemoteWrite::new(&settings)?),
        #[cfg(feature = "redis")]
        "redisPublish" | "redisSet" | "redisStream" => Box::new(redis::Redis::new(&settings)?),
        other => return Err(format!("{other} is not part of this build")),
    })
}

/// What a rule says about an action.
struct Settings<'a> {
    own: &'a OwnAction<'a>,
    statement: &'a Statement,
}

impl Settings<'_> {
    fn target(&self) -> Target {
        Target {
            kind: self.own.kind.name,
            system: self.own.kind.connection,
            connection: self.own.connection.clone(),
        }
    }

    /// A field with templates that must be there.
    fn template(&self, name: &str) -> Result<Template, String> {
        self.template_if_given(name)?.ok_or_else(|| format!("{name} is required"))
    }

    /// A field with templates.
    fn template_if_given(&self, name: &str) -> Result<Option<Template>, String> {
        self.own.field(name).map(|text| self.parse(text)).transpose()
    }

    /// The fields that have names of the rule's own.
    fn map(&self) -> Result<Vec<(String, Template)>, String> {
        self.own.map().map(|(name, text)| Ok((name.to_owned(), self.parse(text)?))).collect()
    }

    fn parse(&self, text: &str) -> Result<Template, String> {
        self.statement.template(text).map_err(|error| format!("{text}: {error}"))
    }
}

/// The fields with names of the rule's own, for a message; what comes to nothing is empty.
fn rendered(
    map: &[(String, Template)],
    invocation: &Invocation<'_>,
    resource: &str,
) -> Result<Vec<(String, String)>, Error> {
    let entry =
        |(name, value): &(String, Template)| Ok((name.clone(), invocation.possibly_empty(value, resource)?));
    map.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_is_built() {
        let statement = Statement::parse("SELECT * FROM 'a'", Default::default()).unwrap();
        let names = ["routingKey", "key", "channel", "sql", "subject", "topic", "metric", "value"];
        for kind in own_actions::KINDS {
            let mut headers: Vec<_> = names.iter().map(|name| json!({"key": name, "value": "x"})).collect();
            let settings = loop {
                let settings = json!({"url": format!("x-action://{}/c", kind.name), "headers": headers});
                match own_actions::read(&settings) {
                    Ok(_) => break settings,
                    // Fields of other types.
                    Err(reason) => headers
                        .retain(|header| !reason.contains(&format!("'{}'", header["key"].as_str().unwrap()))),
                }
            };
            let built = build(&Fields { settings: &settings, statement: &statement });
            assert_eq!(built.ok().map(|action| action.kind().to_owned()).as_deref(), Some(kind.name));
        }
    }
}
