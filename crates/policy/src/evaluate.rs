//! Deciding one request (security.md 9.5).

use std::collections::BTreeSet;

use crate::action::RequestedAction;
use crate::context::Context;
use crate::document::{Effect, ResourceElement, Statement};
use crate::pattern;
use crate::resource::Resource;
use crate::set::{PolicySet, StatementRef};
use crate::variable::Scope;

/// What is to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the caller wants to do.
    pub action: RequestedAction<'a>,
    /// To what.
    pub resource: Resource<'a>,
    /// Who and where the caller is.
    pub context: &'a Context<'a>,
}

/// What policies say to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Allow,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement speaks of it.
    ImplicitDeny,
}

impl Verdict {
    /// Whether the request may go ahead.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow)
    }

    /// The verdict, if some statement allows and some denies.
    pub(crate) const fn of(allowed: bool, denied: bool) -> Self {
        match (denied, allowed) {
            (true, _) => Self::ExplicitDeny,
            (false, true) => Self::Allow,
            (false, false) => Self::ImplicitDeny,
        }
    }
}

/// A verdict and the statement behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'p> {
    /// Whether the request may go ahead.
    pub verdict: Verdict,
    /// The first statement that denied, else the first that allowed; `None` for an implicit deny.
    pub by: Option<StatementRef<'p>>,
}

/// All that bears on a request, for `TestAuthorization` and "why was this denied".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// Whether the request may go ahead.
    pub verdict: Verdict,
    /// Every statement that allows it.
    pub allows: Vec<StatementRef<'p>>,
    /// Every statement that denies it.
    pub denies: Vec<StatementRef<'p>>,
    /// The variables and condition keys that the statements for this action name and the request has no value
    /// for (`missingContextValues`), as the policies write them.
    pub missing: BTreeSet<String>,
}

impl PolicySet {
    /// Decides a request: Deny over Allow, and deny if nothing matches.
    pub fn evaluate(&self, request: &Request<'_>) -> Decision<'_> {
        let scope = self.scope(request);
        let parts = request.resource.parts();
        let mut allowed = None;
        for (by, statement) in self.statements() {
            let is_news = statement.effect == Effect::Deny || allowed.is_none();
            if !is_news || !applies(statement, &scope, &parts) {
                continue;
            }
            if statement.effect == Effect::Deny {
                return Decision { verdict: Verdict::ExplicitDeny, by: Some(by) };
            }
            allowed = Some(by);
        }
        Decision { verdict: Verdict::of(allowed.is_some(), false), by: allowed }
    }

    /// Decides a request and says all there is to say about it; slower than [`evaluate`](Self::evaluate).
    pub fn explain(&self, request: &Request<'_>) -> Explanation<'_> {
        let scope = self.scope(request);
        let parts = request.resource.parts();
        let (mut allows, mut denies, mut missing) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (by, statement) in self.statements() {
            if !statement.actions.matches(scope.action) {
                continue;
            }
            collect_missing(statement, &scope, &mut missing);
            match statement.effect {
                _ if !applies(statement, &scope, &parts) => {}
                Effect::Allow => allows.push(by),
                Effect::Deny => denies.push(by),
            }
        }
        let verdict = Verdict::of(!allows.is_empty(), !denies.is_empty());
        Explanation { verdict, allows, denies, missing }
    }

    fn scope<'a>(&self, request: &Request<'a>) -> Scope<'a> {
        Scope { action: request.action, context: request.context, settings: self.settings() }
    }
}

fn applies(statement: &Statement, scope: &Scope<'_>, resource: &[&str; 7]) -> bool {
    statement.actions.matches(scope.action)
        && resource_matches(&statement.resources, scope, statement.effect, resource)
        && conditions_hold(statement, scope)
}

pub(crate) fn conditions_hold(statement: &Statement, scope: &Scope<'_>) -> bool {
    statement.conditions.iter().all(|condition| condition.holds(scope, statement.effect == Effect::Deny))
}

/// Whether a pattern with an unresolved variable makes the statement fire.
pub(crate) fn fires_unresolved(element: &ResourceElement, scope: &Scope<'_>, effect: Effect) -> bool {
    effect == Effect::Deny
        && scope.settings.unresolved_deny_is_match
        && element.patterns.iter().any(|template| !template.resolve(scope).complete)
}

fn resource_matches(
    element: &ResourceElement,
    scope: &Scope<'_>,
    effect: Effect,
    resource: &[&str; 7],
) -> bool {
    let any =
        element.patterns.iter().any(|template| pattern::matches(&template.resolve(scope).pattern, resource));
    any != element.negated || fires_unresolved(element, scope, effect)
}

fn collect_missing(statement: &Statement, scope: &Scope<'_>, missing: &mut BTreeSet<String>) {
    for template in &statement.resources.patterns {
        template.missing(scope, missing);
    }
    for condition in &statement.conditions {
        condition.missing(scope, missing);
    }
}

#[cfg(test)]
mod tests;
