//! TestAuthorization: what the policies of a principal say to requests that nobody makes (security.md
//! section 9.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use fleethaven_policy::{
    Action, CertificateAttributes, Context, PolicySet, Request, Resource, Settings, ThingContext, Verdict,
};
use fleethaven_registry::shapes::{AttachedThing, EffectivePolicy};
use fleethaven_registry::{QueryKind, QueryReply};
use fleethaven_types::Arn;
use serde_json::{Value, json};

use super::effective_policies::{self, policy};
use super::expect_reply;
use crate::answer::{self, Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

/// Most `authInfos`.
const QUESTIONS: usize = 10;
/// Most resources of one `authInfo`, and most `policyNamesToAdd`; the model has no bound of its own.
const NAMED: usize = 100;
/// Longest resource, in characters.
const RESOURCE_CHARACTERS: usize = 2048;

/// One `authInfo`.
struct Question {
    kind: String,
    action: Action,
    resources: Vec<String>,
}

pub(super) async fn test(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let questions = questions(&body)?;
    let principal = body.string("principal")?;
    let client_id = call.input.query("clientId");
    let device = match principal.as_ref().and_then(|principal| principal.parse::<Arn>().ok()) {
        Some(arn) if arn.kind == "cert" => Device::find(call, arn.name, client_id).await?,
        _ => None,
    };
    let thing =
        device.as_ref().and_then(|device| device.thing.as_ref()).map(|thing| thing.thing_name.clone());
    let policies = policies(call, &body, principal, thing).await?;
    let cache = &call.state.policies;
    let compiled = policies.iter().map(|policy| cache.compiled(&policy.policy_name, &policy.policy_document));
    let set = PolicySet::new(compiled.collect::<Result<_, _>>()?, Settings::default());
    let context = context(device.as_ref(), client_id);
    let results = answer::list(questions, |question| decide(&question, &set, &policies, &context));
    Ok(Answer::of([("authResults", results)]))
}

fn questions(body: &Members<'_>) -> Result<Vec<Question>, Error> {
    let infos = body.objects("authInfos")?;
    if !(1..=QUESTIONS).contains(&infos.len()) {
        return Err(Error::invalid(format!("'authInfos' must have 1 to {QUESTIONS} members")));
    }
    infos.iter().map(question).collect()
}

fn question(info: &Members<'_>) -> Result<Question, Error> {
    let kind = info.required_string("actionType")?;
    let action = match kind.as_str() {
        "CONNECT" => Action::Connect,
        "PUBLISH" => Action::Publish,
        "SUBSCRIBE" => Action::Subscribe,
        "RECEIVE" => Action::Receive,
        _ => return Err(Error::invalid("'actionType' must be CONNECT, PUBLISH, SUBSCRIBE or RECEIVE")),
    };
    let resources = info.strings("resources")?.ok_or_else(|| missing("resources"))?;
    let is_arn = |text: &String| text.starts_with("arn:") && text.chars().count() <= RESOURCE_CHARACTERS;
    if !(1..=NAMED).contains(&resources.len()) || !resources.iter().all(is_arn) {
        return Err(Error::invalid(format!(
            "'resources' must have 1 to {NAMED} ARNs of at most {RESOURCE_CHARACTERS} characters"
        )));
    }
    Ok(Question { kind, action, resources })
}

/// What is attached to the principal and to the groups of the thing that it stands for, without `policyNamesToSkip` and
/// with `policyNamesToAdd`.
async fn policies(
    call: &Call<'_>,
    body: &Members<'_>,
    principal: Option<String>,
    thing: Option<String>,
) -> Result<Vec<EffectivePolicy>, Error> {
    let added = body.strings("policyNamesToAdd")?.unwrap_or_default();
    let skipped = body.strings("policyNamesToSkip")?.unwrap_or_default();
    if added.len() > NAMED {
        return Err(Error::invalid(format!("'policyNamesToAdd' may have {NAMED} members")));
    }
    for name in &skipped {
        fleethaven_registry::check_policy_name(name)?;
    }
    let mut policies = match principal {
        Some(principal) => effective_policies::of(call, Some(principal), thing).await?,
        None if added.is_empty() => return Err(missing("principal")),
        None => Vec::new(),
    };
    policies.retain(|policy| !skipped.contains(&policy.policy_name));
    for name in added {
        if !policies.iter().any(|policy| policy.policy_name == name) {
            policies.push(policy(call, name).await?);
        }
    }
    Ok(policies)
}

/// The certificate that is asked about, and the thing its connection would stand for.
struct Device {
    certificate_id: String,
    attributes: Arc<CertificateAttributes>,
    thing: Option<Box<AttachedThing>>,
}

impl Device {
    async fn find(
        call: &Call<'_>,
        certificate_id: String,
        client_id: Option<&str>,
    ) -> Result<Option<Self>, Error> {
        let query = QueryKind::Principal { certificate_id: certificate_id.clone() };
        let view = expect_reply!(call.query(query).await?, QueryReply::Principal(view) => view);
        let Some(view) = view else { return Ok(None) };
        let attributes = call.state.policies.attributes(&certificate_id, &view.certificate_pem)?;
        let exclusive = view.things.into_iter().find(|thing| thing.exclusive).map(Box::new);
        let thing = match (exclusive, client_id) {
            (None, Some(name)) => {
                let (certificate_id, thing_name) = (certificate_id.clone(), name.to_owned());
                let query = QueryKind::PrincipalThing { certificate_id, thing_name };
                expect_reply!(call.query(query).await?, QueryReply::PrincipalThing(found) => found)
                    .map(|found| Box::new(found.thing))
            }
            (exclusive, _) => exclusive,
        };
        Ok(Some(Self { certificate_id, attributes, thing }))
    }
}

/// What a connection of the device would bring along, but for its address and what its CONNECT asks for.
fn context<'a>(device: Option<&'a Device>, client_id: Option<&'a str>) -> Context<'a> {
    let attached = device.and_then(|device| device.thing.as_deref()).map(|thing| ThingContext {
        name: &thing.thing_name,
        type_name: thing.thing_type_name.as_deref(),
        attributes: Some(&thing.attributes),
        is_attached: true,
    });
    let alone =
        client_id.map(|name| ThingContext { name, type_name: None, attributes: None, is_attached: false });
    Context {
        client_id,
        certificate_id: device.map(|device| device.certificate_id.as_str()),
        certificate: device.map(|device| device.attributes.as_ref()),
        thing: attached.or(alone),
        ..Context::default()
    }
}

/// Allowed only if every resource is. A policy is named where one of its statements applies to any of them,
/// and under `implicitDeny` when none does.
fn decide(
    question: &Question,
    set: &PolicySet,
    policies: &[EffectivePolicy],
    context: &Context<'_>,
) -> Value {
    let (mut allows, mut denies) = (BTreeSet::new(), BTreeSet::new());
    let (mut unknown, mut decision) = (BTreeSet::new(), Verdict::Allow);
    for resource in &question.resources {
        let resource = Resource::Text(resource);
        let said = set.explain(&Request { action: question.action.into(), resource, context });
        allows.extend(said.allows.iter().map(|by| by.policy));
        denies.extend(said.denies.iter().map(|by| by.policy));
        unknown.extend(said.missing);
        decision = match (decision, said.verdict) {
            (Verdict::ExplicitDeny, _) | (_, Verdict::ExplicitDeny) => Verdict::ExplicitDeny,
            (Verdict::Allow, verdict) => verdict,
            (Verdict::ImplicitDeny, _) => Verdict::ImplicitDeny,
        };
    }
    let named = |chosen: &dyn Fn(&str) -> bool| {
        let chosen = policies.iter().filter(|policy| chosen(&policy.policy_name));
        let told = |policy: &EffectivePolicy| json!({"policyName": policy.policy_name, "policyArn": policy.policy_arn});
        json!({"policies": chosen.map(told).collect::<Vec<_>>()})
    };
    json!({
        "authInfo": {"actionType": question.kind, "resources": question.resources},
        "allowed": named(&|name| allows.contains(name)),
        "denied": {
            "implicitDeny": named(&|name| !allows.contains(name) && !denies.contains(name)),
            "explicitDeny": named(&|name| denies.contains(name)),
        },
        "authDecision": match decision {
            Verdict::Allow => "ALLOWED",
            Verdict::ExplicitDeny => "EXPLICIT_DENY",
            Verdict::ImplicitDeny => "IMPLICIT_DENY",
        },
        "missingContextValues": unknown,
    })
}
