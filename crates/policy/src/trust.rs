//! Trust policies: who may assume a role (AWS page "IAM JSON policy elements: Principal").

use crate::action::{ActionElement, RequestedAction};
use crate::condition::Condition;
use crate::context::Context;
use crate::document::Effect;
use crate::error::Error;
use crate::evaluate::Verdict;
use crate::grammar;
use crate::settings::{Limits, Settings};
use crate::variable::Scope;

/// Whom a statement of a trust policy means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trusted {
    /// `"*"`
    Anyone,
    /// Whoever the account itself allows to assume the role: its id, or the ARN of its root.
    Account(Box<str>),
    /// A user, a role (whoever has assumed it), or one session, by ARN.
    Arn(Box<str>),
    /// A service, such as `credentials.iot.amazonaws.com`.
    Service(Box<str>),
}

impl Trusted {
    /// Reads what stands under `AWS`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_account = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
        if text == "*" {
            return Some(Self::Anyone);
        }
        if is_account(text) {
            return Some(Self::Account(text.into()));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", _, service, "", account, name] = parts.as_slice() else { return None };
        match (*service, *name) {
            _ if !is_account(account) => None,
            ("iam", "root") => Some(Self::Account((*account).into())),
            ("iam", name) if name.starts_with("user/") || name.starts_with("role/") => {
                Some(Self::Arn(text.into()))
            }
            ("sts", name) if name.starts_with("assumed-role/") => Some(Self::Arn(text.into())),
            _ => None,
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrustStatement {
    pub(crate) effect: Effect,
    pub(crate) actions: ActionElement,
    pub(crate) principals: Vec<Trusted>,
    pub(crate) conditions: Vec<Condition>,
}

/// Who wants to assume a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assumer<'a> {
    /// A user or a session.
    Principal {
        /// Its account.
        account: &'a str,
        /// Its own ARN, `arn:aws:iam::…:user/…` or `arn:aws:sts::…:assumed-role/…/…`.
        arn: &'a str,
        /// Of a session the ARN of its role.
        role_arn: Option<&'a str>,
    },
    /// A service that acts for devices.
    Service(&'a str),
}

/// What a trust policy says of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It names them: nothing else need allow it.
    Named,
    /// It leaves it to their account, whose policies must allow it.
    Delegated,
    /// It says nothing of them, or denies it.
    Refused(Verdict),
}

/// A role's trust policy.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustPolicy {
    statements: Vec<TrustStatement>,
}

impl TrustPolicy {
    /// Reads a document.
    ///
    /// # Errors
    /// Whatever AWS answers with `MalformedPolicyDocument`.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Error> {
        Ok(Self { statements: grammar::parse_trust(text, limits)? })
    }

    /// Whether `who` may do `action` (`sts:AssumeRole`) with the role.
    pub fn decide(&self, who: Assumer<'_>, action: &str, context: &Context<'_>) -> Trust {
        let scope = Scope { action: RequestedAction::named(action), context, settings: Settings::default() };
        let (mut named, mut delegated) = (false, false);
        for statement in &self.statements {
            let meant = statement.principals.iter().filter_map(|trusted| meaning(trusted, who));
            let Some(by_name) = meant.reduce(|a, b| a || b) else { continue };
            let deny = statement.effect == Effect::Deny;
            let holds = |condition: &Condition| condition.holds(&scope, deny);
            if !statement.actions.matches(scope.action) || !statement.conditions.iter().all(holds) {
                continue;
            }
            match (deny, by_name) {
                (true, _) => return Trust::Refused(Verdict::ExplicitDeny),
                (false, true) => named = true,
                (false, false) => delegated = true,
            }
        }
        match (named, delegated) {
            (true, _) => Trust::Named,
            (false, true) => Trust::Delegated,
            (false, false) => Trust::Refused(Verdict::ImplicitDeny),
        }
    }
}

/// Whether `who` is meant: `Some(true)` by name, `Some(false)` as one of their account.
fn meaning(trusted: &Trusted, who: Assumer<'_>) -> Option<bool> {
    match (trusted, who) {
        (Trusted::Anyone, Assumer::Principal { .. }) => Some(false),
        (Trusted::Account(id), Assumer::Principal { account, .. }) => (**id == *account).then_some(false),
        (Trusted::Arn(name), Assumer::Principal { arn, role_arn, .. }) => {
            (**name == *arn || role_arn == Some(&**name)).then_some(true)
        }
        (Trusted::Service(name), Assumer::Service(service)) => (**name == *service).then_some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
