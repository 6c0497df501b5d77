//! Policies and their versions (security.md section 9.1).

use fleethaven_registry::shapes::{
    CreatePolicy, CreatePolicyVersion, PolicySummary, PolicyVersionName, PolicyVersionSummary,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, seconds};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreatePolicy(Box::new(CreatePolicy {
        policy_name: call.input.label("policyName")?,
        policy_document: body.required_string("policyDocument")?,
        tags: body_tags(&body)?,
    }));
    let policy = expect_reply!(call.execute(action).await?, Reply::Policy(policy) => policy);
    Ok(Answer::of([
        ("policyName", policy.policy_name.into()),
        ("policyArn", policy.policy_arn.into()),
        ("policyDocument", policy.policy_document.into()),
        ("policyVersionId", policy.policy_version_id.into()),
    ]))
}

pub(super) async fn create_version(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let action = Action::CreatePolicyVersion(Box::new(CreatePolicyVersion {
        policy_name: call.input.label("policyName")?,
        policy_document: Members::of_body(&object).required_string("policyDocument")?,
        set_as_default: call.input.query_boolean("setAsDefault")?,
    }));
    let version = expect_reply!(call.execute(action).await?, Reply::PolicyVersion(version) => version);
    Ok(Answer::of([
        ("policyArn", version.policy_arn.into()),
        ("policyDocument", version.policy_document.into()),
        ("policyVersionId", version.policy_version_id.into()),
        ("isDefaultVersion", version.is_default_version.into()),
    ]))
}

pub(super) async fn set_default_version(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::SetDefaultPolicyVersion(Box::new(version_name(call)?))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete_version(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeletePolicyVersion(Box::new(version_name(call)?))).await?;
    Ok(Answer::Empty)
}

fn version_name(call: &Call<'_>) -> Result<PolicyVersionName, Error> {
    let policy_name = call.input.label("policyName")?;
    Ok(PolicyVersionName { policy_name, version_id: call.input.label("policyVersionId")? })
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let query = QueryKind::GetPolicy(call.input.label("policyName")?);
    let policy = expect_reply!(call.query(query).await?, QueryReply::Policy(policy) => policy);
    Ok(Answer::of([
        ("policyName", policy.policy_name.into()),
        ("policyArn", policy.policy_arn.into()),
        ("policyDocument", policy.policy_document.into()),
        ("defaultVersionId", policy.default_version_id.into()),
        ("creationDate", seconds(policy.created_at)),
        ("lastModifiedDate", seconds(policy.modified_at)),
        ("generationId", policy.generation_id.into()),
    ]))
}

pub(super) async fn get_version(call: &Call<'_>) -> Outcome {
    let PolicyVersionName { policy_name, version_id } = version_name(call)?;
    let query = QueryKind::GetPolicyVersion { policy_name, version_id };
    let version = expect_reply!(call.query(query).await?, QueryReply::PolicyVersion(version) => version);
    Ok(Answer::of([
        ("policyArn", version.policy_arn.into()),
        ("policyName", version.policy_name.into()),
        ("policyDocument", version.policy_document.into()),
        ("policyVersionId", version.policy_version_id.into()),
        ("isDefaultVersion", version.is_default_version.into()),
        ("creationDate", seconds(version.created_at)),
        ("lastModifiedDate", seconds(version.created_at)),
        ("generationId", version.generation_id.into()),
    ]))
}

pub(super) async fn list_versions(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListPolicyVersions(call.input.label("policyName")?);
    let versions = expect_reply!(call.query(query).await?, QueryReply::PolicyVersions(versions) => versions);
    Ok(Answer::of([("policyVersions", answer::list(versions, version_summary))]))
}

fn version_summary(version: PolicyVersionSummary) -> Value {
    json!({
        "versionId": version.version_id,
        "isDefaultVersion": version.is_default_version,
        "createDate": seconds(version.created_at),
    })
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let ascending = call.input.query_boolean("isAscendingOrder")?;
    let query = QueryKind::ListPolicies { ascending, page: call.input.marker_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::Policies(page) => page);
    Ok(Answer::of([("policies", answer::list(page.items, summary)), ("nextMarker", page.next.into())]))
}

/// A policy as listings tell it.
pub(super) fn summary(policy: PolicySummary) -> Value {
    json!({"policyName": policy.policy_name, "policyArn": policy.policy_arn})
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeletePolicy(call.input.label("policyName")?)).await?;
    Ok(Answer::Empty)
}
