//! The audit journal: who called what, from where, with what outcome.
//!
//! Each process that serves calls keeps a [journal](fleethaven_journal) of its own, in a folder of its own. A record never
//! holds a secret, nor the members of a request. No call waits for its record longer than [`PATIENCE`].
//!
//! | module | owns |
//! |---|---|
//! | [`journal`](Journal) | waiting for what is recorded |
//! | [`record`](Record) | what is recorded |
//! | [`filter`](Filter) | what is asked of the folder |
#![warn(missing_docs)]

mod filter;
mod journal;
mod metrics;
mod record;

pub use filter::{Filter, read};
pub use fleethaven_journal::Bounds;
pub use journal::{Journal, PATIENCE};
pub use record::{Outcome, Record};
