//! How the services are put together in one process. A service's own handle stands where a cluster has a gRPC client; the
//! services cannot tell.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use fleethaven_api::data::Error as DataError;
use fleethaven_api::{Api, ApiConfig, Broker, DataPlane, Endpoints, HostPort};
use fleethaven_daemon::clock;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{Connections, Metadata, Publish};
use fleethaven_gateway::gateway::RoutingFactory;
use fleethaven_gateway::mailbox::Mailboxes;
use fleethaven_gateway::{Config as GatewayConfig, Gateway, IdentityCache, Listener, Pulse};
use fleethaven_metastore::{Config as MetastoreConfig, Metastore, NoPeers};
use fleethaven_net::TicketKeys;
use fleethaven_quotas::Accounts;
use fleethaven_quotas::account::admits;
use fleethaven_router::publisher::Backpressure;
use fleethaven_router::{Lane, Options as RouterOptions, Publisher, Router};
use fleethaven_rules_worker::{Rules, Worker};
use fleethaven_session::Settings;
use fleethaven_storage::{RetainedStore, SessionStore};
use fleethaven_storage_embedded::{EmbeddedStore, Options as StoreOptions};
use fleethaven_types::{AccountLimits, Limits, Message, Profile, Scope};
use prometheus::Registry;
use tokio::task::AbortHandle;

use crate::housekeeping;
use crate::metrics::StoreMetrics;

/// The stores of one process.
pub(crate) struct Stores {
    pub(crate) metastore: Arc<Metastore>,
    pub(crate) store: Arc<EmbeddedStore>,
}

/// The services of one process, before they have listeners.
pub(crate) struct Services {
    pub(crate) identity: Arc<IdentityCache>,
    pub(crate) publish: Arc<dyn Publish>,
    /// TLS ticket keys, level with the metastore's.
    pub(crate) tickets: Arc<TicketKeys>,
    router: Arc<Router>,
    mailboxes: Arc<Mailboxes>,
    gateway_metrics: fleethaven_gateway::metrics::Metrics,
    settings: Arc<Settings>,
    accounts: Arc<Accounts>,
    incarnation: u64,
    worker: AbortHandle,
}

impl Stores {
    /// Opens both stores below `dir`.
    pub(crate) async fn open(dir: &Path, profile: Profile) -> Result<Self> {
        let limits = fleethaven_registry::Limits::of(profile);
        let config = MetastoreConfig::new(dir.join("metastore"), clock::now, limits);
        let metastore =
            Metastore::open(config, Arc::new(NoPeers)).await.context("cannot open the metadata store")?;
        let path = dir.join("sessions");
        let opened = tokio::task::spawn_blocking(move || {
            EmbeddedStore::open(&path, StoreOptions::new(Arc::new(clock::now)))
        });
        let store = opened.await?.context("cannot open the session store")?;
        Ok(Self { metastore, store })
    }
}

impl Services {
    /// Wires the services and starts those that need no listener. When it returns, all subscriptions and rules are loaded
    /// and the wills of an earlier process are published.
    pub(crate) async fn start(
        stores: &Stores,
        settings: Settings,
        limits: AccountLimits,
        scope: Scope,
        cores: u8,
        registry: &Registry,
    ) -> Result<Self> {
        let metadata: Arc<dyn Metadata> = stores.metastore.clone();
        let store: Arc<dyn SessionStore> = stores.store.clone();
        StoreMetrics::register(stores.store.clone(), registry)?;
        let gateway_metrics = fleethaven_gateway::metrics::Metrics::new(registry)?;
        let mailboxes = Arc::new(Mailboxes::new(cores, gateway_metrics.clone()));
        let queue_rates = limits
            .accounts
            .values()
            .chain([&limits.default])
            .any(|limits| limits.queued_per_sec_account.is_some());
        let accounts = Arc::new(Accounts::new(limits, now()));
        let router = Arc::new(Router::new(
            RouterOptions {
                behaviour: settings.behaviour.clone(),
                accounts: accounts.clone(),
                queue_rates,
                clock: now,
            },
            store.clone(),
            mailboxes.clone(),
            fleethaven_router::metrics::Metrics::new(registry)?,
        ));
        let warming = router.clone();
        let sessions = tokio::task::spawn_blocking(move || warming.warm_up()).await??;
        let identity = Arc::new(IdentityCache::new(metadata.clone(), scope));
        tokio::spawn(fleethaven_gateway::identity::follow(identity.clone(), mailboxes.clone()));
        tokio::spawn(fleethaven_router::rules::follow(router.clone(), metadata.clone()));
        let tickets = Arc::new(TicketKeys::default());
        tokio::spawn(fleethaven_gateway::ticket_keys::follow(tickets.clone(), metadata.clone()));
        let rules = Arc::new(Rules::default());
        tokio::spawn(fleethaven_rules_worker::rules::follow(rules.clone(), metadata.clone()));
        caught_up(&*metadata).await?;
        let publisher = Publisher::start(router.clone(), Backpressure::Held);
        let publish: Arc<dyn Publish> = Arc::new(publisher.clone());
        let incarnation = uuid::Uuid::new_v4().as_u64_pair().0;
        let worker = Worker {
            rules,
            queue: stores.store.clone(),
            // Held back, a republish could wait for the very queue that it is emptying.
            publish: Arc::new(Publisher::start(router.clone(), Backpressure::Exempt)),
            behaviour: settings.behaviour.clone(),
            limits: settings.limits.clone(),
            metrics: fleethaven_rules_worker::metrics::Metrics::new(registry)?,
        };
        // Before anything waits for its publishes: a full rules queue holds them back until it is emptied.
        let worker = tokio::spawn(worker.run()).abort_handle();
        let orphans =
            housekeeping::end_orphans(store.clone(), incarnation, &publisher, &router, &identity).await?;
        tokio::spawn(housekeeping::publish_wills(store.clone(), publisher));
        tokio::spawn(housekeeping::expire_sessions(store, router.clone()));
        tracing::info!(sessions, orphans, "services wired");
        let settings = Arc::new(settings);
        Ok(Self {
            identity,
            publish,
            tickets,
            router,
            mailboxes,
            gateway_metrics,
            settings,
            accounts,
            incarnation,
            worker,
        })
    }

    /// Starts the gateway's cores, each with its own copy of the listeners.
    pub(crate) fn gateway(
        &self,
        stores: &Stores,
        listeners: Vec<Vec<Listener>>,
        pulse: Pulse,
    ) -> Result<Gateway> {
        let config = GatewayConfig {
            settings: self.settings.clone(),
            accounts: self.accounts.clone(),
            retained: stores.store.clone(),
            incarnation: self.incarnation,
            identity: self.identity.clone(),
            store: stores.store.clone(),
            mailboxes: self.mailboxes.clone(),
            metrics: self.gateway_metrics.clone(),
            pulse,
        };
        let router = self.router.clone();
        let routing: RoutingFactory = Arc::new(move |_, wake| Box::new(Lane::new(router.clone(), wake)));
        Gateway::start(config, routing, listeners).context("cannot start the gateway")
    }

    /// Stops executing rules; what is queued is executed after the next start.
    pub(crate) fn stop(&self) {
        self.worker.abort();
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

    /// The API in front of the metastore and the broker.
    pub(crate) fn api(
        &self,
        stores: &Stores,
        scope: Scope,
        profile: Profile,
        (base_domain, single_region, at): (Option<String>, bool, HostPort),
        gateway: Arc<dyn Connections>,
        registry: &Registry,
    ) -> Result<Api> {
        let endpoints = Endpoints { base_domain, data: at.clone(), jobs: at.clone(), credentials: at };
        let (behaviour, limits) = (self.settings.behaviour.clone(), self.accounts.limits().clone());
        let config =
            ApiConfig { single_region, behaviour, limits, ..ApiConfig::new(scope, endpoints, profile) };
        let broker = Broker {
            data_plane: Arc::new(Door {
                publish: self.publish.clone(),
                accounts: self.accounts.clone(),
                retained: stores.store.clone(),
            }),
            retained: stores.store.clone(),
            connections: gateway,
        };
        Ok(Api::new(config, stores.metastore.clone(), broker, registry)?)
    }
}

/// Everything that follows the metastore has loaded what is there.
async fn caught_up(metadata: &dyn Metadata) -> Result<()> {
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
