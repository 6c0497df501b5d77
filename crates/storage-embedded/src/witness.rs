//! How far commits were made durable, noted beside the store.
//!
//! After a crash the store cuts its journal at the first record that it cannot parse, taking it for the torn
//! end of the last write. Damage in the middle looks the same and would silently take acknowledged commits
//! with it. So durable commits are numbered, the number being part of the commit, and the last one fsynced is
//! noted in a file of its own. That file is never fsynced: after a power failure it may say less than was
//! durable, but never more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The number of the last durable commit, as noted.
pub struct Witness {
    file: File,
}

impl Witness {
    /// Where the note lies.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("durable")
    }

    /// Opens the note of the store in `dir`, with what it says: 0 when there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn open(dir: &Path) -> io::Result<(Self, u64)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(Self::path(dir))?;
        let mut number = [0; 8];
        let noted = match file.read_exact_at(&mut number, 0) {
            Ok(()) => u64::from_be_bytes(number),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(e) => return Err(e),
        };
        Ok((Self { file }, noted))
    }

    /// Notes that all commits up to `number` are durable.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&self, number: u64) -> io::Result<()> {
        self.file.write_all_at(&number.to_be_bytes(), 0)
    }
}
