//! Any [`Metadata`] as a gRPC service.

use std::pin::Pin;
use std::sync::Arc;

use fleethaven_fabric::Metadata;
use fleethaven_registry::{Action, Placement};
use futures_util::{Stream, StreamExt};
use tokio::task::AbortHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::convert::{event, execute, position, query};
use crate::generated::metadata as wire;
use crate::generated::metadata::metadata_server;
use crate::generated::metadata::watch_request::Message;
use crate::status::unanswered;

/// Events that one message of a watch carries at most.
const EVENTS_PER_MESSAGE: usize = 256;

/// The gRPC service of `metadata`, to be added to a `tonic` server on a listener of the caller's choice.
///
/// It trusts whoever can reach it: the listener authenticates its peers.
pub fn service(metadata: Arc<dyn Metadata>) -> Routes {
    Routes::new(metadata_server::MetadataServer::new(Service { metadata }))
}

struct Service {
    metadata: Arc<dyn Metadata>,
}

type Watch = Pin<Box<dyn Stream<Item = Result<wire::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl metadata_server::Metadata for Service {
    type WatchStream = Watch;

    async fn execute(
        &self,
        request: Request<wire::ExecuteRequest>,
    ) -> Result<Response<wire::ExecuteResponse>, Status> {
        let command = execute::command(request.get_ref())?;
        let result = self.metadata.execute(command).await;
        Ok(Response::new(execute::response(result).map_err(unanswered)?))
    }

    async fn execute_for_thing(
        &self,
        request: Request<wire::ExecuteForThingRequest>,
    ) -> Result<Response<wire::ExecuteForThingResponse>, Status> {
        let missing = || Status::invalid_argument("there is no command");
        let command = execute::command(request.get_ref().command.as_ref().ok_or_else(missing)?)?;
        if command.placement() == Placement::Control {
            return Err(Status::permission_denied("the command changes more than the state of one thing"));
        }
        let result = self.metadata.execute(command).await;
        let answer = Some(execute::response(result).map_err(unanswered)?);
        Ok(Response::new(wire::ExecuteForThingResponse { answer }))
    }

    async fn execute_for_device(
        &self,
        request: Request<wire::ExecuteForDeviceRequest>,
    ) -> Result<Response<wire::ExecuteForDeviceResponse>, Status> {
        let missing = || Status::invalid_argument("there is no command");
        let command = execute::command(request.get_ref().command.as_ref().ok_or_else(missing)?)?;
        if !command.action.is_enrolment() {
            return Err(Status::permission_denied("the command is no part of a device's enrolment"));
        }
        let answer = Some(execute::response(self.metadata.execute(command).await)?);
        Ok(Response::new(wire::ExecuteForDeviceResponse { answer }))
    }

    async fn report_usage(
        &self,
        request: Request<wire::ReportUsageRequest>,
    ) -> Result<Response<wire::ReportUsageResponse>, Status> {
        let missing = || Status::invalid_argument("there is no command");
        let command = execute::command(request.get_ref().command.as_ref().ok_or_else(missing)?)?;
        if !matches!(command.action, Action::ReportUsage(_)) {
            return Err(Status::permission_denied("the command is no report of what was used"));
        }
        let answer = Some(execute::response(self.metadata.execute(command).await)?);
        Ok(Response::new(wire::ReportUsageResponse { answer }))
    }

    async fn query(
        &self,
        request: Request<wire::QueryRequest>,
    ) -> Result<Response<wire::QueryResponse>, Status> {
        let asked = query::query(request.get_ref())?;
        let result = self.metadata.query(asked).await;
        Ok(Response::new(query::response(result)?))
    }

    async fn watch(
        &self,
        request: Request<Streaming<wire::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut reports = request.into_inner();
        let open = match reports.message().await?.and_then(|first| first.message) {
            Some(Message::Open(open)) => open,
            _ => return Err(Status::invalid_argument("a watch begins with open")),
        };
        // Registered before the watch begins: from here on a change waits for this client.
        let reporting = open.must_apply.then(|| self.follow_reports(reports));
        let events = self.metadata.watch(open.prefixes, open.from.map(position::from_wire));
        Ok(Response::new(Box::pin(events.ready_chunks(EVENTS_PER_MESSAGE).map(move |events| {
            let _lives_as_long_as_the_stream = &reporting;
            Ok(wire::WatchResponse { events: events.into_iter().map(event::to_wire).collect() })
        }))))
    }

    async fn in_force(
        &self,
        request: Request<wire::InForceRequest>,
    ) -> Result<Response<wire::InForceResponse>, Status> {
        let in_force = self.metadata.in_force(request.get_ref().revision).await;
        Ok(Response::new(wire::InForceResponse { in_force }))
    }
}

impl Service {
    /// Counts the client among those that must act on changes, until its stream ends.
    fn follow_reports(&self, mut reports: Streaming<wire::WatchRequest>) -> Reporting {
        let marker = self.metadata.register("remote");
        let task = tokio::spawn(async move {
            while let Ok(Some(report)) = reports.message().await {
                if let Some(Message::Applied(applied)) = report.message {
                    marker(applied.revision);
                }
            }
        });
        Reporting(task.abort_handle())
    }
}

/// The task that reads a client's reports; ends with the watch.
struct Reporting(AbortHandle);

impl Drop for Reporting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
