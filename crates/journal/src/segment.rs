//! Segments: the files of a journal, named by when they were begun.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A segment is followed by the next one above this size.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// … and after this time, in milliseconds.
const SEGMENT_MILLIS: u64 = 24 * 60 * 60 * 1000;
const SUFFIX: &str = ".jsonl";

/// A file of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// When it was begun, in milliseconds since the epoch.
    pub(crate) since: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The segments of a folder, oldest first. Other files are none of ours.
pub(crate) fn all(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let Some(since) = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else { continue };
        segments.push(Segment { since, bytes: entry.metadata()?.len(), path: entry.path() });
    }
    segments.sort_by_key(|segment| segment.since);
    Ok(segments)
}

/// The segment that is written to.
pub(crate) struct Open {
    file: File,
    since: u64,
    bytes: u64,
}

impl Open {
    /// Begins one that is younger than all that are there.
    pub(crate) fn begin(dir: &Path, now: u64) -> io::Result<Self> {
        let after = all(dir)?.last().map_or(0, |last| last.since.saturating_add(1));
        let since = now.max(after);
        let path = dir.join(format!("{since:016x}{SUFFIX}"));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        // The name is as durable as what the file holds.
        File::open(dir)?.sync_all()?;
        Ok(Self { file, since, bytes: 0 })
    }

    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.bytes >= SEGMENT_BYTES || now.saturating_sub(self.since) >= SEGMENT_MILLIS
    }

    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.bytes = self.bytes.saturating_add(lines.len() as u64);
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
