//! The storage seam on local disk (fjall), with group commit on one thread.
//!
//! One thread owns the sessions and their queues. It takes everything that all lanes have submitted, applies it to
//! memory and to one fjall batch, fsyncs once if the batch holds something that must last, and only then hands the
//! completions back; the next batch starts as the last fsync returns. What is acknowledged is therefore on disk.
//!
//! - [`store`]: [`EmbeddedStore`], which opens a directory and implements the seam's traits
//! - [`options`]: [`Options`] with the bounds and the clock
//! - [`stats`]: [`Stats`], plain counters
//! - `door`: how lanes and jobs reach the thread; `lane`: one lane's side of it
//! - `engine`: the thread's state and its loop
//! - `claim`, `ending`, `subscribing`, `publish`, `exactly_once`, `sharing`, `reading`: what the engine does with each
//!   request; `write_behind`: what it does a little later
//! - `sessions`, `queue`, `groups`, `bodies`, `wills`, `fences`, `departed`, `recent`: the tables it keeps in memory
//! - `retained`, `rules`: the retained messages and the rules queue, which other threads read directly
//! - `disk`, `keys`, `record`, `opening`: the keyspaces, their keys and values, and rebuilding the tables at open
//! - [`space`]: keyspaces whose values may be sealed (`fleethaven-vault`)
//! - `witness`: [`Witness`], which knows how much was durable when the journal is damaged
//!
//! Not here: matching, timers, and the decision when to publish a will; the store only keeps what it is given.
#![warn(missing_docs)]

mod bodies;
mod claim;
mod departed;
mod disk;
mod door;
mod ending;
mod engine;
mod exactly_once;
mod fences;
mod groups;
mod keys;
mod lane;
mod opening;
pub mod options;
mod publish;
mod queue;
mod reading;
mod recent;
mod record;
mod retained;
mod rules;
mod sessions;
mod sharing;
pub mod space;
pub mod stats;
pub mod store;
mod subscribing;
mod wills;
mod witness;
mod write_behind;

pub use options::{Clock, Options};
pub use stats::Stats;
pub use store::EmbeddedStore;
pub use witness::Witness;

use std::path::PathBuf;

/// Why a directory could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process, or another store in this one, holds the directory.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The directory could not be made or read.
    #[error("{path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database in the directory could not be opened or read.
    #[error("{path}: {source}")]
    Database {
        /// The directory.
        path: PathBuf,
        /// What the database said.
        source: fjall::Error,
    },
    /// Commits that were durable are not there: the journal is damaged in its middle, where the database takes it to end, or
    /// an older copy of some files was put back.
    #[error(
        "{path}: durable writes {first} to {last} are missing ({note} says they were made): the journal is damaged, or files \
         are older than the rest; restore the whole directory from a backup, or remove {note} to go on without what is missing"
    )]
    Missing {
        /// The directory.
        path: PathBuf,
        /// Number of the first one.
        first: u64,
        /// Number of the last one.
        last: u64,
        /// The file that tells.
        note: PathBuf,
    },
    /// A record cannot be understood: it is damaged or was written by a newer version.
    #[error("{path}: a record in '{keyspace}' cannot be read: {reason}")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// The keyspace of the record.
        keyspace: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
