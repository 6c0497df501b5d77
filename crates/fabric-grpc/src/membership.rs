//! [`Membership`](fleethaven_fabric::Membership) between processes: on a channel to the metastore, and as its service.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::MembershipClient;
pub use server::add_service;
