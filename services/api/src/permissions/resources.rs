//! The resources that operations of the control plane name (Service Authorization Reference, "Actions, resources, and
//! condition keys for AWS IoT").

use fleethaven_registry::{QueryKind, QueryReply};
use fleethaven_types::Arn;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::error::Error;
use crate::operations::Operation;

/// What the label of an ARN names.
const WHOLE: &str = "";

/// Labels of paths that name a resource, and the resource's type.
const LABELS: &[(&str, &str)] = &[
    ("arn", WHOLE),
    ("authorizerName", "authorizer/"),
    ("billingGroupName", "billinggroup/"),
    ("caCertificateId", "cacert/"),
    ("certificateId", "cert/"),
    ("certificateProviderName", "certificateprovider:"),
    ("domainConfigurationName", "domainconfiguration/"),
    ("policyName", "policy/"),
    ("roleAlias", "rolealias/"),
    ("ruleName", "rule/"),
    ("templateName", "provisioningtemplate/"),
    ("thingGroupName", "thinggroup/"),
    ("thingName", "thing/"),
    ("thingTypeName", "thingtype/"),
];

/// Operations whose paths name something that permissions do not: AWS asks for `*`, or for what [`MEMBERS`] says.
const ELSEWHERE: &[&str] = &[
    "AcceptCertificateTransfer",
    "AttachPolicy",
    "AttachPrincipalPolicy",
    "AttachThingPrincipal",
    "CancelCertificateTransfer",
    "DetachPolicy",
    "DetachPrincipalPolicy",
    "DetachThingPrincipal",
    "ListCertificatesByCA",
    "ListPolicyVersions",
    "ListThingPrincipals",
    "ListThingPrincipalsV2",
];

/// Where else a request names a resource. What is absent names none.
#[derive(Debug, Clone, Copy)]
enum Member {
    /// A name, or a list of names, in the body; and the resource's type.
    Name(&'static str, &'static str),
    /// An ARN in the body. What is none (an identity's id) names no resource.
    Arn(&'static str),
    /// An ARN in a header.
    Header(&'static str),
    /// An ARN in the query.
    Query(&'static str),
}

const THING_AND_GROUP: &[Member] = &[
    Member::Name("thingName", "thing/"),
    Member::Arn("thingArn"),
    Member::Name("thingGroupName", "thinggroup/"),
    Member::Arn("thingGroupArn"),
];
const THING_AND_BILLING_GROUP: &[Member] = &[
    Member::Name("thingName", "thing/"),
    Member::Arn("thingArn"),
    Member::Name("billingGroupName", "billinggroup/"),
    Member::Arn("billingGroupArn"),
];

/// By operation.
const MEMBERS: &[(&str, &[Member])] = &[
    ("AddThingToBillingGroup", THING_AND_BILLING_GROUP),
    ("AddThingToThingGroup", THING_AND_GROUP),
    ("AttachPolicy", &[Member::Arn("target")]),
    ("AttachPrincipalPolicy", &[Member::Header("x-amzn-iot-principal")]),
    ("CreateProvisioningTemplate", &[Member::Name("templateName", "provisioningtemplate/")]),
    ("CreateThing", &[Member::Name("billingGroupName", "billinggroup/")]),
    ("DetachPolicy", &[Member::Arn("target")]),
    ("DetachPrincipalPolicy", &[Member::Header("x-amzn-iot-principal")]),
    ("GetEffectivePolicies", &[Member::Arn("principal")]),
    ("ListTagsForResource", &[Member::Query("resourceArn")]),
    ("RemoveThingFromBillingGroup", THING_AND_BILLING_GROUP),
    ("RemoveThingFromThingGroup", THING_AND_GROUP),
    ("SetDefaultAuthorizer", &[Member::Name("authorizerName", "authorizer/")]),
    ("TagResource", &[Member::Arn("resourceArn")]),
    ("TestAuthorization", &[Member::Arn("principal")]),
    ("UntagResource", &[Member::Arn("resourceArn")]),
    ("UpdateTopicRuleDestination", &[Member::Arn("arn")]),
    (
        "UpdateThingGroupsForThing",
        &[
            Member::Name("thingName", "thing/"),
            Member::Name("thingGroupsToAdd", "thinggroup/"),
            Member::Name("thingGroupsToRemove", "thinggroup/"),
        ],
    ),
];

/// The ARNs of the resources that a request names; none: the action is allowed or denied on `*`.
pub(super) async fn named(
    operation: &Operation,
    call: &Call<'_>,
    body: &Map<String, Value>,
) -> Result<Vec<String>, Error> {
    let mut arns = Vec::new();
    if !ELSEWHERE.contains(&operation.name) {
        for (label, kind) in LABELS {
            let Ok(name) = call.input.label(label) else { continue };
            arns.push(match *kind {
                "domainconfiguration/" => domain_configuration(call, &name).await?,
                WHOLE => name,
                kind => arn(call, kind, &name),
            });
        }
    }
    let members =
        MEMBERS.iter().find(|(name, _)| *name == operation.name).map_or(&[] as &[Member], |row| row.1);
    for member in members {
        match *member {
            Member::Name(name, kind) => {
                arns.extend(texts(body.get(name)).map(|name| arn(call, kind, name)));
            }
            Member::Arn(name) => arns.extend(texts(body.get(name)).filter(is_arn).map(str::to_owned)),
            Member::Header(name) => {
                arns.extend(call.input.header(name)?.filter(is_arn).map(str::to_owned));
            }
            Member::Query(name) => arns.extend(call.input.query(name).filter(is_arn).map(str::to_owned)),
        }
    }
    Ok(arns)
}

fn is_arn(text: &&str) -> bool {
    text.starts_with("arn:")
}

fn arn(call: &Call<'_>, kind: &str, name: &str) -> String {
    match kind.strip_suffix('/') {
        Some(kind) => Arn::new(call.scope, kind, name).to_string(),
        None => format!("arn:aws:iot:{}:{}:{kind}{name}", call.scope.region, call.scope.account),
    }
}

/// Its ARN ends in an id, which is known once it is there.
async fn domain_configuration(call: &Call<'_>, name: &str) -> Result<String, Error> {
    match call.query(QueryKind::DescribeDomainConfiguration(name.to_owned())).await {
        Ok(QueryReply::DomainConfiguration(found)) => Ok(found.summary.domain_configuration_arn),
        Ok(_) => Err(Error::unexpected_reply()),
        Err(Error::Refused(_)) => Ok(arn(call, "domainconfiguration/", name)),
        Err(error) => Err(error),
    }
}

/// A text, or the texts of a list.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = value.and_then(Value::as_str);
    let many = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::Service;

    /// Every label of a path is known: one that was not would let an operation be asked for on `*` unnoticed.
    #[test]
    fn every_label_is_a_resource_or_known_to_be_none() {
        const NONE: [&str; 5] = ["confirmationToken", "policyVersionId", "taskId", "versionId", "target"];
        for operation in Operation::all(Service::Control).filter(Operation::is_built) {
            let labels = operation.pattern.split('/').filter_map(|piece| piece.strip_prefix('{'));
            for label in labels.map(|label| label.trim_end_matches(['}', '+'])) {
                let known = LABELS.iter().any(|(name, _)| *name == label) || NONE.contains(&label);
                assert!(known, "{} has the label {label}", operation.name);
            }
        }
    }

    #[test]
    fn every_row_is_an_operation() {
        let is_one = |name: &str| Operation::all(Service::Control).any(|operation| operation.name == name);
        for name in ELSEWHERE.iter().chain(MEMBERS.iter().map(|(name, _)| name)) {
            assert!(is_one(name), "{name}");
        }
    }
}
