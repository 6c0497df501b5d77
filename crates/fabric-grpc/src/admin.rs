//! [`Admin`](fleethaven_fabric::Admin) between processes: on a channel to a node of the metastore, and as its service.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::AdminClient;
pub use server::add_service;
