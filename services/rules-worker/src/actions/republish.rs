//! `republish`: the result goes to another topic of this broker, by the same door as every publish (rules-actions.md 5.1).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::{NoExternal, Statement, Template};
use fleethaven_topics::name;
use fleethaven_types::{Limits, Message, MessageProperties, Profile, Publisher, QoS, Utf8Bytes};
use serde::Deserialize;
use serde_json::Value;

use super::{Action, Error, Invocation};

/// A chain of republishes is cut after so many.
const MAX_HOPS: u8 = 10;
/// Longest header text in characters.
const MAX_HEADER: usize = 1024;

/// The settings as they stand in a rule. `roleArn` was checked when the rule was created.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    topic: String,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    headers: Headers,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Headers {
    payload_format_indicator: Option<String>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_data: Option<String>,
    message_expiry: Option<String>,
    user_properties: Vec<UserProperty>,
}

#[derive(Deserialize)]
struct UserProperty {
    key: String,
    value: String,
}

/// A republish action with its templates parsed.
pub struct Republish {
    topic: Template,
    qos: QoS,
    payload_format: Option<Template>,
    content_type: Option<Template>,
    response_topic: Option<Template>,
    correlation_data: Option<Template>,
    message_expiry: Option<Template>,
    user_properties: Vec<(Template, Template)>,
}

impl Republish {
    /// Reads the settings of a rule whose statement declares the variables that templates may use.
    pub fn new(settings: &Value, statement: &Statement) -> Result<Self, String> {
        let settings = Settings::deserialize(settings).map_err(|error| error.to_string())?;
        let parse = |text: &str| statement.template(text).map_err(|error| format!("{text}: {error}"));
        let optional = |text: &Option<String>| text.as_deref().map(parse).transpose();
        let headers = &settings.headers;
        let pair = |property: &UserProperty| Ok((parse(&property.key)?, parse(&property.value)?));
        Ok(Self {
            topic: parse(&settings.topic)?,
            qos: QoS::from_bits(settings.qos).ok_or_else(|| format!("{} is no QoS", settings.qos))?,
            payload_format: optional(&headers.payload_format_indicator)?,
            content_type: optional(&headers.content_type)?,
            response_topic: optional(&headers.response_topic)?,
            correlation_data: optional(&headers.correlation_data)?,
            message_expiry: optional(&headers.message_expiry)?,
            user_properties: headers.user_properties.iter().map(pair).collect::<Result<_, String>>()?,
        })
    }

    fn message(&self, invocation: &Invocation<'_>) -> Result<Message, Error> {
        let original = invocation.message;
        let topic = topic(&render(&self.topic, invocation, "topic")?)?;
        if original.hops >= MAX_HOPS {
            let reason = format!("a chain of {MAX_HOPS} republishes was cut: the rules form a loop");
            return Err(Error::permanent(&*topic, reason));
        }
        let expiry = self.expiry(invocation, &topic)?;
        Ok(Message {
            properties: self.properties(invocation, &topic)?,
            topic: topic.as_str().into(),
            payload: invocation.payload.clone(),
            qos: self.qos,
            retain: false,
            received_at: original.received_at,
            expires_at: expiry.map(|expiry| original.received_at.after(expiry)),
            sequence: original.sequence,
            hops: original.hops + 1,
            // The rule publishes, not the client: `clientid()` of later rules is n/a. The trace goes on.
            publisher: Arc::new(Publisher {
                scope: original.publisher.scope,
                client_id: None,
                principal: None,
                source_ip: None,
                trace: original.publisher.trace,
            }),
        })
    }

    fn expiry(&self, invocation: &Invocation<'_>, topic: &str) -> Result<Option<Duration>, Error> {
        let Some(template) = &self.message_expiry else { return Ok(None) };
        let text = render(template, invocation, topic)?;
        let seconds: u32 = text.trim().parse().map_err(|_| {
            Error::permanent(topic, format!("messageExpiry '{text}' is not a number of seconds"))
        })?;
        Ok(Some(Duration::from_secs(u64::from(seconds.max(1)))))
    }

    fn properties(
        &self,
        invocation: &Invocation<'_>,
        topic: &str,
    ) -> Result<Option<Box<MessageProperties>>, Error> {
        let text =
            |template: &Option<Template>| template.as_ref().map(|t| header(t, invocation, topic)).transpose();
        let mut user_properties = Vec::with_capacity(self.user_properties.len());
        for (key, value) in &self.user_properties {
            user_properties.push((header(key, invocation, topic)?, header(value, invocation, topic)?));
        }
        let properties = MessageProperties {
            payload_is_utf8: text(&self.payload_format)?
                .map(|format| payload_is_utf8(&format, topic))
                .transpose()?,
            content_type: text(&self.content_type)?,
            response_topic: text(&self.response_topic)?
                .map(|name| response_topic(name, topic))
                .transpose()?,
            correlation_data: text(&self.correlation_data)?
                .map(|text| correlation_data(&text, topic))
                .transpose()?,
            user_properties,
        };
        Ok((properties != MessageProperties::default()).then(|| Box::new(properties)))
    }
}

impl Action for Republish {
    fn name(&self) -> &'static str {
        "RepublishAction"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let message = self.message(invocation)?;
            let topic = message.topic.clone();
            let published = invocation.publish.publish(Arc::new(message)).await;
            published.map(|_matched| ()).map_err(|error| Error {
                message: format!("Failed to republish to {topic}: {error}"),
                resource: topic.to_string(),
                transient: true,
            })
        })
    }
}

fn render(template: &Template, invocation: &Invocation<'_>, resource: &str) -> Result<String, Error> {
    let mut external = NoExternal;
    template
        .render(invocation.input, invocation.original, invocation.variables, &mut external)
        .map_err(|failure| Error::permanent(resource, failure.to_string()))
}

/// `$$aws/…` means the reserved topic `$aws/…`; a single `$` at the start, wildcards and oversize are refused.
fn topic(rendered: &str) -> Result<String, Error> {
    let reserved = rendered.strip_prefix("$$").map(|rest| format!("${rest}"));
    if reserved.is_none() && rendered.starts_with('$') {
        let reason = format!("the topic '{rendered}' is reserved: begin it with $$ to republish there");
        return Err(Error::permanent(rendered, reason));
    }
    let topic = reserved.unwrap_or_else(|| rendered.to_owned());
    let limits = Limits::of(Profile::Standard);
    name::validate(&topic, &limits).map_err(|error| Error::permanent(rendered, error.to_string()))?;
    Ok(topic)
}

fn header(template: &Template, invocation: &Invocation<'_>, topic: &str) -> Result<Utf8Bytes, Error> {
    let text = render(template, invocation, topic)?;
    if text.chars().count() > MAX_HEADER {
        return Err(Error::permanent(topic, format!("a header is longer than {MAX_HEADER} characters")));
    }
    Ok(text.into())
}

fn payload_is_utf8(format: &str, topic: &str) -> Result<bool, Error> {
    match format {
        "UTF8_DATA" => Ok(true),
        "UNSPECIFIED_BYTES" | "" => Ok(false),
        other => Err(Error::permanent(topic, format!("'{other}' is no payload format indicator"))),
    }
}

fn response_topic(name: Utf8Bytes, topic: &str) -> Result<Utf8Bytes, Error> {
    if name.contains(['+', '#', '\0']) {
        return Err(Error::permanent(topic, format!("the response topic '{name}' contains a wildcard")));
    }
    Ok(name)
}

fn correlation_data(text: &str, topic: &str) -> Result<bytes::Bytes, Error> {
    let decoded = STANDARD.decode(text);
    decoded.map(Into::into).map_err(|_| Error::permanent(topic, "correlationData is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dollars_reach_reserved_topics_and_one_is_refused() {
        assert_eq!(topic("$$aws/things/t/shadow/update").unwrap(), "$aws/things/t/shadow/update");
        assert_eq!(topic("a/b").unwrap(), "a/b");
        for bad in ["$aws/things/t/shadow/update", "", "a/+/b", "a/#"] {
            assert!(topic(bad).is_err(), "{bad}");
        }
    }
}
