//! Exact numbers: rounding, signs, bits (spec section 8.1).

use crate::{
    ast::ArithmeticOp,
    decimal::{DIGITS, Decimal, Rounding},
    evaluate::{Context, Failure, operators},
    value::Value,
};

/// `abs(num)`: an Int stays Int.
pub(super) fn abs(arguments: &[Value]) -> Option<Value> {
    match arguments {
        [Value::Int(whole)] => Some(Value::Int(whole.abs())),
        [number] => Some(Value::Decimal(number.to_decimal()?.absolute())),
        _ => None,
    }
}

fn rounded(arguments: &[Value], rounding: Rounding) -> Option<Value> {
    let [number] = arguments else { return None };
    Some(Value::decimal(number.to_decimal()?.without_fraction(rounding)).normalized())
}

/// `ceil(num)`
pub(super) fn ceil(arguments: &[Value]) -> Option<Value> {
    rounded(arguments, Rounding::Ceiling)
}

/// `floor(num)`
pub(super) fn floor(arguments: &[Value]) -> Option<Value> {
    rounded(arguments, Rounding::Floor)
}

/// `round(num)`: half away from zero.
pub(super) fn round(arguments: &[Value]) -> Option<Value> {
    rounded(arguments, Rounding::HalfUp)
}

/// `trunc(num, places)`: `places` is floored, clamped to 0…34, and no String.
pub(super) fn trunc(arguments: &[Value]) -> Option<Value> {
    let [number, places] = arguments else { return None };
    if matches!(places, Value::String(_)) {
        return None;
    }
    let places = places.to_index()?.clamp(0, i128::from(DIGITS));
    if let Value::Int(_) = number {
        return Some(number.clone());
    }
    Some(Value::Decimal(number.to_decimal()?.truncated(u32::try_from(places).ok()?)))
}

/// `sign(num)`
pub(super) fn sign(arguments: &[Value]) -> Option<Value> {
    let [number] = arguments else { return None };
    Some(Value::Int(number.to_decimal()?.coefficient().signum()))
}

/// `mod(num, num)` and `remainder(num, num)`: the operator `%`.
pub(super) fn remainder(context: &Context<'_>, arguments: &[Value]) -> Result<Option<Value>, Failure> {
    let [dividend, divisor] = arguments else { return Ok(None) };
    operators::arithmetic(context, ArithmeticOp::Remainder, dividend, divisor).map(Some)
}

/// `nanvl(a, b)`: b for a missing a. No value of ours is NaN.
pub(super) fn nanvl(arguments: &[Value]) -> Option<Value> {
    match arguments {
        [Value::Undefined | Value::Null, other] => Some(other.clone()),
        [value, _] => Some(value.clone()),
        _ => None,
    }
}

/// A bit argument: floored; numbers beyond 34 digits have no bits.
fn bits(value: &Value) -> Option<i128> {
    match value.to_int() {
        Value::Int(whole) => Some(whole),
        _ => None,
    }
}

fn two_bits(arguments: &[Value], combine: fn(i128, i128) -> i128) -> Option<Value> {
    let [a, b] = arguments else { return None };
    Some(Value::whole(combine(bits(a)?, bits(b)?)))
}

/// `bitand(int, int)`, two's complement.
pub(super) fn bitand(arguments: &[Value]) -> Option<Value> {
    two_bits(arguments, |a, b| a & b)
}

/// `bitor(int, int)`, two's complement.
pub(super) fn bitor(arguments: &[Value]) -> Option<Value> {
    two_bits(arguments, |a, b| a | b)
}

/// `bitxor(int, int)`, two's complement.
pub(super) fn bitxor(arguments: &[Value]) -> Option<Value> {
    two_bits(arguments, |a, b| a ^ b)
}

/// `bitnot(int)`: complement within the argument's own bit length, as the guide's `bitnot(13)` = 2; zero has
/// one bit, negative numbers all of them.
pub(super) fn bitnot(arguments: &[Value]) -> Option<Value> {
    let [number] = arguments else { return None };
    let number = bits(number)?;
    if number < 0 {
        return Some(Value::whole(!number));
    }
    let length = (i128::BITS - number.leading_zeros()).max(1);
    let mask = (1_i128 << length) - 1;
    Some(Value::whole(number ^ mask))
}

/// `rand()`: 53 random bits over 2^53.
pub(super) fn rand(context: &Context<'_>, arguments: &[Value]) -> Result<Option<Value>, Failure> {
    if !arguments.is_empty() {
        return Ok(None);
    }
    let bytes = context.input.random.bytes();
    let bits = u128::from_le_bytes(bytes) as u64 >> 11;
    let double = bits as f64 / (1_u64 << 53) as f64;
    Ok(Decimal::from_double(double).map(Value::Decimal))
}
