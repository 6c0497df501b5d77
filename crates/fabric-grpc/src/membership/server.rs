//! Any [`Membership`] as a gRPC service.

use std::pin::Pin;
use std::sync::Arc;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::Incarnation;
use futures_util::{Stream, StreamExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::convert::membership as convert;
use crate::generated::membership as wire;
use crate::generated::membership::membership_server;

/// Adds the service of `membership` to `routes`.
///
/// It trusts whoever can reach it: the listener authenticates its peers.
pub fn add_service(routes: Routes, membership: Arc<dyn Membership>) -> Routes {
    routes.add_service(membership_server::MembershipServer::new(Service { membership }))
}

struct Service {
    membership: Arc<dyn Membership>,
}

type Tables = Pin<Box<dyn Stream<Item = Result<wire::TableResponse, Status>> + Send>>;

#[tonic::async_trait]
impl membership_server::Membership for Service {
    type TableStream = Tables;

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let request = request.into_inner();
        let role = convert::role(request.role())?;
        let joined = self.membership.join(role, request.address, request.version).await;
        Ok(Response::new(convert::joined_out(joined)))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let renewed = self.membership.renew(Incarnation(request.get_ref().incarnation)).await;
        Ok(Response::new(wire::RenewResponse { failure: convert::failure_out(renewed) }))
    }

    async fn set_phase(
        &self,
        request: Request<wire::SetPhaseRequest>,
    ) -> Result<Response<wire::SetPhaseResponse>, Status> {
        let request = request.get_ref();
        let phase = convert::phase(request.phase())?;
        let done = self.membership.set_phase(Incarnation(request.incarnation), phase).await;
        Ok(Response::new(wire::SetPhaseResponse { failure: convert::failure_out(done) }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let request = request.get_ref();
        let slots = convert::released(&request.slots)?;
        let done = self.membership.release(Incarnation(request.incarnation), slots).await;
        Ok(Response::new(wire::ReleaseResponse { failure: convert::failure_out(done) }))
    }

    async fn ready_for_depth(
        &self,
        request: Request<wire::ReadyForDepthRequest>,
    ) -> Result<Response<wire::ReadyForDepthResponse>, Status> {
        let wire::ReadyForDepthRequest { incarnation, version } = *request.get_ref();
        let done = self.membership.ready_for_depth(Incarnation(incarnation), version).await;
        Ok(Response::new(wire::ReadyForDepthResponse { failure: convert::failure_out(done) }))
    }

    async fn set_depth(
        &self,
        request: Request<wire::SetDepthRequest>,
    ) -> Result<Response<wire::SetDepthResponse>, Status> {
        let wire::SetDepthRequest { prefix, depth } = request.into_inner();
        let done = self.membership.set_depth(prefix, depth).await;
        Ok(Response::new(wire::SetDepthResponse { failure: convert::failure_out(done) }))
    }

    async fn leave(
        &self,
        request: Request<wire::LeaveRequest>,
    ) -> Result<Response<wire::LeaveResponse>, Status> {
        let done = self.membership.leave(Incarnation(request.get_ref().incarnation)).await;
        Ok(Response::new(wire::LeaveResponse { failure: convert::failure_out(done) }))
    }

    async fn table(&self, _: Request<wire::TableRequest>) -> Result<Response<Self::TableStream>, Status> {
        let tables = self.membership.table().map(|table| Ok(convert::table_out(&table)));
        Ok(Response::new(Box::pin(tables)))
    }
}
