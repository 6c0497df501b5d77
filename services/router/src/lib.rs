//! Matching and fan-out. A publish is matched once against subscriptions and rules, appended durably to every queue that
//! must hold it, and pushed to the cores whose connections get it.
//!
//! - [`router`]: [`Router`], the tables shared by all lanes: who is subscribed to what, and where they are
//! - [`lane`]: [`Lane`], one core's way in; implements the [`Routing`](fleethaven_fabric::Routing) seam
//! - `plan`: everything a publish to one topic leads to; `plans`: a lane's plans, reused while nothing changes
//! - `homes`: who makes the queues of groups, in a cluster
//! - `group`, `groups`: the groups of shared subscriptions
//! - `tables`: subscriptions and rules of one account and region; `staged`: what a lane gathers in one turn
//! - `queued`: log entries of messages that wait for clients that are not connected
//! - `spans`: where traces are on, what becomes of a lane's messages
//! - `withdrawals`: taking out the subscriptions of large sessions a few at a time
//! - [`publisher`]: [`Publisher`](publisher::Publisher), the same door for services that publish now and then
//! - `loading`: subscriptions from the session store
//! - [`slots`]: [`SlotKeeper`](slots::SlotKeeper), which slots this router serves, in a cluster
//! - [`rules`]: follows the topic rules in the metastore
//! - [`metrics`]: what is counted
#![warn(missing_docs)]

pub mod lane;
pub mod metrics;
pub mod publisher;
pub mod router;
pub mod rules;
pub mod slots;

mod group;
mod groups;
mod homes;
mod loading;
mod plan;
mod plans;
mod queued;
mod spans;
mod staged;
mod tables;
#[cfg(test)]
mod testing;
mod withdrawals;

pub use lane::Lane;
pub use publisher::Publisher;
pub use router::{Options, Router};
