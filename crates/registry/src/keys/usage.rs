//! What was used.

use bytes::Bytes;
use fleethaven_types::Scope;

use super::{below, global, parse, scoped};

/// What was used on one day, counted from 1970-01-01, by a billing group or, without a name, by none.
pub(crate) fn usage(scope: Scope, day: u32, group: &str) -> Bytes {
    scoped(scope, "usage", &[&format!("{day:08}"), group])
}

/// What is above all of one day and below the next.
pub(crate) fn usage_after(scope: Scope, day: u32) -> Bytes {
    scoped(scope, "usage", &[&format!("{day:08}"), "\u{7f}"])
}

pub(crate) fn usage_prefix(scope: Scope) -> Bytes {
    below(scope, "usage", &[])
}

/// Day and billing group that [`usage`] made this key of.
pub(crate) fn parse_usage(key: &[u8]) -> Option<(u32, String)> {
    let parsed = parse(key).filter(|parsed| parsed.collection == "usage")?;
    let [day, group] = parsed.parts.as_slice() else { return None };
    Some((day.parse().ok()?, (*group).to_owned()))
}

/// How far a process has reported what was used.
pub(crate) fn usage_source(source: &str) -> Bytes {
    global("usage-source", &[source])
}

pub(crate) fn usage_sources() -> Bytes {
    global("usage-source", &[])
}
