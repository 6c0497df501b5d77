//! What policies are attached to, in today's and the deprecated form (security.md section 9.1).

use fleethaven_registry::shapes::PolicyTarget;
use fleethaven_registry::{Action, QueryKind, QueryReply};

use super::expect_reply;
use super::policies::summary;
use crate::answer::{self, Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

const PRINCIPAL: &str = "x-amzn-iot-principal";
const POLICY: &str = "x-amzn-iot-policy";

pub(super) async fn attach(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::AttachPolicy(Box::new(body_target(call)?))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn detach(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DetachPolicy(Box::new(body_target(call)?))).await?;
    Ok(Answer::Empty)
}

fn body_target(call: &Call<'_>) -> Result<PolicyTarget, Error> {
    let object = call.input.json()?;
    let target = Members::of_body(&object).required_string("target")?;
    Ok(PolicyTarget { policy_name: call.input.label("policyName")?, target })
}

pub(super) async fn attach_principal(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::AttachPrincipalPolicy(Box::new(header_target(call)?))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn detach_principal(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DetachPrincipalPolicy(Box::new(header_target(call)?))).await?;
    Ok(Answer::Empty)
}

fn header_target(call: &Call<'_>) -> Result<PolicyTarget, Error> {
    let target = call.input.required_header(PRINCIPAL)?;
    Ok(PolicyTarget { policy_name: call.input.label("policyName")?, target })
}

pub(super) async fn list_attached(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListAttachedPolicies {
        target: call.input.label("target")?,
        recursive: call.input.query_boolean("recursive")?,
        page: call.input.marker_page()?,
    };
    policies(call, query).await
}

pub(super) async fn list_of_principal(call: &Call<'_>) -> Outcome {
    let principal = call.input.required_header(PRINCIPAL)?;
    let ascending = call.input.query_boolean("isAscendingOrder")?;
    let page = call.input.marker_page()?;
    policies(call, QueryKind::ListPrincipalPolicies { principal, ascending, page }).await
}

async fn policies(call: &Call<'_>, query: QueryKind) -> Outcome {
    let page = expect_reply!(call.query(query).await?, QueryReply::Policies(page) => page);
    Ok(Answer::of([("policies", answer::list(page.items, summary)), ("nextMarker", page.next.into())]))
}

pub(super) async fn list_targets(call: &Call<'_>) -> Outcome {
    let policy_name = call.input.label("policyName")?;
    let query = QueryKind::ListTargetsForPolicy { policy_name, page: call.input.marker_page()? };
    names(call, query, "targets").await
}

pub(super) async fn list_principals(call: &Call<'_>) -> Outcome {
    let policy_name = call.input.required_header(POLICY)?;
    let ascending = call.input.query_boolean("isAscendingOrder")?;
    let page = call.input.marker_page()?;
    names(call, QueryKind::ListPolicyPrincipals { policy_name, ascending, page }, "principals").await
}

async fn names(call: &Call<'_>, query: QueryKind, member: &str) -> Outcome {
    let page = expect_reply!(call.query(query).await?, QueryReply::Names(page) => page);
    Ok(Answer::of([(member, page.items.into()), ("nextMarker", page.next.into())]))
}
