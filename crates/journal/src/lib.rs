//! A journal: records of one kind on disk, bounded, and asked by whoever may read the folder.
//!
//! A folder holds the records of one process: JSON, a record a line, in segments that are begun anew at each start, after
//! [`SEGMENT_BYTES`], and each day. The oldest are deleted when there are too many bytes or when they are too old.
//!
//! Durability: who hands a record to [`Journal::record_durably`] is told when it is fsynced; many wait for one fsync. What
//! [`Journal::record`] takes is fsynced within [`FLUSH_AFTER`]. Neither ever blocks: a journal that cannot keep up or cannot
//! write loses records, says so in the process's own log and counts them.
//!
//! Files and one thread of its own, and no runtime: whatever waits for it does so in its own way.
//!
//! | module | owns |
//! |---|---|
//! | [`journal`](Journal) | the writer: a thread, its queue, segments and their end |
//! | [`reader`](read) | what is asked of the folder, whether or not a process writes to it |
//!
//! What is recorded is others' business: `fleethaven-audit` keeps calls, `fleethaven-logging` AWS's log entries.
#![warn(missing_docs)]

mod journal;
mod reader;
mod segment;

pub use journal::{Bounds, FLUSH_AFTER, Journal, Options, Written};
pub use reader::{MOST, NoPosition, Position, Span, read};
pub use segment::SEGMENT_BYTES;
