//! The seam between the engine and what rules do: one file per action type.

mod republish;
mod unavailable;

use fleethaven_fabric::Publish;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::{Failure, Input, Payload, Statement, Template, Variables};
use fleethaven_types::{Behaviour, Limits, Message, Timestamp};
use serde_json::Value;

use crate::external::Answers;

pub use republish::Republish;
pub use unavailable::Unavailable;

/// What an action is run with.
pub struct Invocation<'a> {
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
    /// Which topics may be published to.
    pub behaviour: &'a Behaviour,
    /// How large a published message may be.
    pub limits: &'a Limits,
    /// The time.
    pub now: Timestamp,
}

impl Invocation<'_> {
    /// A field of the action for the message. A call that is not answered yet fails: it is made, and the action run again.
    pub fn render(&self, template: &Template) -> Result<String, Failure> {
        template.render(self.input, self.original, self.variables, &mut self.answers.external())
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
    /// Trying again can help (time-out, throttling, unavailability).
    pub transient: bool,
}

impl Error {
    /// A failure that trying again does not mend.
    pub fn permanent(resource: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), resource: resource.into(), transient: false }
    }

    /// A failure that may pass.
    pub fn transient(resource: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), resource: resource.into(), transient: true }
    }
}

/// One action of one rule, its templates parsed.
pub trait Action: Send + Sync {
    /// AWS's name in error messages, e.g. `RepublishAction`.
    fn name(&self) -> &'static str;

    /// The member of a rule's `actions` that it was made from, e.g. `republish`.
    fn kind(&self) -> &str;

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
    if kind == "republish" {
        return match Republish::new(settings, statement) {
            Ok(action) => Box::new(action),
            Err(reason) => Box::new(Unavailable::new(kind, &reason)),
        };
    }
    Box::new(Unavailable::new(kind, "this action type is not available yet"))
}
