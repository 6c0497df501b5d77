//! Executes topic rules: claims messages from the rules queue, evaluates the SQL, runs the actions, and runs the error action
//! for what failed. At least once; a poison message ends in the dead-letter list, never in a loop.
//!
//! - [`rules`]: the rules, compiled once, as they change in the metastore
//! - [`worker`]: the claim loop
//! - [`execute`]: one rule for one message; [`room`]: for what its statement makes
//! - [`actions`]: the [`Action`](actions::Action) seam, one file per action type
//! - [`retry`]: when an action that failed is tried again; [`waiting`]: for the broker itself, for as long as it takes
//! - [`outside`]: the way out of the broker: [`connections`], [`destinations`], and [`lanes`], which keep slow targets apart
//! - [`external`]: functions of the SQL that ask others
//! - [`error_action`]: the payload of error actions; `logging`: AWS's log entries about rules
//! - [`metrics`]: what is counted; `series`: for how long

pub mod actions;
pub mod connections;
pub mod destinations;
pub mod error_action;
pub mod execute;
pub mod external;
pub mod lanes;
mod logging;
pub mod metrics;
pub mod outside;
pub mod retry;
pub mod room;
pub mod rules;
mod series;
pub mod waiting;
pub mod worker;

#[cfg(test)]
mod testing;

pub use actions::aws::buckets::{Buckets, Object};
pub use connections::Connections;
pub use destinations::Destinations;
pub use outside::Outside;
pub use room::Room;
pub use rules::Rules;
pub use worker::Worker;
