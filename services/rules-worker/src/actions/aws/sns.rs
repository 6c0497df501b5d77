//! `sns`: each message is published to a topic or a device endpoint (rules-actions.md 5.4).

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;

use super::{Action, Error, Fields, Invocation, Service, client};

/// An sns action with its template parsed.
pub(super) struct Sns {
    role: String,
    target: Template,
    /// The payload has a text for each kind of subscriber.
    json: bool,
}

impl Sns {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            target: fields.template("targetArn")?,
            json: fields.text_if_given("messageFormat") == Some("JSON"),
        })
    }
}

impl Action for Sns {
    fn name(&self) -> &'static str {
        "SnsAction"
    }

    fn kind(&self) -> &str {
        "sns"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let target = invocation.text(&self.target, "targetArn", "sns")?;
            if target.ends_with(".fifo") {
                return Err(Error::permanent(target, "FIFO topics are not supported"));
            }
            let message = String::from_utf8(invocation.payload.to_vec())
                .map_err(|_| Error::permanent(target.as_str(), "the payload is no text"))?;
            let service = Service::of(invocation, "sns", &self.role, &target)?;
            let request = client!(service, aws_sdk_sns).publish().target_arn(&target).message(message);
            let request = if self.json { request.message_structure("json") } else { request };
            service.call(&target, "Failed to publish to SNS", || request.send()).await.map(drop)
        })
    }
}
