//! Rules and where they go.

use bytes::Bytes;
use fleethaven_types::{AccountId, Scope};

use super::{global, scoped};

pub(crate) fn rule_count(scope: Scope) -> Bytes {
    scoped(scope, "rule-count", &[])
}

/// Addresses that rules may call, of all accounts and regions: [`record::RuleDestination`](crate::record::RuleDestination).
pub fn rule_destinations_prefix() -> Bytes {
    global("rule-destination", &[])
}

pub(crate) fn rule_destinations_of_scope(scope: Scope) -> Bytes {
    rule_destination(scope, "")
}

pub(crate) fn rule_destination(scope: Scope, id: &str) -> Bytes {
    global("rule-destination", &[&scope.account.to_string(), scope.region.as_str(), id])
}

/// Where rule actions go, of all accounts: [`record::Connection`](crate::record::Connection).
pub fn connections_prefix() -> Bytes {
    global("connection", &[])
}

pub(crate) fn connections_of_account(account: AccountId) -> Bytes {
    global("connection", &[&account.to_string(), ""])
}

pub(crate) fn connection(account: AccountId, name: &str) -> Bytes {
    global("connection", &[&account.to_string(), name])
}

/// What is called where AWS would run Lambda functions, of all accounts: [`record::Function`](crate::record::Function).
pub fn functions_prefix() -> Bytes {
    global("function", &[])
}

pub(crate) fn functions_of_account(account: AccountId) -> Bytes {
    global("function", &[&account.to_string(), ""])
}

pub(crate) fn function(account: AccountId, arn: &str) -> Bytes {
    global("function", &[&account.to_string(), arn])
}
