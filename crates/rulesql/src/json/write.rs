//! A compact writer of bounded output: Undefined members and entries are left out, Raw becomes base64.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::MAX_TEXT;
use crate::value::{Object, Value};

/// A value whose JSON, or whose walk, goes beyond [`MAX_TEXT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of the evaluation is larger than {MAX_TEXT} bytes")]
pub struct TooLarge;

/// The JSON of a value, nothing for Undefined. `normalize` prints whole Decimals as Int (2016-03-23).
///
/// # Errors
/// [`TooLarge`] beyond [`MAX_TEXT`] bytes.
pub fn write(value: &Value, normalize: bool) -> Result<String, TooLarge> {
    let mut writer = Writer::new(normalize, MAX_TEXT);
    writer.value(value)?;
    Ok(writer.text)
}

/// Writes values behind each other until a bound is reached.
pub(crate) struct Writer {
    pub(crate) text: String,
    normalize: bool,
    limit: usize,
    /// Values looked at: those that leave no byte behind are bounded too.
    visited: usize,
}

impl Writer {
    pub(crate) fn new(normalize: bool, limit: usize) -> Self {
        Self { text: String::with_capacity(128), normalize, limit, visited: 0 }
    }

    fn check(&mut self) -> Result<(), TooLarge> {
        self.visited += 1;
        if self.text.len() > self.limit || self.visited > self.limit { Err(TooLarge) } else { Ok(()) }
    }

    pub(crate) fn value(&mut self, value: &Value) -> Result<(), TooLarge> {
        match value {
            Value::Undefined => {}
            Value::Null => self.text.push_str("null"),
            Value::Boolean(true) => self.text.push_str("true"),
            Value::Boolean(false) => self.text.push_str("false"),
            Value::Int(whole) => self.int(*whole),
            Value::Decimal(decimal) => match decimal.as_whole().filter(|_| self.normalize) {
                Some(whole) => self.int(whole),
                None => self.display(decimal),
            },
            Value::String(text) => self.string(text),
            Value::Array(items) => self.array(items)?,
            Value::Object(object) => self.object(object)?,
            Value::Raw(bytes) => self.string(&STANDARD.encode(bytes)),
        }
        self.check()
    }

    fn int(&mut self, whole: i128) {
        match i64::try_from(whole) {
            Ok(small) => self.display(small),
            Err(_) => self.display(whole),
        }
    }

    fn display(&mut self, number: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{number}");
    }

    fn array(&mut self, items: &[Value]) -> Result<(), TooLarge> {
        self.text.push('[');
        let mut first = true;
        for item in items {
            if item.is_undefined() {
                self.check()?;
                continue;
            }
            if !std::mem::take(&mut first) {
                self.text.push(',');
            }
            self.value(item)?;
        }
        self.text.push(']');
        Ok(())
    }

    fn object(&mut self, object: &Object) -> Result<(), TooLarge> {
        self.text.push('{');
        let mut first = true;
        for (key, value) in object.iter() {
            if value.is_undefined() {
                self.check()?;
                continue;
            }
            if !std::mem::take(&mut first) {
                self.text.push(',');
            }
            self.string(key);
            self.text.push(':');
            self.value(value)?;
        }
        self.text.push('}');
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            let Some((plain, special)) = rest.split_at_checked(at) else { break };
            self.text.push_str(plain);
            let mut characters = special.chars();
            if let Some(character) = characters.next() {
                self.escape(character);
            }
            rest = characters.as_str();
        }
        self.text.push_str(rest);
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        let short = match character {
            '"' => '"',
            '\\' => '\\',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            other => {
                let _ = write!(self.text, "\\u{:04x}", u32::from(other));
                return;
            }
        };
        self.text.push('\\');
        self.text.push(short);
    }
}
