//! A whole API over the registry in memory, and requests signed as SDKs sign them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleethaven_authorizers::Authorizers;
use fleethaven_daemon::clock;
use fleethaven_fabric::connections::{
    ConnectionState, DirectMessage, Disconnection, Error as ConnectionError, SubscriptionState,
};
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error as MetadataError, Executed, Metadata, Position, WatchStream,
};
use fleethaven_fabric::{Connections, FunctionError, Functions, Invocation};
use fleethaven_pki::authority::Validity;
use fleethaven_pki::{Attribute, Authority, Name, Serial};
use fleethaven_registry::shapes::{AccessKey, CreateAccount, IssuingCa, IssuingKey, Secret};
use fleethaven_registry::testing::MemoryView;
use fleethaven_registry::{
    Action, Command, Context, IdempotencyKey, Limits, Query, QueryReply, evaluate, query,
};
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use fleethaven_storage::{Error as StoreError, RetainedStore, RetainedTopic};
use fleethaven_types::{Message, Profile, Scope, Utf8Bytes};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use crate::data::{DataPlane, Error as DataError};
use crate::{Api, ApiConfig, Broker, Challenges, ClientCertificate, Endpoints, HostPort, Peer};

pub(crate) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const ACCOUNT: &str = "123456789012";

pub(crate) fn scope(region: &str) -> Scope {
    Scope { account: ACCOUNT.parse().unwrap(), region: region.parse().unwrap() }
}

/// The registry without a metastore around it.
#[derive(Default)]
pub(crate) struct MemoryMetadata {
    view: Mutex<MemoryView>,
    revision: AtomicU64,
    /// The last revision that was waited for.
    pub(crate) awaited: AtomicU64,
    /// What every call answers instead, if set.
    pub(crate) failure: Mutex<Option<MetadataError>>,
    /// The keys of all commands, in order.
    pub(crate) keys: Mutex<Vec<Option<IdempotencyKey>>>,
}

impl MemoryMetadata {
    fn fail(&self) -> Result<(), MetadataError> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    fn run(&self, command: &Command) -> Result<Executed, MetadataError> {
        self.keys.lock().push(command.key);
        self.fail()?;
        let mut random = [0; 32];
        random[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        random[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        let context = Context { now: clock::now(), random, limits: Limits::of(Profile::Standard) };
        let mut view = self.view.lock();
        let (reply, effects) = evaluate(&*view, command, &context)?;
        view.apply(&effects);
        let revision = if effects.is_empty() { 0 } else { self.revision.fetch_add(1, Ordering::Relaxed) + 1 };
        Ok(Executed { reply, revision })
    }
}

impl Metadata for MemoryMetadata {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, MetadataError>> {
        Box::pin(async move { self.run(&command) })
    }

    fn query(&self, asked: Query) -> BoxFuture<'_, Result<QueryReply, MetadataError>> {
        Box::pin(async move { self.query_local(asked) })
    }

    fn query_local(&self, asked: Query) -> Result<QueryReply, MetadataError> {
        self.fail()?;
        Ok(query(&*self.view.lock(), &asked, clock::now())?)
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn watch(&self, _: Vec<Bytes>, _: Option<Position>) -> WatchStream {
        Box::pin(futures_util::stream::pending())
    }

    fn register(&self, _: &'static str) -> AppliedMarker {
        Box::new(|_| {})
    }

    fn in_force(&self, revision: u64) -> BoxFuture<'_, bool> {
        self.awaited.store(revision, Ordering::Relaxed);
        Box::pin(async { true })
    }
}

/// Keeps what was published.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) messages: Mutex<Vec<Message>>,
    pub(crate) failure: Mutex<Option<DataError>>,
}

impl DataPlane for Published {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), DataError>> {
        let outcome = self.failure.lock().clone().map_or(Ok(()), Err);
        if outcome.is_ok() {
            self.messages.lock().push(message);
        }
        Box::pin(async { outcome })
    }
}

/// Retained messages and connections as a test sets them.
#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) retained: Mutex<BTreeMap<String, Arc<Message>>>,
    pub(crate) state: Mutex<Option<ConnectionState>>,
    pub(crate) held: Mutex<Vec<SubscriptionState>>,
    /// What every call about connections answers instead, if set.
    pub(crate) failure: Mutex<Option<ConnectionError>>,
    pub(crate) disconnected: Mutex<Vec<(String, Disconnection)>>,
    pub(crate) sent: Mutex<Vec<DirectMessage>>,
}

impl FakeBroker {
    fn fail(&self) -> Result<(), ConnectionError> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }
}

impl RetainedStore for FakeBroker {
    fn get(&self, _: Scope, topic: &str) -> Result<Option<Arc<Message>>, StoreError> {
        Ok(self.retained.lock().get(topic).cloned())
    }

    fn list(&self, _: Scope, after: Option<&str>, limit: usize) -> Result<Vec<RetainedTopic>, StoreError> {
        let retained = self.retained.lock();
        let above = retained.iter().filter(|(topic, _)| after.is_none_or(|after| topic.as_str() > after));
        let topics = above.take(limit).map(|(_, message)| RetainedTopic {
            topic: message.topic.clone(),
            payload_bytes: message.payload.len() as u64,
            qos: message.qos,
            received_at: message.received_at,
        });
        Ok(topics.collect())
    }

    fn count(&self, _: Scope) -> u64 {
        self.retained.lock().len() as u64
    }

    fn holds(&self, _: Scope, topic: &str) -> bool {
        self.retained.lock().contains_key(topic)
    }
}

impl Challenges for FakeBroker {
    fn post(&self, _: Scope, _: http::Request<Bytes>) -> BoxFuture<'_, Result<http::StatusCode, String>> {
        Box::pin(async { Ok(http::StatusCode::OK) })
    }
}

impl Connections for FakeBroker {
    fn find(&self, _: Scope, _: Utf8Bytes) -> BoxFuture<'_, Result<ConnectionState, ConnectionError>> {
        Box::pin(async move {
            self.fail()?;
            self.state.lock().clone().ok_or(ConnectionError::NotFound)
        })
    }

    fn disconnect(
        &self,
        _: Scope,
        client_id: Utf8Bytes,
        how: Disconnection,
    ) -> BoxFuture<'_, Result<(), ConnectionError>> {
        Box::pin(async move {
            self.fail()?;
            self.disconnected.lock().push((client_id.to_string(), how));
            Ok(())
        })
    }

    fn subscriptions(
        &self,
        _: Scope,
        _: Utf8Bytes,
        after: Option<Utf8Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubscriptionState>, ConnectionError>> {
        Box::pin(async move {
            self.fail()?;
            let held = self.held.lock();
            let above = held.iter().filter(|held| after.as_ref().is_none_or(|after| held.filter > *after));
            Ok(above.take(limit).cloned().collect())
        })
    }

    fn send(&self, direct: DirectMessage) -> BoxFuture<'_, Result<(), ConnectionError>> {
        Box::pin(async move {
            self.fail()?;
            self.sent.lock().push(direct);
            Ok(())
        })
    }
}

/// A function that answers as the test says, and keeps what it was asked.
pub(crate) struct FakeFunctions {
    pub(crate) answer: Mutex<Result<Bytes, FunctionError>>,
    pub(crate) calls: Mutex<Vec<Invocation>>,
}

impl Default for FakeFunctions {
    fn default() -> Self {
        let unmapped = Err(FunctionError::Unmapped("arn:aws:lambda".to_owned()));
        Self { answer: Mutex::new(unmapped), calls: Mutex::default() }
    }
}

impl Functions for FakeFunctions {
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>> {
        self.calls.lock().push(call);
        let answer = self.answer.lock().clone();
        Box::pin(async move { answer })
    }

    fn send(&self, _: Invocation) -> BoxFuture<'_, Result<(), FunctionError>> {
        unreachable!("the API waits for answers")
    }
}

/// An answer as a client sees it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and exception name.
    pub(crate) fn error(&self) -> (u16, &str) {
        let name = self.headers.get("x-amzn-errortype").map(|value| value.to_str().unwrap());
        (self.status, name.unwrap_or_default())
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    /// The JSON of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{:?}", self.body);
        self.json()
    }

    /// A success without a body.
    pub(crate) fn done(&self) {
        assert_eq!((self.status, self.body.len()), (200, 0), "{:?}", self.body);
    }
}

/// How a request is signed.
#[derive(Clone, Copy)]
pub(crate) struct Signing<'a> {
    pub(crate) key: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// Seconds from now.
    pub(crate) skew: i64,
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Self { key: KEY, secret: SECRET, token: None, region: "us-east-1", service: "iot", skew: 0 }
    }
}

pub(crate) struct House {
    pub(crate) api: Api,
    pub(crate) metadata: Arc<MemoryMetadata>,
    pub(crate) published: Arc<Published>,
    pub(crate) broker: Arc<FakeBroker>,
    pub(crate) functions: Arc<FakeFunctions>,
    pub(crate) registry: prometheus::Registry,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let metadata = Arc::new(MemoryMetadata::default());
        let bootstrap = Action::BootstrapAccount(Box::new(account()));
        metadata.run(&Command::new(scope("us-east-1"), bootstrap)).unwrap();
        let published = Arc::new(Published::default());
        let at = |port| HostPort { host: "localhost".to_owned(), port };
        let endpoints = Endpoints { base_domain: None, data: at(443), jobs: at(443), credentials: at(8443) };
        let mut config = ApiConfig::new(scope("us-east-1"), endpoints, Profile::Standard);
        change(&mut config);
        let registry = prometheus::Registry::new();
        let broker = Arc::new(FakeBroker::default());
        let functions = Arc::new(FakeFunctions::default());
        let authorizers =
            Arc::new(Authorizers::new(metadata.clone(), functions.clone(), config.limits.clone()));
        let doors = Broker {
            data_plane: published.clone(),
            retained: broker.clone(),
            connections: broker.clone(),
            challenges: broker.clone(),
            authorizers,
            audit: None,
            logs: fleethaven_logging::Logs::off(),
            usage: fleethaven_usage::Usage::off(),
            issuer: Arc::default(),
        };
        let api = Api::new(config, metadata.clone(), doors, &registry).unwrap();
        Self { api, metadata, published, broker, functions, registry }
    }

    /// A signed request with these headers of its own.
    pub(crate) fn signed(
        signing: Signing<'_>,
        (method, target): (&str, &str),
        own: &[(&str, &str)],
        body: &[u8],
    ) -> Request<Full<Bytes>> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(&str, &[u8])> = vec![("host", b"localhost")];
        headers.extend(own.iter().map(|(name, value)| (*name, value.as_bytes())));
        let parts = RequestParts { method, path, query, headers };
        let credentials = Credentials {
            access_key_id: signing.key,
            secret_access_key: signing.secret,
            session_token: signing.token,
        };
        let aim =
            Target { region: signing.region, service: signing.service, path_encoding: PathEncoding::Twice };
        let now = clock::now().as_secs().saturating_add_signed(signing.skew);
        let added = sign(&parts, &credentials, &aim, PayloadHash::of(body), now);
        let mut request = Request::builder().method(method).uri(target).header("host", "localhost");
        for (name, value) in own {
            request = request.header(*name, *value);
        }
        for (name, value) in added {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
    }

    pub(crate) async fn send(&self, peer: &Peer, request: Request<Full<Bytes>>) -> Told {
        let (head, body) = self.api.handle(peer, request).await.into_parts();
        assert!(head.headers.contains_key("x-amzn-requestid"));
        let body = body.collect().await.unwrap().to_bytes();
        Told { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Sends to the control plane with headers.
    pub(crate) async fn call_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Told {
        let request = Self::signed(Signing::default(), (method, target), headers, body.as_bytes());
        self.send(&peer(), request).await
    }

    /// Sends to the control plane.
    pub(crate) async fn call(&self, method: &str, target: &str, body: &str) -> Told {
        self.call_with(method, target, &[], body).await
    }
}

pub(crate) fn peer() -> Peer {
    Peer::new("192.0.2.7:50000".parse().unwrap())
}

pub(crate) fn device(certificate_id: &str) -> Peer {
    let certificate = ClientCertificate { certificate_id: certificate_id.to_owned(), scope: None, pem: None };
    Peer { certificate: Some(certificate), ..peer() }
}

/// A CA called `name`.
pub(crate) fn authority(name: &str) -> Authority {
    let name = Name::new(&[(Attribute::CommonName, name)]).unwrap();
    let now = clock::now().as_secs();
    let validity = Validity { not_before: now - 60, not_after: now + 86_400 };
    Authority::create(&name, Serial(*Uuid::new_v4().as_bytes()), validity).unwrap()
}

fn account() -> CreateAccount {
    let ca = authority("Issuing CA");
    CreateAccount {
        name: "test".to_owned(),
        access_key: AccessKey {
            access_key_id: KEY.to_owned(),
            secret_access_key: Secret(SECRET.to_owned()),
            user_name: None,
        },
        issuing_ca: IssuingCa {
            certificate_pem: ca.certificate().pem(),
            key: IssuingKey::PrivateKeyPem(Secret(ca.private_key_pem().to_owned())),
            sealed_under: None,
        },
        pagination_secret: Secret("5e".repeat(32)),
    }
}

/// A CSR with the common name `name`, in PEM, whose key nobody keeps.
pub(crate) fn csr(name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.serialize_request(&key).unwrap().pem().unwrap()
}
