//! Any [`Connections`] as a gRPC service.

use std::sync::Arc;

use fleethaven_fabric::Connections;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::membership::Incarnation;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::convert::connections as convert;
use crate::generated::connections as wire;
use crate::generated::connections::connections_server;

/// Closes the connection at an address of this gateway, whose session has another owner.
pub type Displaced = Arc<dyn Fn(Address) + Send + Sync>;

/// Adds the service of the gateway of this incarnation to `routes`.
///
/// It trusts whoever can reach it: the listener authenticates its peers.
pub fn add_service(
    routes: Routes,
    gateway: Incarnation,
    connections: Arc<dyn Connections>,
    displaced: Displaced,
) -> Routes {
    let service = Service { gateway, connections, displaced };
    routes.add_service(connections_server::ConnectionsServer::new(service))
}

struct Service {
    gateway: Incarnation,
    connections: Arc<dyn Connections>,
    displaced: Displaced,
}

#[tonic::async_trait]
impl connections_server::Connections for Service {
    async fn find(
        &self,
        request: Request<wire::FindRequest>,
    ) -> Result<Response<wire::FindResponse>, Status> {
        let (scope, client_id) = convert::client(request.into_inner().client)?;
        let found = self.connections.find(scope, client_id).await.map_err(convert::status)?;
        Ok(Response::new(convert::state_out(found)))
    }

    async fn disconnect(
        &self,
        request: Request<wire::DisconnectRequest>,
    ) -> Result<Response<wire::DisconnectResponse>, Status> {
        let wire::DisconnectRequest { client, clean_session, prevent_will } = request.into_inner();
        let (scope, client_id) = convert::client(client)?;
        let how = fleethaven_fabric::connections::Disconnection { clean_session, prevent_will };
        self.connections.disconnect(scope, client_id, how).await.map_err(convert::status)?;
        Ok(Response::new(wire::DisconnectResponse {}))
    }

    async fn list_subscriptions(
        &self,
        request: Request<wire::ListSubscriptionsRequest>,
    ) -> Result<Response<wire::ListSubscriptionsResponse>, Status> {
        let wire::ListSubscriptionsRequest { client, after, limit } = request.into_inner();
        let (scope, client_id) = convert::client(client)?;
        let found =
            self.connections.subscriptions(scope, client_id, after.map(Into::into), limit as usize).await;
        let subscriptions = found.map_err(convert::status)?.into_iter().map(convert::subscription_out);
        Ok(Response::new(wire::ListSubscriptionsResponse { subscriptions: subscriptions.collect() }))
    }

    async fn send_direct(
        &self,
        request: Request<wire::SendDirectRequest>,
    ) -> Result<Response<wire::SendDirectResponse>, Status> {
        let direct = convert::direct(request.into_inner())?;
        self.connections.send(direct).await.map_err(convert::status)?;
        Ok(Response::new(wire::SendDirectResponse {}))
    }

    async fn taken_over(
        &self,
        request: Request<wire::TakenOverRequest>,
    ) -> Result<Response<wire::TakenOverResponse>, Status> {
        let wire::TakenOverRequest { gateway, address } = request.into_inner();
        if gateway != self.gateway.0 {
            return Err(Status::failed_precondition("another gateway is meant"));
        }
        (self.displaced)(Address::from_u64(address));
        Ok(Response::new(wire::TakenOverResponse {}))
    }
}
