//! What a custom authorizer allows a connection, beside what its certificate does.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use fleethaven_policy::{Policy, PolicySet};
use fleethaven_types::Scope;

use super::{Entry, IdentityCache, Principal, Snapshot, Standing};

/// The policies of the authorizer's last answer.
pub(crate) struct Allowance {
    generation: AtomicU64,
    policies: ArcSwap<Vec<Policy>>,
}

impl Allowance {
    pub(crate) fn new(policies: Vec<Policy>) -> Self {
        Self { generation: AtomicU64::new(1), policies: ArcSwap::from_pointee(policies) }
    }

    /// A later answer's instead.
    pub(crate) fn replace(&self, policies: Vec<Policy>) {
        self.policies.store(Arc::new(policies));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl IdentityCache {
    /// The principal of a client without certificate or signature, who may do nothing before an authorizer has let it in.
    pub fn stranger(&self, scope: Scope) -> Principal {
        Principal { scope, certificate_id: None, user: None, entry: self.nobody.clone(), allowance: None }
    }
}

/// A principal that has no policies of its own.
pub(super) fn nobody() -> Entry {
    Entry::new(None, Snapshot { status: super::CertificateStatus::Active, ..Snapshot::deleted() })
}

impl Principal {
    /// Raised with each change of what the principal may do.
    pub(crate) fn generation(&self) -> u64 {
        let allowance = self.allowance.as_ref();
        let allowed = allowance.map_or(0, |allowance| allowance.generation.load(Ordering::Acquire));
        // Neither ever falls, so the sum tells of any change.
        self.entry.generation().wrapping_add(allowed)
    }

    /// What a client of this id stands for, with what an authorizer allows it.
    pub(crate) fn standing<'s>(&self, snapshot: &'s Snapshot, client_id: &str) -> Standing<'s> {
        let mut standing = self.entry.standing(snapshot, client_id);
        if let Some(allowance) = self.allowance.as_ref().filter(|_| snapshot.is_active()) {
            let allowed = allowance.policies.load();
            let all = standing.policies.policies().iter().chain(allowed.iter()).cloned().collect();
            standing.policies = Cow::Owned(PolicySet::new(all, standing.policies.settings()));
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleethaven_policy::{Action, Context, Limits, PolicyDocument, Request, Resource, ResourceKind};

    fn allowing(resource: &str) -> Vec<Policy> {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"iot:Connect","Resource":"{resource}"}}}}"#
        );
        vec![Policy::new("a#1", PolicyDocument::parse(&text, &Limits::default()).unwrap())]
    }

    fn principal(entry: Entry, policies: Vec<Policy>) -> Principal {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let allowance = Some(Arc::new(Allowance::new(policies)));
        Principal { scope, certificate_id: None, user: None, entry: Arc::new(entry), allowance }
    }

    fn may_connect(principal: &Principal, client_id: &str) -> bool {
        let snapshot = principal.entry.snapshot();
        let standing = principal.standing(&snapshot, client_id);
        let context = Context { client_id: Some(client_id), ..Context::default() };
        let (region, account) = ("eu-west-1", "123456789012");
        let resource = Resource::Arn { region, account, kind: ResourceKind::Client, name: client_id };
        let request = Request { action: Action::Connect.into(), resource, context: &context };
        standing.policies.evaluate(&request).verdict.is_allowed()
    }

    #[test]
    fn a_later_answer_replaces_the_one_before() {
        let principal = principal(nobody(), allowing("arn:aws:iot:*:*:client/a"));
        assert_eq!([may_connect(&principal, "a"), may_connect(&principal, "b")], [true, false]);
        let before = principal.generation();
        principal.allowance.as_ref().unwrap().replace(allowing("arn:aws:iot:*:*:client/b"));
        assert_eq!([may_connect(&principal, "a"), may_connect(&principal, "b")], [false, true]);
        assert_ne!(principal.generation(), before);
    }

    #[test]
    fn nothing_is_allowed_beside_a_certificate_that_is_not_active() {
        let principal = principal(Entry::new(None, Snapshot::deleted()), allowing("*"));
        assert!(!may_connect(&principal, "a"));
    }
}
