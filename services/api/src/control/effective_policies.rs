//! GetEffectivePolicies, and where TestAuthorization takes its policies from (security.md section 9.7).

use fleethaven_registry::shapes::{PageRequest, PolicyDescription};
use fleethaven_registry::{ErrorCode, QueryKind, QueryReply};
use serde_json::json;

use super::expect_reply;
use crate::answer::{self, Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let principal = Members::of_body(&object).string("principal")?;
    let thing = call.input.query_string("thingName");
    if let Some(name) = &thing {
        // A thing brings the policies of its groups, of which there are none yet; but it must exist.
        call.query(QueryKind::DescribeThing(name.clone())).await?;
    }
    let policies = match (&principal, &thing) {
        (Some(principal), _) => of_principal(call, principal).await?,
        (None, Some(_)) => Vec::new(),
        (None, None) => return Err(Error::invalid("'principal' or 'thingName' is required")),
    };
    let policies = answer::list(policies, |policy| {
        json!({
            "policyName": policy.policy_name,
            "policyArn": policy.policy_arn,
            "policyDocument": policy.policy_document,
        })
    });
    Ok(Answer::of([("effectivePolicies", policies)]))
}

/// The default versions of the policies attached to a principal, in name order.
pub(super) async fn of_principal(call: &Call<'_>, principal: &str) -> Result<Vec<PolicyDescription>, Error> {
    let target = principal.to_owned();
    let query = QueryKind::ListAttachedPolicies { target, page: PageRequest::default() };
    let attached = expect_reply!(call.query(query).await?, QueryReply::Policies(page) => page.items);
    let mut policies = Vec::with_capacity(attached.len());
    for summary in attached {
        match policy(call, summary.policy_name).await {
            Ok(policy) => policies.push(policy),
            // Detached and deleted since it was listed.
            Err(Error::Refused(error)) if error.code == ErrorCode::ResourceNotFoundException => {}
            Err(error) => return Err(error),
        }
    }
    Ok(policies)
}

/// A policy's default version.
pub(super) async fn policy(call: &Call<'_>, name: String) -> Result<PolicyDescription, Error> {
    let reply = call.query(QueryKind::GetPolicy(name)).await?;
    Ok(expect_reply!(reply, QueryReply::Policy(policy) => *policy))
}
