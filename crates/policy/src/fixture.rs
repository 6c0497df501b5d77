//! What the tests of several modules build on.

use crate::{
    Action, Context, Limits, Policy, PolicyDocument, PolicySet, Request, Resource, Settings, Verdict,
};

pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const ACCOUNT: &str = "123456789012";

/// A document of the 2012 version; `topic/…` and the like in it are written out as ARNs where they stand as
/// `~topic/…`.
pub(crate) fn document(statements: &str) -> PolicyDocument {
    let statements = statements.replace('~', &format!("arn:aws:iot:{REGION}:{ACCOUNT}:"));
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    PolicyDocument::parse(&text, &Limits { characters: 100_000, ..Limits::default() }).unwrap()
}

pub(crate) fn set(statements: &str) -> PolicySet {
    set_with(statements, Settings::default())
}

pub(crate) fn set_with(statements: &str, settings: Settings) -> PolicySet {
    PolicySet::new(vec![Policy::new("p", document(statements))], settings)
}

/// The resource of an action; for one on `*`, that.
pub(crate) fn resource(action: Action, name: &str) -> Resource<'_> {
    match action.resource_kind() {
        Some(kind) => Resource::Arn { region: REGION, account: ACCOUNT, kind, name },
        None => Resource::Any,
    }
}

/// The verdict, which the specialised form has to confirm.
pub(crate) fn verdict(set: &PolicySet, action: Action, name: &str, context: &Context<'_>) -> Verdict {
    let request = Request { action: action.into(), resource: resource(action, name), context };
    let decision = set.evaluate(&request);
    let specialised = set.specialise(context, action, REGION, ACCOUNT);
    assert_eq!(specialised.decide(name), decision.verdict, "{action} on {name}");
    assert!(specialised.always().is_none_or(|always| always == decision.verdict), "{action} on {name}");
    assert!(!(specialised.allows_nothing() && decision.verdict.is_allowed()), "{action} on {name}");
    assert_eq!(set.explain(&request).verdict, decision.verdict);
    assert_eq!(decision.by.is_none(), decision.verdict == Verdict::ImplicitDeny);
    decision.verdict
}

pub(crate) fn allows(set: &PolicySet, action: Action, name: &str, context: &Context<'_>) -> bool {
    verdict(set, action, name, context).is_allowed()
}
