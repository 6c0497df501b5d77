//! Dropping fractions: floor, ceiling, rounding, truncation, and the way to and from integers.

use super::{COEFFICIENT_END, DIGITS, Decimal, SHORT_POWERS, digits, power_of_ten, scaled};

/// How a fraction is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Toward negative infinity.
    Floor,
    /// Toward positive infinity.
    Ceiling,
    /// To the nearest, half away from zero.
    HalfUp,
    /// Toward zero.
    Down,
}

impl Decimal {
    /// A whole number; `None` if the magnitude needs more than 34 digits.
    #[must_use]
    pub fn from_whole(whole: i128) -> Option<Self> {
        (whole.unsigned_abs() < COEFFICIENT_END).then_some(Self { coefficient: whole, exponent: 0 })
    }

    /// The value without fraction, as a Decimal whose exponent is not negative.
    pub(crate) fn without_fraction(self, rounding: Rounding) -> Option<Self> {
        if self.exponent >= 0 {
            return Some(self);
        }
        let places = self.exponent.unsigned_abs();
        let (whole, twice_left_reaches) = match power_of_ten(places) {
            Some(divisor) => {
                let left = self.magnitude() % divisor;
                (self.magnitude() / divisor, (left != 0, left >= divisor / 2))
            }
            None => (0, (!self.is_zero(), false)),
        };
        let (inexact, half) = twice_left_reaches;
        let up = match rounding {
            Rounding::Floor => inexact && self.is_negative(),
            Rounding::Ceiling => inexact && !self.is_negative(),
            Rounding::HalfUp => half,
            Rounding::Down => false,
        };
        Self::rounded(self.is_negative(), whole + u128::from(up), 0)
    }

    /// The integer this value is, if it is whole and has at most 34 digits.
    #[must_use]
    pub fn as_whole(self) -> Option<i128> {
        if self.is_zero() {
            return Some(0);
        }
        let Ok(zeros) = u32::try_from(self.exponent) else {
            if let (Ok(short), Some(power)) = (i64::try_from(self.coefficient), self.short_power()) {
                return (short % power == 0).then(|| i128::from(short / power));
            }
            let divisor = i128::try_from(power_of_ten(self.exponent.unsigned_abs())?).ok()?;
            return (self.coefficient % divisor == 0).then(|| self.coefficient / divisor);
        };
        if digits(self.magnitude()).saturating_add(zeros) > DIGITS {
            return None;
        }
        self.coefficient.checked_mul(i128::try_from(power_of_ten(zeros)?).ok()?)
    }

    /// 10 to the number of places, where 64 bits hold it.
    fn short_power(self) -> Option<i64> {
        SHORT_POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?).copied()
    }

    /// The digits up to `places` after the point, without trailing zeros there.
    pub(crate) fn truncated(self, places: u32) -> Self {
        let mut value = self;
        let excess = self.exponent.saturating_add_unsigned(places);
        if excess < 0 {
            let divisor = scaled(1, excess.unsigned_abs()).min(COEFFICIENT_END);
            value.coefficient /= i128::try_from(divisor).unwrap_or(i128::MAX);
            value.exponent -= excess;
        }
        while value.exponent < 0 && value.coefficient % 10 == 0 {
            value.coefficient /= 10;
            value.exponent += 1;
        }
        value
    }
}
