//! Functions AWS computes in IEEE-754 binary64; NaN and infinities are Undefined (spec section 8.1).

use crate::{decimal::Decimal, value::Value};

fn double(value: &Value) -> Option<f64> {
    value.to_decimal().map(Decimal::to_double)
}

fn one(arguments: &[Value], compute: fn(f64) -> f64) -> Option<Value> {
    let [number] = arguments else { return None };
    Decimal::from_double(compute(double(number)?)).map(Value::Decimal)
}

fn two(arguments: &[Value], compute: fn(f64, f64) -> f64) -> Option<Value> {
    let [a, b] = arguments else { return None };
    Decimal::from_double(compute(double(a)?, double(b)?)).map(Value::Decimal)
}

/// `sqrt(num)`
pub(super) fn sqrt(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::sqrt)
}

/// `power(num, num)`
pub(super) fn power(arguments: &[Value]) -> Option<Value> {
    two(arguments, f64::powf)
}

/// `exp(num)`
pub(super) fn exp(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::exp)
}

/// `ln(num)`: ln(0) is infinite, hence Undefined.
pub(super) fn ln(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::ln)
}

/// `log(num)`, base 10.
pub(super) fn log(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::log10)
}

/// `sin(num)`
pub(super) fn sin(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::sin)
}

/// `cos(num)`
pub(super) fn cos(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::cos)
}

/// `tan(num)`
pub(super) fn tan(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::tan)
}

/// `asin(num)`
pub(super) fn asin(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::asin)
}

/// `acos(num)`
pub(super) fn acos(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::acos)
}

/// `atan(num)`
pub(super) fn atan(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::atan)
}

/// `sinh(num)`
pub(super) fn sinh(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::sinh)
}

/// `cosh(num)`
pub(super) fn cosh(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::cosh)
}

/// `tanh(num)`
pub(super) fn tanh(arguments: &[Value]) -> Option<Value> {
    one(arguments, f64::tanh)
}

/// `atan2(y, x)`
pub(super) fn atan2(arguments: &[Value]) -> Option<Value> {
    two(arguments, f64::atan2)
}
