//! Whether an operator may call an operation of the control plane: IAM's evaluation, with the resources that AWS's Service
//! Authorization Reference names for each operation.
//!
//! An operation is allowed when its action is allowed on every resource that it names. Operations that hand a role to
//! someone else need `iam:PassRole` on it, too.

use fleethaven_operators::{Operator, RequestKeys, mentions};
use fleethaven_policy::{Context, CustomKeys, Request, RequestedAction, Resource};
use fleethaven_registry::{QueryKind, QueryReply};
use serde_json::{Map, Value};

use crate::authentication::Principal;
use crate::call::Call;
use crate::error::Error;
use crate::operations::{Operation, Service};
use crate::query_protocol::signer;

mod resources;

use resources::named;

/// Refuses unless the caller's policies allow the operation. Operations of the data plane and of `iam` ask for themselves,
/// and of `sts` some need no permission.
pub(crate) async fn check(operation: &Operation, call: &Call<'_>) -> Result<(), Error> {
    let signed = match &call.principal {
        Principal::Operator(signed) if operation.service == Service::Control => signed,
        _ => return Ok(()),
    };
    let operator = &signed.operator;
    if operator.is_root() {
        return Ok(());
    }
    // A body that is no JSON object is refused by the operation itself.
    let body = call.input.json().unwrap_or_default();
    let mut keys = keys(call, operator);
    add_request_tags(call, &body, &mut keys);
    let action = format!("iot:{}", operation.name);
    let arns = named(operation, call, &body).await?;
    if arns.is_empty() {
        decide(call, operator, (&action, Resource::Any), &keys)?;
    }
    let asks_for_tags =
        mentions(operator.policies().into_iter().chain(operator.boundary()), "aws:ResourceTag/");
    for arn in &arns {
        let mut keys = keys.clone();
        if asks_for_tags {
            add_resource_tags(call, arn, &mut keys).await?;
        }
        decide(call, operator, (&action, Resource::Text(arn)), &keys)?;
    }
    if operation.is_mutation() {
        pass_roles(operation, call, operator, &body)?;
    }
    Ok(())
}

/// Refuses unless the caller's policies allow an action, which has these condition keys of its own, on a resource: what operations ask
/// for that know themselves what they are about.
pub(crate) fn allow(
    call: &Call<'_>,
    action: &str,
    resource: Resource<'_>,
    own: &[(&str, &str)],
) -> Result<(), Error> {
    let operator = &signer(call)?.operator;
    if operator.is_root() {
        return Ok(());
    }
    let mut keys = keys(call, operator);
    own.iter().for_each(|(name, value)| keys.insert(name, *value));
    decide(call, operator, (action, resource), &keys)
}

/// The condition keys of every request of `operator`.
pub(crate) fn keys(call: &Call<'_>, operator: &Operator) -> CustomKeys {
    let mut keys = operator.identity.keys();
    let header = |name: &str| call.input.header(name).ok().flatten();
    let request = RequestKeys {
        now: call.now,
        region: call.scope.region.as_str(),
        user_agent: header("user-agent"),
        referer: header("referer"),
    };
    request.add_to(&mut keys);
    keys
}

fn decide(
    call: &Call<'_>,
    operator: &Operator,
    (action, resource): (&str, Resource<'_>),
    keys: &CustomKeys,
) -> Result<(), Error> {
    let context = Context {
        source_ip: Some(call.source_ip),
        domain_name: call.server_name,
        custom: Some(keys),
        ..Context::default()
    };
    rule(operator, &Request { action: RequestedAction::named(action), resource, context: &context }, action)
}

/// Decides, and says it in AWS's words when the answer is no.
pub(crate) fn rule(operator: &Operator, request: &Request<'_>, action: &str) -> Result<(), Error> {
    let ruling = operator.decide(request);
    if ruling.verdict.is_allowed() {
        return Ok(());
    }
    let message = ruling.message(&operator.identity, action, &request.resource.to_arn());
    Err(Error::AccessDenied { message, by: ruling.by })
}

/// `aws:RequestTag/…` and `aws:TagKeys`: of the body, or of the header where an operation has its tags there.
fn add_request_tags(call: &Call<'_>, body: &Map<String, Value>, keys: &mut CustomKeys) {
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    let tags = body.get("tags").and_then(Value::as_array).into_iter().flatten();
    let in_body = tags.filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value").unwrap_or_default())));
    let in_header = call.input.header_tags().unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
    for (key, value) in in_body.chain(in_header) {
        keys.insert(&format!("aws:RequestTag/{key}"), value);
        keys.insert("aws:TagKeys", key);
    }
    let removed = body.get("tagKeys").and_then(Value::as_array).into_iter().flatten();
    for key in removed.filter_map(Value::as_str) {
        keys.insert("aws:TagKeys", key);
    }
}

/// `aws:ResourceTag/…`. What has no tags, or is not there, has none.
async fn add_resource_tags(call: &Call<'_>, arn: &str, keys: &mut CustomKeys) -> Result<(), Error> {
    let mut next_token = None;
    loop {
        let query = QueryKind::ListTagsForResource { resource_arn: arn.to_owned(), next_token };
        let page = match call.query(query).await {
            Ok(QueryReply::Tags(page)) => page,
            Ok(_) => return Err(Error::unexpected_reply()),
            Err(Error::Refused(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        for tag in page.items {
            keys.insert(&format!("aws:ResourceTag/{}", tag.key), tag.value);
        }
        next_token = page.next;
        if next_token.is_none() {
            return Ok(());
        }
    }
}

/// Who names a role for a service to act with must be allowed to pass it.
fn pass_roles(
    operation: &Operation,
    call: &Call<'_>,
    operator: &Operator,
    body: &Map<String, Value>,
) -> Result<(), Error> {
    let mut roles = Vec::new();
    for (name, value) in body {
        collect_roles(name, value, &mut roles);
    }
    if roles.is_empty() {
        return Ok(());
    }
    let service = match operation.name {
        "CreateRoleAlias" | "UpdateRoleAlias" => "credentials.iot.amazonaws.com",
        _ => "iot.amazonaws.com",
    };
    let mut keys = keys(call, operator);
    keys.insert("iam:PassedToService", service);
    let decide = |role: &&str| decide(call, operator, ("iam:PassRole", Resource::Text(role)), &keys);
    roles.iter().try_for_each(decide)
}

/// JSON is read to a bounded depth, and so is this.
fn collect_roles<'v>(name: &str, value: &'v Value, roles: &mut Vec<&'v str>) {
    match value {
        Value::String(role) if name == "roleArn" || name == "provisioningRoleArn" => roles.push(role),
        Value::Array(items) => items.iter().for_each(|item| collect_roles("", item, roles)),
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| collect_roles(name, value, roles));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
