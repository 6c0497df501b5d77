//! The pattern itself: letters, quoted and plain text, optional sections.

use std::{iter::Peekable, str::Chars};

/// Deepest nesting of optional sections.
const MAX_OPTIONAL: usize = 8;
/// Most repetitions of a letter.
const MAX_COUNT: usize = 19;

pub(super) enum Element {
    Text(String),
    Field(Letter),
    Optional(Vec<Element>),
}

/// A pattern letter and how often it is repeated.
#[derive(Clone, Copy)]
pub(super) struct Letter {
    pub(super) letter: char,
    pub(super) count: usize,
}

impl Letter {
    /// Digits of a number of fixed width; `None` if the text decides.
    pub(super) fn width(self) -> Option<usize> {
        let open = self.count == 1 || (self.count > 2 && matches!(self.letter, 'y' | 'u'));
        if open && self.letter != 'S' { None } else { Some(self.count) }
    }

    fn is_number(self) -> bool {
        match self.letter {
            'M' | 'L' => self.count < 3,
            letter => "uyDdhKkHmsSAnN".contains(letter),
        }
    }

    fn is_known(self) -> bool {
        let most = match self.letter {
            'd' | 'h' | 'K' | 'k' | 'H' | 'm' | 's' => 2,
            'D' => 3,
            'G' | 'M' | 'L' | 'E' | 'X' | 'x' | 'Z' => 5,
            'a' => 1,
            'z' | 'O' => 4,
            'V' => return self.count == 2,
            'S' => 9,
            'u' | 'y' | 'A' | 'n' | 'N' => MAX_COUNT,
            _ => 0,
        };
        self.count <= most
    }
}

/// Digits that fields of fixed width right behind an open one need.
pub(super) fn reserved(following: &[Element]) -> usize {
    let mut digits = 0;
    for element in following {
        match element {
            Element::Field(letter) if letter.is_number() => match letter.width() {
                Some(width) => digits += width,
                None => return digits,
            },
            _ => return digits,
        }
    }
    digits
}

/// The elements of a pattern; `None` if java.time, or this reader of it, refuses it.
pub(super) fn read(pattern: &str) -> Option<Vec<Element>> {
    let mut characters = pattern.chars().peekable();
    let elements = section(&mut characters, 0)?;
    characters.next().is_none().then_some(elements)
}

/// Elements up to the end or, inside an optional section, its bracket.
fn section(pattern: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    while let Some(character) = pattern.next() {
        match character {
            '[' if depth < MAX_OPTIONAL => elements.push(Element::Optional(section(pattern, depth + 1)?)),
            ']' if depth > 0 => return Some(elements),
            '[' | ']' | '{' | '}' | '#' => return None,
            '\'' => elements.push(Element::Text(quoted(pattern)?)),
            letter if letter.is_ascii_alphabetic() => elements.push(Element::Field(field(pattern, letter)?)),
            other => elements.push(Element::Text(other.to_string())),
        }
    }
    Some(elements)
}

fn field(pattern: &mut Peekable<Chars<'_>>, letter: char) -> Option<Letter> {
    let mut field = Letter { letter, count: 1 };
    while pattern.next_if_eq(&letter).is_some() {
        field.count += 1;
    }
    field.is_known().then_some(field)
}

fn quoted(pattern: &mut Peekable<Chars<'_>>) -> Option<String> {
    if pattern.next_if_eq(&'\'').is_some() {
        return Some("'".to_owned());
    }
    let mut text = String::new();
    loop {
        match pattern.next()? {
            '\'' if pattern.next_if_eq(&'\'').is_none() => return Some(text),
            character => text.push(character),
        }
    }
}
