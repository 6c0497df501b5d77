//! What a device has still to do (shadow.md section 2.4).

use crate::node::{Members, Node};

/// The members of `desired` whose value is not that of `reported`, each with the path that leads to it; where both are
/// objects, only what differs below.
pub(crate) fn delta(desired: &Members, reported: &Members) -> Members {
    let differing = |(name, wanted): (&String, &Node)| {
        let different = match (wanted, reported.get(name)) {
            (Node::Object(wanted), Some(Node::Object(reported))) => {
                let below = delta(wanted, reported);
                (!below.is_empty()).then_some(Node::Object(below))
            }
            (wanted, Some(reported)) if wanted.has_value_of(reported) => None,
            (wanted, _) => Some(wanted.clone()),
        };
        different.map(|node| (name.clone(), node))
    };
    desired.iter().filter_map(differing).collect()
}
