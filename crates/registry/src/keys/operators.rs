//! Accounts, users and roles, and what they sign with.

use bytes::Bytes;
use fleethaven_types::AccountId;

use super::{account_wide, global};
use crate::shapes::PolicyHolder;

/// Every account's record.
pub fn accounts_prefix() -> Bytes {
    global("account", &[])
}

/// Every access key's record.
pub fn access_keys_prefix() -> Bytes {
    global("access-key", &[])
}

/// All that says who signs requests and what they may do: access keys, users, roles, their policies, and the keys of sessions.
pub fn operators_prefixes() -> [Bytes; 9] {
    let of = |collection| global(collection, &[]);
    [
        access_keys_prefix(),
        of("user"),
        of("user-policy"),
        of("user-attached-policy"),
        of("role"),
        of("role-policy"),
        of("role-attached-policy"),
        of("managed-policy"),
        session_keys(),
    ]
}

pub(crate) fn account(account: AccountId) -> Bytes {
    global("account", &[&account.to_string()])
}

pub(crate) fn access_key(id: &str) -> Bytes {
    global("access-key", &[id])
}

pub(crate) fn access_key_of_account(account: AccountId, id: &str) -> Bytes {
    account_wide(account, "access-key", id)
}

pub(crate) fn access_key_of_user(account: AccountId, user: &str, id: &str) -> Bytes {
    account_wide(account, "access-key-of-user", &format!("{user}\0{id}"))
}

pub(crate) fn users_of_account(account: AccountId) -> Bytes {
    global("user", &[&account.to_string(), ""])
}

pub(crate) fn user(account: AccountId, name: &str) -> Bytes {
    global("user", &[&account.to_string(), name])
}

pub(crate) fn roles_of_account(account: AccountId) -> Bytes {
    global("role", &[&account.to_string(), ""])
}

pub(crate) fn role(account: AccountId, name: &str) -> Bytes {
    global("role", &[&account.to_string(), name])
}

/// A policy of a user or role, or with an empty name all of them.
pub(crate) fn operator_policy(account: AccountId, holder: &PolicyHolder, policy: &str) -> Bytes {
    match holder {
        PolicyHolder::User(name) => global("user-policy", &[&account.to_string(), name, policy]),
        PolicyHolder::Role(name) => global("role-policy", &[&account.to_string(), name, policy]),
    }
}

pub(crate) fn managed_policies(account: AccountId) -> Bytes {
    global("managed-policy", &[&account.to_string(), ""])
}

pub(crate) fn managed_policy(account: AccountId, name: &str) -> Bytes {
    global("managed-policy", &[&account.to_string(), name])
}

/// That a user or role has a managed policy, or with an empty name all that it has.
pub(crate) fn attached_policy(account: AccountId, holder: &PolicyHolder, policy: &str) -> Bytes {
    match holder {
        PolicyHolder::User(name) => global("user-attached-policy", &[&account.to_string(), name, policy]),
        PolicyHolder::Role(name) => global("role-attached-policy", &[&account.to_string(), name, policy]),
    }
}

/// The same by policy: of this `kind`, `user` or `role`, who has it, or with an empty name all that have it.
pub(crate) fn holder_of_policy(account: AccountId, kind: &str, policy: &str, holder: &str) -> Bytes {
    global(&format!("{kind}-of-policy"), &[&account.to_string(), policy, holder])
}

/// The keys of sessions.
pub(crate) fn session_keys() -> Bytes {
    global("session-keys", &[])
}

pub(crate) fn issuing_ca(account: AccountId) -> Bytes {
    account_wide(account, "issuing-ca", "")
}
