//! `republish`: the result goes to another topic of this broker, by the same door as every publish (rules-actions.md 5.1).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::{Statement, Template};
use fleethaven_topics::{name, reserved};
use fleethaven_types::{Behaviour, Limits, Message, MessageProperties, Publisher, QoS, Utf8Bytes};
use serde::Deserialize;
use serde_json::Value;

use super::{Action, Error, Invocation};
use crate::execute::dice;
use crate::retry::Policy;

/// A chain of republishes is cut after so many.
const MAX_HOPS: u8 = 10;
/// Most user properties.
const MAX_USER_PROPERTIES: usize = 100;
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
        if headers.user_properties.len() > MAX_USER_PROPERTIES {
            return Err(format!("there are more than {MAX_USER_PROPERTIES} user properties"));
        }
        let pair = |property: &UserProperty| Ok((parse(&property.key)?, parse(&property.value)?));
        Ok(Self {
            topic: parse(&settings.topic)?,
            qos: qos(settings.qos)?,
            payload_format: optional(&headers.payload_format_indicator)?,
            content_type: optional(&headers.content_type)?,
            response_topic: optional(&headers.response_topic)?,
            correlation_data: optional(&headers.correlation_data)?,
            message_expiry: optional(&headers.message_expiry)?,
            user_properties: headers.user_properties.iter().map(pair).collect::<Result<_, String>>()?,
        })
    }

    fn message(&self, invocation: &Invocation<'_>) -> Result<Message, Error> {
        let (original, now) = (invocation.message, invocation.now);
        let topic =
            topic(&render(&self.topic, invocation, "topic")?, invocation.behaviour, invocation.limits)?;
        // An error action may be one further, so that the cut can be told; what it publishes leads nowhere any more.
        if original.hops >= MAX_HOPS + u8::from(invocation.of_error()) {
            let reason = format!("a chain of {MAX_HOPS} republishes was cut: the rules form a loop");
            return Err(Error::permanent(topic, reason));
        }
        let (size, most) = (invocation.payload.len(), invocation.limits.payload_bytes);
        if size > most {
            return Err(Error::permanent(topic, format!("a payload of {size} bytes is larger than {most}")));
        }
        Ok(Message {
            properties: self.properties(invocation, &topic)?,
            expires_at: self.expiry(invocation, &topic)?.map(|expiry| now.after(expiry)),
            topic: topic.into(),
            payload: invocation.payload.clone(),
            qos: self.qos,
            retain: false,
            received_at: now,
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
        let Some(text) = optional(self.message_expiry.as_ref(), invocation, topic)? else { return Ok(None) };
        let seconds: u32 = text.trim().parse().map_err(|_| {
            Error::permanent(topic, format!("messageExpiry '{text}' is not a number of seconds"))
        })?;
        let longest = match invocation.limits.message_expiry_max {
            0 => u32::MAX,
            longest => longest,
        };
        Ok(Some(Duration::from_secs(u64::from(seconds.clamp(1, longest)))))
    }

    fn properties(
        &self,
        invocation: &Invocation<'_>,
        topic: &str,
    ) -> Result<Option<Box<MessageProperties>>, Error> {
        let text = |template: &Option<Template>| optional(template.as_ref(), invocation, topic);
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

    fn kind(&self) -> &str {
        "republish"
    }

    fn may_wait_for_broker(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let message = self.message(invocation)?;
            let topic = message.topic.clone();
            let span = invocation.span.and_then(|action| action.publish(&message));
            let published = publish(invocation, Arc::new(message)).await;
            if let Some(mut span) = span {
                if let Err(error) = &published {
                    span.fail(error);
                }
                span.end();
            }
            published.map_err(|reason| {
                Error::transient(&*topic, format!("Failed to republish to {topic}: {reason}"))
            })
        })
    }
}

/// What asks a service (`$aws/things/…/shadow/update`) is tried as other actions are: the service may be away while the broker is there,
/// and tells no repeat from another request. All else waits for the broker.
async fn publish(invocation: &Invocation<'_>, message: Arc<Message>) -> Result<(), String> {
    let Invocation { publish, waiting, .. } = *invocation;
    let asks_service = message.topic.starts_with("$aws/") && name::basic_ingest(&message.topic).is_none();
    if !asks_service {
        waiting.until_taken(publish, &message, dice).await;
        return Ok(());
    }
    let within = Policy::DEFAULT.budget;
    match tokio::time::timeout(within, publish.publish(message)).await {
        Ok(answer) => answer.map(|_matched| ()).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} seconds", within.as_secs())),
    }
}

/// QoS 0 or 1.
fn qos(bits: u8) -> Result<QoS, String> {
    let known = QoS::from_bits(bits).filter(|qos| *qos <= QoS::AtLeastOnce);
    known.ok_or_else(|| format!("qos is {bits}, not 0 or 1"))
}

fn render(template: &Template, invocation: &Invocation<'_>, resource: &str) -> Result<String, Error> {
    invocation.render(template).map_err(|failure| Error::permanent(resource, failure.to_string()))
}

/// `$$aws/…` means the reserved topic `$aws/…`; a single `$` at the start, wildcards, oversize and topics that no client may
/// publish to are refused, and so are those of jobs (AWS: republish rule action).
fn topic(rendered: &str, behaviour: &Behaviour, limits: &Limits) -> Result<String, Error> {
    let refused = |reason: String| Error::permanent(rendered, reason);
    let below = rendered.strip_prefix("$$");
    if below.is_none() && rendered.starts_with('$') {
        return Err(refused(format!(
            "the topic '{rendered}' is reserved: begin it with $$ to republish there"
        )));
    }
    let topic = below.map_or_else(|| rendered.to_owned(), |below| format!("${below}"));
    name::validate(&topic, limits).map_err(|error| refused(error.to_string()))?;
    reserved::may_publish(&topic, behaviour).map_err(|error| refused(error.to_string()))?;
    if is_of_jobs(&topic) {
        return Err(refused(format!(
            "the topic '{topic}' belongs to jobs: republishing there is not supported"
        )));
    }
    Ok(topic)
}

fn is_of_jobs(topic: &str) -> bool {
    let below_thing = topic.strip_prefix("$aws/things/").and_then(|rest| rest.split_once('/'));
    below_thing.is_some_and(|(_, rest)| rest.split('/').next() == Some("jobs"))
}

/// A header that is left out when nothing comes of its template.
fn optional(
    template: Option<&Template>,
    invocation: &Invocation<'_>,
    topic: &str,
) -> Result<Option<Utf8Bytes>, Error> {
    let text = template.map(|template| header(template, invocation, topic)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn header(template: &Template, invocation: &Invocation<'_>, topic: &str) -> Result<Utf8Bytes, Error> {
    let text = render(template, invocation, topic)?;
    if text.chars().count() > MAX_HEADER {
        return Err(Error::permanent(topic, format!("a header is longer than {MAX_HEADER} characters")));
    }
    if text.contains('\0') {
        return Err(Error::permanent(topic, "a header contains a null character"));
    }
    Ok(text.into())
}

fn payload_is_utf8(format: &str, topic: &str) -> Result<bool, Error> {
    match format {
        "UTF8_DATA" => Ok(true),
        "UNSPECIFIED_BYTES" => Ok(false),
        other => Err(Error::permanent(topic, format!("'{other}' is no payload format indicator"))),
    }
}

fn response_topic(name: Utf8Bytes, topic: &str) -> Result<Utf8Bytes, Error> {
    if name.contains(['+', '#']) {
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
    use fleethaven_types::Profile;

    use super::*;

    #[test]
    fn two_dollars_reach_reserved_topics_and_one_is_refused() {
        let topic = |text: &str| topic(text, &Behaviour::of(Profile::Standard), &Limits::of(Profile::Aws));
        assert_eq!(topic("$$aws/things/t/shadow/update").unwrap(), "$aws/things/t/shadow/update");
        assert_eq!(topic("$$aws/rules/r/a").unwrap(), "$aws/rules/r/a");
        assert_eq!(topic("a/b").unwrap(), "a/b");
        let too_deep = ["a"; 9].join("/");
        for bad in [
            "$aws/things/t/shadow/update",
            "$$aws/things/t/shadow/update/accepted",
            "$$aws/events/presence/connected/c",
            "$$aws/things/t/jobs/get",
            "$$SYS/x",
            "",
            "a/+/b",
            "a/#",
            "a\0",
            &"x".repeat(257),
            &too_deep,
        ] {
            let error = topic(bad).unwrap_err();
            assert_eq!((error.resource.as_str(), error.transient), (bad, false));
        }
    }

    #[test]
    fn settings_are_checked() {
        let statement =
            Statement::parse("SELECT * FROM 'a'", fleethaven_rulesql::SqlVersion::default()).unwrap();
        let new = |settings| Republish::new(&settings, &statement);
        assert!(new(serde_json::json!({"roleArn": "r", "topic": "a", "qos": 1})).is_ok());
        let properties = vec![serde_json::json!({"key": "k", "value": "v"}); 101];
        for bad in [
            serde_json::json!({"roleArn": "r"}),
            serde_json::json!({"topic": "a", "qos": 2}),
            serde_json::json!({"topic": "${"}),
            serde_json::json!({"topic": "a", "headers": {"userProperties": properties}}),
        ] {
            assert!(new(bad.clone()).is_err(), "{bad}");
        }
    }
}
