//! `amqp`: each message is published to an exchange of AMQP 0-9-1, and counts once the broker has confirmed it.
//!
//! - `session`: the connection to the broker
//! - `wire`: what is on it

mod session;
mod wire;

use std::sync::Arc;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde::de::IgnoredAny;

use super::target::Target;
use super::{Action, Error, Invocation, Settings, rendered};
use crate::actions::kept::Kept;

use session::{Publish, Session};
use wire::MAX_SHORT;

/// Most bytes of all headers: they travel in one frame.
const MAX_HEADERS: usize = 2048;

/// An amqp action with its templates parsed.
pub(super) struct Amqp {
    target: Target,
    /// `None`: the default exchange, which has every queue by its name.
    exchange: Option<Template>,
    routing_key: Template,
    headers: Vec<(String, Template)>,
    persistent: bool,
    mandatory: bool,
}

impl Amqp {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let exchange = settings.template_if_given("exchange")?;
        Ok(Self {
            target: settings.target(),
            routing_key: settings.template("routingKey")?,
            headers: settings.map()?,
            persistent: settings.own.switch_or("persistent", true),
            // A queue that is named has to be there.
            mandatory: settings.own.switch_or("mandatory", exchange.is_none()),
            exchange,
        })
    }

    fn publish(&self, invocation: &Invocation<'_>) -> Result<Publish, Error> {
        let exchange = match &self.exchange {
            Some(exchange) => invocation.text(exchange, "exchange", "amqp")?,
            None => String::new(),
        };
        let routing_key = invocation.text(&self.routing_key, "routingKey", &exchange)?;
        let refused = |reason: String| Error::permanent(named(&exchange, &routing_key), reason);
        let headers = rendered(&self.headers, invocation, &exchange)?;
        if exchange.len() > MAX_SHORT || routing_key.len() > MAX_SHORT {
            return Err(refused(format!("an exchange and a routing key have at most {MAX_SHORT} bytes")));
        }
        if headers.iter().any(|(name, _)| name.len() > MAX_SHORT)
            || headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADERS
        {
            return Err(refused(format!("the headers have more than {MAX_HEADERS} bytes")));
        }
        let json = serde_json::from_slice::<IgnoredAny>(&invocation.payload).is_ok();
        Ok(Publish {
            content_type: if json { "application/json" } else { "application/octet-stream" },
            headers,
            persistent: self.persistent,
            mandatory: self.mandatory,
            message_id: Some(invocation.id().to_string()),
            timestamp: invocation.message.received_at.as_secs(),
            exchange,
            routing_key,
            payload: invocation.payload.clone(),
        })
    }
}

/// How error messages call where a message goes: the default exchange has no name.
fn named(exchange: &str, routing_key: &str) -> String {
    if exchange.is_empty() { routing_key.to_owned() } else { exchange.to_owned() }
}

impl Action for Amqp {
    fn name(&self) -> &'static str {
        "AmqpAction"
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let publish = self.publish(invocation)?;
            let resource = named(&publish.exchange, &publish.routing_key);
            let connected = self.target.connected(invocation, &resource)?;
            let kept = connected.client::<Arc<Kept<Session>>>("", Arc::default);
            let dialer = self.target.dialer(&connected, invocation, &resource)?;
            let open = || session::open(&dialer, &connected.connection, &resource);
            let call = async {
                let (_, session) = kept.get(&resource, Session::is_open, open).await?;
                session.publish(publish, &resource).await
            };
            self.target.in_lane(invocation, &resource, call).await
        })
    }
}
