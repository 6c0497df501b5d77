//! GetEffectivePolicies, and the policies that groups bring along (security.md sections 9.5 and 9.7).

use std::collections::BTreeSet;

use super::{KIND, default_document, names_of_target};
use crate::error::Error;
use crate::policies::attachments::{Target, target};
use crate::query::QueryReply;
use crate::shapes::EffectivePolicy;
use crate::store::Store;
use crate::syntax;
use crate::thing_groups;
use crate::things;

/// What counts for a principal (a thing group with those above it), for a thing by its groups, or for both.
pub(crate) fn effective(
    store: &Store<'_>,
    principal: Option<&str>,
    thing: Option<&str>,
) -> Result<QueryReply, Error> {
    let mut names = BTreeSet::new();
    match principal.map(|text| target(store, text)).transpose()? {
        Some(Target::Group { name, group, .. }) => {
            names.extend(names_of_groups(store, thing_groups::lineage(&name, &group)));
        }
        Some(Target::Principal(principal)) => names.extend(names_of_target(store, &principal)),
        None => {}
    }
    if let Some(thing) = thing {
        syntax::registry_name("thingName", thing)?;
        things::required(store, thing)?;
        for (name, group) in thing_groups::of_thing(store, thing)? {
            names.extend(names_of_groups(store, thing_groups::lineage(&name, &group)));
        }
    }
    let mut policies = Vec::with_capacity(names.len());
    for policy_name in names {
        if let Some((_, policy_document)) = default_document(store, &policy_name)? {
            let policy_arn = store.arn(KIND, &policy_name);
            policies.push(EffectivePolicy { policy_name, policy_arn, policy_document });
        }
    }
    Ok(QueryReply::EffectivePolicies(policies))
}

/// The names of the policies attached to thing groups.
pub(crate) fn names_of_groups<'a>(
    store: &Store<'_>,
    groups: impl Iterator<Item = &'a str>,
) -> BTreeSet<String> {
    groups.flat_map(|group| names_of_target(store, &store.arn(thing_groups::KIND, group))).collect()
}
