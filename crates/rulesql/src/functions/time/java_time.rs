//! Reading a text by a java.time `DateTimeFormatter` pattern (JDK 11, English, resolver style smart).

mod fields;
mod pattern;

use self::{
    fields::Fields,
    pattern::{Element, Letter},
};
use super::{MONTHS, WEEKDAYS, name, zone};

/// Most digits of a number whose width the pattern leaves open.
const OPEN: usize = 10;

/// Longest zone id or name, in bytes.
const LONGEST_ZONE: usize = 48;

/// Milliseconds since the epoch; `None` if the text does not fit the pattern or the pattern is none.
pub(super) fn parse(text: &str, pattern: &str) -> Option<i64> {
    let elements = pattern::read(pattern)?;
    let mut reader = Reader { rest: text, fields: Fields::default() };
    reader.all(&elements)?;
    if !reader.rest.is_empty() {
        return None;
    }
    reader.fields.resolve()
}

#[derive(Clone)]
struct Reader<'t> {
    rest: &'t str,
    fields: Fields,
}

impl Reader<'_> {
    fn all(&mut self, elements: &[Element]) -> Option<()> {
        let mut elements = elements;
        while let Some((element, following)) = elements.split_first() {
            match element {
                Element::Text(text) => self.rest = self.rest.strip_prefix(text.as_str())?,
                Element::Optional(inner) => {
                    let mut attempt = self.clone();
                    if attempt.all(inner).is_some() {
                        *self = attempt;
                    }
                }
                Element::Field(letter) => self.field(*letter, pattern::reserved(following))?,
            }
            elements = following;
        }
        Some(())
    }

    fn field(&mut self, field: Letter, reserved: usize) -> Option<()> {
        let Letter { letter, count } = field;
        match (letter, count) {
            ('M' | 'L', 3..) => {
                let month = self.one_of(&MONTHS, count)?;
                self.fields.set('M', month)
            }
            ('E', _) => {
                let weekday = self.one_of(&WEEKDAYS, count)?;
                self.fields.set('E', weekday)
            }
            ('G', _) => self.word(&[("AD", 1), ("BC", 0)]).and_then(|era| self.fields.set('G', era)),
            ('a', _) => self.word(&[("AM", 0), ("PM", 1)]).and_then(|half| self.fields.set('a', half)),
            ('V' | 'z', _) => self.zone(letter == 'z'),
            ('X' | 'x' | 'Z' | 'O', _) => self.offset(letter, count),
            ('S', _) => self.fraction(count),
            _ => self.number(field, reserved),
        }
    }

    fn digits(&self) -> usize {
        self.rest.bytes().take_while(u8::is_ascii_digit).count()
    }

    fn take(&mut self, length: usize) -> Option<&str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A number as wide as the pattern says; one of open width leaves the digits that adjacent fields need.
    fn number(&mut self, field: Letter, reserved: usize) -> Option<()> {
        let Letter { letter, count } = field;
        let negative = letter == 'u' && self.rest.starts_with('-');
        if negative {
            self.take(1)?;
        }
        let width = match field.width() {
            Some(width) => width,
            None => self.digits().checked_sub(reserved)?.min(OPEN),
        };
        if width < count || self.digits() < width {
            return None;
        }
        let mut number = self.take(width)?.parse::<i64>().ok()?;
        if count == 2 && matches!(letter, 'y' | 'u') {
            number += 2000;
        }
        self.fields.set(letter, if negative { -number } else { number })
    }

    fn fraction(&mut self, count: usize) -> Option<()> {
        if self.digits() < count {
            return None;
        }
        let digits = self.take(count)?;
        let nanos = format!("{digits:0<9}").get(..9)?.parse().ok()?;
        self.fields.set('n', nanos)
    }

    /// A name, in full from the fourth letter on; its number from 1.
    fn one_of(&mut self, names: &[&'static str], count: usize) -> Option<i64> {
        for number in 1..=i8::try_from(names.len()).ok()? {
            if let Some(rest) = self.rest.strip_prefix(name(names, number, count > 3)?) {
                self.rest = rest;
                return Some(i64::from(number));
            }
        }
        None
    }

    fn word(&mut self, words: &[(&str, i64)]) -> Option<i64> {
        let (rest, number) =
            words.iter().find_map(|(word, number)| Some((self.rest.strip_prefix(word)?, *number)))?;
        self.rest = rest;
        Some(number)
    }

    /// A region id, `UTC`, `UTC+01:00` or an offset; `names` also allows zone names such as `PST`.
    fn zone(&mut self, names: bool) -> Option<()> {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_+-:".contains(byte);
        let mut length = self.rest.bytes().take(LONGEST_ZONE).take_while(part).count();
        // The longest prefix that names a zone: digits and separators behind it belong to the pattern.
        while length > 0 {
            let id = self.rest.get(..length)?;
            let zone = if names { zone::named(id).or_else(|| zone::find(id)) } else { zone::find(id) };
            if let Some(zone) = zone {
                self.take(length)?;
                self.fields.zone = Some(zone.rules);
                return Some(());
            }
            length -= 1;
        }
        None
    }

    fn offset(&mut self, letter: char, count: usize) -> Option<()> {
        let zulu = letter == 'X' || (letter == 'Z' && count == 5);
        if zulu && let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return self.fields.set_offset(0);
        }
        let named = letter == 'O' || (letter == 'Z' && count == 4);
        if named {
            self.rest = self.rest.strip_prefix("GMT")?;
            if !self.rest.starts_with(['+', '-']) {
                return self.fields.set_offset(0);
            }
        }
        let colon = named || count == 5 || (count == 3 && letter != 'Z');
        let (seconds, rest) = zone::offset(self.rest)?;
        let written = self.rest.get(..self.rest.len() - rest.len())?;
        if written.len() > 3 && written.contains(':') != colon {
            return None;
        }
        self.rest = rest;
        self.fields.set_offset(seconds)
    }
}
