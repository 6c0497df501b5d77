//! [`Metadata`] on channels to the nodes of a metastore.
//!
//! One watch of the metastore, opened at once and resumed for ever, feeds a replica of the keys below
//! [`Options::prefixes`]. Local reads and watches are served from it; commands and linearizable queries travel.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error, Executed, Position, WatchEvent, WatchStream,
};
use fleethaven_registry::{self as registry, Action, Command, Placement, Query, QueryReply};
use fleethaven_types::Timestamp;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tonic::{Request, Status};

use crate::channel::Channel;
use crate::client::applied::Applied;
use crate::convert::{event, execute, position, query};
use crate::generated::metadata as wire;
use crate::generated::metadata::metadata_client::MetadataClient;
use crate::generated::metadata::watch_request::Message;
use crate::nodes::Nodes;
use crate::replica::Replica;
use crate::status::was_not_carried_out;
use crate::trace;

mod applied;

/// Largest answer that is read, in bytes. Peers are trusted; this bounds a mistake.
const LARGEST_ANSWER: usize = 64 << 20;
/// Pause before a broken watch is opened again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A watch that brings nothing for so long is given up: six times what a node that is in touch with its leader takes.
const SILENCE: Duration = Duration::from_millis(1200);

/// What a client is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The keys that are replicated here: those below one of these. Local reads and watches see no others.
    pub prefixes: Vec<Bytes>,
    /// How long a command or query may take before its outcome is unknown.
    pub timeout: Duration,
    /// Wall time, which dates page tokens of local reads.
    pub clock: fn() -> Timestamp,
    /// Which node is asked first, counted round: any number.
    pub first_node: usize,
}

/// A metastore elsewhere.
pub struct Client {
    nodes: Arc<Nodes<MetadataClient<Channel>>>,
    options: Options,
    replica: Arc<Replica>,
    applied: Arc<Applied>,
    follower: AbortHandle,
}

impl Client {
    /// A client of the metastore whose nodes are at the other ends of `channels`; it begins to follow one of them, and goes on
    /// to the next when that is gone or out of touch with its leader. Needs a tokio runtime. Channels reconnect by
    /// themselves; their owner sets TLS, and keep-alive so that a dead peer is noticed.
    pub fn new(channels: Vec<Channel>, options: Options) -> Self {
        let stubs = channels
            .into_iter()
            .map(|channel| MetadataClient::new(channel).max_decoding_message_size(LARGEST_ANSWER));
        // Clients that start together spread over the nodes.
        let nodes = Nodes::new(stubs, options.first_node);
        let replica = Arc::new(Replica::default());
        let applied = Arc::new(Applied::default());
        let follower = Follower {
            nodes: nodes.clone(),
            replica: replica.clone(),
            applied: applied.clone(),
            prefixes: options.prefixes.clone(),
        };
        let follower = tokio::spawn(follower.run()).abort_handle();
        Self { nodes, options, replica, applied, follower }
    }

    /// Waits until the replica was level with the metastore once: from then on local reads are answered.
    pub async fn level(&self) {
        loop {
            let turned = self.replica.turned.notified();
            tokio::pin!(turned);
            // Enabled before the check, so that a turn in between is not missed.
            turned.as_mut().enable();
            if self.replica.is_level() {
                return;
            }
            turned.await;
        }
    }

    /// Waits until every consumer that is registered here has acted on what there was.
    pub async fn acted(&self) {
        self.applied.above(0).await;
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.options.timeout);
        request
    }

    async fn call_execute(&self, command: Command) -> Result<Executed, Error> {
        let message = execute::request(&command).map_err(|error| Error::Unavailable(error.to_string()))?;
        let (for_thing, for_device) =
            (command.placement() != Placement::Control, command.action.is_enrolment());
        let for_usage = matches!(command.action, Action::ReportUsage(_));
        let ask = |mut stub: MetadataClient<Channel>| {
            let message = message.clone();
            async move {
                let answer = if for_thing {
                    let message = wire::ExecuteForThingRequest { command: Some(message) };
                    stub.execute_for_thing(self.request(message)).await?.into_inner().answer
                } else if for_device {
                    let message = wire::ExecuteForDeviceRequest { command: Some(message) };
                    stub.execute_for_device(self.request(message)).await?.into_inner().answer
                } else if for_usage {
                    let message = wire::ReportUsageRequest { command: Some(message) };
                    stub.report_usage(self.request(message)).await?.into_inner().answer
                } else {
                    Some(stub.execute(self.request(message)).await?.into_inner())
                };
                answer.ok_or_else(|| Status::internal("there is no answer"))
            }
        };
        // It is carried out once then, however often it is asked for.
        let answer = match command.is_repeatable() {
            true => self.nodes.call_again(ask).await,
            false => self.nodes.call(ask).await,
        };
        let answer = answer.map_err(|status| match was_not_carried_out(&status) {
            true => Error::Unavailable(status.message().to_owned()),
            // Whatever went wrong on the way, the command may have arrived.
            false => {
                let trace_id = trace::current_id();
                tracing::warn!(%status, trace_id, "a command's outcome is unknown");
                Error::Unknown
            }
        })?;
        execute::result(answer).unwrap_or_else(|error| {
            tracing::error!(%error, "a command's answer cannot be read");
            Err(Error::Unknown)
        })
    }

    async fn call_query(&self, asked: Query) -> Result<QueryReply, Error> {
        let message = query::request(&asked).map_err(|error| Error::Unavailable(error.to_string()))?;
        let unavailable = |status: Status| Error::Unavailable(status.message().to_owned());
        let ask = |mut stub: MetadataClient<Channel>| {
            let request = self.request(message.clone());
            async move { stub.query(request).await }
        };
        let answer = self.nodes.call_again(ask).await.map_err(unavailable)?;
        query::result(answer.into_inner()).unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())))
    }
}

impl Metadata for Client {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        Box::pin(self.call_execute(command))
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        Box::pin(self.call_query(query))
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, Error> {
        if query.placement() != Placement::Control {
            return Err(Error::Unavailable(
                "the state of things is not replicated here: it is to be queried".to_owned(),
            ));
        }
        let now = (self.options.clock)();
        match self.replica.read(|state| registry::query(state, &query, now)) {
            Some(answer) => Ok(answer?),
            None => Err(Error::Unavailable("not yet level with the metastore".to_owned())),
        }
    }

    fn staleness(&self) -> Duration {
        self.replica.staleness()
    }

    fn watch(&self, prefixes: Vec<Bytes>, from: Option<Position>) -> WatchStream {
        self.replica.watch(prefixes, from)
    }

    fn register(&self, _name: &'static str) -> AppliedMarker {
        self.applied.register()
    }

    fn in_force(&self, revision: u64) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let ask = |mut stub: MetadataClient<Channel>| {
                let request = self.request(wire::InForceRequest { revision });
                async move { stub.in_force(request).await }
            };
            let answer = self.nodes.call(ask).await;
            answer.is_ok_and(|answer| answer.into_inner().in_force)
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.follower.abort();
        self.replica.close();
    }
}

/// Keeps the replica level with the metastore.
struct Follower {
    nodes: Arc<Nodes<MetadataClient<Channel>>>,
    replica: Arc<Replica>,
    applied: Arc<Applied>,
    prefixes: Vec<Bytes>,
}

impl Follower {
    /// Never returns; the client aborts it.
    async fn run(self) {
        let mut pause = PAUSE.0;
        while let Some((number, stub)) = self.nodes.present() {
            let before = self.replica.position();
            let end = self.follow(stub).await;
            self.nodes.leave(number);
            if self.replica.position() != before {
                pause = PAUSE.0;
            }
            tracing::warn!(reason = end.as_ref().map_or_else(Status::message, |()| "ended"), "watch broken");
            tokio::time::sleep(pause).await;
            pause = PAUSE.1.min(pause * 2);
        }
    }

    /// One watch, from where the replica stands to its end.
    async fn follow(&self, mut stub: MetadataClient<Channel>) -> Result<(), Status> {
        let open = wire::Open {
            prefixes: self.prefixes.clone(),
            from: self.replica.position().map(position::to_wire),
            must_apply: true,
        };
        let open = wire::WatchRequest { message: Some(Message::Open(open)) };
        // Ends the requests when this watch ends: HTTP/2 keeps a stream open for as long as either side may send.
        let (_alive, ended) = oneshot::channel::<()>();
        let reports = reports(self.applied.clone()).take_until(ended);
        let requests = stream::iter([open]).chain(reports);
        let mut responses = in_time(stub.watch(requests)).await?.into_inner();
        while let Some(response) = in_time(responses.message()).await? {
            for event in response.events {
                self.accept(event)?;
            }
        }
        Ok(())
    }

    fn accept(&self, event: wire::WatchEvent) -> Result<(), Status> {
        let event = event::from_wire(event).inspect_err(|_| self.replica.distrust())?;
        let reached = match &event {
            WatchEvent::Synced(at) | WatchEvent::Progress(at) => Some(at.revision),
            _ => None,
        };
        self.replica.accept(event);
        if let Some(revision) = reached {
            self.applied.replicated(revision);
        }
        Ok(())
    }
}

/// A node that is in touch with its leader says something five times a second.
async fn in_time<T>(next: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let next = tokio::time::timeout(SILENCE, next).await;
    next.unwrap_or_else(|_| Err(Status::deadline_exceeded("the node is out of touch with its leader")))
}

/// What this process has acted on, as often as that moves.
fn reports(applied: Arc<Applied>) -> impl Stream<Item = wire::WatchRequest> + Send + 'static {
    stream::unfold((applied, 0), |(applied, told)| async move {
        let revision = applied.above(told).await;
        let report = wire::WatchRequest { message: Some(Message::Applied(wire::Applied { revision })) };
        Some((report, (applied, revision)))
    })
}
