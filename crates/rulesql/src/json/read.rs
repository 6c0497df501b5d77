//! A strict RFC 8259 reader over UTF-8 text.

use std::borrow::Cow;

use super::MAX_DEPTH;
use crate::{
    decimal::Decimal,
    value::{Object, Text, Value},
};

/// The value of a whole JSON document; `None` if the bytes are no JSON, no UTF-8, or nested deeper than
/// [`MAX_DEPTH`]. A number out of range reads as Undefined.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Value> {
    document(Reader { text: std::str::from_utf8(bytes).ok()?, at: 0, deepest: MAX_DEPTH, shared: None })
}

/// [`read`], with strings that share the text.
pub(crate) fn read_text(text: &Text) -> Option<Value> {
    document(Reader { text, at: 0, deepest: MAX_DEPTH, shared: Some(text) })
}

fn document(mut reader: Reader<'_>) -> Option<Value> {
    let value = reader.value(0)?;
    reader.ends().then_some(value)
}

/// Levels that a file of cases may have around a payload.
const AROUND: usize = 8;

/// The items of the array a text is, each as it is written there; else about where the text stops being one.
pub(crate) fn items(text: &str) -> Result<Vec<&str>, usize> {
    let mut reader = Reader { text, at: 0, deepest: MAX_DEPTH + AROUND, shared: None };
    reader.items().ok_or(reader.at)
}

/// The members of the object a text is, each with its value as it is written there.
pub(crate) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    Reader { text, at: 0, deepest: MAX_DEPTH + AROUND, shared: None }.members()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    deepest: usize,
    /// What `text` is, where strings may share it.
    shared: Option<&'t Text>,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.space();
        match self.peek()? {
            b'{' if depth < self.deepest => self.object(depth + 1),
            b'[' if depth < self.deepest => self.array(depth + 1),
            b'"' => self.text().map(Value::String),
            b't' => self.word("true", Value::Boolean(true)),
            b'f' => self.word("false", Value::Boolean(false)),
            b'n' => self.word("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        let found = self.text.get(self.at..)?.starts_with(word);
        self.at += word.len();
        found.then_some(value)
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Some(Value::array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Some(Value::array(items));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut object = Object::new();
        self.space();
        if self.take(b'}') {
            return Some(Value::object(object));
        }
        loop {
            self.space();
            let key = self.text()?;
            self.space();
            if !self.take(b':') {
                return None;
            }
            object.insert(key, self.value(depth)?);
            self.space();
            if self.take(b'}') {
                return Some(Value::object(object));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// A value stepped over, as it is written.
    fn written(&mut self) -> Option<&'t str> {
        self.space();
        let start = self.at;
        self.value(1)?;
        let text = self.text.get(start..self.at);
        self.space();
        text
    }

    /// Whether nothing but space follows.
    fn ends(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    fn items(&mut self) -> Option<Vec<&'t str>> {
        let mut items = Vec::new();
        self.space();
        if !self.take(b'[') {
            return None;
        }
        self.space();
        if !self.take(b']') {
            loop {
                items.push(self.written()?);
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return None;
                }
            }
        }
        self.ends().then_some(items)
    }

    fn members(&mut self) -> Option<Vec<(String, &'t str)>> {
        let mut members = Vec::new();
        self.space();
        if !self.take(b'{') {
            return None;
        }
        self.space();
        if !self.take(b'}') {
            loop {
                self.space();
                let key = self.string()?.into_owned();
                self.space();
                if !self.take(b':') {
                    return None;
                }
                members.push((key, self.written()?));
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return None;
                }
            }
        }
        self.ends().then_some(members)
    }

    /// The bytes up to, without, the next quote, backslash or control character.
    fn run(&mut self) -> Option<&'t str> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
        self.text.get(start..self.at)
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        if !self.take(b'"') {
            return None;
        }
        let plain = self.run()?;
        if self.take(b'"') {
            return Some(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while self.take(b'\\') {
            text.push(self.escape()?);
            text.push_str(self.run()?);
        }
        self.take(b'"').then_some(Cow::Owned(text))
    }

    fn text(&mut self) -> Option<Text> {
        Some(match (self.string()?, self.shared) {
            (Cow::Owned(made), _) => made.into(),
            (Cow::Borrowed(plain), Some(text)) => text.slice_ref(plain),
            (Cow::Borrowed(plain), None) => plain.into(),
        })
    }

    fn escape(&mut self) -> Option<char> {
        let kind = self.peek()?;
        self.at += 1;
        Some(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return None,
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    /// The character of `\uXXXX`; a surrogate without its other half becomes U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let unit = self.hex4()?;
        if !(0xD800..0xDC00).contains(&unit) {
            return Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_high = self.at;
        if self.take(b'\\') && self.take(b'u') {
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                return char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
            }
        }
        self.at = after_high;
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn digits(&mut self) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or("")
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at;
        self.take(b'-');
        let integer = self.digits();
        if integer.is_empty() || (integer.len() > 1 && integer.starts_with('0')) {
            return None;
        }
        if self.take(b'.') && self.digits().is_empty() {
            return None;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            if self.digits().is_empty() {
                return None;
            }
        }
        Some(number(self.text.get(start..self.at)?))
    }
}

/// Digits that a 64-bit number holds whatever they are.
const SHORT: usize = 18;

/// The value of a number written as JSON allows: most have few digits and no exponent.
pub(crate) fn number(text: &str) -> Value {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (mut magnitude, mut places) = (0_i64, None);
    if digits.len() <= SHORT {
        for byte in digits.bytes() {
            match (byte, &mut places) {
                (b'0'..=b'9', places) => {
                    magnitude = magnitude * 10 + i64::from(byte - b'0');
                    *places = places.map(|places| places + 1);
                }
                (b'.', places) => *places = Some(0),
                _ => return Value::decimal(Decimal::parse(text, true)),
            }
        }
        let signed = i128::from(if negative { -magnitude } else { magnitude });
        return places.map_or(Value::Int(signed), |places| Value::Decimal(Decimal::short(signed, places)));
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return whole(negative, digits);
    }
    Value::decimal(Decimal::parse(text, true))
}

/// The value of a run of digits: an Int up to 34 of them, else a rounded Decimal.
pub(crate) fn whole(negative: bool, digits: &str) -> Value {
    if digits.len() <= SHORT {
        let magnitude =
            digits.bytes().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit.wrapping_sub(b'0')));
        return Value::Int(i128::from(if negative { -magnitude } else { magnitude }));
    }
    Value::decimal(Decimal::from_digits(negative, digits, "", 0)).normalized()
}
