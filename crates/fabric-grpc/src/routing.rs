//! Gateways to routers: ordered lanes over one gRPC stream for each gateway core and router.
//!
//! A router process serves its lanes with [`RoutingServer`] and gives its router a [`Deliveries`] to push through. A gateway
//! gives each core a [`RoutingClient`], a service that only publishes has one [`PublishClient`]. Who may be talked to, and about
//! what, comes from the [`RoutingTable`](fleethaven_fabric::RoutingTable)s that both follow; order, replay and ownership are
//! `fleethaven-lanes`'.
//!
//! - `server`, `deliveries`: the router's end
//! - `client`, `publisher`: the other end; `retry`: when a broken lane is opened again
//! - [`publish`], [`delivery`]: packed frames; `message`, `known`, `pack`: what they are made of

pub mod delivery;
pub mod publish;

mod client;
mod deliveries;
mod known;
mod message;
mod pack;
mod publisher;
mod retry;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::channel::Channel;

pub use client::{Options as ClientOptions, RoutingClient};
pub use deliveries::Deliveries;
pub use pack::Error as PackError;
pub use publisher::PublishClient;
pub use server::{LaneFactory, RoutingServer};

pub(crate) use delivery::{pack_shares, read_shares};
pub(crate) use message::{pack_message, read_message};

/// Makes the channel to the router at an address, in the runtime that is to drive it. It must notice that a peer is dead, and
/// give streams windows of 1 MiB or more: [`Tls::channel`](crate::tls::Tls::channel) does.
pub type MakeChannel = Arc<dyn Fn(&str) -> Result<Channel, String> + Send + Sync>;

/// Largest message, in bytes: a frame ends with the publish that reaches its bound, and MQTT's largest packet has 256 MiB. Peers
/// are trusted; this bounds a mistake.
const LARGEST: usize = 300 << 20;
/// Bytes of publishes or deliveries in one frame, about.
const FRAME: usize = 256 << 10;
