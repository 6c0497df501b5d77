//! The `=` of SQL (spec section 6.2): by type, numbers by value, containers in depth.

use std::{cmp::Ordering, sync::Arc};

use super::{Object, Value};

impl Value {
    /// Whether two defined values are equal. `steps` is spent one per value looked at; `None` once it is
    /// gone, because shared containers can be far larger than the memory they take.
    pub(crate) fn equals(&self, other: &Self, steps: &mut u64) -> Option<bool> {
        *steps = steps.checked_sub(1)?;
        Some(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Int(_) | Self::Decimal(_), Self::Int(_) | Self::Decimal(_)) => {
                self.to_decimal()?.compare(other.to_decimal()?) == Ordering::Equal
            }
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Raw(a), Self::Raw(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => return arrays_equal(a, b, steps),
            (Self::Object(a), Self::Object(b)) => return objects_equal(a, b, steps),
            _ => false,
        })
    }
}

fn arrays_equal(a: &Arc<Vec<Value>>, b: &Arc<Vec<Value>>, steps: &mut u64) -> Option<bool> {
    if a.len() != b.len() {
        return Some(false);
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !a.equals(b, steps)? {
            return Some(false);
        }
    }
    Some(true)
}

fn objects_equal(a: &Object, b: &Object, steps: &mut u64) -> Option<bool> {
    if a.len() != b.len() {
        return Some(false);
    }
    for (key, a) in a.iter() {
        let Some(b) = b.get(key) else { return Some(false) };
        if !a.equals(b, steps)? {
            return Some(false);
        }
    }
    Some(true)
}
