//! The services behind `$aws/things/…`, `$aws/certificates/…` and `$aws/provisioning-templates/…`: answers what clients ask
//! there by publishing. Today device shadows and fleet provisioning.
//!
//! A request to a shadow is an ordinary message too: subscribers and rules get it as any other. Whoever publishes does so
//! through something that this crate puts around the way into the routers; what is on other topics costs the comparison of a
//! prefix or three.
//!
//! - [`desk`]: [`Desk`], where requests are handed in; those of one thing are carried out one after the other
//! - [`lane`]: [`DeskLane`] around a gateway core's [`Routing`](fleethaven_fabric::Routing): PUBACK waits for the desk
//! - [`door`]: [`DeskDoor`] around [`Publish`](fleethaven_fabric::Publish): HTTPS publish, republish actions
//! - [`metrics`]: what is counted
//!
//! Inside, `logging` has AWS's log entries, `shadows` carries out one request to a shadow, `enrolment` is fleet provisioning. Wills are never requests (shadow.md section 3).
#![warn(missing_docs)]

pub mod desk;
pub mod door;
pub mod lane;
pub mod metrics;

mod enrolment;
mod logging;
mod patience;
mod shadows;
#[cfg(test)]
mod testing;

pub use desk::{Desk, Settings};
pub use door::DeskDoor;
pub use lane::DeskLane;
