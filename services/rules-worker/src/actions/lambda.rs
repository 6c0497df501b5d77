//! `lambda`: what the account maps the function to is called, without waiting for what it makes of it (rules-actions.md 5.5).

use std::time::Duration;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::traces::Begun;
use fleethaven_fabric::{Invocation as Call, Source};
use fleethaven_rulesql::Template;
use fleethaven_types::Arn;
use serde::de::IgnoredAny;

use super::{Action, Error, Fields, Invocation};
use crate::retry::Policy;

/// How long the call may take, tries included: the functions' own.
const DEADLINE: Duration = Duration::from_secs(9);

/// A lambda action with its template parsed.
pub(super) struct Lambda {
    function: Template,
}

impl Lambda {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self { function: fields.template("functionArn")? })
    }
}

impl Action for Lambda {
    fn name(&self) -> &'static str {
        "LambdaAction"
    }

    fn kind(&self) -> &str {
        "lambda"
    }

    /// Functions have lanes, breakers and tries of their own.
    fn policy(&self) -> Policy {
        Policy { tries: 1, ..Policy::DEFAULT }
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let function_arn = invocation.text(&self.function, "functionArn", "lambda")?;
            if serde_json::from_slice::<IgnoredAny>(&invocation.payload).is_err() {
                let reason = "the payload is no JSON: wrap it, for example with encode(*, 'base64')";
                return Err(Error::permanent(function_arn, reason));
            }
            let rule = Arn::new(invocation.scope, "rule", invocation.input.rule_name);
            let sent = invocation.outside.lambda.send(Call {
                scope: invocation.scope,
                function_arn: function_arn.clone(),
                payload: invocation.payload.clone(),
                source: Source::Rule,
                source_arn: rule.to_string(),
                trace_id: Some(invocation.trace_id().to_string()),
                below: invocation.span.map(Begun::context),
                deadline: DEADLINE,
            });
            sent.await.map_err(|error| Error {
                transient: error.is_transient(),
                ..Error::permanent(function_arn, format!("Failed to invoke lambda function. {error}"))
            })
        })
    }
}
