//! AWS's log entries (version 2 of logging; operations.md sections 3, 4 and 6): one JSON object for each thing that happens to a
//! client, a message or a rule, as far as the account has asked for it.
//!
//! Whoever has something to tell asks [`Logs::entry`] first, which gives an [`Entry`] to fill only where one is wanted. Where
//! no account wants any, that is one relaxed load. Nothing here ever waits: entries above an account's rate, and those that the
//! place where they are kept has no room for, are dropped and counted.
//!
//! | module | owns |
//! |---|---|
//! | [`entry`](Entry) | an entry, with AWS's names |
//! | [`levels`](Subject) | which entries of an account and region are wanted |
//! | [`logs`](Logs) | the way from whoever has something to tell to where it is kept |
//! | [`follow`](follow()) | what accounts ask for, as it changes in the metadata store |
//! | [`sink`](Place) | where entries are kept: a journal's folder, or a stream |
//! | [`filter`](Filter) | what is asked of a folder |
#![warn(missing_docs)]

mod entry;
mod filter;
mod follow;
mod levels;
mod logs;
mod metrics;
mod sink;

pub use entry::{Entry, Status};
pub use filter::{Filter, read};
pub use follow::follow;
pub use levels::Subject;
pub use logs::{Logs, Options};
pub use sink::Place;

pub use fleethaven_journal::{Bounds, MOST, Position};
pub use fleethaven_registry::shapes::{LogEvent, LogLevel};
