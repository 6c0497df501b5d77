//! Gateways to the connections API, and to each other.
//!
//! - [`add_service`]: any `Connections` as a gRPC service
//! - [`ConnectionsClient`]: `Connections` over all gateways: who is connected where, the session store knows
//! - [`NeighboursClient`]: how a gateway tells another that it has taken over a session

mod client;
mod neighbours;
mod server;
#[cfg(test)]
mod tests;

pub use client::ConnectionsClient;
pub use neighbours::NeighboursClient;
pub use server::{Displaced, add_service};

use std::collections::BTreeMap;
use std::sync::Arc;

use fleethaven_fabric::RoutingTable;
use fleethaven_fabric::membership::{Incarnation, Phase, Role, TableStream};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::generated::connections::connections_client::ConnectionsClient as Stub;
use crate::routing::MakeChannel;

/// The gateways that there are, and channels to those that were talked to.
struct Gateways {
    table: watch::Receiver<Option<Arc<RoutingTable>>>,
    channel: MakeChannel,
    stubs: Mutex<BTreeMap<Incarnation, Stub<crate::channel::Channel>>>,
    follower: AbortHandle,
}

impl Gateways {
    /// Follows the tables as a task of the current runtime.
    fn new(mut tables: TableStream, channel: MakeChannel) -> Self {
        let (sender, table) = watch::channel(None);
        let following = async move {
            while let Some(table) = tables.next().await {
                sender.send_replace(Some(table));
            }
        };
        let follower = tokio::spawn(following).abort_handle();
        Self { table, channel, stubs: Mutex::default(), follower }
    }

    /// One gateway; `None` when it is not a member.
    fn at(&self, gateway: Incarnation) -> Option<Stub<crate::channel::Channel>> {
        let table = self.table.borrow().clone()?;
        let member = table.member(gateway).filter(|member| member.role == Role::Gateway)?;
        let mut stubs = self.stubs.lock();
        stubs.retain(|known, _| table.member(*known).is_some());
        if let Some(stub) = stubs.get(&gateway) {
            return Some(stub.clone());
        }
        let channel = (self.channel)(&member.address);
        let channel = channel.inspect_err(|error| tracing::error!(gateway = gateway.0, error, "no address"));
        let stub = Stub::new(channel.ok()?);
        stubs.insert(gateway, stub.clone());
        Some(stub)
    }

    /// All that are in service.
    fn all(&self) -> Vec<Incarnation> {
        let table = self.table.borrow().clone();
        let members = table.iter().flat_map(|table| table.members.iter());
        let serving = members.filter(|member| member.role == Role::Gateway && member.phase == Phase::Serving);
        serving.map(|member| member.incarnation).collect()
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
