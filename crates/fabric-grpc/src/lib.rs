//! Adapter: the fabric traits over gRPC, generated from `proto/`. What one process does by holding a service's handle,
//! processes apart do through this.
//!
//! | module | owns |
//! |---|---|
//! | [`admin`] | `Admin` on a channel to a metastore node, and any `Admin` as a service |
//! | [`client`] | [`Client`]: `Metadata` on a channel to a metastore, with a replica of what it watches |
//! | [`server`] | [`server::service`]: any `Metadata` as a gRPC service |
//! | [`membership`] | `Membership` on a channel, and any `Membership` as a service |
//! | [`raft`] | the nodes of a metastore to each other: [`raft::peers`], [`raft::server`] |
//! | [`connections`] | the connections API to gateways, and these to each other |
//! | [`routing`] | gateways to routers: [`routing::RoutingClient`], [`routing::RoutingServer`] |
//! | [`tls`] | mTLS: who a service is, what it may call; [`tls::serve`] and [`tls::Tls::channel`] |
//! | [`channel`], [`trace`] | what calls travel on, and the trace context that they carry |
//! | `replica` | the client's copy of the watched keys; local reads and watches are served from it |
//! | `nodes` | which of a metastore's nodes is asked |
//! | `convert` | one file per message: generated types to the fabric's and back |
//! | `generated` | what `build.rs` makes of `proto/`; stays inside this crate |
//!
#![warn(missing_docs)]

pub mod admin;
pub mod channel;
pub mod client;
pub mod connections;
pub mod membership;
pub mod raft;
pub mod routing;
pub mod server;
pub mod tls;
pub mod trace;

#[cfg(test)]
mod contracts;
mod convert;
mod generated;
mod nodes;
mod replica;
mod status;
#[cfg(test)]
mod tests;

pub use client::Client;
/// Services of this crate, to be served by [`tls::serve`].
pub use tonic::service::Routes;
