//! Adapter: the fabric traits over gRPC, generated from `proto/`. What one process does by holding a service's handle,
//! processes apart do through this.
//!
//! | module | owns |
//! |---|---|
//! | [`client`] | [`Client`]: `Metadata` on a channel to a metastore, with a replica of what it watches |
//! | [`server`] | [`server::service`]: any `Metadata` as a gRPC service |
//! | [`membership`] | `Membership` on a channel, and any `Membership` as a service |
//! | [`raft`] | the nodes of a metastore to each other: [`raft::peers`], [`raft::server`] |
//! | `replica` | the client's copy of the watched keys; local reads and watches are served from it |
//! | `convert` | one file per message: generated types to the fabric's and back |
//! | `generated` | what `build.rs` makes of `proto/`; stays inside this crate |
//!
//! Not here yet: `Routing` and `Delivery`. Their contracts are in `proto/`, checked by the build, and spoken by nobody. Nor
//! TLS between services: the caller brings the channel and the listener.
#![warn(missing_docs)]

pub mod client;
pub mod membership;
pub mod raft;
pub mod server;

mod convert;
mod generated;
mod replica;
mod status;
#[cfg(test)]
mod tests;

pub use client::Client;
