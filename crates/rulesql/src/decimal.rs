//! Decimal numbers of the dialect: 34 significant digits, base ten, rounded half to even.
//!
//! A number is `coefficient × 10^exponent` with |coefficient| < 10^34, which leaves an `i128` four spare
//! digits; every operation below stays inside them. The scale is kept as written, as version 2015-10-08
//! prints `10.0`. Results outside 1E-999 … 9.99…E999 are `None`, Undefined in SQL (spec section 5).

mod arithmetic;
mod text;
mod whole;

use std::cmp::Ordering;

pub(crate) use self::whole::Rounding;

/// Significant digits of Int and Decimal.
pub(crate) const DIGITS: u32 = 34;
/// Greatest decimal exponent of the first digit; the least is its negation.
const MAX_ADJUSTED: i64 = 999;
/// 10^34, the first magnitude too long for a coefficient.
pub(crate) const COEFFICIENT_END: u128 = 10_u128.pow(DIGITS);

/// 10^0 … 10^18: those a 64-bit number holds.
const SHORT_POWERS: [i64; 19] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
    10_000_000_000_000_000,
    100_000_000_000_000_000,
    1_000_000_000_000_000_000,
];

/// A finite decimal number; `1.0` and `1.00` are different values that compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    coefficient: i128,
    exponent: i32,
}

/// 10^n, for n ≤ 38.
pub(crate) fn power_of_ten(n: u32) -> Option<u128> {
    10_u128.checked_pow(n)
}

/// Decimal digits of a magnitude; zero has one.
pub(crate) fn digits(magnitude: u128) -> u32 {
    magnitude.checked_ilog10().map_or(1, |log| log + 1)
}

/// `quotient` rounded half to even, given what the division left over.
fn half_even(quotient: u128, remainder: u128, divisor: u128) -> u128 {
    match (remainder * 2).cmp(&divisor) {
        Ordering::Less => quotient,
        Ordering::Greater => quotient + 1,
        Ordering::Equal => quotient + (quotient & 1),
    }
}

impl Decimal {
    /// Zero without decimals.
    pub const ZERO: Self = Self { coefficient: 0, exponent: 0 };

    /// `coefficient × 10^exponent` rounded to 34 digits; `None` out of range.
    #[must_use]
    pub fn new(coefficient: i128, exponent: i64) -> Option<Self> {
        Self::rounded(coefficient < 0, coefficient.unsigned_abs(), exponent)
    }

    /// `coefficient × 10^-places` of few digits: less than 2^63, and at most 18 places, need no rounding.
    pub(crate) fn short(coefficient: i128, places: i32) -> Self {
        Self { coefficient, exponent: -places }
    }

    fn rounded(negative: bool, magnitude: u128, exponent: i64) -> Option<Self> {
        let (mut magnitude, mut exponent) = (magnitude, exponent);
        if magnitude == 0 {
            return Some(Self { coefficient: 0, exponent: clamp_zero(exponent) });
        }
        let excess = digits(magnitude).saturating_sub(DIGITS);
        if excess > 0 {
            let divisor = power_of_ten(excess)?;
            magnitude = half_even(magnitude / divisor, magnitude % divisor, divisor);
            exponent += i64::from(excess);
        }
        if magnitude == COEFFICIENT_END {
            magnitude /= 10;
            exponent += 1;
        }
        let adjusted = exponent + i64::from(digits(magnitude)) - 1;
        if adjusted.abs() > MAX_ADJUSTED {
            return None;
        }
        let coefficient = i128::try_from(magnitude).ok()?;
        let coefficient = if negative { -coefficient } else { coefficient };
        Some(Self { coefficient, exponent: i32::try_from(exponent).ok()? })
    }

    /// Digits without their point, signed.
    #[must_use]
    pub fn coefficient(self) -> i128 {
        self.coefficient
    }

    /// Power of ten the coefficient is multiplied by.
    #[must_use]
    pub fn exponent(self) -> i32 {
        self.exponent
    }

    /// Whether the value is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.coefficient < 0
    }

    /// Whether the value is zero, of any scale.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.coefficient == 0
    }

    fn magnitude(self) -> u128 {
        self.coefficient.unsigned_abs()
    }

    /// Exponent of the first digit: 3 for 1234.5, -2 for 0.01.
    pub(crate) fn adjusted(self) -> i64 {
        i64::from(self.exponent) + i64::from(digits(self.magnitude())) - 1
    }

    /// Order by value, whatever the scale.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        if let Some(order) = self.compare_short(other) {
            return order;
        }
        let signs = self.coefficient.signum().cmp(&other.coefficient.signum());
        if signs != Ordering::Equal || self.is_zero() {
            return signs;
        }
        let magnitudes = self.compare_magnitude(other);
        if self.is_negative() { magnitudes.reverse() } else { magnitudes }
    }

    /// The order of two numbers that most payloads have: of up to 18 digits, their points near each other.
    fn compare_short(self, other: Self) -> Option<Ordering> {
        let short = |value: Self| i64::try_from(value.coefficient).ok().map(i128::from);
        let (a, b) = (short(self)?, short(other)?);
        let shift =
            i128::from(*SHORT_POWERS.get(usize::try_from(self.exponent.abs_diff(other.exponent)).ok()?)?);
        Some(if self.exponent >= other.exponent { (a * shift).cmp(&b) } else { a.cmp(&(b * shift)) })
    }

    fn compare_magnitude(self, other: Self) -> Ordering {
        let adjusted = self.adjusted().cmp(&other.adjusted());
        if adjusted != Ordering::Equal {
            return adjusted;
        }
        // The first digits stand at the same place, so the longer coefficient has the lower exponent by
        // exactly as many digits: padding the shorter keeps it within 34.
        let (a, b) = (self.magnitude(), other.magnitude());
        match self.exponent.cmp(&other.exponent) {
            Ordering::Equal => a.cmp(&b),
            Ordering::Greater => scaled(a, self.exponent.abs_diff(other.exponent)).cmp(&b),
            Ordering::Less => a.cmp(&scaled(b, self.exponent.abs_diff(other.exponent))),
        }
    }
}

fn clamp_zero(exponent: i64) -> i32 {
    i32::try_from(exponent.clamp(-MAX_ADJUSTED, MAX_ADJUSTED)).unwrap_or(0)
}

/// `magnitude × 10^n`; callers keep the product within 38 digits.
fn scaled(magnitude: u128, n: u32) -> u128 {
    power_of_ten(n).map_or(u128::MAX, |power| magnitude.saturating_mul(power))
}

#[cfg(test)]
mod tests;
