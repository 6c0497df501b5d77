//! Sum, product, quotient and remainder, each rounded once.

use super::{COEFFICIENT_END, DIGITS, Decimal, digits, half_even, power_of_ten, scaled};

/// Digits a sum is aligned to before rounding: 34, two guards and one for the carry.
const ALIGNED: u32 = DIGITS + 3;
/// Digits a `u128` holds above the 34 of a coefficient.
const SPARE: u32 = 4;
/// Half of 34 digits, the limb of the long multiplication.
const LIMB: u128 = 10_u128.pow(DIGITS / 2);

impl Decimal {
    /// The same magnitude, other sign.
    #[must_use]
    pub fn negate(self) -> Self {
        Self { coefficient: -self.coefficient, ..self }
    }

    /// Magnitude of the value.
    #[must_use]
    pub fn absolute(self) -> Self {
        Self { coefficient: self.coefficient.abs(), ..self }
    }

    /// Sum; `None` out of range.
    #[must_use]
    pub fn sum(self, other: Self) -> Option<Self> {
        if self.exponent < other.exponent {
            return other.sum(self);
        }
        let (high, low) = (self, other);
        let gap = high.exponent.abs_diff(low.exponent);
        if high.is_zero() {
            return Some(low);
        }
        let room = ALIGNED.saturating_sub(digits(high.magnitude()));
        if gap <= room {
            let high = high.coefficient.checked_mul(i128::try_from(power_of_ten(gap)?).ok()?)?;
            return Self::new(high.checked_add(low.coefficient)?, i64::from(low.exponent));
        }
        high.add_far_below(low, room, gap - room)
    }

    /// Sum where `low` ends so far right that only whether something is there matters: its digits below the
    /// aligned ones shrink to one sticky digit, too far down to touch a rounding boundary.
    fn add_far_below(self, low: Self, room: u32, beyond: u32) -> Option<Self> {
        let high = self.coefficient.checked_mul(i128::try_from(power_of_ten(room + 1)?).ok()?)?;
        let (kept, sticky) = match power_of_ten(beyond) {
            Some(divisor) => (low.magnitude() / divisor, !low.magnitude().is_multiple_of(divisor)),
            None => (0, !low.is_zero()),
        };
        let kept = i128::try_from(kept).ok()?.checked_mul(10)?.checked_add(i128::from(sticky))?;
        let low_signed = if low.is_negative() { -kept } else { kept };
        Self::new(high.checked_add(low_signed)?, i64::from(self.exponent) - i64::from(room) - 1)
    }

    /// Difference; `None` out of range.
    #[must_use]
    pub fn difference(self, other: Self) -> Option<Self> {
        self.sum(other.negate())
    }

    /// Product; `None` out of range.
    #[must_use]
    pub fn product(self, other: Self) -> Option<Self> {
        let negative = self.is_negative() != other.is_negative();
        let exponent = i64::from(self.exponent) + i64::from(other.exponent);
        let (a, b) = (self.magnitude(), other.magnitude());
        if let Some(product) = a.checked_mul(b).filter(|product| *product < COEFFICIENT_END) {
            return Self::rounded(negative, product, exponent);
        }
        let (a1, a0, b1, b0) = (a / LIMB, a % LIMB, b / LIMB, b % LIMB);
        let cross = a1 * b0 + a0 * b1;
        let low = (cross % LIMB) * LIMB + a0 * b0;
        let high = a1 * b1 + cross / LIMB + low / COEFFICIENT_END;
        let low = low % COEFFICIENT_END;
        if high == 0 {
            return Self::rounded(negative, low, exponent);
        }
        let excess = digits(high);
        let divisor = power_of_ten(excess)?;
        let kept = high * power_of_ten(DIGITS - excess)? + low / divisor;
        Self::rounded(negative, half_even(kept, low % divisor, divisor), exponent + i64::from(excess))
    }

    /// Quotient to 34 digits, exact if it fits; `None` for a zero divisor or out of range.
    #[must_use]
    pub fn quotient(self, other: Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        let negative = self.is_negative() != other.is_negative();
        let divisor = other.magnitude();
        let mut exponent = i64::from(self.exponent) - i64::from(other.exponent);
        let (mut quotient, mut left) = (self.magnitude() / divisor, self.magnitude() % divisor);
        while left != 0 && digits(quotient) < DIGITS + 2 {
            left *= 10;
            quotient = quotient * 10 + left / divisor;
            left %= divisor;
            exponent -= 1;
        }
        if left != 0 {
            quotient = quotient * 10 + 1;
            exponent -= 1;
        }
        Self::rounded(negative, quotient, exponent)
    }

    /// Remainder of the division truncated toward zero, exact; sign of the dividend. `None` for a zero
    /// divisor.
    #[must_use]
    pub fn remainder(self, other: Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        let gap = self.exponent.abs_diff(other.exponent);
        let exponent = i64::from(self.exponent.min(other.exponent));
        let (dividend, divisor) = (self.magnitude(), other.magnitude());
        let left = if self.exponent >= other.exponent {
            shifted_remainder(dividend, gap, divisor)
        } else if gap + digits(divisor) > DIGITS + 1 {
            dividend
        } else {
            dividend % scaled(divisor, gap)
        };
        Self::rounded(self.is_negative(), left, exponent)
    }
}

/// `dividend × 10^gap mod divisor`, four digits at a time: that many fit above the 34 of a remainder.
fn shifted_remainder(dividend: u128, gap: u32, divisor: u128) -> u128 {
    let (whole_chunks, rest) = (gap / SPARE, gap % SPARE);
    let left = (0..whole_chunks).fold(dividend % divisor, |left, _| scaled(left, SPARE) % divisor);
    scaled(left, rest) % divisor
}
