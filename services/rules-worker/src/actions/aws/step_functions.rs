//! `stepFunctions`: each message starts a state machine (rules-actions.md 5.15).

use aws_sdk_sfn::operation::start_execution::StartExecutionError;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::{Action, Error, Fields, Invocation, Service, client};

/// Longest name of an execution.
const MAX_NAME: usize = 80;

/// A stepFunctions action with its templates parsed.
pub(super) struct StepFunctions {
    role: String,
    state_machine: Template,
    prefix: Option<Template>,
}

impl StepFunctions {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            state_machine: fields.template("stateMachineName")?,
            prefix: fields.template_if_given("executionNamePrefix")?,
        })
    }
}

/// The prefix as far as there is room for it before a UUID.
fn execution_name(prefix: &str, id: Uuid, machine: &str) -> Result<String, Error> {
    if !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        let reason = format!("'{prefix}' begins no name of an execution: letters, digits, - and _");
        return Err(Error::permanent(machine, reason));
    }
    let room = MAX_NAME - 1 - uuid::fmt::Hyphenated::LENGTH;
    Ok(format!("{}-{id}", prefix.get(..room).unwrap_or(prefix)))
}

/// Whether there is an execution of this name: it is that of this message.
fn is_there(error: &StartExecutionError) -> bool {
    error.is_execution_already_exists()
}

impl Action for StepFunctions {
    fn name(&self) -> &'static str {
        "StepFunctionsAction"
    }

    fn kind(&self) -> &str {
        "stepFunctions"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let machine = invocation.text(&self.state_machine, "stateMachineName", "stepFunctions")?;
            let prefix = invocation.optional(self.prefix.as_ref(), &machine)?;
            let name = prefix.map(|prefix| execution_name(&prefix, invocation.id(), &machine)).transpose()?;
            let input = String::from_utf8(invocation.payload.to_vec()).ok();
            let input = input.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
            let input = input.ok_or_else(|| Error::permanent(machine.as_str(), "the payload is no JSON"))?;
            let service = Service::of(invocation, "stepFunctions", &self.role, &machine)?;
            let account = invocation.scope.account;
            let arn = format!("arn:aws:states:{}:{account}:stateMachine:{machine}", service.region);
            let request = client!(service, aws_sdk_sfn).start_execution().state_machine_arn(arn);
            let request = request.set_name(name).input(input);
            let start = || async {
                match request.send().await {
                    // An earlier try has started it, and it has ended.
                    Err(error) if error.as_service_error().is_some_and(is_there) => Ok(()),
                    settled => settled.map(drop),
                }
            };
            service.call(&machine, "Failed to start execution", start).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_prefix_and_stay_short_enough() {
        let name = execution_name("telemetry", Uuid::nil(), "m").unwrap();
        assert!(name.starts_with("telemetry-") && name.len() == 46, "{name}");
        assert_eq!(execution_name(&"x".repeat(100), Uuid::nil(), "m").unwrap().len(), MAX_NAME);
        assert!(execution_name("a/b", Uuid::nil(), "m").is_err());
    }
}
