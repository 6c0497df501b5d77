//! [`Membership`] on channels to the nodes of a metastore.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, LEASE, Phase, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use fleethaven_topics::Slot;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use tonic::{Request, Status, Streaming};

use crate::channel::Channel;
use crate::convert::membership as convert;
use crate::generated::membership as wire;
use crate::generated::membership::membership_client::MembershipClient as Stub;
use crate::nodes::Nodes;
use crate::status::was_not_sent;

/// How long a node may take to renew a lease before the next one is asked, too. It may be cut off, or only slow: all three of a
/// usual store get their turn while the lease lasts, and whichever answers first counts.
const ALSO_AFTER: Duration = Duration::from_millis(400);
/// Pause before a broken stream of tables is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// The cluster, as a metastore elsewhere tells it.
#[derive(Debug, Clone)]
pub struct MembershipClient {
    nodes: Arc<Nodes<Stub<Channel>>>,
    timeout: Duration,
}

impl MembershipClient {
    /// A client of the metastore whose nodes are at the other ends of `channels`; a call that is not answered within `timeout`
    /// is given up, and the next node is asked from then on. Channels reconnect by themselves; their owner sets TLS, and
    /// keep-alive so that a dead peer is noticed.
    pub fn new(channels: Vec<Channel>, timeout: Duration) -> Self {
        Self { nodes: Nodes::new(channels.into_iter().map(Stub::new), 0), timeout }
    }

    fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    /// Asks a node; an answer that does not come in time may have been lost on its way back.
    async fn ask<T, F: Future<Output = Result<tonic::Response<T>, Status>>>(
        &self,
        timeout: Duration,
        ask: impl Fn(Stub<Channel>) -> F,
    ) -> Result<T, Error> {
        let asked = self.nodes.present().map(|(number, _)| number);
        let answer = tokio::time::timeout(timeout, self.nodes.call(ask)).await;
        match answer {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) if was_not_sent(&status) => {
                return Err(Error::Unavailable(status.message().to_owned()));
            }
            Ok(Err(status)) => tracing::warn!(%status, "a call to the metastore failed"),
            Err(_) => tracing::warn!("a call to the metastore was not answered"),
        }
        // The node may be cut off from the others.
        asked.inspect(|number| self.nodes.leave(*number));
        Err(Error::Unknown)
    }
}

impl MembershipClient {
    async fn renew_at(
        &self,
        number: usize,
        mut stub: Stub<Channel>,
        incarnation: Incarnation,
    ) -> (usize, Result<(), Error>) {
        let request = self.request(wire::RenewRequest { incarnation: incarnation.0 }, LEASE);
        let answer = match stub.renew(request).await {
            Ok(answer) => convert::failure(answer.into_inner().failure),
            Err(status) => Err(Error::Unavailable(status.message().to_owned())),
        };
        // Renewed or not, it can be renewed again.
        let answer = answer.map_err(|error| match error {
            Error::Unknown => Error::Unavailable("the renewal's outcome is unknown".to_owned()),
            error => error,
        });
        (number, answer)
    }
}

impl Membership for MembershipClient {
    fn join(
        &self,
        role: Role,
        address: String,
        version: String,
    ) -> BoxFuture<'_, Result<Incarnation, Error>> {
        Box::pin(async move {
            let message = wire::JoinRequest { role: convert::role_out(role).into(), address, version };
            let ask = |mut stub: Stub<Channel>| {
                let request = self.request(message.clone(), self.timeout);
                async move { stub.join(request).await }
            };
            convert::joined(self.ask(self.timeout, ask).await?)
        })
    }

    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let mut turns = self.nodes.in_turn().into_iter();
            let mut asked = FuturesUnordered::new();
            let mut failure = Error::Unavailable("there is no metastore".to_owned());
            // An answer that comes later than the lease lasts is worth nothing.
            let end = tokio::time::sleep(LEASE);
            tokio::pin!(end);
            loop {
                if let Some((number, stub)) = turns.next() {
                    asked.push(self.renew_at(number, stub, incarnation));
                }
                tokio::select! {
                    answer = asked.next() => match answer {
                        Some((number, Ok(()))) => {
                            self.nodes.turn_to(number);
                            return Ok(());
                        }
                        Some((_, Err(refused @ Error::Refused(_)))) => return Err(refused),
                        Some((_, Err(error))) => failure = error,
                        None => return Err(failure),
                    },
                    () = tokio::time::sleep(ALSO_AFTER), if turns.len() > 0 => {}
                    () = &mut end => return Err(Error::Unavailable("the renewal was not answered".to_owned())),
                }
            }
        })
    }

    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let phase = convert::phase_out(phase).into();
            let message = wire::SetPhaseRequest { incarnation: incarnation.0, phase };
            let ask = |mut stub: Stub<Channel>| {
                let request = self.request(message, self.timeout);
                async move { stub.set_phase(request).await }
            };
            convert::failure(self.ask(self.timeout, ask).await?.failure)
        })
    }

    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let slots = convert::released_out(&slots);
            let message = wire::ReleaseRequest { incarnation: incarnation.0, slots };
            let ask = |mut stub: Stub<Channel>| {
                let request = self.request(message.clone(), self.timeout);
                async move { stub.release(request).await }
            };
            convert::failure(self.ask(self.timeout, ask).await?.failure)
        })
    }

    fn ready_for_depth(&self, incarnation: Incarnation, version: u64) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::ReadyForDepthRequest { incarnation: incarnation.0, version };
            let ask = |mut stub: Stub<Channel>| {
                let request = self.request(message, self.timeout);
                async move { stub.ready_for_depth(request).await }
            };
            convert::failure(self.ask(self.timeout, ask).await?.failure)
        })
    }

    fn set_depth(&self, prefix: String, depth: Option<u64>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::SetDepthRequest { prefix, depth };
            let ask = |mut stub: Stub<Channel>| {
                let request = self.request(message.clone(), self.timeout);
                async move { stub.set_depth(request).await }
            };
            convert::failure(self.ask(self.timeout, ask).await?.failure)
        })
    }

    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::LeaveRequest { incarnation: incarnation.0 };
            let ask = |mut stub: Stub<Channel>| {
                let request = self.request(message, self.timeout);
                async move { stub.leave(request).await }
            };
            convert::failure(self.ask(self.timeout, ask).await?.failure)
        })
    }

    fn table(&self) -> TableStream {
        let tables = Tables { nodes: self.nodes.clone(), stream: None, newest: None };
        Box::pin(stream::unfold(tables, |mut tables| async move {
            let table = tables.next().await;
            Some((table, tables))
        }))
    }
}

/// Tables as they come, across any number of streams.
struct Tables {
    nodes: Arc<Nodes<Stub<Channel>>>,
    /// The present one, and the number of the node that it comes from.
    stream: Option<(usize, Streaming<wire::TableResponse>)>,
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
        let (number, stream) = match &mut self.stream {
            Some(open) => open,
            none => none.insert(open(&self.nodes).await?),
        };
        // A node that renewals are no longer sent to is not one to learn from.
        let message = tokio::select! {
            message = stream.message() => message,
            () = self.nodes.left(*number) => Err(Status::unavailable("another node is asked")),
        };
        match message {
            Ok(Some(table)) => Ok(convert::table(table)?),
            Ok(None) => Err(self.broken(Status::unavailable("the node is shutting down"))),
            Err(status) => Err(self.broken(status)),
        }
    }

    fn broken(&self, status: Status) -> Status {
        self.stream.iter().for_each(|(number, _)| self.nodes.leave(*number));
        status
    }
}

async fn open(nodes: &Nodes<Stub<Channel>>) -> Result<(usize, Streaming<wire::TableResponse>), Status> {
    let opened = nodes.call(|mut stub| async move { stub.table(wire::TableRequest {}).await }).await?;
    let (number, _) = nodes.present().ok_or_else(|| Status::unavailable("there is no metastore"))?;
    Ok((number, opened.into_inner()))
}
