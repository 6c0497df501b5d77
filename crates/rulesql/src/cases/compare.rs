//! Whether two JSON values are the same to a case: numbers by value, members in any order.

use std::cmp::Ordering;

use crate::value::Value;

/// Equality, numbers within `approx` of the wanted one.
pub(super) fn same(wanted: &Value, got: &Value, approx: Option<f64>) -> bool {
    match (wanted, got) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b, approx))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, approx)))
        }
        (Value::Int(_) | Value::Decimal(_), Value::Int(_) | Value::Decimal(_)) => {
            numbers(wanted, got, approx)
        }
        (wanted, got) => wanted == got,
    }
}

fn numbers(wanted: &Value, got: &Value, approx: Option<f64>) -> bool {
    let (Some(wanted), Some(got)) = (wanted.to_decimal(), got.to_decimal()) else { return false };
    let Some(tolerance) = approx else { return wanted.compare(got) == Ordering::Equal };
    let (wanted, got) = (wanted.to_double(), got.to_double());
    (wanted - got).abs() <= tolerance * wanted.abs().max(1.0)
}
