//! A metastore node: opens its store, runs its groups, and is the [`Metadata`] of its process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error as CallError, Executed, Metadata, Position, WatchStream,
};
use fleethaven_registry::{self as registry, Command, Query, QueryReply};
use fleethaven_types::Timestamp;
use futures_util::FutureExt;
use tokio::sync::mpsc::error::TrySendError;
use uuid::Uuid;

use crate::config::Config;
use crate::disk::Disk;
use crate::error::Error;
use crate::evaluator::{Request, confirmed_term};
use crate::group::{CONTROL, Group};
use crate::markers::Markers;
use crate::network::Solitary;
use crate::watch;

/// A running metastore node.
pub struct Metastore {
    disk: Arc<Disk>,
    control: Group,
    markers: Arc<Markers>,
    incarnation: u64,
    timeout: Duration,
    clock: fn() -> Timestamp,
}

impl Metastore {
    /// Opens the node's directory, bootstrapping it when empty, and returns when commands and reads are
    /// served.
    pub async fn open(config: Config) -> Result<Arc<Self>, Error> {
        let dir = config.dir.clone();
        let opened = tokio::task::spawn_blocking(move || Disk::open(&dir)).await;
        // The store asserts some of what it reads: a panic on opening is damage too.
        let disk =
            opened.map_err(|e| Error::Corrupt { dir: config.dir.clone(), detail: e.to_string() })??;
        let node = match disk.node(config.node)? {
            Some(node) => node,
            None => disk.bootstrap(config.node, Uuid::new_v4().as_u64_pair().0).await?,
        };
        let control = Group::start(disk.clone(), CONTROL, &config, Solitary).await?;
        tracing::info!(
            node = node.node,
            revision = control.changes.tip().borrow().revision,
            "metastore ready"
        );
        Ok(Arc::new(Self {
            disk,
            control,
            markers: Arc::default(),
            incarnation: node.incarnation,
            timeout: config.command_timeout,
            clock: config.clock,
        }))
    }

    /// Answers what was accepted, ends all watches and makes everything written durable. Later commands and
    /// queries are refused as unavailable. The directory is free again when the last reference and watch are
    /// dropped.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.control.stop().await?;
        let disk = self.disk.clone();
        let closed = tokio::task::spawn_blocking(move || {
            disk.committer.close();
            disk.sync()
        });
        let synced = closed.await.map_err(|e| Error::NotReady(e.to_string()))?;
        synced.map_err(|e| Error::from_io(self.disk.dir(), e))
    }

    /// Queues a command before returning, so that commands are taken in the order of the calls; only when the
    /// queue is full does it wait for its turn later.
    fn run(&self, command: Command) -> impl Future<Output = Result<Executed, CallError>> + use<> {
        let (request, answer) = Request::new(command);
        let queued = match self.control.requests() {
            None => Err(stopped()),
            Some(requests) => match requests.try_send(request) {
                Ok(()) => Ok(None),
                Err(TrySendError::Full(request)) => Ok(Some((requests, request))),
                Err(TrySendError::Closed(_)) => Err(stopped()),
            },
        };
        async move {
            if let Some((requests, request)) = queued? {
                requests.send(request).await.map_err(|_| stopped())?;
            }
            // Dropped unanswered: the evaluator was stopped with the command in flight.
            answer.await.unwrap_or(Err(CallError::Unknown))
        }
    }

    async fn read(&self, query: Query) -> Result<QueryReply, CallError> {
        confirmed_term(&self.control.raft).await?;
        self.query_local(query)
    }
}

fn stopped() -> CallError {
    CallError::Unavailable("the metastore is shutting down".into())
}

impl Metadata for Metastore {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, CallError>> {
        let run = tokio::time::timeout(self.timeout, self.run(command));
        run.map(|done| done.unwrap_or(Err(CallError::Unknown))).boxed()
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, CallError>> {
        let read = tokio::time::timeout(self.timeout, self.read(query));
        read.map(|done| done.unwrap_or(Err(CallError::Unknown))).boxed()
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, CallError> {
        let view = self.control.state.now();
        let reply = registry::query(&view, &query, (self.clock)());
        view.finish().map_err(|e| CallError::Unavailable(format!("reading the state: {e}")))?;
        Ok(reply?)
    }

    fn watch(&self, prefixes: Vec<Bytes>, from: Option<Position>) -> WatchStream {
        let (state, changes) = (self.control.state.clone(), self.control.changes.clone());
        watch::watch(state, changes, self.incarnation, prefixes, from)
    }

    fn register(&self, name: &'static str) -> AppliedMarker {
        self.markers.register(name)
    }

    fn in_force(&self, revision: u64) -> BoxFuture<'_, bool> {
        self.markers.in_force(revision).boxed()
    }
}
