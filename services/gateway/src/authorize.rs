//! Policy decisions of one connection: made from the principal's current snapshot, specialised once to this connection when first
//! asked for, and made anew when anything they rest on changes.

use std::net::IpAddr;
use std::sync::Arc;

use fleethaven_policy::{
    Action, ConnectAttributes, Context, Decision, PolicySet, Request, Resource, ResourceKind, Specialised,
    ThingContext, Verdict,
};
use fleethaven_registry::shapes::{AttachedThing, PropagatedValue, PropagatingAttribute};
use fleethaven_types::{Arn, Message, Utf8Bytes};

use crate::identity::{Principal, Snapshot, Standing};

/// The decisions of one connection.
pub(crate) struct Authorizer {
    generation: u64,
    snapshot: Arc<Snapshot>,
    specialised: Option<Box<Decisions>>,
}

/// Whose decisions they are; the same all the time.
pub(crate) struct Who<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) client_id: &'a str,
    pub(crate) source_ip: IpAddr,
}

/// What is decided per packet, by name of topic or filter.
struct Decisions {
    publish: Verdicts,
    retain: Verdicts,
    subscribe: Verdicts,
    receive: Verdicts,
    receives_everything: bool,
    /// User properties that the thing's type adds to what the client publishes.
    propagated: Vec<(Utf8Bytes, Utf8Bytes)>,
}

/// The verdicts on one action: of the principal's policies, and of what has to allow beside them.
struct Verdicts {
    own: Specialised,
    boundary: Option<Specialised>,
}

impl Verdicts {
    fn decide(&self, name: &str) -> Verdict {
        match (self.own.decide(name), &self.boundary) {
            (Verdict::Allow, Some(boundary)) => boundary.decide(name),
            (verdict, _) => verdict,
        }
    }

    /// Whether everything is allowed.
    fn always_allow(&self) -> bool {
        let allows = |specialised: &Specialised| specialised.always() == Some(Verdict::Allow);
        allows(&self.own) && self.boundary.as_ref().is_none_or(allows)
    }
}

/// What a CONNECT asks for.
pub(crate) struct ConnectQuestion<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) persistent: bool,
    pub(crate) will: Option<(&'a str, bool)>,
}

/// A refusal, for the log line.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) action: &'static str,
    pub(crate) resource: String,
    pub(crate) because: String,
}

impl Authorizer {
    /// Decides with the policies of the principal.
    pub(crate) fn new(who: &Who<'_>) -> Self {
        let generation = who.principal.generation();
        let snapshot = who.principal.entry.snapshot();
        Self { generation, snapshot, specialised: None }
    }

    /// Whether nothing has to be worked out before the next decision.
    pub(crate) fn is_current(&self, principal: &Principal) -> bool {
        self.specialised.is_some() && principal.generation() == self.generation
    }

    /// Takes up what has changed since the last decision.
    fn current(&mut self, who: &Who<'_>) -> &Decisions {
        let generation = who.principal.generation();
        if generation != self.generation {
            self.generation = generation;
            self.snapshot = who.principal.entry.snapshot();
            self.specialised = None;
        }
        self.specialised.get_or_insert_with(|| Box::new(decisions(who, &self.snapshot)))
    }

    /// `iot:Publish`, and `iot:RetainPublish` with RETAIN 1.
    pub(crate) fn publish(&mut self, who: &Who<'_>, topic: &str, retain: bool) -> Result<(), Denied> {
        let decisions = self.current(who);
        let verdict = decisions.publish.decide(topic);
        if !verdict.is_allowed() {
            return Err(denied(Action::Publish, topic, verdict));
        }
        let verdict = if retain { decisions.retain.decide(topic) } else { Verdict::Allow };
        if verdict.is_allowed() { Ok(()) } else { Err(denied(Action::RetainPublish, topic, verdict)) }
    }

    /// Adds what the thing's type propagates to a message that the client publishes (provisioning.md section 8), after
    /// the properties that it came with.
    pub(crate) fn enrich(&mut self, who: &Who<'_>, message: &mut Arc<Message>) {
        let propagated = &self.current(who).propagated;
        if !propagated.is_empty() {
            let properties = Arc::make_mut(message).properties.get_or_insert_default();
            properties.user_properties.extend(propagated.iter().cloned());
        }
    }

    /// `iot:Subscribe` on a filter.
    pub(crate) fn subscribe(&mut self, who: &Who<'_>, filter: &str) -> Result<(), Denied> {
        let verdict = self.current(who).subscribe.decide(filter);
        if verdict.is_allowed() { Ok(()) } else { Err(denied(Action::Subscribe, filter, verdict)) }
    }

    /// `iot:Receive`, asked at every delivery.
    pub(crate) fn receive(&mut self, who: &Who<'_>, topic: &str) -> bool {
        let decisions = self.current(who);
        decisions.receives_everything || decisions.receive.decide(topic).is_allowed()
    }
}

/// Decides a CONNECT: `iot:Connect` on the client id; with a will `iot:Publish` (and `iot:RetainPublish`) on its topic.
pub(crate) fn connect(
    principal: &Principal,
    question: &ConnectQuestion<'_>,
    ip: IpAddr,
) -> Result<(), Denied> {
    let snapshot = principal.entry.snapshot();
    let certificate_id = principal.certificate_id.map(|id| id.to_string());
    let will_arn = question.will.map(|(topic, _)| Arn::new(principal.scope, "topic", topic).to_string());
    let standing = principal.standing(&snapshot, question.client_id);
    let ids = (certificate_id.as_deref(), question.client_id);
    let mut context = context(&snapshot, ids, standing.thing.as_deref(), ip);
    context.connect = Some(ConnectAttributes {
        persistent_connect: question.persistent,
        last_will: question.will.is_some(),
    });
    context.last_will_topic = will_arn.as_deref();
    let region = principal.scope.region;
    let account = principal.scope.account.to_string();
    let decide = |action: Action, kind: ResourceKind<'_>, name: &str| {
        let resource = Resource::Arn { region: region.as_str(), account: &account, kind, name };
        let request = Request { action: action.into(), resource, context: &context };
        let mut decision = standing.policies.evaluate(&request);
        if let Some(boundary) = snapshot.boundary.as_ref().filter(|_| decision.verdict.is_allowed()) {
            decision = boundary.evaluate(&request);
        }
        if decision.verdict.is_allowed() { Ok(()) } else { Err(explained(action, name, &decision)) }
    };
    decide(Action::Connect, ResourceKind::Client, question.client_id)?;
    if let Some((topic, retain)) = question.will {
        decide(Action::Publish, ResourceKind::Topic, topic)?;
        if retain {
            decide(Action::RetainPublish, ResourceKind::Topic, topic)?;
        }
    }
    Ok(())
}

fn decisions(who: &Who<'_>, snapshot: &Snapshot) -> Decisions {
    let Who { principal, client_id, source_ip: ip } = *who;
    let certificate_id = principal.certificate_id.map(|id| id.to_string());
    let Standing { thing, policies } = principal.standing(snapshot, client_id);
    let context = context(snapshot, (certificate_id.as_deref(), client_id), thing.as_deref(), ip);
    let account = principal.scope.account.to_string();
    let specialise = |action| {
        let of =
            |set: &PolicySet| set.specialise(&context, action, principal.scope.region.as_str(), &account);
        Verdicts { own: of(&policies), boundary: snapshot.boundary.as_deref().map(of) }
    };
    let receive = specialise(Action::Receive);
    Decisions {
        publish: specialise(Action::Publish),
        retain: specialise(Action::RetainPublish),
        subscribe: specialise(Action::Subscribe),
        receives_everything: receive.always_allow(),
        receive,
        propagated: thing.as_deref().map(|thing| propagated(thing, client_id)).unwrap_or_default(),
    }
}

/// What the thing's type propagates; an attribute that the thing does not have is left out.
fn propagated(thing: &AttachedThing, client_id: &str) -> Vec<(Utf8Bytes, Utf8Bytes)> {
    let pair = |attribute: &PropagatingAttribute| {
        let value = match &attribute.value {
            PropagatedValue::ThingAttribute(name) => thing.attributes.get(name)?.as_str(),
            PropagatedValue::ConnectionAttribute(name) => match name.as_str() {
                "iot:ClientId" => client_id,
                "iot:Thing.ThingName" => &thing.thing_name,
                _ => return None,
            },
        };
        Some((attribute.user_property_key.as_str().into(), value.into()))
    };
    thing.propagating_attributes.iter().filter_map(pair).collect()
}

fn context<'a>(
    snapshot: &'a Snapshot,
    (certificate_id, client_id): (Option<&'a str>, &'a str),
    thing: Option<&'a AttachedThing>,
    source_ip: IpAddr,
) -> Context<'a> {
    Context {
        client_id: Some(client_id),
        source_ip: Some(source_ip),
        certificate_id,
        certificate: certificate_id.map(|_| &snapshot.attributes),
        thing: Some(thing_context(thing, client_id)),
        custom: Some(&snapshot.keys),
        ..Context::default()
    }
}

/// `thing` as policies see it; without one, variables of things have no value.
fn thing_context<'a>(thing: Option<&'a AttachedThing>, client_id: &'a str) -> ThingContext<'a> {
    match thing {
        Some(thing) => ThingContext {
            name: &thing.thing_name,
            type_name: thing.thing_type_name.as_deref(),
            attributes: Some(&thing.attributes),
            is_attached: true,
        },
        None => ThingContext { name: client_id, type_name: None, attributes: None, is_attached: false },
    }
}

/// A delivery that was refused.
pub(crate) fn receive_denied(topic: &str) -> Denied {
    denied(Action::Receive, topic, Verdict::ImplicitDeny)
}

fn denied(action: Action, resource: &str, verdict: Verdict) -> Denied {
    let because = match verdict {
        Verdict::ExplicitDeny => "a policy denies it",
        _ => "no policy allows it",
    };
    Denied { action: action.as_str(), resource: resource.to_owned(), because: because.to_owned() }
}

fn explained(action: Action, resource: &str, decision: &Decision<'_>) -> Denied {
    let mut denied = denied(action, resource, decision.verdict);
    if let Some(by) = &decision.by {
        denied.because = format!("policy {} statement {} denies it", by.policy, by.index + 1);
    }
    denied
}
