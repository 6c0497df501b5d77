//! The audit journal: who called what, from where, with what outcome.
//!
//! Each process that serves calls keeps a journal of its own, in a folder of its own: JSON, a record a line, in segments that
//! are begun anew at each start, after [`SEGMENT_BYTES`], and each day. The oldest are deleted when there are too many bytes
//! or when they are too old. A record never holds a secret, nor the members of a request.
//!
//! Durability: [`Journal::record_durably`] returns when the record is fsynced; many wait for one fsync. What
//! [`Journal::record`] takes is fsynced within [`FLUSH_AFTER`]. A journal that cannot keep up or cannot write loses records,
//! says so in the log and counts them; no call waits for it longer than [`PATIENCE`].
//!
//! | module | owns |
//! |---|---|
//! | [`record`](Record) | what is recorded |
//! | [`journal`](Journal) | the writer: a thread, its queue, segments and their end |
//! | [`reader`](read) | what is asked of the folder, whether or not a process writes to it |
#![warn(missing_docs)]

mod journal;
mod metrics;
mod reader;
mod record;
mod segment;

pub use journal::{Bounds, FLUSH_AFTER, Journal, PATIENCE};
pub use reader::{Filter, MOST, read};
pub use record::{Outcome, Record};
pub use segment::SEGMENT_BYTES;
