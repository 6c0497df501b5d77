//! Whether a client certificate may do what a request asks: its policies, evaluated per request.
//!
//! Over HTTPS there is no client id, so `${iot:ClientId}` and thing variables do not resolve (broker.md
//! section 15). The thing that the certificate is attached to exclusively still brings the policies of its groups.

use std::sync::Arc;

use fleethaven_authorizers::Granted;
use fleethaven_pki::Certificate;
use fleethaven_policy::{
    Action, CertificateAttributes, Context, CustomKeys, Limits, Policy, PolicyDocument, PolicySet, Request,
    Resource, ResourceKind, Services, Settings, ThingContext,
};
use fleethaven_registry::shapes::{AttachedPolicy, CertificateStatus, PrincipalView, StandingThing};
use fleethaven_registry::{QueryKind, QueryReply};
use moka::sync::Cache;

use crate::authentication::{Principal, Signed};
use crate::call::Call;
use crate::error::Error;
use crate::permissions;

/// Bytes of policy text kept compiled.
const DOCUMENT_BYTES: u64 = 16 << 20;
/// Certificates kept parsed.
const CERTIFICATES: u64 = 10_000;

/// Compiled policies by their text, and certificates by their id, which is their hash: neither can go stale.
pub(crate) struct PolicyCache {
    documents: Cache<String, Arc<PolicyDocument>>,
    certificates: Cache<String, Arc<CertificateAttributes>>,
}

impl PolicyCache {
    pub(crate) fn new() -> Self {
        let weigh = |text: &String, _: &Arc<PolicyDocument>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self {
            documents: Cache::builder().max_capacity(DOCUMENT_BYTES).weigher(weigh).build(),
            certificates: Cache::new(CERTIFICATES),
        }
    }

    /// A stored document was accepted under the limits of its day, so only its form counts here. IoT policies and those of
    /// operators are kept together.
    pub(crate) fn compiled(&self, name: &str, document: &str) -> Result<Policy, Error> {
        let limits = Limits { characters: usize::MAX, services: Services::Any, ..Limits::default() };
        let parse = || PolicyDocument::parse(document, &limits).map(Arc::new);
        let document = self.documents.try_get_with_by_ref(document, parse).map_err(|error| {
            Error::Internal(format!("the stored policy '{name}' cannot be read: {error}"))
        })?;
        Ok(Policy::new(name, document))
    }

    pub(crate) fn attributes(&self, id: &str, pem: &str) -> Result<Arc<CertificateAttributes>, Error> {
        let parse = || {
            Certificate::parse_pem(pem).map(|certificate| Arc::new(CertificateAttributes::from(&certificate)))
        };
        self.certificates
            .try_get_with_by_ref(id, parse)
            .map_err(|error| Error::Internal(format!("the stored certificate {id} cannot be read: {error}")))
    }
}

/// What a request asks to do.
pub(crate) struct Asked<'a> {
    pub(crate) actions: &'a [Action],
    pub(crate) resource: On<'a>,
    /// `iot:Topic`.
    pub(crate) topic: Option<&'a str>,
    /// Keys of the request's own.
    pub(crate) custom: Option<&'a CustomKeys>,
    /// The thing that the caller says to be.
    pub(crate) thing: Option<&'a StandingThing>,
}

/// What it is done to.
#[derive(Clone, Copy)]
pub(crate) enum On<'a> {
    Topic(&'a str),
    Client(&'a str),
    /// A thing, or `thing/shadow`.
    Thing(&'a str),
    RoleAlias(&'a str),
    /// Actions that no resource restricts: policies allow them on `*`.
    Everything,
}

impl<'a> Asked<'a> {
    /// `actions` on `resource`.
    pub(crate) fn new(actions: &'a [Action], resource: On<'a>) -> Self {
        Self { actions, resource, topic: None, custom: None, thing: None }
    }
}

/// Whether the caller may do what is asked: certificates by their policies, operators by theirs; the account's own access
/// keys may do everything in it.
pub(crate) async fn authorize(call: &Call<'_>, asked: &Asked<'_>) -> Result<(), Error> {
    match &call.principal {
        Principal::Certificate(certificate_id) => {
            authorize_certificate(call, (certificate_id, &[]), asked).await
        }
        Principal::Both(certificate_id, granted) => {
            authorize_certificate(call, (certificate_id, &granted.policies), asked).await
        }
        Principal::Authorized(granted) => authorize_granted(call, granted, asked),
        Principal::Operator(signed) => authorize_operator(call, signed, asked),
    }
}

/// Refuses unless the certificate is active and its policies, with those of `more`, allow every one of the actions.
async fn authorize_certificate(
    call: &Call<'_>,
    (certificate_id, more): (&str, &[Policy]),
    asked: &Asked<'_>,
) -> Result<(), Error> {
    let query = QueryKind::Principal { certificate_id: certificate_id.to_owned() };
    let QueryReply::Principal(view) = call.query(query).await? else {
        return Err(Error::unexpected_reply());
    };
    let view = view.ok_or_else(|| refused(certificate_id, "it is not registered"))?;
    check_usable(call, certificate_id, &view)?;
    let cache = &call.state.policies;
    let exclusive = view.things.iter().find(|thing| thing.exclusive);
    let inherits = |name: &String| exclusive.is_some_and(|thing| thing.group_policies.contains(name));
    let inherited = view.group_policies.iter().filter(|policy| inherits(&policy.policy_name));
    let of_thing = asked.thing.map_or(&[] as &[AttachedPolicy], |thing| &thing.policies);
    let counting = view.policies.iter().chain(inherited).chain(of_thing);
    let compiled = counting.map(|policy| cache.compiled(&policy.policy_name, &policy.document));
    let compiled = compiled.chain(more.iter().cloned().map(Ok));
    let set = PolicySet::new(compiled.collect::<Result<_, _>>()?, Settings::default());
    let attributes = cache.attributes(certificate_id, &view.certificate_pem)?;
    let context = Context {
        certificate_id: Some(certificate_id),
        certificate: Some(&attributes),
        thing: asked.thing.map(|standing| ThingContext {
            name: &standing.thing.thing_name,
            type_name: standing.thing.thing_type_name.as_deref(),
            attributes: Some(&standing.thing.attributes),
            is_attached: true,
        }),
        ..context(call, asked)
    };
    let who = format!("certificate {certificate_id}");
    evaluate(call, asked, (&set, &who), &context)
}

/// Refuses unless the policies that the authorizer gave allow every one of the actions.
fn authorize_granted(call: &Call<'_>, granted: &Granted, asked: &Asked<'_>) -> Result<(), Error> {
    let set = PolicySet::new(granted.policies.clone(), Settings::default());
    evaluate(call, asked, (&set, &granted.principal_id), &context(call, asked))
}

/// Refuses unless the operator's policies allow every one of the actions.
fn authorize_operator(call: &Call<'_>, signed: &Signed, asked: &Asked<'_>) -> Result<(), Error> {
    if signed.operator.is_root() {
        return Ok(());
    }
    let mut keys = permissions::keys(call, &signed.operator);
    keys.extend(asked.custom);
    let context = Context { custom: Some(&keys), ..context(call, asked) };
    let account = call.scope.account.to_string();
    let resource = resource(asked.resource, (call.scope.region.as_str(), &account));
    let allows = |action: &Action| {
        let request = Request { action: (*action).into(), resource, context: &context };
        permissions::rule(&signed.operator, &request, action.as_str())
    };
    asked.actions.iter().try_for_each(allows)
}

fn context<'a>(call: &'a Call<'_>, asked: &Asked<'a>) -> Context<'a> {
    Context {
        source_ip: Some(call.source_ip),
        domain_name: call.server_name,
        topic: asked.topic,
        custom: asked.custom,
        ..Context::default()
    }
}

fn evaluate(
    call: &Call<'_>,
    asked: &Asked<'_>,
    (set, who): (&PolicySet, &str),
    context: &Context<'_>,
) -> Result<(), Error> {
    let account = call.scope.account.to_string();
    let resource = resource(asked.resource, (call.scope.region.as_str(), &account));
    for action in asked.actions {
        let decision = set.evaluate(&Request { action: (*action).into(), resource, context });
        if !decision.verdict.is_allowed() {
            let by = decision.by.map(|by| format!(" by {by}")).unwrap_or_default();
            let reason = format!("{action} on {} is {:?}{by}", resource.to_arn(), decision.verdict);
            return Err(Error::Forbidden(format!("{who}: {reason}")));
        }
    }
    Ok(())
}

fn resource<'a>(on: On<'a>, (region, account): (&'a str, &'a str)) -> Resource<'a> {
    let arn = |kind, name| Resource::Arn { region, account, kind, name };
    match on {
        On::Topic(topic) => arn(ResourceKind::Topic, topic),
        On::Client(client_id) => arn(ResourceKind::Client, client_id),
        On::Thing(name) => arn(ResourceKind::Thing, name),
        On::RoleAlias(name) => arn(ResourceKind::RoleAlias, name),
        On::Everything => Resource::Any,
    }
}

/// The listener checked the same at the handshake; since then the certificate may have changed.
fn check_usable(call: &Call<'_>, certificate_id: &str, view: &PrincipalView) -> Result<(), Error> {
    if view.status != CertificateStatus::Active {
        return Err(refused(certificate_id, &format!("it is {:?}", view.status)));
    }
    if call.now < view.validity.not_before || call.now > view.validity.not_after {
        return Err(refused(certificate_id, "it is not valid at this time"));
    }
    Ok(())
}

fn refused(certificate_id: &str, reason: &str) -> Error {
    Error::Forbidden(format!("certificate {certificate_id}: {reason}"))
}
