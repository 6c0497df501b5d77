//! Merging a request into a section (shadow.md section 2.3).

use serde_json::{Map, Value};

use crate::node::{Members, Node};

/// Applies `patch` to `section`: null removes, objects are merged, everything else replaces what was there. What is
/// named in the patch is set at `now`, also where its value stays the same; an object that loses its last member goes.
pub(crate) fn merge(section: &mut Members, patch: &Map<String, Value>, now: u64) {
    for (name, value) in patch {
        if let (Value::Object(patch), Some(Node::Object(members))) = (value, section.get_mut(name)) {
            merge(members, patch, now);
            if members.is_empty() {
                section.remove(name);
            }
            continue;
        }
        match Node::of(value, now) {
            Some(node) => section.insert(name.clone(), node),
            None => section.remove(name),
        };
    }
}
