//! One value of a condition, and how it is compared with a value of the key.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use jiff::Timestamp;

use super::operator::Test;
use crate::pattern;
use crate::template::{Reading, Template};
use crate::variable::Scope;

/// A value of a condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    /// A text, or any value that has variables in it and can only be read once they are replaced.
    Text(Template),
    /// A value read when the document was.
    Typed(Typed),
}

/// A value of an operator that does not compare text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    Number(f64),
    Date(Timestamp),
    Bool(bool),
    Binary(Vec<u8>),
    Network(IpNet),
}

impl Operand {
    /// Reads a value of the document; `None` if the operator cannot take it.
    pub(crate) fn read(test: Test, value: &str, reading: Reading) -> Option<Self> {
        let template = Template::read(value, reading);
        let is_text =
            matches!(test, Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike | Test::Arn);
        if is_text || (test != Test::Null && !template.is_fixed()) {
            return Some(Self::Text(template));
        }
        Typed::read(test, value).map(Self::Typed)
    }

    /// Whether a value of the key passes the test.
    pub(crate) fn matches(&self, test: Test, value: &str, scope: &Scope<'_>) -> bool {
        let template = match self {
            Self::Typed(typed) => return typed.matches(test, value),
            Self::Text(template) => template,
        };
        let resolved = template.resolve(scope);
        let pattern = &*resolved.pattern;
        match test {
            Test::StringEquals => pattern == value.as_bytes(),
            Test::StringEqualsIgnoreCase => {
                std::str::from_utf8(pattern).is_ok_and(|text| text.to_lowercase() == value.to_lowercase())
            }
            Test::StringLike => pattern::matches(pattern, value),
            Test::Arn => arn_matches(pattern, value),
            _ => {
                let text = std::str::from_utf8(pattern).ok();
                let typed = text.and_then(|text| Typed::read(test, text));
                typed.is_some_and(|typed| typed.matches(test, value))
            }
        }
    }

    pub(crate) fn is_bool(&self, expected: bool) -> bool {
        *self == Self::Typed(Typed::Bool(expected))
    }

    pub(crate) fn is_complete(&self, scope: &Scope<'_>) -> bool {
        match self {
            Self::Text(template) => template.resolve(scope).complete,
            Self::Typed(_) => true,
        }
    }

    pub(crate) fn missing(&self, scope: &Scope<'_>, names: &mut BTreeSet<String>) {
        if let Self::Text(template) = self {
            template.missing(scope, names);
        }
    }
}

impl Typed {
    fn read(test: Test, text: &str) -> Option<Self> {
        match test {
            Test::Numeric(_) => number(text).map(Self::Number),
            Test::Date(_) => date(text).map(Self::Date),
            Test::Bool | Test::Null => boolean(text).map(Self::Bool),
            Test::Binary => STANDARD.decode(text).ok().map(Self::Binary),
            Test::IpAddress => network(text).map(Self::Network),
            Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike | Test::Arn => None,
        }
    }

    fn matches(&self, test: Test, value: &str) -> bool {
        match (self, test) {
            (Self::Number(limit), Test::Numeric(comparison)) => {
                comparison.is_fulfilled_by(number(value).and_then(|value| value.partial_cmp(limit)))
            }
            (Self::Date(limit), Test::Date(comparison)) => {
                comparison.is_fulfilled_by(date(value).map(|value| value.cmp(limit)))
            }
            (Self::Bool(expected), Test::Bool) => boolean(value) == Some(*expected),
            (Self::Binary(bytes), Test::Binary) => STANDARD.decode(value).is_ok_and(|value| value == *bytes),
            (Self::Network(network), Test::IpAddress) => {
                value.parse::<IpAddr>().is_ok_and(|address| network.contains(&address.to_canonical()))
            }
            _ => false,
        }
    }
}

/// A decimal number; `inf` and `nan`, which Rust reads too, are none.
fn number(text: &str) -> Option<f64> {
    let looks_so = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse::<f64>().ok().filter(|value| looks_so && value.is_finite())
}

/// A W3C date, in UTC if it names no offset, or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>()
        && text.len() != 4
    {
        return Timestamp::from_second(seconds).ok();
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let civil = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let midnight = || civil.parse::<jiff::civil::Date>().ok().map(|date| date.at(0, 0, 0, 0));
    let date = civil.parse::<jiff::civil::DateTime>().ok().or_else(midnight)?;
    jiff::tz::Offset::UTC.to_timestamp(date).ok()
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Compares each of an ARN's six parts by itself, so that a `*` in one does not reach into the next. A
/// pattern with fewer parts is compared as a whole.
fn arn_matches(pattern: &[u8], arn: &str) -> bool {
    let patterns = pattern.splitn(6, |byte| *byte == b':').collect::<Vec<_>>();
    let parts = arn.splitn(6, ':').collect::<Vec<_>>();
    if patterns.len() < 6 || parts.len() < 6 {
        return pattern::matches(pattern, arn);
    }
    patterns.iter().zip(parts).all(|(pattern, part)| pattern::matches(pattern, part))
}
