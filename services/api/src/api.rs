//! The way of a request: authenticate, read, route, answer, log, count.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_authorizers::{Authorizers, Endpoint, Protocol};
use fleethaven_daemon::clock;
use fleethaven_fabric::Connections;
use fleethaven_fabric::metadata::Metadata;
use fleethaven_issuing::Issuer;
use fleethaven_logging::Logs;
use fleethaven_quotas::Accounts;
use fleethaven_registry::IdempotencyKey;
use fleethaven_storage::RetainedStore;
use fleethaven_types::{AccountId, Scope};
use fleethaven_usage::Usage;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Body;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::audit::{Audit, Called};
use crate::authentication::{self, Candidate, Claim, Principal, source_ip};
use crate::body;
use crate::bulk::{self, Buckets};
use crate::call::Call;
use crate::challenge::{self, Challenges};
use crate::config::ApiConfig;
use crate::control;
use crate::credentials;
use crate::data::{self, DataPlane, PolicyCache};
use crate::error::Error;
use crate::iam;
use crate::input::Input;
use crate::logging;
use crate::metering;
use crate::metrics::{LATENCY, Metrics};
use crate::operations::{Labels, Mismatch, Operation, Router, Service};
use crate::peer::Peer;
use crate::permissions;
use crate::query_protocol;
use crate::sts;
use crate::throttles::Throttles;

/// The header in which AWS's SDKs name a call; it is the same in all attempts at it.
const INVOCATION_ID: &str = "amz-sdk-invocation-id";

/// What requests share.
pub(crate) struct State {
    pub(crate) config: ApiConfig,
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) data_plane: Arc<dyn DataPlane>,
    pub(crate) retained: Arc<dyn RetainedStore>,
    pub(crate) connections: Arc<dyn Connections>,
    pub(crate) challenges: Arc<dyn Challenges>,
    pub(crate) authorizers: Arc<Authorizers>,
    audit: Option<Audit>,
    pub(crate) logs: Logs,
    pub(crate) usage: Arc<Usage>,
    pub(crate) issuer: Arc<Issuer>,
    /// Rates of requests.
    pub(crate) accounts: Accounts,
    throttles: Throttles,
    pub(crate) policies: PolicyCache,
    /// Bounds how many RSA keys are made at once: each takes a core for a while.
    pub(crate) key_makers: Arc<Semaphore>,
    /// Bounds how many statements are tried at once.
    pub(crate) trials: Arc<Semaphore>,
    router: Router,
    metrics: Metrics,
}

/// The broker's doors that the data plane uses.
pub struct Broker {
    /// Where messages are published.
    pub data_plane: Arc<dyn DataPlane>,
    /// The retained messages.
    pub retained: Arc<dyn RetainedStore>,
    /// The connected clients.
    pub connections: Arc<dyn Connections>,
    /// How owners of addresses are asked whether rules may call them.
    pub challenges: Arc<dyn Challenges>,
    /// Who decides about clients without certificate or signature.
    pub authorizers: Arc<Authorizers>,
    /// Where calls are recorded.
    pub audit: Option<Audit>,
    /// AWS's log entries.
    pub logs: Logs,
    /// What is used.
    pub usage: Arc<Usage>,
    /// What issues certificates.
    pub issuer: Arc<Issuer>,
}

/// What was asked, and how long it took, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The signing name of the operation's service, `unknown` outside of AWS's models.
    pub service: &'static str,
    /// The operation's name in AWS's models, `unknown` outside of them.
    pub operation: &'static str,
    /// From the request's head to its answer.
    pub took: Duration,
}

impl Counted {
    /// The histogram of how long requests take, by `service` and `operation`.
    pub const HISTOGRAM: &'static str = LATENCY;
}

/// The AWS-shaped front. Cloning is cheap: all clones are one.
#[derive(Clone)]
pub struct Api {
    state: Arc<State>,
}

/// What is known of a request as it goes on: for the log, the metrics and the shape of errors.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub(crate) operation: Option<Operation>,
    services: &'static [Service],
    pub(crate) account: Option<AccountId>,
    pub(crate) scope: Option<Scope>,
    /// The access key that signed, or was claimed to.
    pub(crate) access_key_id: Option<String>,
    /// Bytes of the body, once it is read.
    asked: usize,
    /// Who it was, once that is believed: an ARN or the id of a certificate.
    pub(crate) principal: Option<String>,
}

impl Trail {
    pub(crate) fn service(&self) -> Service {
        let claimed = || self.services.first().copied().unwrap_or(Service::Control);
        self.operation.map_or_else(claimed, |operation| operation.service)
    }

    /// The exception's name, as the service of the request calls it.
    pub(crate) fn code(&self, error: &Error) -> &'static str {
        let code = error.code(self.operation.as_ref());
        match self.service() {
            service if service.is_query() => query_protocol::error_code(service, code),
            _ => code,
        }
    }
}

impl Api {
    /// An API in front of `metadata` and `broker`, whose metrics go into `registry`.
    ///
    /// # Errors
    ///
    /// When `registry` has metrics of the same names already.
    pub fn new(
        config: ApiConfig,
        metadata: Arc<dyn Metadata>,
        broker: Broker,
        registry: &prometheus::Registry,
    ) -> Result<Self, prometheus::Error> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let accounts = Accounts::new(config.limits.clone(), Instant::now().into_std());
        let state = State {
            accounts,
            config,
            metadata,
            data_plane: broker.data_plane,
            retained: broker.retained,
            connections: broker.connections,
            challenges: broker.challenges,
            authorizers: broker.authorizers,
            audit: broker.audit,
            logs: broker.logs,
            usage: broker.usage,
            issuer: broker.issuer,
            throttles: Throttles::new(Instant::now().into_std()),
            policies: PolicyCache::new(),
            key_makers: Arc::new(Semaphore::new(cores.div_ceil(2))),
            trials: Arc::new(Semaphore::new(cores)),
            router: Router::new(),
            metrics: Metrics::register(registry)?,
        };
        Ok(Self { state: Arc::new(state) })
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Works on bulk registration tasks, of all accounts, for as long as the process runs. Of several processes each works on
    /// tasks of its own.
    pub async fn work_on_tasks(self, buckets: Arc<dyn Buckets>) {
        bulk::run(self.state, buckets).await;
    }

    /// Answers one request. Every answer carries `x-amzn-RequestId`, errors `x-amzn-ErrorType` too; its extensions hold the
    /// [`Counted`]. What the request publishes goes on with the
    /// [`RequestTrace`](fleethaven_fabric::traces::RequestTrace) of its extensions.
    pub async fn handle<B>(&self, peer: &Peer, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (started, at) = (Instant::now(), clock::now());
        let request_id = Uuid::new_v4();
        let (head, body) = request.into_parts();
        let of_devices = |method: &str| self.state.router.is_of_devices(method, head.uri.path());
        if let Some(answer) = self.state.config.origins.preflight(&head, of_devices) {
            return with_id(answer, request_id);
        }
        let mut trail = Trail::default();
        let outcome = self.answer(peer, (&head, request_id), body, &mut trail).await;
        let (status, refusal) = match &outcome {
            Ok(_) => (200, None),
            Err(error) => (error.status(trail.service()), Some(error)),
        };
        let (service, operation) = trail
            .operation
            .map_or(("unknown", "unknown"), |operation| (operation.service.name(), operation.name));
        let took = started.elapsed();
        self.state.metrics.count((service, operation), status, took);
        log(&trail, peer, request_id, status, refusal);
        if let (Some(Error::Authentication(error)), Service::Data) = (refusal, trail.service()) {
            logging::tell_not_authenticated(&self.state, self.endpoint(peer).scope, peer, error);
        }
        if let Some(audit) = &self.state.audit {
            let (trail, head) = (&trail, &head);
            audit.call(&Called { trail, peer, head, request_id, at, status, refusal }).await;
        }
        let mut response = respond(outcome, status, &trail, request_id);
        if let (Some(operation), Some(scope)) = (&trail.operation, trail.scope) {
            let answered = response.body().size_hint().exact().unwrap_or_default();
            let sizes = (trail.asked, usize::try_from(answered).unwrap_or(usize::MAX));
            let of = (operation, scope, trail.principal.as_deref());
            metering::count(&self.state.usage, of, sizes, status < 400);
        }
        let of_others = matches!(trail.services, [Service::Control | Service::Sts | Service::Iam]);
        if !of_others && of_devices(head.method.as_str()) {
            self.state.config.origins.mark(&head.headers, response.headers_mut());
        }
        response.extensions_mut().insert(Counted { service, operation, took });
        response
    }

    async fn answer<B>(
        &self,
        peer: &Peer,
        (head, request_id): (&Parts, Uuid),
        body: B,
        trail: &mut Trail,
    ) -> Outcome
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let now = clock::now();
        if let Some(token) = confirmation(head) {
            return control::rule_destinations::confirm_by_token(&self.state, token).await;
        }
        if let Some((scope, link)) = control::thing_registration_tasks::link(head) {
            return control::thing_registration_tasks::follow(&self.state, scope, link).await;
        }
        let endpoint = self.endpoint(peer);
        let claim = Claim::read(&self.state, head, peer, &endpoint)?;
        claim.check(&endpoint, Protocol::Https)?;
        trail.services = claim.services();
        trail.access_key_id = claim.access_key_id().map(str::to_owned);
        let route = self.route(trail.services, head);
        // Of the query protocol the body tells.
        let operation = route.as_ref().ok().map(|(operation, _)| *operation);
        trail.operation = operation.filter(|operation| !operation.service.is_query());
        let candidate = authentication::look_up(&self.state, claim, peer).await?;
        let account = match &candidate {
            Candidate::Signed { signed, .. } => signed.operator.identity.account(),
            Candidate::Certificate { scope, .. } | Candidate::Authorized { scope, .. } => scope.account,
        };
        trail.account = Some(account);
        let most = self.body_limit(trail.service(), account);
        let body = body::read(waits_to_send(head), body, most, self.state.config.body_timeout).await?;
        trail.asked = body.len();
        let (scope, principal) = authentication::verify(&self.state, &candidate, head, &body, now)?;
        trail.scope = Some(scope);
        trail.principal = Some(principal.name());
        if trail.service() == Service::Data {
            authentication::check_account(&endpoint, scope)?;
        }
        let (mut operation, labels) = route?;
        if operation.service.is_query() {
            operation = query_protocol::meant(operation.service, &body)?;
            trail.operation = Some(operation);
        }
        principal.may_ask_for(&operation)?;
        let limits = self.state.config.limits.of(scope.account);
        self.state.throttles.admit(scope, &operation, limits, Instant::now().into_std())?;
        let input = Input::new(labels, head.uri.query().unwrap_or_default(), head.headers.clone(), body)?;
        let source_ip = source_ip(peer);
        let server_name = peer.server_name.as_deref();
        let key = idempotency_key(scope, &principal, operation.name, &input)?;
        let call = Call {
            state: &self.state,
            scope,
            principal,
            source_ip,
            server_name,
            request_id,
            now,
            key,
            trace: head.extensions.get().copied(),
            input,
        };
        permissions::check(&operation, &call).await?;
        let outcome = dispatch(&operation, &call).await;
        logging::tell(&call, &operation, peer.address, &outcome).await;
        outcome
    }

    /// The endpoint that the peer came to.
    pub(crate) fn endpoint(&self, peer: &Peer) -> Endpoint {
        self.state.authorizers.endpoint(peer.server_name.as_deref(), self.state.config.default_scope)
    }

    /// The operation that the request means, among those of the services it may mean.
    fn route(&self, services: &[Service], head: &Parts) -> Result<(Operation, Labels), Error> {
        let (method, path) = (head.method.as_str(), head.uri.path());
        let mut answer = Error::UnknownOperation(path.to_owned());
        for service in services {
            match self.state.router.find(*service, method, path) {
                Ok(found) => return Ok(found),
                Err(Mismatch::UnknownPath) => {}
                Err(Mismatch::NotText) => return Err(Error::invalid("the path is not UTF-8 when decoded")),
                Err(Mismatch::OtherMethod) => {
                    answer = Error::MethodNotAllowed { method: method.to_owned(), path: path.to_owned() };
                }
            }
        }
        Err(answer)
    }

    fn body_limit(&self, service: Service, account: AccountId) -> usize {
        match service {
            Service::Data => self.state.config.limits.of(account).payload_bytes,
            Service::Control | Service::Jobs | Service::Sts | Service::Iam | Service::Credentials => {
                self.state.config.body_bytes
            }
        }
    }
}

/// The token with which the owner of an address confirms it, when the request is not signed.
fn confirmation(head: &Parts) -> Option<&str> {
    let unsigned = head.method == Method::GET && !head.headers.contains_key(AUTHORIZATION);
    head.uri.path().strip_prefix(challenge::CONFIRM).filter(|_| unsigned)
}

/// SDKs name each call, and name it the same when they try again. It counts for its caller and operation only. A request
/// without a name is its own.
fn idempotency_key(
    scope: Scope,
    principal: &Principal,
    operation: &str,
    input: &Input,
) -> Result<IdempotencyKey, Error> {
    let (kind, id) = match principal {
        Principal::Operator(signed) => ("access-key", &signed.access_key_id),
        Principal::Certificate(id) | Principal::Both(id, _) => ("certificate", id),
        Principal::Authorized(granted) => ("authorized", &granted.principal_id),
    };
    let name = input.header(INVOCATION_ID)?.filter(|name| !name.is_empty()).map(str::to_owned);
    let name = name.unwrap_or_else(|| Uuid::new_v4().to_string());
    let account = scope.account.to_string();
    Ok(IdempotencyKey::of(&[&account, scope.region.as_str(), kind, id, operation, &name]))
}

/// Whether the client sends the body only when it is told to. In HTTP/2 nobody tells it, and what is not read is reset.
fn waits_to_send(head: &Parts) -> bool {
    head.version == Version::HTTP_11 && head.headers.contains_key(http::header::EXPECT)
}

async fn dispatch(operation: &Operation, call: &Call<'_>) -> Outcome {
    let started = match operation.service {
        Service::Control => control::start(operation.name, call),
        Service::Data => data::start(operation.name, call),
        Service::Jobs => None,
        Service::Sts => sts::start(operation.name, call),
        Service::Iam => iam::start(operation.name, call),
        Service::Credentials => credentials::start(operation.name, call),
    };
    match started {
        Some(answer) => answer.await,
        None => Err(Error::NotBuilt(operation.name)),
    }
}

fn respond(outcome: Outcome, status: u16, trail: &Trail, request_id: Uuid) -> Response<Full<Bytes>> {
    let error_type = outcome.as_ref().err().map(|error| trail.code(error));
    let answer = outcome.unwrap_or_else(|error| error_body(&error, trail, request_id));
    let content_type = answer.content_type();
    let mut response = Response::new(Full::new(answer.into_body()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(error_type) = error_type {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(error_type));
    }
    if let Some(content_type) = content_type {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    with_id(response, request_id)
}

fn with_id(mut response: Response<Full<Bytes>>, request_id: Uuid) -> Response<Full<Bytes>> {
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// The answer to a request of the data plane that ends here.
pub(crate) fn refusal(error: Error) -> Response<Full<Bytes>> {
    let status = error.status(Service::Data);
    let trail = Trail { services: &[Service::Data], ..Trail::default() };
    respond(Err(error), status, &trail, Uuid::new_v4())
}

/// `message`; the resource that exists already; in the data planes the trace id too. Of the query protocol, XML.
fn error_body(error: &Error, trail: &Trail, request_id: Uuid) -> Answer {
    let service = trail.service();
    if service.is_query() {
        return query_protocol::error_body(service, trail.code(error), error, request_id);
    }
    let (id, arn) =
        error.resource().map_or((None, None), |(id, arn)| (Some(id.as_str()), Some(arn.as_str())));
    let has_trace = matches!(service, Service::Data | Service::Jobs);
    let trace_id = has_trace.then(|| request_id.to_string());
    Answer::of([
        ("message", error.to_string().into()),
        ("resourceId", id.into()),
        ("resourceArn", arn.into()),
        ("traceId", trace_id.into()),
    ])
}

/// One event for each request: changes and denials at info, our failures at warn, the rest at debug. Members
/// of requests and answers are not logged.
fn log(trail: &Trail, peer: &Peer, request_id: Uuid, status: u16, refusal: Option<&Error>) {
    let operation = trail.operation.map_or("unknown", |operation| operation.name);
    let account = trail.account.map(tracing::field::display);
    let region = trail.scope.as_ref().map(|scope| tracing::field::display(&scope.region));
    let error = refusal.map(|error| trail.code(error));
    let reason = refusal.map(Error::reason);
    let source = peer.address.ip();
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(
                account, region, operation, status, %request_id, %source, error, reason, "api request"
            )
        };
    }
    match refusal {
        Some(_) if status >= 500 && status != 501 => event!(warn),
        Some(Error::Forbidden(_) | Error::AccessDenied { .. } | Error::Authentication(_)) => event!(info),
        _ if trail.operation.is_some_and(|operation| operation.is_mutation()) => event!(info),
        _ => event!(debug),
    }
}

#[cfg(test)]
mod tests;
