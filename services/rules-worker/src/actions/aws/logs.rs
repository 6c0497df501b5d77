//! `cloudwatchLogs`: each message, or each element of an array, is an event of a log stream that is made when it is not there
//! (rules-actions.md 5.14).

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde::Deserialize;

use super::{Action, Error, Fields, Invocation, Service, client};

const DOING: &str = "Failed to put CloudWatch log events";

/// A cloudwatchLogs action with its template parsed.
pub(super) struct Logs {
    role: String,
    group: Template,
    batch: bool,
}

/// An element of a batch.
#[derive(Deserialize)]
struct Event {
    /// Milliseconds of Unix time.
    timestamp: i64,
    message: String,
}

impl Logs {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            group: fields.template("logGroupName")?,
            batch: fields.flag("batchMode"),
        })
    }

    /// The events, in the order of their times.
    fn events(&self, invocation: &Invocation<'_>, group: &str) -> Result<Vec<InputLogEvent>, Error> {
        let event = |timestamp, message: String| {
            let event = InputLogEvent::builder().timestamp(timestamp).message(message).build();
            event.map_err(|error| Error::permanent(group, error.to_string()))
        };
        if !self.batch {
            let message = String::from_utf8(invocation.payload.to_vec())
                .map_err(|_| Error::permanent(group, "the payload is no text"))?;
            let now = i64::try_from(invocation.now.as_millis()).unwrap_or(i64::MAX);
            return Ok(vec![event(now, message)?]);
        }
        let mut events: Vec<Event> = serde_json::from_slice(&invocation.payload).map_err(|error| {
            let reason = format!("the payload is no array of {{timestamp, message}}: {error}");
            Error::permanent(group, reason)
        })?;
        events.sort_by_key(|event| event.timestamp);
        events.into_iter().map(|one| event(one.timestamp, one.message)).collect()
    }

    async fn put(
        &self,
        service: &Service<'_>,
        (group, stream): (&str, &str),
        events: Vec<InputLogEvent>,
    ) -> Result<(), Error> {
        let client = client!(service, aws_sdk_cloudwatchlogs);
        let request = || {
            let request = client.put_log_events().log_group_name(group).log_stream_name(stream);
            request.set_log_events(Some(events.clone())).send()
        };
        let first = || async {
            match request().await {
                Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(false),
                sent => sent.map(|_| true),
            }
        };
        if service.call(group, DOING, first).await? {
            return Ok(());
        }
        create(service, &client, group, stream).await?;
        service.call(group, DOING, request).await.map(drop)
    }
}

/// Makes the stream, unless somebody else just has.
async fn create(service: &Service<'_>, client: &Client, group: &str, stream: &str) -> Result<(), Error> {
    let created = || async {
        let request = client.create_log_stream().log_group_name(group).log_stream_name(stream);
        match request.send().await {
            Err(error) if error.code() == Some("ResourceAlreadyExistsException") => Ok(()),
            created => created.map(drop),
        }
    };
    service.call(group, "Failed to create CloudWatch log stream", created).await
}

impl Action for Logs {
    fn name(&self) -> &'static str {
        "CloudwatchLogsAction"
    }

    fn kind(&self) -> &str {
        "cloudwatchLogs"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let group = invocation.text(&self.group, "logGroupName", "cloudwatchLogs")?;
            let events = self.events(invocation, &group)?;
            if events.is_empty() {
                return Ok(());
            }
            let service = Service::of(invocation, "cloudwatchLogs", &self.role, &group)?;
            let stamp = fleethaven_sigv4::date::format(invocation.now.as_secs());
            let stream = format!("{}/{}", invocation.input.rule_name, stamp.get(..8).unwrap_or(&stamp));
            let put = self.put(&service, (&group, &stream), events).await;
            put.map_err(|error| error.of(format!("Log group: {group}, Log stream: {stream}")))
        })
    }
}
