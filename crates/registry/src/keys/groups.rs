//! Thing groups and billing groups.

use bytes::Bytes;
use fleethaven_types::Scope;

use super::{below, scoped};

/// Which things are in what thing groups, in a scope.
pub fn thing_group_memberships_prefix(scope: Scope) -> Bytes {
    below(scope, "group-of-thing", &[])
}

/// A group in the index of its parent, or with the beginning of a name the groups that it is the beginning of. Roots
/// have the parent "".
pub(crate) fn thing_groups_of_parent(scope: Scope, parent: &str, group: &str) -> Bytes {
    scoped(scope, "thing-group-of-parent", &[parent, group])
}

/// A group in the index of one above it, or with the beginning of a name the groups that it is the beginning of.
pub(crate) fn thing_group_of_ancestor(scope: Scope, ancestor: &str, group: &str) -> Bytes {
    scoped(scope, "thing-group-of-ancestor", &[ancestor, group])
}

pub(crate) fn group_of_thing(scope: Scope, thing: &str, group: &str) -> Bytes {
    scoped(scope, "group-of-thing", &[thing, group])
}

pub(crate) fn groups_of_thing(scope: Scope, thing: &str) -> Bytes {
    below(scope, "group-of-thing", &[thing])
}

pub(crate) fn thing_of_group(scope: Scope, group_id: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-of-group", &[group_id, thing])
}

pub(crate) fn things_of_group(scope: Scope, group_id: &str) -> Bytes {
    below(scope, "thing-of-group", &[group_id])
}

pub(crate) fn thing_below_group(scope: Scope, group_id: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-below-group", &[group_id, thing])
}

pub(crate) fn things_below_group(scope: Scope, group_id: &str) -> Bytes {
    below(scope, "thing-below-group", &[group_id])
}

pub(crate) fn thing_group_remains(scope: Scope, group_id: &str) -> Bytes {
    scoped(scope, "thing-group-remains", &[group_id])
}

pub(crate) fn all_thing_group_remains(scope: Scope) -> Bytes {
    below(scope, "thing-group-remains", &[])
}

pub(crate) fn thing_of_billing_group(scope: Scope, group_id: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-of-billing-group", &[group_id, thing])
}

pub(crate) fn things_of_billing_group(scope: Scope, group_id: &str) -> Bytes {
    below(scope, "thing-of-billing-group", &[group_id])
}

pub(crate) fn billing_group_remains(scope: Scope, group_id: &str) -> Bytes {
    scoped(scope, "billing-group-remains", &[group_id])
}

pub(crate) fn all_billing_group_remains(scope: Scope) -> Bytes {
    below(scope, "billing-group-remains", &[])
}
