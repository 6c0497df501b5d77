//! GetPolicy, GetPolicyVersion, ListPolicies, ListPolicyVersions.

use fleethaven_types::Timestamp;

use super::{KIND, required, required_version, version};
use crate::error::Error;
use crate::keys::{self, Order};
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    Listed, PageRequest, PolicyDescription, PolicySummary, PolicyVersionDescription, PolicyVersionSummary,
};
use crate::store::Store;
use crate::syntax;

/// GetPolicy.
pub(crate) fn get(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::policy_name(name)?;
    let policy = required(store, name)?;
    Ok(QueryReply::Policy(Box::new(PolicyDescription {
        policy_name: name.to_owned(),
        policy_arn: store.arn(KIND, name),
        policy_document: version(store, name, policy.default_version)?.document,
        default_version_id: policy.default_version.to_string(),
        created_at: Timestamp(policy.created_at),
        modified_at: Timestamp(policy.modified_at),
        generation_id: policy.generation_id,
    })))
}

/// GetPolicyVersion.
pub(crate) fn get_version(store: &Store<'_>, name: &str, id: &str) -> Result<QueryReply, Error> {
    let (policy, number) = required_version(store, name, id)?;
    let stored = version(store, name, number)?;
    Ok(QueryReply::PolicyVersion(Box::new(PolicyVersionDescription {
        policy_arn: store.arn(KIND, name),
        policy_name: name.to_owned(),
        policy_document: stored.document,
        policy_version_id: number.to_string(),
        is_default_version: policy.default_version == number,
        created_at: Timestamp(stored.created_at),
        generation_id: policy.generation_id,
    })))
}

/// ListPolicyVersions: newest first.
pub(crate) fn list_versions(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::policy_name(name)?;
    let policy = required(store, name)?;
    let mut versions = Vec::new();
    for (key, value) in store.all(&keys::versions_of_policy(store.scope, name)).iter().rev() {
        let number =
            keys::last_part(key).and_then(|part| u64::from_str_radix(part, 16).ok()).unwrap_or_default();
        versions.push(PolicyVersionSummary {
            version_id: number.to_string(),
            is_default_version: policy.default_version == number,
            created_at: Timestamp(record::decode::<record::PolicyVersion>(value)?.created_at),
        });
    }
    Ok(QueryReply::PolicyVersions(versions))
}

/// ListPolicies.
pub(crate) fn list(
    store: &Store<'_>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let order = Order::ascending(ascending);
    let filters = [order.name()];
    let listing = Listing::new("ListPolicies", &filters, keys::policies_by_date(store.scope, order));
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let items =
        pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(|name| summary(store, name)).collect();
    Ok(QueryReply::Policies(Listed { items, next }))
}

pub(super) fn summary(store: &Store<'_>, name: &str) -> PolicySummary {
    PolicySummary { policy_name: name.to_owned(), policy_arn: store.arn(KIND, name) }
}
