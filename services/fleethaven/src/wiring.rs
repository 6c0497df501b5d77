//! How services are made from seams. What stands behind a seam is the caller's choice: a service's own handle in one process, a
//! client in a cluster. The services cannot tell.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use fleethaven_api::bulk::{BucketError, InputFile};
use fleethaven_api::data::Error as DataError;
use fleethaven_api::{Api, ApiConfig, Audit, Broker, Challenges, DataPlane, Endpoints, HostPort, Origin};
use fleethaven_authorizers::Authorizers;
use fleethaven_daemon::clock;
use fleethaven_fabric::connections::Neighbours;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{Connections, Delivery, Functions, Metadata, Publish, Responders, Traces};
use fleethaven_gateway::gateway::RoutingFactory;
use fleethaven_gateway::mailbox::Mailboxes;
use fleethaven_gateway::{Config as GatewayConfig, Gateway, IdentityCache, Listener, Pulse};
use fleethaven_issuing::{Issuer, Signer};
use fleethaven_logging::Logs;
use fleethaven_net::{ServerCertificates, TicketKeys};
use fleethaven_outbound::functions::catalogue;
use fleethaven_outbound::{Catalogue, HttpClient, MappedFunctions, OutboundSettings};
use fleethaven_quotas::Accounts;
use fleethaven_quotas::account::admits;
use fleethaven_router::metrics::Metrics as RouterMetrics;
use fleethaven_router::{Options as RouterOptions, Router};
use fleethaven_rules_worker::external::{Objects, SqlFunctions};
use fleethaven_rules_worker::lanes::Lanes;
use fleethaven_rules_worker::waiting::Waiting;
use fleethaven_rules_worker::{Buckets, Destinations, Object, Outside, Room, Rules, Worker};
use fleethaven_session::Settings;
use fleethaven_storage::{RetainedStore, RuleQueue, SessionStore};
use fleethaven_things::{Desk, DeskDoor};
use fleethaven_types::{AccountLimits, Limits, Message, Profile, Scope};
use fleethaven_usage::{Reporter, Usage};
use prometheus::Registry;

use crate::cli::{IssuingArgs, ObjectsArgs, OutboundArgs, ScopeArgs, UsageArgs};
use crate::config;
use crate::operators;
use crate::process::Process;
use crate::ready::host;

/// How long the owner of an address may take to answer that it was asked.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// What all services of a process share.
pub(crate) struct Shared {
    pub(crate) scope: Scope,
    profile: Profile,
    single_region: bool,
    pub(crate) settings: Arc<Settings>,
    pub(crate) accounts: Arc<Accounts>,
    functions: Arc<Catalogue>,
    connections: Arc<fleethaven_rules_worker::Connections>,
    registry: Registry,
    pub(crate) traces: Traces,
    pub(crate) logs: Logs,
    pub(crate) usage: Arc<Usage>,
    issuer: Arc<Issuer>,
}

/// The seams behind which the state is.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) retained: Arc<dyn RetainedStore>,
    pub(crate) rules: Arc<dyn RuleQueue>,
}

impl Shared {
    pub(crate) fn new(
        arguments: &ScopeArgs,
        settings: config::Settings,
        process: &Process,
        logs: Logs,
    ) -> Self {
        let config::Settings { limits, behaviour, connections, functions, .. } = settings;
        let scope = arguments.scope();
        Self {
            scope,
            profile: arguments.profile,
            single_region: arguments.single_region,
            settings: Arc::new(Settings::new(behaviour, limits.default.clone(), scope)),
            accounts: Arc::new(Accounts::new(limits, now())),
            functions: Arc::new(Catalogue::new(functions)),
            connections: Arc::new(fleethaven_rules_worker::Connections::new(connections)),
            registry: process.registry.clone(),
            traces: process.traces.clone(),
            logs,
            usage: Usage::off(),
            issuer: Arc::default(),
        }
    }

    /// Issues certificates by keys that an external signer has, too. To be called before anything is made of this.
    pub(crate) fn issue_with(&mut self, arguments: &IssuingArgs) {
        self.issuer = Arc::new(Issuer::new(arguments.issuing_signer.clone().map(Signer::at)));
    }

    /// Begins to count what is used, and to report it; `None` where nothing is counted. To be called before anything is made of
    /// this.
    pub(crate) fn count_usage(
        &mut self,
        metadata: &Arc<dyn Metadata>,
        arguments: &UsageArgs,
    ) -> Option<Reporter> {
        let every = Duration::from_secs(u64::from(arguments.usage_interval));
        if every.is_zero() {
            return None;
        }
        self.usage = Usage::new(metadata.clone());
        Some(fleethaven_usage::report(self.usage.clone(), metadata.clone(), clock::now, every))
    }

    /// Begins to learn which log entries accounts ask for, where any are kept.
    pub(crate) fn follow_logging(&self, metadata: &Arc<dyn Metadata>) {
        if self.logs.are_kept() {
            tokio::spawn(fleethaven_logging::follow(self.logs.clone(), metadata.clone()));
        }
    }

    fn all_limits(&self) -> impl Iterator<Item = &Limits> {
        let AccountLimits { default, accounts } = self.accounts.limits();
        accounts.values().chain([default])
    }

    /// Largest MQTT packet in bytes.
    pub(crate) fn packet_bytes(&self) -> usize {
        self.all_limits().map(|limits| limits.packet_bytes).max().unwrap_or_default() as usize
    }

    /// The longest keep-alive a client can have, in seconds.
    pub(crate) fn longest_keep_alive(&self) -> u16 {
        let longest = self.all_limits().map(|limits| match limits.keep_alive_max {
            0 => u16::MAX,
            seconds => seconds,
        });
        longest.max().unwrap_or(u16::MAX)
    }

    /// A router that knows no subscription yet.
    pub(crate) fn router(
        &self,
        stores: &Stores,
        metrics: RouterMetrics,
        delivery: Arc<dyn Delivery>,
    ) -> Arc<Router> {
        let options = RouterOptions {
            behaviour: self.settings.behaviour.clone(),
            accounts: self.accounts.clone(),
            queue_rates: self.all_limits().any(|limits| limits.queued_per_sec_account.is_some()),
            clock: now,
            traces: self.traces.clone(),
            logs: self.logs.clone(),
        };
        Arc::new(Router::new(options, stores.sessions.clone(), delivery, metrics))
    }

    /// Where what clients ask below `$aws/` is carried out; `publish` goes to the routers themselves.
    pub(crate) fn desk(
        &self,
        stores: &Stores,
        publish: Arc<dyn Publish>,
        functions: Option<Arc<dyn Functions>>,
    ) -> Result<Arc<Desk>> {
        Ok(Desk::new(fleethaven_things::Settings {
            metadata: stores.metadata.clone(),
            publish,
            functions,
            accounts: self.accounts.clone(),
            limits: fleethaven_registry::Limits::of(self.profile).shadow,
            clock: clock::now,
            instant: now,
            metrics: fleethaven_things::metrics::Metrics::new(&self.registry)?,
            logs: self.logs.clone(),
            usage: self.usage.clone(),
            issuer: self.issuer.clone(),
            runtime: tokio::runtime::Handle::current(),
        }))
    }

    /// The same way in with a desk of its own behind it, for a process that has no gateway.
    pub(crate) fn door(&self, stores: &Stores, publish: Arc<dyn Publish>) -> Result<Arc<dyn Publish>> {
        let desk = self.desk(stores, publish.clone(), None)?;
        Ok(Arc::new(DeskDoor::new(publish, desk)))
    }

    /// What stands for Lambda functions; it begins to learn which there are.
    pub(crate) fn functions(&self, stores: &Stores, arguments: &OutboundArgs) -> Result<Arc<dyn Functions>> {
        tokio::spawn(catalogue::follow(self.functions.clone(), stores.metadata.clone()));
        let client = http_client(arguments).context("--outbound-ca")?;
        let metrics = fleethaven_outbound::metrics::Metrics::new(&self.registry)?;
        let functions = MappedFunctions::new(client, self.functions.clone(), clock::now, metrics);
        Ok(Arc::new(functions))
    }

    /// The way out of actions and of bulk registration; it begins to learn the accounts' connections and destinations.
    pub(crate) fn outside(
        &self,
        stores: &Stores,
        functions: Arc<dyn Functions>,
        outbound: &OutboundArgs,
    ) -> Result<Out> {
        let metrics = fleethaven_rules_worker::metrics::Metrics::new(&self.registry)?;
        let connections = self.connections.clone();
        tokio::spawn(fleethaven_rules_worker::connections::follow(
            connections.clone(),
            stores.metadata.clone(),
        ));
        let destinations = Arc::<Destinations>::default();
        tokio::spawn(fleethaven_rules_worker::destinations::follow(
            destinations.clone(),
            stores.metadata.clone(),
        ));
        let outside = Arc::new(Outside {
            http: http_client(outbound).context("--outbound-ca")?,
            lambda: functions,
            connections,
            destinations,
            lanes: Lanes::new(metrics.clone()),
            http_results: metrics.http.clone(),
            clock: clock::now,
        });
        Ok(Out { outside, metrics })
    }

    /// What executes rules; it begins to learn them.
    pub(crate) fn worker(
        &self,
        stores: &Stores,
        publish: Arc<dyn Publish>,
        (functions, out): (Arc<dyn Functions>, &Out),
        objects: &ObjectsArgs,
    ) -> Result<Worker> {
        let objects = objects.objects.clone().map(Objects::of);
        let Out { outside, metrics } = out;
        let (outside, metrics) = (outside.clone(), metrics.clone());
        let rules = Arc::new(Rules::new(metrics.clone()));
        tokio::spawn(fleethaven_rules_worker::rules::follow(rules.clone(), stores.metadata.clone()));
        Ok(Worker {
            rules,
            queue: stores.rules.clone(),
            publish,
            waiting: Waiting::new(&metrics),
            outside: outside.clone(),
            functions: Arc::new(SqlFunctions {
                metadata: stores.metadata.clone(),
                lambda: functions,
                outside,
                objects,
            }),
            behaviour: self.settings.behaviour.clone(),
            limits: self.settings.limits.clone(),
            room: Room::default(),
            metrics,
            traces: self.traces.clone(),
            logs: self.logs.clone(),
            usage: self.usage.clone(),
        })
    }

    /// Who decides about clients without certificate or signature; `functions` calls what their owners say.
    pub(crate) fn authorizers(&self, stores: &Stores, functions: Arc<dyn Functions>) -> Arc<Authorizers> {
        Arc::new(Authorizers::new(stores.metadata.clone(), functions, self.accounts.limits().clone()))
    }

    /// The API in front of the metastore and the broker, for web pages of these origins, too.
    pub(crate) fn api(
        &self,
        stores: &Stores,
        (naming, origins): (Naming, &[Origin]),
        (publish, connections): (Arc<dyn Publish>, Arc<dyn Connections>),
        (authorizers, outbound): (Arc<Authorizers>, &OutboundArgs),
        audit: Option<Audit>,
    ) -> Result<Api> {
        let Naming { base_domain, data, credentials } = naming;
        let endpoints = Endpoints { base_domain, jobs: data.clone(), data, credentials };
        let config = ApiConfig {
            single_region: self.single_region,
            origins: origins.to_vec().into(),
            behaviour: self.settings.behaviour.clone(),
            limits: self.accounts.limits().clone(),
            ..ApiConfig::new(self.scope, endpoints, self.profile)
        };
        let door = Door { publish, accounts: self.accounts.clone(), retained: stores.retained.clone() };
        let (data_plane, retained) = (Arc::new(door), stores.retained.clone());
        let http = http_client(outbound).context("--outbound-ca")?;
        let challenges = Arc::new(Asking { http, metadata: stores.metadata.clone() });
        let broker = Broker {
            data_plane,
            retained,
            connections,
            authorizers,
            challenges,
            audit,
            logs: self.logs.clone(),
            usage: self.usage.clone(),
            issuer: self.issuer.clone(),
        };
        Ok(Api::new(config, stores.metadata.clone(), broker, &self.registry)?)
    }
}

/// Where clients are told to go.
pub(crate) struct Naming {
    /// Below it each account has names of its own; then only the ports of the others count.
    pub(crate) base_domain: Option<String>,
    /// Where devices connect.
    pub(crate) data: HostPort,
    /// The credentials provider, which asks for client certificates.
    pub(crate) credentials: HostPort,
}

impl Naming {
    /// By the listeners of this process. Without a base domain, no name tells the credentials provider from the rest of
    /// `--https`, where nobody is asked for a certificate: it is on the listener that asks everybody.
    pub(crate) fn of_listeners(
        base_domain: Option<String>,
        https: SocketAddr,
        mtls: Option<SocketAddr>,
    ) -> Self {
        let at = |address: SocketAddr| HostPort { host: host(address.ip()), port: address.port() };
        let credentials = at(mtls.filter(|_| base_domain.is_none()).unwrap_or(https));
        Self { base_domain, data: at(https), credentials }
    }
}

/// A gateway's knowledge of its clients, before it has any.
pub(crate) struct Clients {
    pub(crate) identity: Arc<IdentityCache>,
    /// TLS ticket keys, level with the metastore's.
    pub(crate) tickets: Arc<TicketKeys>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    metrics: fleethaven_gateway::metrics::Metrics,
}

impl Clients {
    /// Begins to follow the metastore. What is known may be at most `max_staleness` old, where that is bounded.
    /// `shown` gets the certificates of domains.
    pub(crate) fn follow(
        shared: &Shared,
        metadata: &Arc<dyn Metadata>,
        (shown, cores): (Arc<ServerCertificates>, u8),
        (functions, outbound): (Arc<dyn Functions>, &OutboundArgs),
        max_staleness: Option<Duration>,
    ) -> Result<Self> {
        let metrics = fleethaven_gateway::metrics::Metrics::new(&shared.registry)?;
        let mailboxes = Arc::new(Mailboxes::new(cores, metrics.clone()));
        let identity = IdentityCache::new(metadata.clone(), shared.scope)
            .with_logs(shared.logs.clone())
            .with_functions(functions.clone())
            .with_names_required(shared.settings.behaviour.sni_only_needs_name);
        let identity = Arc::new(match max_staleness {
            Some(max) => identity.with_max_staleness(max),
            None => identity,
        });
        tokio::spawn(fleethaven_gateway::identity::follow(identity.clone(), mailboxes.clone()));
        let tickets = Arc::new(TicketKeys::default());
        tokio::spawn(fleethaven_gateway::ticket_keys::follow(tickets.clone(), metadata.clone()));
        let responders = Arc::new(Responding(http_client(outbound)?));
        tokio::spawn(fleethaven_gateway::server_certificates::follow(
            shown,
            metadata.clone(),
            (responders, functions),
            shared.logs.clone(),
        ));
        Ok(Self { identity, tickets, mailboxes, metrics })
    }

    /// Counts publishes at QoS 0 that lanes to routers had no room for.
    pub(crate) fn dropped(&self) -> Arc<dyn Fn(u64) + Send + Sync> {
        let dropped = self.metrics.lane_dropped.clone();
        Arc::new(move |count| dropped.inc_by(count))
    }

    /// Starts the gateway's cores, each with its own copy of the listeners.
    pub(crate) fn gateway(
        &self,
        (shared, stores): (&Shared, &Stores),
        (incarnation, neighbours): (u64, Arc<dyn Neighbours>),
        authorizers: Arc<Authorizers>,
        routing: RoutingFactory,
        (listeners, pulse): (Vec<Vec<Listener>>, Pulse),
    ) -> Result<Arc<Gateway>> {
        let config = GatewayConfig {
            settings: shared.settings.clone(),
            accounts: shared.accounts.clone(),
            retained: stores.retained.clone(),
            incarnation,
            identity: self.identity.clone(),
            authorizers,
            store: stores.sessions.clone(),
            mailboxes: self.mailboxes.clone(),
            neighbours,
            metrics: self.metrics.clone(),
            traces: shared.traces.clone(),
            logs: shared.logs.clone(),
            usage: shared.usage.clone(),
            pulse,
        };
        let gateway = Gateway::start(config, routing, listeners).context("cannot start the gateway")?;
        Ok(Arc::new(gateway))
    }
}

/// The way out of actions and of bulk registration, and what is counted of it.
pub(crate) struct Out {
    outside: Arc<Outside>,
    metrics: fleethaven_rules_worker::metrics::Metrics,
}

impl Out {
    /// The stores that bulk registration reads from.
    pub(crate) fn buckets(&self) -> Arc<dyn fleethaven_api::Buckets> {
        Arc::new(Files(Buckets::new(self.outside.clone())))
    }
}

/// The stores of actions, as bulk registration sees them.
struct Files(Buckets);

impl fleethaven_api::Buckets for Files {
    fn look<'a>(&'a self, file: &'a InputFile) -> BoxFuture<'a, Result<(u64, String), BucketError>> {
        Box::pin(async move { self.0.look(&object(file)).await.map_err(unread) })
    }

    fn read<'a>(
        &'a self,
        file: &'a InputFile,
        version: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, BucketError>> {
        Box::pin(async move { self.0.read(&object(file), version, range).await.map_err(unread) })
    }
}

fn object(file: &InputFile) -> Object<'_> {
    let InputFile { scope, role_arn, bucket, key } = file;
    Object { scope: *scope, role_arn, bucket, key }
}

fn unread(error: fleethaven_rules_worker::actions::Error) -> BucketError {
    let reason = match error.details.is_empty() {
        true => error.message,
        false => format!("{} ({})", error.message, error.details),
    };
    BucketError { reason, transient: error.transient }
}

/// Asks OCSP responders by the client for calls to the outside.
struct Responding(HttpClient);

impl Responders for Responding {
    fn ask<'a>(&'a self, address: &'a str, request: Vec<u8>) -> BoxFuture<'a, Result<Bytes, String>> {
        let limits = fleethaven_outbound::Limits { deadline: ASK_WITHIN, max_response: 64 << 10 };
        Box::pin(async move {
            let request = http::Request::post(address)
                .header(http::header::CONTENT_TYPE, "application/ocsp-request")
                .body(Bytes::from(request))
                .map_err(|error| format!("the responder's address {address}: {error}"))?;
            let answer = self.0.send(request, limits).await.map_err(|error| error.to_string())?;
            match answer.status() {
                http::StatusCode::OK => Ok(answer.into_body()),
                status => Err(format!("the responder answers with {status}")),
            }
        })
    }
}

/// Asks the owners of addresses by the client for calls to the outside, with the certificates of the account's connection to them.
struct Asking {
    http: HttpClient,
    metadata: Arc<dyn Metadata>,
}

impl Challenges for Asking {
    fn post(
        &self,
        scope: Scope,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::StatusCode, String>> {
        let limits = fleethaven_outbound::Limits { deadline: ASK_WITHIN, max_response: 64 << 10 };
        Box::pin(async move {
            let described = operators::connections(self.metadata.as_ref(), scope).await;
            let described = described.map_err(|error| format!("{error:#}"))?;
            let of_account = described.into_iter().map(|described| (scope.account, described));
            let at = fleethaven_rules_worker::Connections::new(of_account).at(
                scope.account,
                &request.uri().to_string(),
                None,
            );
            let http = match &at {
                Some(connected) => connected.http(&self.http)?,
                None => &self.http,
            };
            let answer = http.send(request, limits).await;
            answer.map(|answer| answer.status()).map_err(|error| error.to_string())
        })
    }
}

/// The client for calls to the outside.
pub(crate) fn http_client(arguments: &OutboundArgs) -> Result<HttpClient> {
    let OutboundArgs { allow_outbound, outbound_ca } = arguments.clone();
    let settings = OutboundSettings { allow: allow_outbound, authorities: outbound_ca };
    HttpClient::new(&settings).map_err(anyhow::Error::msg)
}

/// What a router counts.
pub(crate) fn router_metrics(registry: &Registry) -> Result<RouterMetrics> {
    Ok(RouterMetrics::new(registry)?)
}

/// Has the router load the sessions that the store has; returns how many.
pub(crate) async fn warm_up(router: &Arc<Router>) -> Result<usize> {
    let router = router.clone();
    Ok(tokio::task::spawn_blocking(move || router.warm_up()).await??)
}

/// Everything that follows the metastore has loaded what is there.
pub(crate) async fn caught_up(metadata: &dyn Metadata) -> Result<()> {
    let listed = metadata.in_force(1).await;
    anyhow::ensure!(listed, "rules and identities were not loaded in time");
    Ok(())
}

/// The time for rates.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The router's door as the API sees it.
struct Door {
    publish: Arc<dyn Publish>,
    accounts: Arc<Accounts>,
    retained: Arc<dyn RetainedStore>,
}

impl Door {
    /// Whether the account may publish one more message now: clients and the API share its rates.
    fn admits(&self, message: &Message) -> bool {
        let (scope, topic) = (message.publisher.scope, &message.topic);
        let account = self.accounts.get(scope);
        let kept = || (self.retained.count(scope), self.retained.holds(scope, topic));
        let retains = message.retain && !message.payload.is_empty();
        admits(account.inbound.as_ref(), 1, now()) && (!retains || account.admit_retained(topic, kept, now()))
    }
}

impl DataPlane for Door {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), DataError>> {
        Box::pin(async move {
            if !self.admits(&message) {
                return Err(DataError::Throttled);
            }
            let published = self.publish.publish(Arc::new(message)).await;
            published.map(|_matched| ()).map_err(|error| DataError::Unavailable(error.to_string()))
        })
    }
}
