//! What a changed key means to those who keep caches.

use fleethaven_types::{AccountId, Scope};

use crate::keys;

/// The meaning of a changed key. Keys of indexes have none: the record they belong to changes, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A certificate was registered, changed or deleted: [`record::Certificate`](crate::record::Certificate).
    Certificate {
        /// Where.
        scope: Scope,
        /// Its id.
        id: String,
    },
    /// A CA certificate was registered, changed or deleted:
    /// [`record::CaCertificate`](crate::record::CaCertificate).
    CaCertificate {
        /// Where.
        scope: Scope,
        /// Its id.
        id: String,
    },
    /// A policy was created or deleted, got another default version, or a version of it came or went.
    PolicyDocument {
        /// Where.
        scope: Scope,
        /// Name of the policy.
        name: String,
    },
    /// A policy was attached to or detached from the target:
    /// [`record::PolicyAttachment`](crate::record::PolicyAttachment).
    PolicyAttachment {
        /// Where.
        scope: Scope,
        /// ARN of a certificate or thing group, or identity id.
        target: String,
        /// Name of the policy.
        policy: String,
    },
    /// A thing was created, changed or deleted: [`record::Thing`](crate::record::Thing).
    Thing {
        /// Where.
        scope: Scope,
        /// Its name.
        name: String,
    },
    /// A thing was attached to or detached from the principal:
    /// [`record::ThingPrincipal`](crate::record::ThingPrincipal).
    ThingPrincipal {
        /// Where.
        scope: Scope,
        /// Certificate ARN or identity id.
        principal: String,
        /// Name of the thing.
        thing: String,
    },
    /// A thing group was created, changed or deleted: [`record::ThingGroup`](crate::record::ThingGroup).
    ThingGroup {
        /// Where.
        scope: Scope,
        /// Its name.
        name: String,
    },
    /// A thing joined or left a thing group:
    /// [`record::ThingGroupMembership`](crate::record::ThingGroupMembership).
    ThingGroupMembership {
        /// Where.
        scope: Scope,
        /// Name of the thing.
        thing: String,
        /// Name of the group.
        group: String,
    },
    /// A thing type was created, changed or deleted: [`record::ThingType`](crate::record::ThingType).
    ThingType {
        /// Where.
        scope: Scope,
        /// Its name.
        name: String,
    },
    /// A rule was created, changed or deleted: [`record::Rule`](crate::record::Rule).
    Rule {
        /// Where.
        scope: Scope,
        /// Its name.
        name: String,
    },
    /// An account was made or changed: [`record::Account`](crate::record::Account).
    Account(AccountId),
    /// An account's issuing CA changed: [`record::IssuingCa`](crate::record::IssuingCa).
    IssuingCa(AccountId),
    /// An access key was made or removed: [`record::AccessKey`](crate::record::AccessKey).
    AccessKey {
        /// Its id.
        id: String,
    },
    /// A user was made or removed, or what it may do changed.
    User {
        /// Whose.
        account: AccountId,
        /// Its name.
        name: String,
    },
    /// A role was made, changed or removed, or what its sessions may do changed.
    Role {
        /// Whose.
        account: AccountId,
        /// Its name.
        name: String,
    },
    /// A policy that users and roles of the account share was made, changed or removed.
    ManagedPolicy(AccountId),
    /// Something was created in an account and region for the first time.
    Scope(Scope),
}

/// The meaning of `key`; `None` for indexes, tags and keys that are not the registry's.
pub fn classify(key: &[u8]) -> Option<Change> {
    let parsed = keys::parse(key)?;
    match (parsed.account, parsed.region) {
        ("global", _) => classify_global(parsed.collection, &parsed.parts),
        (account, "_") => {
            let account = account.parse().ok()?;
            (parsed.collection == "issuing-ca").then_some(Change::IssuingCa(account))
        }
        _ => classify_scoped(parsed.scope()?, parsed.collection, &parsed.parts),
    }
}

fn classify_global(collection: &str, parts: &[&str]) -> Option<Change> {
    match (collection, parts) {
        ("account", [account]) => Some(Change::Account(account.parse().ok()?)),
        ("access-key", [id]) => Some(Change::AccessKey { id: (*id).to_owned() }),
        ("user", [account, name]) | ("user-policy" | "user-attached-policy", [account, name, _]) => {
            Some(Change::User { account: account.parse().ok()?, name: (*name).to_owned() })
        }
        ("role", [account, name]) | ("role-policy" | "role-attached-policy", [account, name, _]) => {
            Some(Change::Role { account: account.parse().ok()?, name: (*name).to_owned() })
        }
        ("managed-policy", [account, _]) => Some(Change::ManagedPolicy(account.parse().ok()?)),
        ("scope", [account, region]) => {
            Some(Change::Scope(Scope { account: account.parse().ok()?, region: region.parse().ok()? }))
        }
        _ => None,
    }
}

fn classify_scoped(scope: Scope, collection: &str, parts: &[&str]) -> Option<Change> {
    let change = match (collection, parts) {
        ("certificate", [id]) => Change::Certificate { scope, id: (*id).to_owned() },
        ("ca-certificate", [id]) => Change::CaCertificate { scope, id: (*id).to_owned() },
        ("policy", [name]) | ("policy-version", [name, _]) => {
            Change::PolicyDocument { scope, name: (*name).to_owned() }
        }
        ("policy-of-target", [target, policy]) => {
            Change::PolicyAttachment { scope, target: (*target).to_owned(), policy: (*policy).to_owned() }
        }
        ("thing-group", [name]) => Change::ThingGroup { scope, name: (*name).to_owned() },
        ("group-of-thing", [thing, group]) => {
            Change::ThingGroupMembership { scope, thing: (*thing).to_owned(), group: (*group).to_owned() }
        }
        ("thing", [name]) => Change::Thing { scope, name: (*name).to_owned() },
        ("thing-of-principal", [principal, thing]) => {
            Change::ThingPrincipal { scope, principal: (*principal).to_owned(), thing: (*thing).to_owned() }
        }
        ("thing-type", [name]) => Change::ThingType { scope, name: (*name).to_owned() },
        ("rule", [name]) => Change::Rule { scope, name: (*name).to_owned() },
        _ => return None,
    };
    Some(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::PolicyHolder;

    #[test]
    fn records_have_a_meaning_and_indexes_have_none() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let thing = classify(&keys::thing(scope, "a")).unwrap();
        assert_eq!(thing, Change::Thing { scope, name: "a".to_owned() });
        let version = classify(&keys::policy_version(scope, "p", 7)).unwrap();
        assert_eq!(version, Change::PolicyDocument { scope, name: "p".to_owned() });
        let attached = classify(&keys::policy_of_target(scope, "arn:x/y", "p")).unwrap();
        let expected =
            Change::PolicyAttachment { scope, target: "arn:x/y".to_owned(), policy: "p".to_owned() };
        assert_eq!(attached, expected);
        assert_eq!(classify(&keys::account(scope.account)), Some(Change::Account(scope.account)));
        assert_eq!(classify(&keys::scope_marker(scope)), Some(Change::Scope(scope)));
        assert_eq!(classify(&keys::issuing_ca(scope.account)), Some(Change::IssuingCa(scope.account)));
        let account = scope.account;
        let user = Change::User { account, name: "alice".to_owned() };
        assert_eq!(classify(&keys::user(account, "alice")), Some(user.clone()));
        let policy = keys::operator_policy(account, &PolicyHolder::User("alice".to_owned()), "p");
        assert_eq!(classify(&policy), Some(user));
        for index in [
            keys::thing_by_type(scope, "t", "a"),
            keys::principal_of_thing(scope, "a", "p"),
            keys::thing_of_group(scope, "id", "a"),
            keys::thing_below_group(scope, "id", "a"),
            keys::thing_groups_of_parent(scope, "", "g"),
            keys::tag(scope, "arn", "k"),
            keys::certificate_owner("c", scope),
        ] {
            assert_eq!(classify(&index), None, "{index:?}");
        }
    }
}
