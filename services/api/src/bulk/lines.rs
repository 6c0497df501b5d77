//! The lines of a file that is read a piece at a time, in memory that does not grow with the file or with its lines.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::BytesMut;
use fleethaven_registry::thing_registration_tasks::STEP_LINES;
use serde_json::{Map, Value};

/// Longest line, in bytes.
const MAX_LINE: usize = 256 << 10;
/// Bytes that are read at a time.
const PIECE: u64 = 256 << 10;
/// Bytes after which a step takes no further line.
const STEP_BYTES: usize = 256 << 10;
const TOO_LONG: &str = "the line is longer than 262144 bytes";

/// A line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// Where it begins.
    pub(super) offset: u64,
    /// Its parameters; `None` of a blank one; or what is wrong with it.
    pub(super) parameters: Result<Option<BTreeMap<String, String>>, &'static str>,
}

/// The lines from somewhere on.
pub(super) struct Lines {
    /// Bytes of the file.
    size: u64,
    /// Where the next line begins, and with it what is here of the file.
    offset: u64,
    /// What was read and belongs to no line yet.
    ahead: BytesMut,
    /// How much of a line that is too long was thrown away.
    skipped: u64,
}

impl Lines {
    /// The lines of a file of `size` bytes, from `offset` on, where a line begins.
    pub(super) fn new(size: u64, offset: u64) -> Self {
        Self { size, offset, ahead: BytesMut::new(), skipped: 0 }
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next lines, none at the end of the file; or what has to be [added](Self::add) of the file first.
    pub(super) fn step(&mut self) -> Result<Vec<Line>, Range<u64>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < STEP_LINES && bytes < STEP_BYTES {
            match self.next() {
                Ok(Some((line, length))) => {
                    lines.push(line);
                    bytes += length;
                }
                Ok(None) => break,
                Err(missing) if lines.is_empty() => return Err(missing),
                Err(_) => break,
            }
        }
        Ok(lines)
    }

    /// What was read of the file, from where it was missing.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
    }

    /// How far the file was read.
    fn read(&self) -> u64 {
        self.offset.saturating_add(self.skipped).saturating_add(self.ahead.len() as u64)
    }

    /// The next line and its length; nothing at the end of the file.
    fn next(&mut self) -> Result<Option<(Line, usize)>, Range<u64>> {
        let read = self.read();
        let length = match self.ahead.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if read < self.size => {
                if self.ahead.len() > MAX_LINE {
                    self.skipped += self.ahead.len() as u64;
                    self.ahead.clear();
                }
                return Err(read..read.saturating_add(PIECE).min(self.size));
            }
            None if self.ahead.is_empty() && self.skipped == 0 => return Ok(None),
            None => self.ahead.len(),
        };
        let text = self.ahead.split_to(length);
        let parameters = match self.skipped > 0 || text.len() > MAX_LINE {
            true => Err(TOO_LONG),
            false => parameters(&text),
        };
        let line = Line { offset: self.offset, parameters };
        self.offset += self.skipped + length as u64;
        self.skipped = 0;
        Ok(Some((line, length)))
    }
}

fn parameters(text: &[u8]) -> Result<Option<BTreeMap<String, String>>, &'static str> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let object: Map<String, Value> =
        serde_json::from_slice(text).map_err(|_| "the line is no JSON object of parameters")?;
    let strings = object.into_iter().map(|(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err("the value of a parameter is no string"),
    });
    strings.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// All lines from `offset` on, of a file that is read `piece` bytes at a time at most, and where each step ends.
    fn read(file: &[u8], offset: u64, piece: u64) -> (Vec<Line>, Vec<u64>) {
        let mut lines = Lines::new(file.len() as u64, offset);
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        loop {
            match lines.step() {
                Ok(step) if step.is_empty() => return (all, ends),
                Ok(step) => {
                    all.extend(step);
                    ends.push(lines.offset());
                }
                Err(missing) => {
                    assert!(missing.start < missing.end && missing.end <= file.len() as u64);
                    let end = missing.end.min(missing.start + piece);
                    lines.add(&file[missing.start as usize..end as usize]);
                }
            }
            assert!(lines.ahead.len() <= MAX_LINE + 2 * PIECE as usize);
        }
    }

    #[test]
    fn lines_and_what_is_wrong_with_them() {
        let file = b"{\"a\":\"1\"}\n\n{\"a\":1}\r\nnone\n  {\"b\":\"2\"}";
        let (lines, ends) = read(file, 0, 1000);
        let told: Vec<_> = lines.iter().map(|line| (line.offset, line.parameters.is_ok())).collect();
        assert_eq!(told, [(0, true), (10, true), (11, false), (20, false), (25, true)]);
        assert_eq!(lines[1].parameters, Ok(None));
        assert_eq!(lines[4].parameters.as_ref().unwrap().as_ref().unwrap()["b"], "2");
        assert_eq!(ends, [file.len() as u64]);
    }

    #[test]
    fn a_line_that_is_too_long_costs_no_memory_and_no_other_line() {
        let long = vec![b'x'; 3 * MAX_LINE];
        let file = [b"{}\n".as_slice(), &long, b"\n{}\n"].concat();
        let (lines, _) = read(&file, 0, PIECE);
        assert_eq!(lines.iter().map(|line| line.parameters.is_ok()).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(lines[2].offset, 4 + long.len() as u64);
        let (last, _) = read(&[b"{}\n".as_slice(), &long].concat(), 0, PIECE);
        assert_eq!(last[1].parameters, Err(TOO_LONG));
    }

    proptest! {
        #[test]
        fn where_a_step_ends_the_next_begins(
            texts in vec(prop_oneof![Just("{}".to_owned()), Just(String::new()), "[a-z]{0,40}"], 0..200),
            ends_with_newline: bool,
            piece in 1..300u64,
        ) {
            let mut file = texts.join("\n").into_bytes();
            if ends_with_newline {
                file.push(b'\n');
            }
            let (whole, ends) = read(&file, 0, piece);
            for end in ends {
                let (rest, _) = read(&file, end, piece);
                let from = whole.iter().position(|line| line.offset == end).unwrap_or(whole.len());
                prop_assert_eq!(&rest[..], &whole[from..]);
            }
        }
    }
}
