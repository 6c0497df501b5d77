//! Why a metastore node did not start or had to stop.

use std::io;
use std::path::{Path, PathBuf};

/// Failures of opening and closing a metastore node. Failures of commands and queries are
/// [`fleethaven_fabric::metadata::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the directory open.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The files are damaged. A single node is restored from a backup; a replica is wiped and rejoins under a
    /// new id.
    #[error("the metadata in {dir} is damaged: {detail}")]
    Corrupt {
        /// The data directory.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The directory belongs to another node.
    #[error("{dir} holds the data of node {found}, not of node {expected}")]
    OtherNode {
        /// The data directory.
        dir: PathBuf,
        /// The configured node id.
        expected: u64,
        /// The node id on disk.
        found: u64,
    },
    /// The directory belongs to a node of another cluster.
    #[error("{dir} holds the data of a store that is not named '{cluster}'")]
    OtherCluster {
        /// The data directory.
        dir: PathBuf,
        /// The configured name.
        cluster: String,
    },
    /// The data is of a store with another number of state groups.
    #[error(
        "{dir} holds the data of a store with {found} state groups, not {expected}: their number never changes"
    )]
    StateGroups {
        /// The data directory.
        dir: PathBuf,
        /// The configured number.
        expected: u32,
        /// The number on disk.
        found: u32,
    },
    /// The data was written before there were state groups, and the store's nodes have changed since it was formed.
    #[error(
        "{0} was written before there were state groups, by a store whose nodes have changed: back it up with the program \
         that wrote it, and restore the backup with this one"
    )]
    NoStateGroups(PathBuf),
    /// More state groups than there are shards, or a number that is none.
    #[error("there can be 1 to {most} state groups, not {0}", most = fleethaven_registry::Shard::COUNT)]
    TooManyStateGroups(u32),
    /// The data was written by another version of the store.
    #[error("{dir} has storage format {found}, this program reads format {expected}")]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// The format of this program.
        expected: u32,
        /// The format on disk.
        found: u32,
    },
    /// The backup is damaged, or is not for this.
    #[error("{path} cannot be restored: {detail}")]
    Backup {
        /// The backup file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// A backup is restored into an empty directory only.
    #[error("{0} is not empty: a backup is restored into an empty directory")]
    NotEmpty(PathBuf),
    /// A restore was cut short.
    #[error("a restore into {0} was not completed: remove the directory and restore again")]
    HalfRestored(PathBuf),
    /// The file system failed.
    #[error("storage failed at {path}: {source}")]
    Storage {
        /// Where.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The consensus library refused to start or stop.
    #[error("raft: {0}")]
    Raft(String),
    /// The node did not become ready in time.
    #[error("the node did not become ready: {0}")]
    NotReady(String),
}

impl Error {
    /// What a failure of the embedded store means for the data directory `dir`.
    pub(crate) fn from_store(dir: &Path, error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Locked(dir.to_owned()),
            fjall::Error::Io(source) => Self::from_io(dir, source),
            other => Self::Corrupt { dir: dir.to_owned(), detail: other.to_string() },
        }
    }

    /// An input or output error at `path`; undecodable data counts as damage.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Corrupt { dir: path.to_owned(), detail: source.to_string() }
            }
            _ => Self::Storage { path: path.to_owned(), source },
        }
    }
}

/// Turns a store failure into the error type that openraft's storage traits speak.
pub(crate) fn store_io(error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(inner) => inner,
        other => io::Error::other(other.to_string()),
    }
}

/// Undecodable data in `what`.
pub(crate) fn damaged(what: &str, detail: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {detail}"))
}
