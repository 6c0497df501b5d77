//! Decimals as text: digits in, plain or scientific notation out, and the way to and from binary64.

use std::fmt;

use super::{DIGITS, Decimal};

/// Digits read exactly; what follows only tells whether the number is above them.
const READ: usize = DIGITS as usize + 2;
/// An exponent no accepted number reaches, kept small enough that sums of it cannot overflow.
const FAR: i64 = 1 << 40;

impl Decimal {
    /// The number written `integer.fractionEexponent`; the parts are ASCII digits. `None` out of range.
    pub(crate) fn from_digits(negative: bool, integer: &str, fraction: &str, exponent: i64) -> Option<Self> {
        let mut magnitude = 0_u128;
        let (mut read, mut dropped, mut sticky) = (0_usize, 0_i64, false);
        for digit in integer.bytes().chain(fraction.bytes()) {
            let digit = u128::from(digit.wrapping_sub(b'0'));
            if read < READ {
                magnitude = magnitude * 10 + digit;
                read += usize::from(magnitude != 0);
            } else {
                dropped += 1;
                sticky |= digit != 0;
            }
        }
        let shift = dropped - i64::try_from(fraction.len()).ok()?;
        let mut exponent = exponent.clamp(-FAR, FAR) + shift;
        if sticky {
            magnitude = magnitude * 10 + 1;
            exponent -= 1;
        }
        Self::rounded(negative, magnitude, exponent)
    }

    /// The number of `-?\d+(\.\d+)?([eE][+-]?\d+)?`, the sign `+` in the exponent only where `plus` allows
    /// it.
    pub(crate) fn parse(text: &str, plus: bool) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent, plus)?),
            None => (text, 0),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((integer, fraction)) if all_digits(fraction) => (integer, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if !all_digits(integer) {
            return None;
        }
        Self::from_digits(negative, integer, fraction, exponent)
    }

    /// The shortest decimal that reads back as `double`; `None` for NaN, infinities and out of range.
    #[must_use]
    pub fn from_double(double: f64) -> Option<Self> {
        if !double.is_finite() {
            return None;
        }
        Self::parse(&format!("{double:?}"), false)
    }

    /// The nearest binary64.
    #[must_use]
    pub fn to_double(self) -> f64 {
        format!("{}E{}", self.coefficient, self.exponent).parse().unwrap_or(f64::NAN)
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn parse_exponent(text: &str, plus: bool) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').filter(|_| plus).unwrap_or(text)),
    };
    if !all_digits(digits) {
        return None;
    }
    let magnitude = digits.parse::<i64>().unwrap_or(FAR).min(FAR);
    Some(if negative { -magnitude } else { magnitude })
}

/// Plain digits, or scientific when the first digit stands below 1E-6 or zeros would have to be invented
/// (spec section 5.2).
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.magnitude().to_string();
        if self.is_negative() {
            f.write_str("-")?;
        }
        if self.exponent == 0 {
            return f.write_str(&digits);
        }
        if self.exponent > 0 || self.adjusted() < -6 {
            return write_scientific(f, &digits, self.adjusted());
        }
        let places = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(0);
        let padded = format!("{digits:0>width$}", width = places + 1);
        let (integer, fraction) = padded.split_at_checked(padded.len() - places).unwrap_or((&padded, ""));
        write!(f, "{integer}.{fraction}")
    }
}

fn write_scientific(f: &mut fmt::Formatter<'_>, digits: &str, exponent: i64) -> fmt::Result {
    let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
    f.write_str(first)?;
    if !rest.is_empty() {
        write!(f, ".{rest}")?;
    }
    write!(f, "E{exponent:+}")
}
