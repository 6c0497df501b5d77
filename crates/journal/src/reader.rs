//! What is asked of a journal's folder.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::segment::{self, Segment};

/// Most records of an answer.
pub const MOST: usize = 10_000;
/// Longest line that is read.
const LINE_BYTES: u64 = 64 << 10;

/// Where a record ends in a journal. As text: the segment's number and the bytes before that place, hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    segment: u64,
    offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.segment, self.offset)
    }
}

/// Not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no position in a journal")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (segment, offset) = text.split_once('-').ok_or(NoPosition)?;
        let number = |digits| u64::from_str_radix(digits, 16).map_err(|_| NoPosition);
        Ok(Self { segment: number(segment)?, offset: number(offset)? })
    }
}

/// Which part of a journal is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// Only what follows this record: then the first so many are told, and otherwise the last.
    pub after: Option<Position>,
    /// Nothing older is asked for, in milliseconds since the epoch: segments that end before are passed over.
    pub since: Option<u64>,
    /// How many; [`MOST`] at most, which is meant where nothing is said.
    pub limit: Option<usize>,
}

/// The records of a span that are taken, oldest first, with where each ends.
///
/// # Errors
///
/// When the folder or a segment cannot be read. A segment that is deleted meanwhile is passed over, and so is a line that is
/// no record: the last one before a crash, or one that is just being written.
pub fn read<R: DeserializeOwned>(
    dir: &Path,
    span: &Span,
    takes: impl Fn(&R) -> bool,
) -> io::Result<Vec<(Position, R)>> {
    let limit = span.limit.unwrap_or(MOST).min(MOST);
    let mut found = VecDeque::new();
    let segments = segment::all(dir)?;
    let ends = segments.iter().skip(1).map(|next| next.since).chain([u64::MAX]);
    for (segment, end) in segments.iter().zip(ends) {
        let is_before = span.after.is_some_and(|after| segment.since < after.segment);
        if limit == 0 || is_before || span.since.is_some_and(|since| end < since) {
            continue;
        }
        let Some(mut lines) = Lines::open(segment, span.after)? else { continue };
        while let Some(position) = lines.next()? {
            let Ok(record) = serde_json::from_slice::<R>(&lines.line) else { continue };
            if !takes(&record) {
                continue;
            }
            if found.len() == limit {
                found.pop_front();
            }
            found.push_back((position, record));
            if span.after.is_some() && found.len() == limit {
                return Ok(found.into());
            }
        }
    }
    Ok(found.into())
}

/// The lines of a segment.
struct Lines {
    segment: u64,
    offset: u64,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    /// `None`: the segment is gone.
    fn open(segment: &Segment, after: Option<Position>) -> io::Result<Option<Self>> {
        let mut file = match File::open(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let of_this = after.filter(|after| after.segment == segment.since);
        let offset = of_this.map_or(0, |after| after.offset);
        file.seek(SeekFrom::Start(offset))?;
        let (file, line) = (BufReader::new(file), Vec::new());
        Ok(Some(Self { segment: segment.since, offset, file, line }))
    }

    /// Reads the next line; where it ends.
    fn next(&mut self) -> io::Result<Option<Position>> {
        self.line.clear();
        let read = io::Read::take(&mut self.file, LINE_BYTES).read_until(b'\n', &mut self.line)?;
        self.offset = self.offset.saturating_add(read as u64);
        Ok((read > 0).then_some(Position { segment: self.segment, offset: self.offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(dir: &Path, span: Span) -> Vec<u64> {
        let found = read(dir, &span, |number: &u64| number % 2 == 1).unwrap();
        found.into_iter().map(|(_, number)| number).collect()
    }

    fn two_segments() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("0000000000000010.jsonl"), "1\n2\n3\n").unwrap();
        std::fs::write(dir.path().join("0000000000000020.jsonl"), "5\n6\n7\n").unwrap();
        dir
    }

    #[test]
    fn the_last_ones_or_the_first_ones_after_a_place() {
        let dir = two_segments();
        assert_eq!(told(dir.path(), Span::default()), [1, 3, 5, 7]);
        assert_eq!(told(dir.path(), Span { limit: Some(3), ..Span::default() }), [3, 5, 7]);
        assert_eq!(told(dir.path(), Span { limit: Some(0), ..Span::default() }), Vec::<u64>::new());
        assert_eq!(told(dir.path(), Span { since: Some(0x21), ..Span::default() }), [5, 7]);
        assert_eq!(told(dir.path(), Span { since: Some(0x20), ..Span::default() }), [1, 3, 5, 7]);
        let all = read(dir.path(), &Span::default(), |_: &u64| true).unwrap();
        for (place, (position, _)) in all.iter().enumerate() {
            let position = position.to_string().parse().unwrap();
            let span = Span { after: Some(position), limit: Some(2), ..Span::default() };
            let following: Vec<u64> = all.iter().skip(place + 1).map(|(_, number)| *number).collect();
            let odd: Vec<u64> = following.into_iter().filter(|number| number % 2 == 1).take(2).collect();
            assert_eq!(told(dir.path(), span), odd, "after {position}");
        }
        for bad in ["", "1", "x-1", "1-", "1-1-1"] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad}");
        }
    }

    #[test]
    fn what_is_just_being_written_comes_whole_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000000000010.jsonl");
        std::fs::write(&path, "\"a\"\n\"b").unwrap();
        let all = |after| {
            let span = Span { after, ..Span::default() };
            read(dir.path(), &span, |_: &String| true).unwrap()
        };
        let first = all(None);
        assert_eq!(first.len(), 1);
        std::fs::write(&path, "\"a\"\n\"bc\"\n").unwrap();
        let after = all(first.last().map(|(position, _)| *position));
        assert_eq!(after.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), ["bc"]);
    }
}
