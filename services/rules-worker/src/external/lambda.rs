//! `aws_lambda(functionArn, input)`: what the account maps the function to is called, and its answer is the value.

use bytes::Bytes;
use fleethaven_fabric::{Functions, Invocation, Source};
use fleethaven_rulesql::{Value, json};
use fleethaven_types::Arn;

use super::registry::text;
use super::{Asker, Call, DEADLINE};

pub(super) async fn invoke(
    functions: &dyn Functions,
    asker: Asker<'_>,
    call: &Call,
) -> Result<Value, String> {
    let [function, input] = call.arguments.as_slice() else { return Err("wrong arguments".to_owned()) };
    let payload = json::write(input, false).map_err(|_| "its input is too large".to_owned())?;
    let rule = Arn::new(asker.scope, "rule", asker.rule);
    let answer = functions.invoke(Invocation {
        scope: asker.scope,
        function_arn: text(function, "the ARN of a function")?,
        payload: Bytes::from(payload),
        source: Source::Rule,
        source_arn: rule.to_string(),
        trace_id: asker.trace_id.map(|id| id.to_string()),
        below: None,
        deadline: DEADLINE,
    });
    let answer = answer.await.map_err(|error| error.to_string())?;
    json::read(&answer).ok_or_else(|| "its answer is no JSON".to_owned())
}
