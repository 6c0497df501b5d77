//! Any [`Admin`] as a gRPC service.

use std::pin::Pin;
use std::sync::Arc;

use fleethaven_fabric::Admin;
use fleethaven_fabric::metadata::Error;
use futures_util::{Stream, StreamExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::convert::admin as convert;
use crate::generated::admin as wire;
use crate::generated::admin::admin_server;

/// Adds the service of `admin` to `routes`.
///
/// It trusts whoever can reach it with all that the metastore holds: the listener authenticates its peers.
pub fn add_service(routes: Routes, admin: Arc<dyn Admin>) -> Routes {
    routes.add_service(admin_server::AdminServer::new(Service { admin }))
}

struct Service {
    admin: Arc<dyn Admin>,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<wire::BackupResponse, Status>> + Send>>;

fn status(error: Error) -> Status {
    match error {
        Error::Unavailable(reason) => Status::unavailable(reason),
        Error::Refused(refusal) => Status::failed_precondition(refusal.to_string()),
        Error::Unknown => Status::unknown("the metastore did not answer in time"),
    }
}

#[tonic::async_trait]
impl admin_server::Admin for Service {
    type BackupStream = Pieces;

    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let told = self.admin.status().await.map_err(status)?;
        Ok(Response::new(convert::status_out(told)))
    }

    async fn backup(&self, _: Request<wire::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let pieces = self.admin.backup().await.map_err(status)?;
        let pieces = pieces.map(|piece| match piece {
            Ok(piece) => Ok(wire::BackupResponse { piece }),
            Err(error) => Err(Status::data_loss(error.to_string())),
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn add_node(
        &self,
        request: Request<wire::AddNodeRequest>,
    ) -> Result<Response<wire::AddNodeResponse>, Status> {
        let wire::AddNodeRequest { node, address } = request.into_inner();
        self.admin.add_node(node, address).await.map_err(status)?;
        Ok(Response::new(wire::AddNodeResponse {}))
    }

    async fn remove_node(
        &self,
        request: Request<wire::RemoveNodeRequest>,
    ) -> Result<Response<wire::RemoveNodeResponse>, Status> {
        self.admin.remove_node(request.get_ref().node).await.map_err(status)?;
        Ok(Response::new(wire::RemoveNodeResponse {}))
    }

    async fn replace_node(
        &self,
        request: Request<wire::ReplaceNodeRequest>,
    ) -> Result<Response<wire::ReplaceNodeResponse>, Status> {
        let wire::ReplaceNodeRequest { old, new, address } = request.into_inner();
        self.admin.replace_node(old, new, address).await.map_err(status)?;
        Ok(Response::new(wire::ReplaceNodeResponse {}))
    }

    async fn hand_over(
        &self,
        _: Request<wire::HandOverRequest>,
    ) -> Result<Response<wire::HandOverResponse>, Status> {
        self.admin.hand_over().await.map_err(status)?;
        Ok(Response::new(wire::HandOverResponse {}))
    }
}
