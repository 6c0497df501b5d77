//! Comparison and arithmetic (spec sections 6.2 and 6.3).

use std::cmp::Ordering;

use super::{Context, Failure};
use crate::{
    ast::{ArithmeticOp, CompareOp},
    value::Value,
};

/// `-x`, Undefined for what is no number.
pub(super) fn negate(operand: &Value) -> Value {
    match operand {
        Value::Int(whole) => Value::Int(-whole),
        other => Value::decimal(other.to_decimal().map(|decimal| decimal.negate())),
    }
}

pub(super) fn compare(
    context: &Context<'_>,
    op: CompareOp,
    left: &Value,
    right: &Value,
) -> Result<Value, Failure> {
    let truth = match op {
        CompareOp::Equal => context.equal(left, right)?,
        CompareOp::NotEqual => context.equal(left, right)?.map(|equal| !equal),
        CompareOp::In => contains(context, left, right)?,
        CompareOp::Less => order(left, right).map(Ordering::is_lt),
        CompareOp::LessOrEqual => order(left, right).map(Ordering::is_le),
        CompareOp::Greater => order(left, right).map(Ordering::is_gt),
        CompareOp::GreaterOrEqual => order(left, right).map(Ordering::is_ge),
    };
    Ok(truth.map(Value::Boolean).into())
}

/// Order of two numbers or numeric Strings; text has none.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        return Some(left.cmp(right));
    }
    Some(left.to_decimal()?.compare(right.to_decimal()?))
}

fn contains(context: &Context<'_>, wanted: &Value, list: &Value) -> Result<Option<bool>, Failure> {
    let Value::Array(items) = list else { return Ok(None) };
    if wanted.is_undefined() {
        return Ok(None);
    }
    for item in items.iter() {
        if context.equal(wanted, item)? == Some(true) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// `left op right` in the normal form of the dialect; Undefined for operands the operator does not take.
pub(crate) fn arithmetic(
    context: &Context<'_>,
    op: ArithmeticOp,
    left: &Value,
    right: &Value,
) -> Result<Value, Failure> {
    if op == ArithmeticOp::Add && (is_string(left) || is_string(right)) {
        return concatenate(context, left, right);
    }
    let truncating = !context.version.is_second();
    if let (Value::Int(left), Value::Int(right)) = (left, right)
        && let Some(result) = whole_arithmetic(op, *left, *right, truncating)
    {
        return Ok(result);
    }
    let (Some(left), Some(right)) = (left.to_decimal(), right.to_decimal()) else {
        return Ok(Value::Undefined);
    };
    context.spend(price(op))?;
    let result = match op {
        ArithmeticOp::Add => left.sum(right),
        ArithmeticOp::Subtract => left.difference(right),
        ArithmeticOp::Multiply => left.product(right),
        ArithmeticOp::Divide => left.quotient(right),
        ArithmeticOp::Remainder => left.remainder(right),
    };
    Ok(context.normal(Value::decimal(result)))
}

/// Steps for the long divisions behind an operator on Decimals.
fn price(op: ArithmeticOp) -> u64 {
    match op {
        ArithmeticOp::Remainder => 100,
        ArithmeticOp::Divide => 10,
        _ => 1,
    }
}

fn is_string(value: &Value) -> bool {
    matches!(value, Value::String(_))
}

/// Arithmetic of two Ints where it stays within `i128`; `None` sends it through Decimal.
fn whole_arithmetic(op: ArithmeticOp, left: i128, right: i128, truncating: bool) -> Option<Value> {
    Some(match op {
        ArithmeticOp::Add => Value::whole(left.checked_add(right)?),
        ArithmeticOp::Subtract => Value::whole(left.checked_sub(right)?),
        ArithmeticOp::Multiply => Value::whole(left.checked_mul(right)?),
        _ if right == 0 => Value::Undefined,
        ArithmeticOp::Remainder => Value::Int(left.checked_rem(right)?),
        ArithmeticOp::Divide if truncating || left.checked_rem(right)? == 0 => {
            Value::Int(left.checked_div(right)?)
        }
        ArithmeticOp::Divide => return None,
    })
}

fn concatenate(context: &Context<'_>, left: &Value, right: &Value) -> Result<Value, Failure> {
    let (Some(left), Some(right)) = (context.text(left)?, context.text(right)?) else {
        return Ok(Value::Undefined);
    };
    Ok(context.made([left, right].concat())?.into())
}
