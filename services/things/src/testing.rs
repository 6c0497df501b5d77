//! A metastore in memory that a test can hold up, and a broker that keeps what it is given.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error as CallError, Executed, Metadata, Position, WatchStream,
};
use fleethaven_fabric::{
    FunctionError, Functions, Invocation, Publish, Routing, RoutingEvent, RoutingRequest,
};
use fleethaven_quotas::Accounts;
use fleethaven_registry::testing::Registry;
use fleethaven_registry::{Command, Query, QueryReply};
use fleethaven_storage::{Error, SessionId, Ticket, Wake};
use fleethaven_types::{Limits, Message, Profile, Publisher, QoS, Scope};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::desk::{Desk, Settings};
use crate::metrics::Metrics;

/// A desk with all that it works with.
pub(crate) struct Bench {
    pub(crate) desk: Arc<Desk>,
    pub(crate) metadata: Arc<MemoryMetadata>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) functions: Arc<FakeFunctions>,
    pub(crate) scope: Scope,
}

/// The registry, asked one permit at a time.
pub(crate) struct MemoryMetadata {
    pub(crate) registry: Mutex<Registry>,
    /// What calls wait for.
    pub(crate) permits: Semaphore,
    /// Failures to answer with first.
    pub(crate) failures: Mutex<VecDeque<CallError>>,
    pub(crate) executed: Mutex<Vec<Command>>,
}

/// Keeps what is published.
#[derive(Default)]
pub(crate) struct Broker {
    pub(crate) messages: Mutex<Vec<Arc<Message>>>,
    pub(crate) is_broken: Mutex<bool>,
}

impl Bench {
    /// With permits for all that is asked, or for nothing yet.
    pub(crate) fn new(is_open: bool, change: impl FnOnce(&mut Limits)) -> Self {
        let registry = Registry::new().unwrap();
        let scope = registry.scope;
        let metadata = Arc::new(MemoryMetadata {
            registry: Mutex::new(registry),
            permits: Semaphore::new(if is_open { Semaphore::MAX_PERMITS } else { 0 }),
            failures: Mutex::default(),
            executed: Mutex::default(),
        });
        let broker = Arc::new(Broker::default());
        let functions = Arc::new(FakeFunctions::default());
        let mut limits = Limits::of(Profile::Standard);
        change(&mut limits);
        let desk = Desk::new(Settings {
            metadata: metadata.clone(),
            publish: broker.clone(),
            functions: Some(functions.clone()),
            accounts: Arc::new(Accounts::new(limits.into(), instant())),
            limits: fleethaven_shadow::Limits::default(),
            clock: || fleethaven_types::Timestamp(1_700_000_000_000),
            instant,
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
            logs: fleethaven_logging::Logs::off(),
            usage: fleethaven_usage::Usage::off(),
            issuer: Arc::default(),
            runtime: Handle::current(),
        });
        Self { desk, metadata, broker, functions, scope }
    }

    pub(crate) fn message(&self, topic: &str, payload: &str) -> Arc<Message> {
        let publisher =
            Publisher { scope: self.scope, client_id: None, principal: None, source_ip: None, trace: 0 };
        Arc::new(Message {
            topic: topic.into(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            received_at: fleethaven_types::Timestamp(0),
            expires_at: None,
            sequence: 0,
            hops: 0,
            publisher: Arc::new(publisher),
        })
    }

    /// Topics and payloads of what the desk has published.
    pub(crate) fn told(&self) -> Vec<(String, Value)> {
        let messages = self.broker.messages.lock();
        let told = |message: &Arc<Message>| {
            (message.topic.as_str().to_owned(), serde_json::from_slice(&message.payload).unwrap())
        };
        messages.iter().map(told).collect()
    }
}

pub(crate) fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl MemoryMetadata {
    async fn permit(&self) -> Result<(), CallError> {
        self.permits.acquire().await.unwrap().forget();
        self.failures.lock().pop_front().map_or(Ok(()), Err)
    }
}

impl Metadata for MemoryMetadata {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, CallError>> {
        Box::pin(async move {
            self.permit().await?;
            let reply = self.registry.lock().run(command.action.clone())?;
            self.executed.lock().push(command);
            Ok(Executed { reply, revision: 1 })
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, CallError>> {
        Box::pin(async move {
            self.permit().await?;
            Ok(self.registry.lock().ask(query.kind)?)
        })
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, CallError> {
        Ok(self.registry.lock().ask(query.kind)?)
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn watch(&self, _: Vec<Bytes>, _: Option<Position>) -> WatchStream {
        unreachable!("a desk watches nothing")
    }

    fn register(&self, _: &'static str) -> AppliedMarker {
        Box::new(|_| {})
    }

    fn in_force(&self, _: u64) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }
}

impl Publish for Broker {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            if *self.is_broken.lock() {
                return Err(Error::Unavailable("broken".to_owned()));
            }
            self.messages.lock().push(message);
            Ok(false)
        })
    }
}

/// Functions that answer what a test says, each call once.
#[derive(Default)]
pub(crate) struct FakeFunctions {
    pub(crate) answers: Mutex<VecDeque<Result<&'static str, FunctionError>>>,
    pub(crate) calls: Mutex<Vec<Invocation>>,
}

impl Functions for FakeFunctions {
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>> {
        self.calls.lock().push(call);
        let answer = self.answers.lock().pop_front().unwrap();
        Box::pin(async move { answer.map(|text| Bytes::from_static(text.as_bytes())) })
    }

    fn send(&self, _: Invocation) -> BoxFuture<'_, Result<(), FunctionError>> {
        unreachable!("a desk waits for answers")
    }
}

/// Routers that answer when a test says so.
#[derive(Default)]
pub(crate) struct Routers {
    pub(crate) submitted: usize,
    pub(crate) events: Vec<RoutingEvent>,
}

/// The lane's side of [`Routers`].
pub(crate) struct FakeLane(pub(crate) Arc<Mutex<Routers>>);

impl Routing for FakeLane {
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        self.0.lock().submitted += requests.len();
        requests.clear();
    }

    fn drain(&mut self, events: &mut Vec<RoutingEvent>) {
        events.append(&mut self.0.lock().events);
    }

    fn is_congested(&self) -> bool {
        false
    }

    fn subscription_count(&self, _: Scope) -> u64 {
        0
    }

    fn reaches_anyone(&self, _: Scope, _: &str) -> bool {
        true
    }
}

/// Wakes a task of a test.
#[derive(Default)]
pub(crate) struct Bell(pub(crate) tokio::sync::Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

pub(crate) fn publish(message: Arc<Message>, ticket: Option<u64>, from: u64) -> RoutingRequest {
    let from = Some(SessionId(from));
    RoutingRequest::Publish { ticket: ticket.map(Ticket), message, from, once: None, fence: None }
}
