//! Mistakes made on purpose: the simulation must find each.

use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;

use crate::snapshot::{SnapshotReader, SnapshotWriter};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The log counts as durable before it was fsynced.
    FsyncSkipped,
    /// A follower says that it has entries before they are durable, or wanted.
    AppendAcknowledgedEarly,
    /// A command is answered as carried out although that is not known.
    AnsweredBeforeCommit,
    /// A read is answered from what a node has applied, without asking a quorum.
    ReadWithoutQuorum,
    /// A snapshot lacks its last entries.
    SnapshotCutShort,
    /// A watch leaves out one change.
    ChangeLeftOut,
    /// A node that was cut off from another one never connects to it again.
    LinkNeverMended,
    /// A command that was carried out is carried out again when it comes again.
    RepliesForgotten,
    /// A message that was committed is not published.
    EmitLeftOut,
}

/// The pieces of a snapshot file without its last pairs, and otherwise whole.
pub(super) fn without_the_last(pieces: &[Bytes]) -> Vec<Bytes> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut reader = SnapshotReader::over(Box::new(Cursor::new(pieces.concat())), Path::new("sent"))
        .expect("what is sent is a snapshot");
    let mut pairs = Vec::new();
    while let Some(pair) = reader.next().expect("what is sent is whole") {
        pairs.push(pair);
    }
    let path = dir.path().join("short.snapshot");
    let mut writer = SnapshotWriter::at(path.clone(), &reader.applied, None).expect("a file");
    for (key, value) in pairs.iter().take(pairs.len() * 2 / 3) {
        writer.add(key, value).expect("the file takes it");
    }
    writer.finish().expect("the file can be ended");
    vec![Bytes::from(std::fs::read(path).expect("the file is there"))]
}
