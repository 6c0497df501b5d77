//! Conversions between types: spec section 5.1 to 5.3 (AWS page "Data types", conversion tables).

use std::borrow::Cow;

use super::{Text, Value};
use crate::{
    decimal::{Decimal, Rounding},
    json,
};

impl Value {
    /// The numeric operand this value is: Int, Decimal or numeric String; `None` otherwise.
    #[must_use]
    pub fn to_decimal(&self) -> Option<Decimal> {
        match self {
            Self::Int(whole) => Decimal::from_whole(*whole),
            Self::Decimal(decimal) => Some(*decimal),
            Self::String(text) => Decimal::parse(text, false),
            _ => None,
        }
    }

    /// The conversion to Int: Decimals floor, Strings drop their fraction. Int, a Decimal without fraction
    /// where 34 digits do not hold it, Null for Null, Undefined otherwise.
    #[must_use]
    pub fn to_int(&self) -> Self {
        let whole = match self {
            Self::Int(_) | Self::Null => return self.clone(),
            Self::Decimal(decimal) => decimal.without_fraction(Rounding::Floor),
            Self::String(text) => {
                Decimal::parse(text, false).and_then(|decimal| decimal.without_fraction(Rounding::Down))
            }
            _ => None,
        };
        Self::decimal(whole).normalized()
    }

    /// [`Self::to_int`] for an index or count: what no `i128` holds becomes its nearest end.
    pub(crate) fn to_index(&self) -> Option<i128> {
        match self.to_int() {
            Self::Int(whole) => Some(whole),
            Self::Decimal(decimal) if decimal.is_negative() => Some(i128::MIN),
            Self::Decimal(_) => Some(i128::MAX),
            _ => None,
        }
    }

    /// Boolean, or the String `true`/`false` in any case; `None` otherwise.
    #[must_use]
    pub fn to_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            Self::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The String form; `Ok(None)` for Null, Undefined and Raw. `normalize` prints whole Decimals as Int, as
    /// 2016-03-23 does. Fails if the JSON of a container outgrows the bound.
    ///
    /// # Errors
    /// [`json::TooLarge`]
    pub fn to_text(&self, normalize: bool) -> Result<Option<Text>, json::TooLarge> {
        Ok(match self {
            Self::String(text) => Some(text.clone()),
            other => other.to_cow(normalize)?.map(|text| Text::from(text.into_owned())),
        })
    }

    /// [`Self::to_text`] without a copy where the value is a String already.
    pub(crate) fn to_cow(&self, normalize: bool) -> Result<Option<Cow<'_, str>>, json::TooLarge> {
        Ok(match self {
            Self::Null | Self::Undefined | Self::Raw(_) => None,
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Boolean(true) => Some(Cow::Borrowed("true")),
            Self::Boolean(false) => Some(Cow::Borrowed("false")),
            other => Some(Cow::Owned(json::write(other, normalize)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_strings_follow_the_pattern_of_the_guide() {
        for text in ["1", "-1.5", "1E-3", "1e3", "007"] {
            assert!(Value::from(text).to_decimal().is_some(), "{text}");
        }
        for text in ["", "+1", " 1", ".5", "5.", "1E+3", "0x1", "1E", "--1", "1.2.3", "１"] {
            assert!(Value::from(text).to_decimal().is_none(), "{text}");
        }
    }

    #[test]
    fn decimals_floor_and_strings_truncate() {
        assert_eq!(Value::decimal(Decimal::parse("-1.5", false)).to_int(), Value::Int(-2));
        assert_eq!(Value::from("-1.5").to_int(), Value::Int(-1));
        assert_eq!(Value::Null.to_int(), Value::Null);
        assert_eq!(Value::from("1E500").to_index(), Some(i128::MAX));
    }
}
