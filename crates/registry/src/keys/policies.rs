//! Policies and what they are attached to.

use bytes::Bytes;
use fleethaven_types::{Scope, Timestamp};

use super::{Order, below, scoped};

/// Versions of all policies of a scope.
pub fn policy_versions_prefix(scope: Scope) -> Bytes {
    below(scope, "policy-version", &[])
}

/// Which policies are attached to what, in a scope.
pub fn policy_attachments_prefix(scope: Scope) -> Bytes {
    below(scope, "policy-of-target", &[])
}

pub(crate) fn policy_by_date(scope: Scope, order: Order, created: Timestamp, policy: &str) -> Bytes {
    scoped(scope, &order.of("policy"), &[&order.part(created), policy])
}

pub(crate) fn policies_by_date(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("policy"), &[])
}

/// A version of a policy.
pub fn policy_version(scope: Scope, policy: &str, version: u64) -> Bytes {
    scoped(scope, "policy-version", &[policy, &format!("{version:016x}")])
}

pub(crate) fn versions_of_policy(scope: Scope, policy: &str) -> Bytes {
    below(scope, "policy-version", &[policy])
}

pub(crate) fn policy_of_target(scope: Scope, target: &str, policy: &str) -> Bytes {
    scoped(scope, "policy-of-target", &[target, policy])
}

pub(crate) fn policies_of_target(scope: Scope, target: &str) -> Bytes {
    below(scope, "policy-of-target", &[target])
}

pub(crate) fn target_of_policy(
    scope: Scope,
    order: Order,
    policy: &str,
    attached: Timestamp,
    target: &str,
) -> Bytes {
    scoped(scope, &order.of("target-of-policy"), &[policy, &order.part(attached), target])
}

pub(crate) fn targets_of_policy(scope: Scope, order: Order, policy: &str) -> Bytes {
    below(scope, &order.of("target-of-policy"), &[policy])
}
