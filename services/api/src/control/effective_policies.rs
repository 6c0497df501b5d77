//! GetEffectivePolicies, and where TestAuthorization takes its policies from (security.md section 9.7).

use fleethaven_registry::shapes::EffectivePolicy;
use fleethaven_registry::{QueryKind, QueryReply};
use serde_json::json;

use super::expect_reply;
use crate::answer::{self, Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let principal = Members::of_body(&object).string("principal")?;
    let thing_name = call.input.query_string("thingName");
    if principal.is_none() && thing_name.is_none() {
        return Err(Error::invalid("'principal' or 'thingName' is required"));
    }
    let policies = answer::list(of(call, principal, thing_name).await?, |policy| {
        json!({
            "policyName": policy.policy_name,
            "policyArn": policy.policy_arn,
            "policyDocument": policy.policy_document,
        })
    });
    Ok(Answer::of([("effectivePolicies", policies)]))
}

/// The default versions of what is attached to a principal and to the groups of a thing, in name order.
pub(super) async fn of(
    call: &Call<'_>,
    principal: Option<String>,
    thing_name: Option<String>,
) -> Result<Vec<EffectivePolicy>, Error> {
    let query = QueryKind::EffectivePolicies { principal, thing_name };
    Ok(expect_reply!(call.query(query).await?, QueryReply::EffectivePolicies(policies) => policies))
}

/// A policy's default version.
pub(super) async fn policy(call: &Call<'_>, name: String) -> Result<EffectivePolicy, Error> {
    let reply = call.query(QueryKind::GetPolicy(name)).await?;
    let policy = expect_reply!(reply, QueryReply::Policy(policy) => *policy);
    Ok(EffectivePolicy {
        policy_name: policy.policy_name,
        policy_arn: policy.policy_arn,
        policy_document: policy.policy_document,
    })
}
