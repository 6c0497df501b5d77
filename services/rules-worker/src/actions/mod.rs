//! The seam between the engine and what rules do: one file per action type.
//!
//! - `fields`: reading an action's settings; `times`: times as targets read them
//! - `batches`: messages that wait for each other, and `failed_batch`: what they say when they fail; `group`: those that go to a target
//!   while others are under way
//! - `kept`: a connection that is opened when it is needed, and again when it broke
//! - `aws`: AWS's services, by AWS's own clients
//! - `own`: systems that AWS has no action for

#[cfg(feature = "aws")]
pub(crate) mod aws;
mod batches;
mod failed_batch;
mod fields;
mod group;
mod http;
mod influx;
#[cfg(feature = "kafka")]
mod kafka;
mod kept;
mod lambda;
mod own;
mod republish;
mod salesforce;
mod times;
mod unavailable;

use std::sync::Arc;

use fleethaven_fabric::Publish;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::traces::Begun;
use fleethaven_registry::own_actions;
use fleethaven_rulesql::{Failure, Input, Payload, Statement, Template, Variables};
use fleethaven_storage::RuleEntryId;
use fleethaven_types::{Behaviour, Limits, Message, Scope, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::connections::Connected;
use crate::external::Answers;
use crate::outside::Outside;
use crate::retry::Policy;
use crate::waiting::Waiting;

use fields::Fields;

pub use failed_batch::{FailedBatch, Member};
pub use republish::Republish;
pub use unavailable::Unavailable;

/// What an action is run with.
pub struct Invocation<'a> {
    /// Account and region of the rule.
    pub scope: Scope,
    /// Which entry of the rules queue the message is.
    pub entry: RuleEntryId,
    /// The action's place in the rule; `None` for the error action.
    pub place: Option<usize>,
    /// The message that the rule matched.
    pub message: &'a Message,
    /// Its context, for substitution templates.
    pub input: &'a Input<'a>,
    /// Its payload, for substitution templates.
    pub original: &'a Payload,
    /// The values of SET.
    pub variables: &'a Variables,
    /// Answers to the functions that its templates call.
    pub answers: &'a Answers,
    /// The payload of the action: the SELECT result, or the error message of an error action.
    pub payload: bytes::Bytes,
    /// The way into the broker.
    pub publish: &'a dyn Publish,
    /// What waits for it.
    pub waiting: &'a Waiting,
    /// The way out of it.
    pub outside: &'a Arc<Outside>,
    /// Which topics may be published to.
    pub behaviour: &'a Behaviour,
    /// How large a published message may be.
    pub limits: &'a Limits,
    /// The action's part in the trace of the message, where that is recorded.
    pub span: Option<&'a Begun>,
    /// The time.
    pub now: Timestamp,
}

impl Invocation<'_> {
    /// Whether it is that of the error action.
    fn of_error(&self) -> bool {
        self.place.is_none()
    }

    /// The trace of the message.
    fn trace_id(&self) -> Uuid {
        Uuid::from_u128(self.message.trace_id())
    }

    /// What targets can tell repeats by: the same at each try, also of another worker that took the message over, and no other
    /// action's or message's. An error action may run for several failures of a message, and is told apart by them.
    pub(crate) fn id(&self) -> Uuid {
        let place = self.place.map_or(u64::MAX, |place| u64::try_from(place).unwrap_or(u64::MAX));
        let scope = format!("{}/{}/{}", self.scope.account, self.scope.region, self.input.rule_name);
        let mut hash = Sha256::new_with_prefix(scope);
        hash.update(self.message.trace_id().to_be_bytes());
        hash.update(self.entry.0.to_be_bytes());
        hash.update(place.to_be_bytes());
        if self.of_error() {
            hash.update(&self.payload);
        }
        let mut id = [0; 16];
        id.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        uuid::Builder::from_custom_bytes(id).into_uuid()
    }

    /// The connection of `kind` that stands for the destination ARN, if it lets the rule in.
    fn connected(&self, kind: &str, destination: &str, resource: &str) -> Result<Arc<Connected>, Error> {
        let rule = self.input.rule_name;
        let found = self.outside.connections.find(self.scope.account, &[kind], destination, rule);
        found.ok_or_else(|| {
            let reason = format!(
                "AccessDenied: no connection of kind {kind} lets rule {rule} in under {destination} (`fleethaven connection put`)"
            );
            Error::permanent(resource, reason)
        })
    }

    /// A field of the action for the message. A call that is not answered yet fails: it is made, and the action run again.
    pub fn render(&self, template: &Template) -> Result<String, Failure> {
        template.render(self.input, self.original, self.variables, &mut self.answers.external())
    }

    /// A field of the action as text that must not be empty.
    ///
    /// # Errors
    /// Of `resource`, permanent, naming the field.
    fn text(&self, template: &Template, field: &str, resource: &str) -> Result<String, Error> {
        let text = self.possibly_empty(template, resource)?;
        if text.is_empty() {
            return Err(Error::permanent(resource, format!("{field} is empty for this message")));
        }
        Ok(text)
    }

    /// A field of the action as text; what is not there is empty.
    fn possibly_empty(&self, template: &Template, resource: &str) -> Result<String, Error> {
        self.render(template).map_err(|failure| Error::permanent(resource, failure.to_string()))
    }

    /// A field that is left out, or comes to nothing, is none.
    fn optional(&self, template: Option<&Template>, resource: &str) -> Result<Option<String>, Error> {
        let text = template.map(|template| self.possibly_empty(template, resource)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }
}

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// For people: what was tried, and what came back.
    pub message: String,
    /// The target, for `failedResource`.
    pub resource: String,
    /// What else was meant, for error messages: e.g. `Bucket: b, Key: "k"`.
    pub details: String,
    /// Trying again can help (time-out, throttling, unavailability).
    pub transient: bool,
    /// There was no room in the lane of the target: it was not called.
    pub throttled: bool,
    /// It is that of a batch, which has a document of its own for the error action.
    pub batch: Option<InBatch>,
}

/// A message's part in a batch that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InBatch {
    /// The batch.
    pub batch: Arc<FailedBatch>,
    /// This message's rule runs the error action for all of them.
    pub tells: bool,
}

impl Error {
    /// A failure that trying again does not mend.
    pub fn permanent(resource: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            resource: resource.into(),
            details: String::new(),
            transient: false,
            throttled: false,
            batch: None,
        }
    }

    /// The target has too much to do.
    pub(crate) fn throttled(resource: &str, target: &str) -> Self {
        let reason = format!("Throttled: {target} has too much to do");
        Self { throttled: true, ..Self::permanent(resource, reason) }
    }

    /// A failure that may pass.
    pub fn transient(resource: impl Into<String>, message: impl Into<String>) -> Self {
        Self { transient: true, ..Self::permanent(resource, message) }
    }

    /// The failure of a batch, as one of its messages sees it.
    fn of_batch(self, batch: Arc<FailedBatch>, tells: bool) -> Self {
        Self { batch: Some(InBatch { batch, tells }), ..self }
    }

    /// The failure with what else was meant.
    #[must_use]
    pub fn of(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }
}

/// One action of one rule, its templates parsed.
pub trait Action: Send + Sync {
    /// AWS's name in error messages, e.g. `RepublishAction`.
    fn name(&self) -> &'static str;

    /// The member of a rule's `actions` that it was made from, e.g. `republish`.
    fn kind(&self) -> &str;

    /// When it is tried again.
    fn policy(&self) -> Policy {
        Policy::DEFAULT
    }

    /// Whether it may wait for this broker, for as long as that takes. It bounds by itself what else it waits for.
    fn may_wait_for_broker(&self) -> bool {
        false
    }

    /// Runs the action once. Templates are rendered before anything is done that others can see: where one calls a function
    /// that has no answer yet, the action is run again.
    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>>;
}

/// The action that `action` (an object with one member, named as in AWS's API) describes. An action type that is not built,
/// or whose configuration cannot be used, fails when it runs, with its reason, as AWS does.
pub fn build(action: &Value, statement: &Statement) -> Box<dyn Action> {
    let member = action.as_object().and_then(|members| members.iter().next());
    let Some((kind, settings)) = member else {
        return Box::new(Unavailable::new("", "the action is empty"));
    };
    let fields = Fields { settings, statement };
    let built: Result<Box<dyn Action>, String> = match kind.as_str() {
        "republish" => Republish::new(settings, statement).map(|action| Box::new(action) as _),
        "http" if own_actions::is_own(settings) => own::build(&fields),
        "http" => http::Http::new(&fields).map(|action| Box::new(action) as _),
        "influxDB" => influx::Influx::new(&fields).map(|action| Box::new(action) as _),
        #[cfg(feature = "kafka")]
        "kafka" => kafka::Kafka::new(&fields).map(|action| Box::new(action) as _),
        "salesforce" => salesforce::Salesforce::new(&fields).map(|action| Box::new(action) as _),
        "lambda" => lambda::Lambda::new(&fields).map(|action| Box::new(action) as _),
        #[cfg(feature = "aws")]
        kind if aws::serves(kind) => aws::build(kind, &fields),
        _ => Err("this action type is not available yet".to_owned()),
    };
    built.unwrap_or_else(|reason| Box::new(Unavailable::new(kind, &reason)))
}
