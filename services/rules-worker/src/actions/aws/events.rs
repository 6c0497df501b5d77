//! `iotEvents` and `iotAnalytics`: each message, or each element of an array, is a message of an input or a channel
//! (rules-actions.md 5.16).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::{Value, json};

use super::json::{self, Operation, first_refused, text};
use super::{Action, Error, Fields, Invocation, Service};

const EVENTS: Operation = Operation { host: "data.iotevents", service: "ioteventsdata", target: None };
const ANALYTICS: Operation = Operation { host: "iotanalytics", service: "iotanalytics", target: None };
/// Most messages of one request.
const MAX_EVENTS: usize = 10;
const MAX_ANALYTICS: usize = 100;
/// Longest id of a message.
const MAX_ID: usize = 128;

/// The payloads that an action sends: one, or with `batchMode` and an array, one for each element.
fn payloads(
    invocation: &Invocation<'_>,
    batch: bool,
    most: usize,
    resource: &str,
) -> Result<Vec<String>, Error> {
    let payload = &invocation.payload;
    let array = batch.then(|| serde_json::from_slice::<Vec<Value>>(payload).ok()).flatten();
    let Some(array) = array else { return Ok(vec![STANDARD.encode(payload)]) };
    if array.len() > most {
        return Err(Error::permanent(resource, format!("{} messages: a batch may have {most}", array.len())));
    }
    Ok(array.iter().map(|element| STANDARD.encode(element.to_string())).collect())
}

/// Payloads with the ids by which the service knows repeats: within a batch, with their places.
fn numbered(invocation: &Invocation<'_>, payloads: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let (id, alone) = (invocation.id(), payloads.len() == 1);
    let name = move |place| if alone { id.to_string() } else { format!("{id}-{place}") };
    (1..).map(name).zip(payloads)
}

/// An iotEvents action with its templates parsed.
pub(super) struct Events {
    role: String,
    input: Template,
    message_id: Option<Template>,
    batch: bool,
}

impl Events {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let (message_id, batch) = (fields.template_if_given("messageId")?, fields.flag("batchMode"));
        if batch && message_id.is_some() {
            return Err("with batchMode there is no messageId".to_owned());
        }
        let role = fields.text("roleArn")?.to_owned();
        Ok(Self { role, input: fields.template("inputName")?, message_id, batch })
    }
}

impl Action for Events {
    fn name(&self) -> &'static str {
        "IotEventsAction"
    }

    fn kind(&self) -> &str {
        "iotEvents"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let input = invocation.text(&self.input, "inputName", "iotEvents")?;
            let id = invocation.optional(self.message_id.as_ref(), &input)?;
            if id.as_ref().is_some_and(|id| id.chars().count() > MAX_ID) {
                return Err(Error::permanent(input, format!("messageId has more than {MAX_ID} characters")));
            }
            let payloads = payloads(invocation, self.batch, MAX_EVENTS, &input)?;
            let messages = numbered(invocation, payloads);
            let message = |(numbered, payload): (String, String)| {
                let id = id.as_ref().unwrap_or(&numbered);
                json!({"messageId": id, "inputName": input, "payload": payload})
            };
            let messages: Vec<_> = messages.map(message).collect();
            let service = Service::of(invocation, "iotEvents", &self.role, &input)?;
            let told = (input.as_str(), "Failed to send message to IoT Events");
            let body = json!({ "messages": messages });
            let answer = json::call(&service, &EVENTS, "/inputs/messages", &body, told).await?;
            let describe = |entry: &Value| (text(entry, &["errorCode"]), text(entry, &["errorMessage"]));
            first_refused(&answer, "BatchPutMessageErrorEntries", describe, told)
        })
    }
}

/// An iotAnalytics action with its template parsed.
pub(super) struct Analytics {
    role: String,
    channel: Template,
    batch: bool,
}

impl Analytics {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        // The older `channelArn` ends with the name.
        let channel = match (fields.template_if_given("channelName")?, fields.text_if_given("channelArn")) {
            (Some(name), _) => name,
            (None, Some(arn)) => fields.parse(arn.rsplit('/').next().unwrap_or_default())?,
            (None, None) => return Err("channelName is required".to_owned()),
        };
        let role = fields.text_if_given("roleArn").unwrap_or_default().to_owned();
        Ok(Self { role, channel, batch: fields.flag("batchMode") })
    }
}

impl Action for Analytics {
    fn name(&self) -> &'static str {
        "IotAnalyticsAction"
    }

    fn kind(&self) -> &str {
        "iotAnalytics"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let channel = invocation.text(&self.channel, "channelName", "iotAnalytics")?;
            let payloads = payloads(invocation, self.batch, MAX_ANALYTICS, &channel)?;
            let messages = numbered(invocation, payloads);
            let message = |(id, payload): (_, _)| json!({"messageId": id, "payload": payload});
            let messages: Vec<_> = messages.map(message).collect();
            let service = Service::of(invocation, "iotAnalytics", &self.role, &channel)?;
            let told = (channel.as_str(), "Failed to send message to IoT Analytics");
            let body = json!({"channelName": channel, "messages": messages});
            let answer = json::call(&service, &ANALYTICS, "/messages/batch", &body, told).await?;
            let describe = |entry: &Value| (text(entry, &["errorCode"]), text(entry, &["errorMessage"]));
            first_refused(&answer, "batchPutMessageErrorEntries", describe, told)
        })
    }
}
