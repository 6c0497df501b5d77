//! [`Connections`] over all gateways.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Connections;
use fleethaven_fabric::connections::{
    ConnectionState, DirectMessage, Disconnection, Error, SubscriptionState,
};
use fleethaven_fabric::membership::{Incarnation, TableStream};
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_storage::SessionStore;
use fleethaven_types::{Scope, Utf8Bytes};
use tonic::Request;

use super::{Gateways, Stub};
use crate::channel::Channel;
use crate::convert::connections as convert;
use crate::generated::connections as wire;
use crate::routing::MakeChannel;

/// How long a gateway may take, beyond what it is told to wait for its client.
const WITHIN: Duration = Duration::from_secs(10);

/// The connections of all gateways.
pub struct ConnectionsClient {
    store: Arc<dyn SessionStore>,
    pub(super) gateways: Gateways,
}

impl ConnectionsClient {
    /// Looks clients up in `store`, and asks the gateways that the tables name. Follows the tables as a task of the current
    /// runtime.
    pub fn new(store: Arc<dyn SessionStore>, tables: TableStream, channel: MakeChannel) -> Self {
        Self { store, gateways: Gateways::new(tables, channel) }
    }

    /// The gateway that a client is connected to; `None` when it is not connected.
    async fn owner(&self, scope: Scope, client_id: &Utf8Bytes) -> Result<Option<Incarnation>, Error> {
        let (store, client_id) = (self.store.clone(), client_id.clone());
        // The store may wait for a write under way: not on an event loop.
        let found = tokio::task::spawn_blocking(move || store.client(scope, &client_id)).await;
        let found = found.map_err(|error| Error::Unavailable(error.to_string()))??;
        Ok(found.and_then(|client| client.owner).map(|(token, _)| Incarnation(token.incarnation)))
    }

    /// The gateway that answers for a client: its own, or any.
    async fn gateway(&self, scope: Scope, client_id: &Utf8Bytes) -> Result<Stub<Channel>, Error> {
        let owner = self.owner(scope, client_id).await?.and_then(|owner| self.gateways.at(owner));
        let any = || self.gateways.all().into_iter().find_map(|gateway| self.gateways.at(gateway));
        owner.or_else(any).ok_or_else(|| Error::Unavailable("no gateway is in service".to_owned()))
    }
}

fn request<T>(message: T, wait: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(WITHIN + wait);
    request
}

impl Connections for ConnectionsClient {
    fn find(&self, scope: Scope, client_id: Utf8Bytes) -> BoxFuture<'_, Result<ConnectionState, Error>> {
        Box::pin(async move {
            let mut stub = self.gateway(scope, &client_id).await?;
            let client = Some(convert::client_out(scope, &client_id));
            let found = stub.find(request(wire::FindRequest { client }, Duration::ZERO)).await;
            convert::state(found.map_err(convert::error)?.into_inner())
        })
    }

    fn disconnect(
        &self,
        scope: Scope,
        client_id: Utf8Bytes,
        how: Disconnection,
    ) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let mut stub = self.gateway(scope, &client_id).await?;
            let Disconnection { clean_session, prevent_will } = how;
            let client = Some(convert::client_out(scope, &client_id));
            let message = wire::DisconnectRequest { client, clean_session, prevent_will };
            stub.disconnect(request(message, Duration::ZERO)).await.map_err(convert::error)?;
            Ok(())
        })
    }

    fn subscriptions(
        &self,
        scope: Scope,
        client_id: Utf8Bytes,
        after: Option<Utf8Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubscriptionState>, Error>> {
        Box::pin(async move {
            let mut stub = self.gateway(scope, &client_id).await?;
            let client = Some(convert::client_out(scope, &client_id));
            let after = after.map(|after| after.to_string());
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            let message = wire::ListSubscriptionsRequest { client, after, limit };
            let found =
                stub.list_subscriptions(request(message, Duration::ZERO)).await.map_err(convert::error)?;
            found.into_inner().subscriptions.into_iter().map(convert::subscription).collect()
        })
    }

    fn send(&self, direct: DirectMessage) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let scope = direct.message.publisher.scope;
            let mut stub = self.gateway(scope, &direct.client_id).await?;
            let wait = direct.confirm_within.unwrap_or_default();
            let message = convert::direct_out(&direct);
            stub.send_direct(request(message, wait)).await.map_err(convert::error)?;
            Ok(())
        })
    }
}
