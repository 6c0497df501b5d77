//! [`Membership`] on a channel to a metastore.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, LEASE, Phase, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use fleethaven_topics::Slot;
use futures_util::stream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::convert::membership as convert;
use crate::generated::membership as wire;
use crate::generated::membership::membership_client::MembershipClient as Stub;
use crate::status::was_not_sent;

/// Pause before a broken stream of tables is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// The cluster, as a metastore elsewhere tells it.
#[derive(Debug, Clone)]
pub struct MembershipClient {
    stub: Stub<Channel>,
    timeout: Duration,
}

impl MembershipClient {
    /// A client on `channel`; a call that is not answered within `timeout` is given up. The channel reconnects by itself; its
    /// owner sets TLS, and keep-alive so that a dead peer is noticed.
    pub fn new(channel: Channel, timeout: Duration) -> Self {
        Self { stub: Stub::new(channel), timeout }
    }

    fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    /// Awaits an answer; one that does not come in time may have been lost on its way back.
    async fn answer<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if was_not_sent(&status) => Err(Error::Unavailable(status.message().to_owned())),
            Ok(Err(status)) => {
                tracing::warn!(%status, "a call to the metastore failed");
                Err(Error::Unknown)
            }
            Err(_) => Err(Error::Unknown),
        }
    }
}

impl Membership for MembershipClient {
    fn join(&self, role: Role, address: String) -> BoxFuture<'_, Result<Incarnation, Error>> {
        Box::pin(async move {
            let message = wire::JoinRequest { role: convert::role_out(role).into(), address };
            let mut stub = self.stub.clone();
            let call = stub.join(self.request(message, self.timeout));
            convert::joined(self.answer(self.timeout, call).await?)
        })
    }

    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            // An answer that comes later than the lease lasts is worth nothing.
            let within = self.timeout.min(LEASE);
            let message = wire::RenewRequest { incarnation: incarnation.0 };
            let mut stub = self.stub.clone();
            let call = stub.renew(self.request(message, within));
            let answer = self.answer(within, call).await;
            answer.and_then(|answer| convert::failure(answer.failure)).map_err(|error| match error {
                Error::Unknown => Error::Unavailable("the renewal was not answered".to_owned()),
                error => error,
            })
        })
    }

    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let phase = convert::phase_out(phase).into();
            let message = wire::SetPhaseRequest { incarnation: incarnation.0, phase };
            let mut stub = self.stub.clone();
            let call = stub.set_phase(self.request(message, self.timeout));
            convert::failure(self.answer(self.timeout, call).await?.failure)
        })
    }

    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let slots = convert::released_out(&slots);
            let message = wire::ReleaseRequest { incarnation: incarnation.0, slots };
            let mut stub = self.stub.clone();
            let call = stub.release(self.request(message, self.timeout));
            convert::failure(self.answer(self.timeout, call).await?.failure)
        })
    }

    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::LeaveRequest { incarnation: incarnation.0 };
            let mut stub = self.stub.clone();
            let call = stub.leave(self.request(message, self.timeout));
            convert::failure(self.answer(self.timeout, call).await?.failure)
        })
    }

    fn table(&self) -> TableStream {
        let tables = Tables { stub: self.stub.clone(), stream: None, newest: None };
        Box::pin(stream::unfold(tables, |mut tables| async move {
            let table = tables.next().await;
            Some((table, tables))
        }))
    }
}

/// Tables as they come, across any number of streams.
struct Tables {
    stub: Stub<Channel>,
    stream: Option<Streaming<wire::TableResponse>>,
    newest: Option<u64>,
}

impl Tables {
    /// The next newer one: another node may be behind the one before.
    async fn next(&mut self) -> Arc<RoutingTable> {
        loop {
            match self.read().await {
                Ok(table) if self.newest.is_none_or(|newest| table.version > newest) => {
                    self.newest = Some(table.version);
                    return Arc::new(table);
                }
                Ok(_) => {}
                Err(status) => {
                    tracing::warn!(reason = status.message(), "the stream of routing tables broke");
                    self.stream = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<RoutingTable, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.stub.table(wire::TableRequest {}).await?.into_inner()),
        };
        match stream.message().await? {
            Some(table) => Ok(convert::table(table)?),
            None => Err(Status::unavailable("the node is shutting down")),
        }
    }
}
