//! Device shadows.

use bytes::Bytes;
use fleethaven_shadow::ShadowName;
use fleethaven_types::{Scope, Timestamp};

use super::{Order, below, scoped};

pub(crate) fn shadow(scope: Scope, name: &ShadowName) -> Bytes {
    scoped(scope, "shadow", &[name.thing(), name.shadow().unwrap_or_default()])
}

pub(crate) fn shadow_name(scope: Scope, thing: &str, shadow: &str) -> Bytes {
    scoped(scope, "shadow-name", &[thing, shadow])
}

pub(crate) fn shadow_names(scope: Scope, thing: &str) -> Bytes {
    below(scope, "shadow-name", &[thing])
}

pub(crate) fn deleted_shadow(scope: Scope, at: Timestamp, name: &ShadowName) -> Bytes {
    let shadow = name.shadow().unwrap_or_default();
    scoped(scope, "deleted-shadow", &[&Order::Oldest.part(at), name.thing(), shadow])
}

pub(crate) fn deleted_shadows(scope: Scope) -> Bytes {
    below(scope, "deleted-shadow", &[])
}
