//! Who is in the cluster, and which router owns which slot (protocols B1 and B4). Pure: no clock, no disk, no socket.
//!
//! - [`Member`]: a process, under an [`Incarnation`] of its own, with a [`Role`] and a [`Phase`]
//! - [`Cluster`]: members and slots; a [`Command`] changes them, and every slot gets the owner that it must then have
//! - [`RoutingTable`]: what everybody sees of it; [`SlotOwner`] of one slot
//! - [`DepthChange`]: how many levels of a topic choose its slot is being changed
//! - [`CompactSlots`]: slots as they are stored and sent
//! - [`Leases`]: how long who is believed to be alive, as the metastore's leader counts it
//!
//! The metastore keeps a [`Cluster`] in its control group (`fleethaven-registry` knows under which keys): a command is
//! evaluated on the leader, and what it changed is replicated. Leases are in the leader's memory only.
#![warn(missing_docs)]

mod assignment;
mod cluster;
mod compact;
mod depth;
mod leases;
mod member;
mod table;

#[cfg(test)]
mod tests;

pub use cluster::{Cluster, Command, MEMBERS_MAX, Refusal, floor};
pub use compact::CompactSlots;
pub use depth::{Changing, DEPTH_MAX, DepthChange, PREFIXES_MAX};
pub use leases::{DRIFT, Leases, Renewal, STALL};
pub use member::{Incarnation, Member, Phase, Role};
pub use table::{RoutingTable, SlotOwner};

use std::time::Duration;

/// How long a lease lasts after the renewal that was asked for last, by the asker's clock.
pub const LEASE: Duration = Duration::from_secs(2);

/// How often it is renewed.
pub const RENEW_EVERY: Duration = Duration::from_millis(400);
