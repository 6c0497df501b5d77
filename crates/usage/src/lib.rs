//! What is used of what AWS bills for, for each account, region and billing group.
//!
//! Whoever does something that is counted adds it to the process's [`Usage`]; event loops count for themselves and add what they
//! have once a second. [`report`](report()) takes what there is every minute or so, and has the metadata store add it to the
//! sums of the day, under a number, so that nothing is added twice. A process that is killed takes with it what it had not
//! reported: that much, and no more, is not counted.
//!
//! | module | owns |
//! |---|---|
//! | [`usage`](Usage) | what was counted and not reported; whose it is |
//! | [`reporter`](report()) | the way to the metadata store |
//! | [`summary`] | what is asked of the sums |
//! | [`messages`] | what messages are counted as |
//! | [`operations`] | which of AWS's operations are counted, and as how much |
#![warn(missing_docs)]

pub mod messages;
pub mod operations;
mod reporter;
pub mod summary;
mod usage;

pub use fleethaven_registry::shapes::Amounts;
pub use reporter::{Reporter, report};
pub use summary::{By, Days};
pub use usage::{Owner, Usage};
