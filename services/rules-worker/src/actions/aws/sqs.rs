//! `sqs`: each message is one of a queue (rules-actions.md 5.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;

use super::{Action, Error, Fields, Invocation, Service, client};

/// An sqs action with its template parsed.
pub(super) struct Sqs {
    role: String,
    queue_url: Template,
    base64: bool,
}

impl Sqs {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            queue_url: fields.template("queueUrl")?,
            base64: fields.flag("useBase64"),
        })
    }

    fn body(&self, invocation: &Invocation<'_>, queue: &str) -> Result<String, Error> {
        if self.base64 {
            return Ok(STANDARD.encode(&invocation.payload));
        }
        String::from_utf8(invocation.payload.to_vec())
            .map_err(|_| Error::permanent(queue, "the payload is no text: useBase64 sends any payload"))
    }
}

impl Action for Sqs {
    fn name(&self) -> &'static str {
        "SqsAction"
    }

    fn kind(&self) -> &str {
        "sqs"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let queue = invocation.text(&self.queue_url, "queueUrl", "sqs")?;
            if queue.ends_with(".fifo") {
                return Err(Error::permanent(queue, "FIFO queues are not supported"));
            }
            let body = self.body(invocation, &queue)?;
            let service = Service::of(invocation, "sqs", &self.role, &queue)?;
            let client = client!(service, aws_sdk_sqs);
            let request = client.send_message().queue_url(&queue).message_body(body);
            service.call(&queue, "Failed to send message to SQS", || request.send()).await.map(drop)
        })
    }
}
