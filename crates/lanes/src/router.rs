//! A router's side: which slots it serves, what it takes of each lane, and when an acknowledgement may leave (B1, B2).
//!
//! - [`slots`]: [`Slots`], what is served now, read by all lanes without a lock
//! - [`intake`]: [`Intake`], one gateway core's lane: order, refusals, answers
//! - [`asking`]: [`Asking`], what is asked on it beside publishes, and what members of groups there have room for
//! - `fenced`: what may be promised to subscribers (C1)
//! - [`keeper`]: [`Keeper`], what is done before a slot is served, and before it is let go of
//! - [`gathering`]: [`Gathering`], how lanes tell of the gateways at their other ends

pub mod asking;
mod fenced;
pub mod gathering;
pub mod intake;
pub mod keeper;
pub mod slots;

pub use asking::{Asking, Wanted};
pub use gathering::{Gathering, LaneId};
pub use intake::{Admission, Intake};
pub use keeper::{Action, Keeper};
pub use slots::{MARGIN, Serving, Slots};
