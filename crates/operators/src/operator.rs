//! An operator: an identity with its policies.

use fleethaven_policy::{Decision, Policy, PolicySet, Request, Settings, Verdict};
use fleethaven_registry::shapes::{OperatorPolicy, RoleDescription, UserDescription};
use fleethaven_types::AccountId;

use crate::identity::Identity;
use crate::session::Session;

/// How the policy that a session was made with is called.
const SESSION_POLICY: &str = "session-policy";

/// Who asks, and what it may do.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Who it is.
    pub identity: Identity,
    /// `None`: everything in its account.
    policies: Option<PolicySet>,
    /// Of a session with a policy of its own: what it may do at most.
    boundary: Option<PolicySet>,
}

/// A decision, and which policies made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Whether the request may go ahead.
    pub verdict: Verdict,
    /// The statement that denied or allowed, by policy and place.
    pub by: Option<String>,
    /// It was the session's policy that did not allow it.
    pub by_boundary: bool,
}

impl Ruling {
    /// A refusal in the words of AWS's messages.
    pub fn message(&self, who: &Identity, action: &str, resource: &str) -> String {
        let kind = if self.by_boundary { "session" } else { "identity-based" };
        let because = match (self.verdict, self.by_boundary) {
            (Verdict::ExplicitDeny, false) => "with an explicit deny in an identity-based policy".to_owned(),
            (Verdict::ExplicitDeny, true) => "with an explicit deny in a session policy".to_owned(),
            _ => format!("because no {kind} policy allows the {action} action"),
        };
        let who = who.arn();
        format!("User: {who} is not authorized to perform: {action} on resource: {resource} {because}")
    }
}

impl Operator {
    /// The account itself.
    pub fn root(account: AccountId) -> Self {
        Self { identity: Identity::Root { account }, policies: None, boundary: None }
    }

    /// A user. `compile` reads a document, given its policy's name.
    ///
    /// # Errors
    /// Those of `compile`: a policy that cannot be read may hold a Deny, so that it is not left out.
    pub fn user<E>(
        user: &UserDescription,
        compile: impl FnMut(&str, &str) -> Result<Policy, E>,
    ) -> Result<Self, E> {
        let policies = Some(set(user.policies.iter().chain(&user.attached), compile)?);
        Ok(Self { identity: Identity::of_user(user), policies, boundary: None })
    }

    /// A session of `role`.
    ///
    /// # Errors
    /// As with [`user`](Self::user).
    pub fn session<E>(
        session: Session,
        role: &RoleDescription,
        mut compile: impl FnMut(&str, &str) -> Result<Policy, E>,
    ) -> Result<Self, E> {
        let policies = Some(set(role.policies.iter().chain(&role.attached), &mut compile)?);
        let boundary = match session.policy.as_str() {
            "" => None,
            text => Some(PolicySet::new(vec![compile(SESSION_POLICY, text)?], Settings::default())),
        };
        Ok(Self { identity: Identity::Session(session.with_tags_of(role)), policies, boundary })
    }

    /// Whether it may do everything in its account.
    pub fn is_root(&self) -> bool {
        self.policies.is_none()
    }

    /// What allows: of the account itself nothing need.
    pub fn policies(&self) -> Option<&PolicySet> {
        self.policies.as_ref()
    }

    /// What has to allow as well.
    pub fn boundary(&self) -> Option<&PolicySet> {
        self.boundary.as_ref()
    }

    /// When it is no more, in seconds since the epoch: sessions end.
    pub fn expires_at(&self) -> Option<u64> {
        match &self.identity {
            Identity::Session(session) => Some(session.expires_at),
            Identity::Root { .. } | Identity::User { .. } => None,
        }
    }

    /// Decides a request: a deny anywhere counts; the policies must allow it, and so must the session's own.
    pub fn decide(&self, request: &Request<'_>) -> Ruling {
        let Some(policies) = &self.policies else {
            return Ruling { verdict: Verdict::Allow, by: None, by_boundary: false };
        };
        let own = policies.evaluate(request);
        if own.verdict == Verdict::ExplicitDeny {
            return ruling(&own, false);
        }
        if let Some(boundary) = &self.boundary {
            let decision = boundary.evaluate(request);
            // What neither allows is told of the identity's policies.
            if decision.verdict == Verdict::ExplicitDeny
                || own.verdict.is_allowed() && !decision.verdict.is_allowed()
            {
                return ruling(&decision, true);
            }
        }
        ruling(&own, false)
    }
}

fn ruling(decision: &Decision<'_>, by_boundary: bool) -> Ruling {
    let by = decision.by.map(|by| by.to_string());
    Ruling { verdict: decision.verdict, by, by_boundary }
}

fn set<'p, E>(
    policies: impl Iterator<Item = &'p OperatorPolicy>,
    mut compile: impl FnMut(&str, &str) -> Result<Policy, E>,
) -> Result<PolicySet, E> {
    let compiled = policies.map(|policy| compile(&policy.policy_name, &policy.policy_document));
    Ok(PolicySet::new(compiled.collect::<Result<_, _>>()?, Settings::default()))
}

/// Whether any of the sets names a condition key (or variable) that begins so; letter case does not matter.
pub fn mentions<'a>(sets: impl IntoIterator<Item = &'a PolicySet>, key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let mut policies = sets.into_iter().flat_map(PolicySet::policies);
    policies.any(|policy| policy.document.text().to_ascii_lowercase().contains(&key))
}

#[cfg(test)]
mod tests {
    use fleethaven_policy::{Context, Limits, PolicyDocument, RequestedAction, Resource, Services};
    use fleethaven_types::Timestamp;

    use super::*;

    fn compile(name: &str, text: &str) -> Result<Policy, fleethaven_policy::Error> {
        let limits = Limits { services: Services::Any, ..Limits::default() };
        Ok(Policy::new(name, PolicyDocument::parse(text, &limits)?))
    }

    fn policy(effect: &str, action: &str) -> String {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Action":"{action}","Resource":"*"}}}}"#
        )
    }

    fn session(role: &[String], own: &str) -> Operator {
        let named = |(at, text): (usize, &String)| OperatorPolicy {
            policy_name: format!("p{at}"),
            policy_document: text.clone(),
        };
        let role = RoleDescription {
            account: "123456789012".parse().unwrap(),
            role_name: "ops".to_owned(),
            role_id: "AROA".to_owned(),
            assume_role_policy_document: String::new(),
            max_session_duration: 3600,
            description: String::new(),
            created_at: Timestamp(0),
            policies: role.iter().enumerate().map(named).collect(),
            attached: Vec::new(),
            tags: Vec::new(),
        };
        let session = Session::of(&role, "night", 100, 3600).with_policy(own);
        Operator::session(session, &role, compile).unwrap()
    }

    fn decide(operator: &Operator, action: &str) -> Ruling {
        let context = Context::default();
        let action = RequestedAction::named(action);
        operator.decide(&Request { action, resource: Resource::Any, context: &context })
    }

    #[test]
    fn the_account_itself_may_do_everything() {
        let root = Operator::root("123456789012".parse().unwrap());
        assert!(root.is_root() && decide(&root, "iot:DeleteThing").verdict.is_allowed());
        assert_eq!(root.identity.arn(), "arn:aws:iam::123456789012:root");
    }

    #[test]
    fn a_session_policy_narrows_and_never_widens() {
        let all = [policy("Allow", "iot:*")];
        let narrowed = session(&all, &policy("Allow", "iot:Describe*"));
        assert!(decide(&narrowed, "iot:DescribeThing").verdict.is_allowed());
        let refused = decide(&narrowed, "iot:DeleteThing");
        assert_eq!((refused.verdict, refused.by_boundary), (Verdict::ImplicitDeny, true));
        let told = refused.message(&narrowed.identity, "iot:DeleteThing", "*");
        assert_eq!(
            told,
            "User: arn:aws:sts::123456789012:assumed-role/ops/night is not authorized to perform: iot:DeleteThing on \
             resource: * because no session policy allows the iot:DeleteThing action"
        );
        let denied = decide(&session(&all, &policy("Deny", "iot:*")), "iot:DeleteThing");
        let told = denied.message(&narrowed.identity, "iot:DeleteThing", "*");
        assert!(told.ends_with("with an explicit deny in a session policy"), "{told}");
        let widened =
            decide(&session(&[policy("Allow", "iot:List*")], &policy("Allow", "*")), "iot:DeleteThing");
        assert_eq!((widened.verdict, widened.by_boundary), (Verdict::ImplicitDeny, false));
    }

    #[test]
    fn a_deny_goes_before_everything() {
        let both = session(&[policy("Allow", "*"), policy("Deny", "iot:Delete*")], "");
        assert!(decide(&both, "iot:CreateThing").verdict.is_allowed());
        let denied = decide(&both, "iot:DeleteThing");
        assert_eq!((denied.verdict, denied.by.as_deref()), (Verdict::ExplicitDeny, Some("p1[0]")));
        let told = denied.message(&both.identity, "iot:DeleteThing", "*");
        assert!(told.ends_with("with an explicit deny in an identity-based policy"), "{told}");
    }

    #[test]
    fn who_a_session_is() {
        let operator = session(&[], "");
        assert_eq!(operator.identity.arn(), "arn:aws:sts::123456789012:assumed-role/ops/night");
        assert_eq!(operator.identity.user_id(), "AROA:night");
        assert_eq!(operator.identity.principal_arn(), "arn:aws:iam::123456789012:role/ops");
        assert_eq!(operator.expires_at(), Some(3700));
    }

    #[test]
    fn keys_are_found_whatever_their_case() {
        let text = policy("Allow", "*")
            .replace("\"*\"}", "\"*\",\"Condition\":{\"Null\":{\"AWS:CurrentTime\":\"true\"}}}");
        let timed = session(&[text], "");
        assert!(mentions(timed.policies(), "aws:currenttime"));
        assert!(!mentions(timed.policies(), "aws:ResourceTag/"));
    }
}
