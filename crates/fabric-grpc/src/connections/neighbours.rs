//! How a gateway tells another that it has taken over a session.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::connections::Neighbours;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::membership::{Incarnation, TableStream};
use tokio::runtime::Handle;
use tonic::Request;

use super::Gateways;
use crate::generated::connections as wire;
use crate::routing::MakeChannel;

/// A gateway that does not answer by then finds out itself: the store refuses what it writes.
const WITHIN: Duration = Duration::from_secs(2);

/// The other gateways.
pub struct NeighboursClient {
    pub(super) gateways: Arc<Gateways>,
    runtime: Handle,
}

impl NeighboursClient {
    /// Follows the tables as a task of the current runtime, which also carries what is told.
    pub fn new(tables: TableStream, channel: MakeChannel) -> Self {
        Self { gateways: Arc::new(Gateways::new(tables, channel)), runtime: Handle::current() }
    }
}

impl Neighbours for NeighboursClient {
    fn taken_over(&self, gateway: Incarnation, address: Address) {
        let gateways = self.gateways.clone();
        self.runtime.spawn(async move {
            let Some(mut stub) = gateways.at(gateway) else { return };
            let mut request =
                Request::new(wire::TakenOverRequest { gateway: gateway.0, address: address.to_u64() });
            request.set_timeout(WITHIN);
            match tokio::time::timeout(WITHIN, stub.taken_over(request)).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => {
                    tracing::warn!(gateway = gateway.0, %status, "a gateway could not be told of a takeover");
                }
                Err(_) => tracing::warn!(gateway = gateway.0, "a gateway did not hear of a takeover in time"),
            }
        });
    }
}
