//! Things, tags and event configurations.

use bytes::Bytes;
use fleethaven_types::Scope;

use super::{below, scoped};

/// Which things are attached to what principal, in a scope.
pub fn thing_principals_prefix(scope: Scope) -> Bytes {
    below(scope, "thing-of-principal", &[])
}

pub(crate) fn thing_by_type(scope: Scope, thing_type: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-by-type", &[thing_type, thing])
}

pub(crate) fn things_of_type(scope: Scope, thing_type: &str) -> Bytes {
    below(scope, "thing-by-type", &[thing_type])
}

pub(crate) fn thing_by_attribute(scope: Scope, name: &str, value: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-by-attribute", &[name, value, thing])
}

pub(crate) fn things_with_attribute(scope: Scope, name: &str) -> Bytes {
    below(scope, "thing-by-attribute", &[name])
}

pub(crate) fn things_with_value(scope: Scope, name: &str, value: &str) -> Bytes {
    below(scope, "thing-by-attribute", &[name, value])
}

pub(crate) fn things_with_value_prefix(scope: Scope, name: &str, value: &str) -> Bytes {
    scoped(scope, "thing-by-attribute", &[name, value])
}

pub(crate) fn thing_of_principal(scope: Scope, principal: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-of-principal", &[principal, thing])
}

pub(crate) fn things_of_principal(scope: Scope, principal: &str) -> Bytes {
    below(scope, "thing-of-principal", &[principal])
}

pub(crate) fn principal_of_thing(scope: Scope, thing: &str, principal: &str) -> Bytes {
    scoped(scope, "principal-of-thing", &[thing, principal])
}

pub(crate) fn principals_of_thing(scope: Scope, thing: &str) -> Bytes {
    below(scope, "principal-of-thing", &[thing])
}

pub(crate) fn event_configurations(scope: Scope) -> Bytes {
    scoped(scope, "event-configurations", &[])
}

pub(crate) fn tag(scope: Scope, arn: &str, key: &str) -> Bytes {
    scoped(scope, "tag", &[arn, key])
}

pub(crate) fn tags_of(scope: Scope, arn: &str) -> Bytes {
    below(scope, "tag", &[arn])
}
