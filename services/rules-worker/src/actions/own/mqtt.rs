//! `mqttBridge`: each message is published to another broker.
//!
//! - `session`: the connection to it

mod session;

use std::sync::Arc;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_mqtt::Publish;
use fleethaven_rulesql::Template;
use fleethaven_types::QoS;

use super::target::Target;
use super::{Action, Error, Invocation, Settings};
use crate::actions::kept::Kept;

use session::Session;

/// Longest topic in bytes: MQTT's own.
const MAX_TOPIC: usize = 65_535;

/// A mqttBridge action with its template parsed.
pub(super) struct Bridge {
    target: Target,
    topic: Template,
    qos: QoS,
    retain: bool,
}

impl Bridge {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let at_most_once = settings.own.number("qos") == Some(0);
        Ok(Self {
            target: settings.target(),
            topic: settings.template("topic")?,
            qos: if at_most_once { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            retain: settings.own.switch("retain"),
        })
    }
}

impl Action for Bridge {
    fn name(&self) -> &'static str {
        "MqttBridgeAction"
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let topic = invocation.text(&self.topic, "topic", "mqttBridge")?;
            if topic.len() > MAX_TOPIC || topic.contains(['+', '#', '\0']) {
                return Err(Error::permanent(topic, "this is no topic that can be published to"));
            }
            let publish = Publish {
                qos: self.qos,
                retain: self.retain,
                ..Publish::new(topic.clone(), invocation.payload.clone())
            };
            let connected = self.target.connected(invocation, &topic)?;
            let kept = connected.client::<Arc<Kept<Session>>>("", Arc::default);
            let dialer = self.target.dialer(&connected, invocation, &topic)?;
            let open = || session::open(&dialer, &connected.connection, &topic);
            let call = async {
                let (_, session) = kept.get(&topic, Session::is_open, open).await?;
                session.publish(publish, &topic).await
            };
            self.target.in_lane(invocation, &topic, call).await
        })
    }
}
