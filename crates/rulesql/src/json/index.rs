//! A small JSON text checked in one pass, without an allocation: where its values stand. They are made when a statement asks
//! for them, and most conditions ask for one or two numbers.

use super::read::number;
use crate::value::{Text, Value};

/// Most values, keys included, that an index has room for.
const ROOM: usize = 64;
/// Longest text, in bytes: places are 16 bits.
const MAX_TEXT: usize = u16::MAX as usize;

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Null,
    True,
    False,
    Number,
    /// A string or key, which has no escapes.
    String,
    Array,
    Object,
}

/// A value in the order of the text; a key stands before its value.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    kind: Kind,
    /// The node behind this value and all that is in it.
    next: u8,
    /// Where it starts and ends; a string without its quotes.
    start: u16,
    end: u16,
}

/// The values of a text.
#[derive(Debug)]
pub(crate) struct Index {
    text: Text,
    nodes: [Node; ROOM],
}

/// Why there is no index of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unindexed {
    /// It is no JSON.
    NotJson,
    /// It may be JSON, but it is too large, or a string of it has escapes.
    TooComplex,
}

/// What an index knows of a value.
pub(crate) enum Found {
    /// The value, or Undefined.
    Value(Value),
    /// A container stands there: it has to be read.
    Container,
}

impl Index {
    /// Checks and indexes a text.
    pub(crate) fn of(text: &Text) -> Result<Self, Unindexed> {
        if text.len() > MAX_TEXT {
            return Err(Unindexed::TooComplex);
        }
        let mut scanner = Scanner { text: text.as_bytes(), at: 0, nodes: [Node::default(); ROOM], count: 0 };
        scanner.value()?;
        scanner.space();
        if scanner.at < text.len() {
            return Err(Unindexed::NotJson);
        }
        Ok(Self { text: text.clone(), nodes: scanner.nodes })
    }

    /// The text itself.
    pub(crate) fn text(&self) -> &Text {
        &self.text
    }

    /// The value at the end of a path of members from the root.
    pub(crate) fn get<'p>(&self, path: impl Iterator<Item = &'p str>) -> Found {
        let mut at = 0;
        for name in path {
            match self.member(at, name) {
                Some(found) => at = found,
                None => return Found::Value(Value::Undefined),
            }
        }
        let Some(node) = self.nodes.get(at) else { return Found::Value(Value::Undefined) };
        Found::Value(match node.kind {
            Kind::Null => Value::Null,
            Kind::True => Value::Boolean(true),
            Kind::False => Value::Boolean(false),
            Kind::Number => number(self.written(*node)),
            Kind::String => Value::String(self.text.slice_ref(self.written(*node))),
            Kind::Array | Kind::Object => return Found::Container,
        })
    }

    fn written(&self, node: Node) -> &str {
        self.text.get(usize::from(node.start)..usize::from(node.end)).unwrap_or("")
    }

    /// The last member of this name, as the last of duplicate keys counts.
    fn member(&self, object: usize, name: &str) -> Option<usize> {
        let object_node = self.nodes.get(object).filter(|node| node.kind == Kind::Object)?;
        let (mut key, end) = (object + 1, usize::from(object_node.next));
        let mut found = None;
        while key < end {
            if self.written(*self.nodes.get(key)?) == name {
                found = Some(key + 1);
            }
            key = usize::from(self.nodes.get(key + 1)?.next);
        }
        found
    }
}

/// Walks over a text and notes its values.
struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    nodes: [Node; ROOM],
    count: usize,
}

type Scanned = Result<(), Unindexed>;

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Scanned {
        if self.take(byte) { Ok(()) } else { Err(Unindexed::NotJson) }
    }

    /// Notes a value that starts at `start` and ends here. Places fit, as the text is short.
    fn note(&mut self, kind: Kind, start: usize, end: usize) -> Result<usize, Unindexed> {
        let place = self.count;
        let node = self.nodes.get_mut(place).ok_or(Unindexed::TooComplex)?;
        let short = |at: usize| u16::try_from(at).map_err(|_| Unindexed::TooComplex);
        *node = Node { kind, next: 0, start: short(start)?, end: short(end)? };
        self.count += 1;
        self.close(place);
        Ok(place)
    }

    /// Says that all that is in the value at `place` has been noted.
    fn close(&mut self, place: usize) {
        if let (Some(node), Ok(next)) = (self.nodes.get_mut(place), u8::try_from(self.count)) {
            node.next = next;
        }
    }

    fn value(&mut self) -> Scanned {
        self.space();
        let start = self.at;
        match self.peek().ok_or(Unindexed::NotJson)? {
            b'{' => self.object(start),
            b'[' => self.array(start),
            b'"' => self.string(),
            b't' => self.word(b"true", Kind::True),
            b'f' => self.word(b"false", Kind::False),
            b'n' => self.word(b"null", Kind::Null),
            b'-' | b'0'..=b'9' => self.number(start),
            _ => Err(Unindexed::NotJson),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Scanned {
        let start = self.at;
        if !self.text.get(start..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(Unindexed::NotJson);
        }
        self.at += word.len();
        self.note(kind, start, self.at).map(drop)
    }

    fn array(&mut self, start: usize) -> Scanned {
        self.at += 1;
        let place = self.note(Kind::Array, start, start)?;
        self.space();
        if !self.take(b']') {
            loop {
                self.value()?;
                self.space();
                if self.take(b']') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.close(place);
        Ok(())
    }

    fn object(&mut self, start: usize) -> Scanned {
        self.at += 1;
        let place = self.note(Kind::Object, start, start)?;
        self.space();
        if !self.take(b'}') {
            loop {
                self.space();
                self.string()?;
                self.space();
                self.expect(b':')?;
                self.value()?;
                self.space();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.close(place);
        Ok(())
    }

    /// A string up to its quote.
    fn string(&mut self) -> Scanned {
        self.expect(b'"')?;
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\');
        self.at += length.ok_or(Unindexed::NotJson)?;
        match self.peek() {
            Some(b'"') => self.at += 1,
            Some(b'\\') => return Err(Unindexed::TooComplex),
            _ => return Err(Unindexed::NotJson),
        }
        self.note(Kind::String, start, self.at - 1).map(drop)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self, start: usize) -> Scanned {
        self.take(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let integer = self.digits();
        let fraction = !self.take(b'.') || self.digits() > 0;
        let exponent = !(self.take(b'e') || self.take(b'E')) || {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits() > 0
        };
        if integer == 0 || (leading_zero && integer > 1) || !fraction || !exponent {
            return Err(Unindexed::NotJson);
        }
        self.note(Kind::Number, start, self.at).map(drop)
    }
}
