//! What this system can answer by itself: things and their groups, and device shadows; and who answers the rest.

use std::sync::Arc;

use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_registry::shapes::{GroupNameAndArn, Listed, PageRequest, ThingDescription};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_rulesql::{Value, json};
use fleethaven_types::Scope;
use fleethaven_types::arn::is_role_arn;

use super::{Asker, Call, Functions, Objects, lambda};
#[cfg(feature = "aws")]
use crate::actions::aws::functions::{get_dynamodb, get_secret};
#[cfg(feature = "aws")]
use crate::actions::aws::predict::machinelearning_predict;
use crate::outside::Outside;

/// Answers `get_registry_data` and `get_thing_shadow` from the metadata store, `aws_lambda` by what the account maps its
/// function to, `get_dynamodb`, `get_secret` and `machinelearning_predict` by the account's connections, and `decode(…, 'proto', …)` by
/// descriptor sets among the objects.
pub struct SqlFunctions {
    /// Things, groups and shadows.
    pub metadata: Arc<dyn Metadata>,
    /// What stands for Lambda functions.
    pub lambda: Arc<dyn fleethaven_fabric::Functions>,
    /// The way to other systems.
    pub outside: Arc<Outside>,
    /// Where descriptor sets of protobuf are.
    pub objects: Option<Objects>,
}

impl Functions for SqlFunctions {
    fn answer<'a>(&'a self, asker: Asker<'a>, call: &'a Call) -> BoxFuture<'a, Result<Value, String>> {
        let scope = asker.scope;
        Box::pin(async move {
            match call.function.as_str() {
                "aws_lambda" => lambda::invoke(&*self.lambda, asker, call).await,
                "get_registry_data" => self.registry_data(scope, call).await,
                "get_thing_shadow" => self.thing_shadow(scope, call).await,
                "decode" => match &self.objects {
                    Some(objects) => objects.decode(&call.arguments).await,
                    None => Err("there are no objects here: name their folder with --objects".to_owned()),
                },
                #[cfg(feature = "aws")]
                "get_dynamodb" => get_dynamodb(&self.outside, asker, call).await,
                #[cfg(feature = "aws")]
                "get_secret" => get_secret(&self.outside, asker, call).await,
                #[cfg(feature = "aws")]
                "machinelearning_predict" => machinelearning_predict(&self.outside, asker, call).await,
                _ => Err("this function is not available".to_owned()),
            }
        })
    }
}

impl SqlFunctions {
    /// `get_registry_data(api, thing, roleArn)`: the API's answer.
    async fn registry_data(&self, scope: Scope, call: &Call) -> Result<Value, String> {
        let [api, thing, role] = call.arguments.as_slice() else { return Err("wrong arguments".to_owned()) };
        check_role(role)?;
        let thing_name = text(thing, "the name of a thing")?;
        match text(api, "the name of an API")?.as_str() {
            "DescribeThing" => match self.ask(scope, QueryKind::DescribeThing(thing_name)).await? {
                QueryReply::Thing(thing) => Ok(thing_document(&thing)),
                _ => Err("the metadata store answered something else".to_owned()),
            },
            "ListThingGroupsForThing" => {
                let query = QueryKind::ListThingGroupsForThing { thing_name, page: PageRequest::default() };
                match self.ask(scope, query).await? {
                    QueryReply::Groups(groups) => Ok(groups_document(&groups)),
                    _ => Err("the metadata store answered something else".to_owned()),
                }
            }
            other => Err(format!("'{other}' is not DescribeThing or ListThingGroupsForThing")),
        }
    }

    /// `get_thing_shadow(thing[, shadowName], roleArn)`: the document, as GetThingShadow answers it.
    async fn thing_shadow(&self, scope: Scope, call: &Call) -> Result<Value, String> {
        let (thing, shadow, role) = match call.arguments.as_slice() {
            [thing, role] => (thing, None, role),
            [thing, shadow, role] => (thing, Some(text(shadow, "the name of a shadow")?), role),
            _ => return Err("wrong arguments".to_owned()),
        };
        check_role(role)?;
        let thing_name = text(thing, "the name of a thing")?;
        let query = QueryKind::GetThingShadow { thing_name, shadow_name: shadow, client_token: None };
        match self.ask(scope, query).await? {
            QueryReply::ThingShadow(document) => read(&document),
            _ => Err("the metadata store answered something else".to_owned()),
        }
    }

    async fn ask(&self, scope: Scope, kind: QueryKind) -> Result<QueryReply, String> {
        self.metadata.query(Query::new(scope, kind)).await.map_err(|error| error.to_string())
    }
}

/// The answer of DescribeThing.
fn thing_document(thing: &ThingDescription) -> Value {
    let name = Value::from(thing.thing_name.as_str());
    let optional = |text: &Option<String>| text.as_deref().map(Value::from).unwrap_or_default();
    let attributes = thing.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
    object([
        ("defaultClientId", name.clone()),
        ("thingName", name),
        ("thingId", thing.thing_id.as_str().into()),
        ("thingArn", thing.thing_arn.as_str().into()),
        ("thingTypeName", optional(&thing.thing_type_name)),
        ("attributes", object(attributes)),
        ("version", Value::Int(thing.version.into())),
        ("billingGroupName", optional(&thing.billing_group_name)),
    ])
}

/// The answer of ListThingGroupsForThing.
fn groups_document(groups: &Listed<GroupNameAndArn>) -> Value {
    let group = |group: &GroupNameAndArn| {
        object([
            ("groupName", group.group_name.as_str().into()),
            ("groupArn", group.group_arn.as_str().into()),
        ])
    };
    let items = groups.items.iter().map(group).collect();
    let next = groups.next.as_deref().map(Value::from).unwrap_or_default();
    object([("thingGroups", Value::array(items)), ("nextToken", next)])
}

/// An object of those members that there are.
fn object<'m>(members: impl IntoIterator<Item = (&'m str, Value)>) -> Value {
    let there = members.into_iter().filter(|(_, value)| !value.is_undefined());
    Value::object(there.map(|(name, value)| (name.into(), value)).collect())
}

fn read(document: &str) -> Result<Value, String> {
    json::read(document.as_bytes()).ok_or_else(|| "the answer is no JSON".to_owned())
}

pub(super) fn text(value: &Value, what: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        other => Err(format!("{what} is a String, not {}", other.type_name())),
    }
}

fn check_role(role: &Value) -> Result<(), String> {
    match role {
        Value::String(role) if is_role_arn(role) => Ok(()),
        _ => Err("the last argument is the ARN of a role: arn:aws:iam::<account>:role/<name>".to_owned()),
    }
}
