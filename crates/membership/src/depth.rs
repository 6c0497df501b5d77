//! Changing how many levels of a topic choose its slot, while messages flow (protocols B5).
//!
//! Three steps, each a version of the table. First everybody hears of the rules to come, gateways tell routers of subscriptions
//! where either set of rules wants them, and routers load them; each serving router says when it has them all. Then every
//! owner stops serving and releases its slots: no topic may be served in its new slot while a message of it is under way in its
//! old one. When the last slot is free, the new rules are in force, and all slots get owners under epochs above all that there were:
//! what was sent by the old rules is refused, and what a topic had in its old slot is older than what it gets in its new one.

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_topics::{DepthRules, Depths};

use crate::member::{Incarnation, Member, Phase, Role};
use crate::table::SlotOwner;

/// Prefixes with a depth of their own that there may be; bounds what a table weighs and what a publish looks at.
pub const PREFIXES_MAX: usize = 64;
/// The most levels that may choose a slot.
pub const DEPTH_MAX: usize = 32;
/// Longest prefix, in bytes: that of a topic.
const PREFIX_MAX: usize = 256;

/// How far a change of depths has come, which [`Depths::next`] tells the aim of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthChange {
    /// The version of the table that told of it first.
    pub since: u64,
    /// Slots are being released, and none is given out before all are.
    pub switching: bool,
}

/// The change that is under way, and who is ready for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changing {
    /// How far it has come.
    pub change: DepthChange,
    /// Routers that hold all that the rules to come want.
    pub ready: BTreeSet<Incarnation>,
}

/// The rules with another depth for topics below `prefix`, or for all that are below none; without `depth`, that prefix counts no more.
///
/// # Errors
/// Why there cannot be such rules.
pub(crate) fn changed(rules: &DepthRules, prefix: &str, depth: Option<usize>) -> Result<DepthRules, String> {
    if depth.is_some_and(|depth| depth > DEPTH_MAX) {
        return Err(format!("a depth is at most {DEPTH_MAX}"));
    }
    if prefix.len() > PREFIX_MAX {
        return Err(format!("a prefix has at most {PREFIX_MAX} bytes"));
    }
    let mut prefixes = rules.prefixes().to_vec();
    let mut default = rules.default_depth();
    match (prefix, depth) {
        ("", Some(depth)) => default = depth,
        ("", None) => default = DepthRules::default().default_depth(),
        (prefix, depth) => {
            prefixes.retain(|(known, _)| known != prefix);
            prefixes.extend(depth.map(|depth| (prefix.to_owned(), depth)));
        }
    }
    if prefixes.len() > PREFIXES_MAX {
        return Err(format!(
            "there are {PREFIXES_MAX} prefixes with a depth of their own, which is as many as there may be"
        ));
    }
    DepthRules::new(default, prefixes).map_err(|error| error.to_string())
}

/// Goes on to the next step if everybody has done what this one wants; whether new rules are in force.
pub(crate) fn advance(
    depths: &mut Depths,
    changing: &mut Option<Changing>,
    slots: &mut [SlotOwner],
    members: &BTreeMap<Incarnation, Member>,
) -> bool {
    let Some(Changing { change, ready }) = changing else { return false };
    ready.retain(|router| members.contains_key(router));
    let mut serving = members.values().filter(|m| m.role == Role::Router && m.phase == Phase::Serving);
    change.switching |= serving.all(|router| ready.contains(&router.incarnation));
    if !change.switching || slots.iter().any(|slot| slot.owner.is_some()) {
        return false;
    }
    if let Some(next) = depths.next.take() {
        depths.now = next;
    }
    *changing = None;
    let newest = slots.iter().map(|slot| slot.epoch).max().unwrap_or_default();
    slots.iter_mut().for_each(|slot| slot.epoch = newest);
    true
}
