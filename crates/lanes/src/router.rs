//! A router's side: which slots it serves, what it takes of each lane, and when an acknowledgement may leave (B1, B2).
//!
//! - [`slots`]: [`Slots`], what is served now, read by all lanes without a lock
//! - [`intake`]: [`Intake`], one gateway core's lane: order, refusals, answers

pub mod intake;
pub mod slots;

pub use intake::{Admission, Intake};
pub use slots::{Serving, Slots};
