//! What the processes of a cluster have in common: their certificate, the metadata store, the session store, and a seat among
//! the members.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use fleethaven_daemon::clock;
use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::membership::{Incarnation, Phase, RENEW_EVERY, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_fabric::{Delivery, Membership, Metadata};
use fleethaven_fabric_grpc::Client;
use fleethaven_fabric_grpc::channel::Channel;
use fleethaven_fabric_grpc::client::Options as ClientOptions;
use fleethaven_fabric_grpc::membership::MembershipClient;
use fleethaven_fabric_grpc::routing::{ClientOptions as LaneOptions, MakeChannel, PublishClient};
use fleethaven_fabric_grpc::tls::Tls;
use fleethaven_lanes::gateway::Options as Bounds;
use fleethaven_pki::ServiceRole;
use fleethaven_storage::Wake;
use fleethaven_storage_redis::{Error as StoreError, RedisStore};
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::cli::{ClusterArgs, StoreArgs};
use crate::cluster_tls;
use crate::metrics::Metrics;
use crate::process::Process;
use crate::wiring::Stores;

/// How long a command or query may take before its outcome is unknown.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// How long a question about membership may take.
const MEMBERSHIP_WITHIN: Duration = Duration::from_secs(2);
/// How long a start waits for the metadata store, all told.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Pause before what failed while starting is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// What was confirmed so long ago says that the metadata store is out of touch.
const OUT_OF_TOUCH: Duration = Duration::from_secs(5);
/// How often readiness is brought up to date.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The rest of the cluster, from one process.
pub(crate) struct Cluster {
    pub(crate) tls: Arc<Tls>,
    pub(crate) metadata: Arc<Client>,
    pub(crate) membership: Arc<dyn Membership>,
    pub(crate) tables: Tables,
    pub(crate) store: Arc<RedisStore>,
}

impl Cluster {
    /// Connects as a service of `role`, and returns when the keys below `prefixes` are here: an empty prefix for all of them,
    /// none for a process that only asks.
    pub(crate) async fn connect(
        process: &Process,
        metrics: Metrics,
        arguments: &ClusterArgs,
        store: &StoreArgs,
        role: ServiceRole,
        prefixes: Vec<Bytes>,
    ) -> Result<Self> {
        let tls = cluster_tls::open(&arguments.identity, role, &metrics, &process.stopping)?;
        let channels = metastore(&tls, &arguments.metastore)?;
        let membership = Arc::new(MembershipClient::new(channels.clone(), MEMBERSHIP_WITHIN));
        let metadata = Arc::new(Client::new(channels, options(prefixes)));
        let store = session_store(store).await.context("cannot use the session store (--redis)")?;
        let level = tokio::time::timeout(START_WITHIN, metadata.level()).await;
        level.context("no node of the metadata store answers (--metastore)")?;
        let tables = Tables::follow(&*membership);
        Ok(Self { tls, metadata, membership, tables, store })
    }

    /// Waits until everything in this process that follows the metadata store has acted on what there is.
    pub(crate) async fn caught_up(&self) -> Result<()> {
        let acted = tokio::time::timeout(START_WITHIN, self.metadata.acted()).await;
        acted.context("rules and identities were not loaded in time")
    }

    /// Waits until the metadata store's leader has confirmed what was loaded. Until then it counts as arbitrarily old, and a gateway
    /// would refuse clients.
    pub(crate) async fn confirmed(&self) -> Result<()> {
        let in_touch = self.in_touch();
        let confirmed = async {
            while !in_touch() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(START_WITHIN, confirmed).await.context("the metadata store has no leader")
    }

    /// The seams behind which the state is.
    pub(crate) fn stores(&self) -> Stores {
        Stores {
            metadata: self.metadata.clone(),
            sessions: self.store.clone(),
            retained: self.store.clone(),
            rules: self.store.clone(),
        }
    }

    /// Lanes to all routers, for a service that only publishes.
    pub(crate) fn publisher(&self) -> PublishClient {
        publisher(&self.tls, &self.tables)
    }

    /// How services of a role are reached.
    pub(crate) fn services(&self, role: ServiceRole) -> MakeChannel {
        services(&self.tls, role)
    }

    /// Keeps the part of readiness true that all roles have: the session store answers, and the metadata store does, where
    /// `metadata` says so.
    pub(crate) fn watch_readiness(
        &self,
        process: &Process,
        metadata: impl Fn() -> bool + Send + 'static,
    ) -> AbortHandle {
        let in_touch = process.admin.readiness("metadata store");
        let healthy = process.admin.readiness("session store");
        let store = self.store.clone();
        let looking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            loop {
                ticks.tick().await;
                in_touch.set(metadata());
                healthy.set(store.healthy());
            }
        });
        looking.abort_handle()
    }

    /// Whether the metadata store answers.
    pub(crate) fn in_touch(&self) -> impl Fn() -> bool + Send + use<> {
        let metadata = self.metadata.clone();
        move || metadata.staleness() < OUT_OF_TOUCH
    }

    /// Closes the session store in order.
    pub(crate) async fn close(self) -> Result<()> {
        let store = self.store;
        Ok(tokio::task::spawn_blocking(move || store.close()).await?)
    }
}

/// Opens the session store. One that is not there yet is waited for; one that will not do is not.
async fn session_store(arguments: &StoreArgs) -> Result<Arc<RedisStore>> {
    let options = arguments.options()?;
    let end = tokio::time::Instant::now() + START_WITHIN;
    loop {
        let opening = options.clone();
        match tokio::task::spawn_blocking(move || RedisStore::open(opening)).await? {
            Err(StoreError::Unreachable(reason)) if tokio::time::Instant::now() < end => {
                tracing::info!(reason, "the session store is not there yet");
                tokio::time::sleep(PAUSE).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Lanes to all routers of the tables, for a process that only publishes.
pub(crate) fn publisher(tls: &Arc<Tls>, tables: &Tables) -> PublishClient {
    PublishClient::start(LaneOptions {
        // Never used again, as those of members are: it is drawn from 2^64.
        incarnation: Incarnation(uuid::Uuid::new_v4().as_u64_pair().0),
        core: 0,
        cores: 0,
        channel: services(tls, ServiceRole::Router),
        delivery: Arc::new(Nobody),
        wake: Arc::new(Nobody),
        tables: tables.stream(),
        dropped: Arc::new(|_| ()),
        lanes: Bounds::default(),
    })
}

fn services(tls: &Arc<Tls>, role: ServiceRole) -> MakeChannel {
    let tls = tls.clone();
    Arc::new(move |address| tls.channel(address, role))
}

/// Channels to the nodes of the metadata store.
fn metastore(tls: &Arc<Tls>, addresses: &[String]) -> Result<Vec<Channel>> {
    let channel = |address: &String| tls.channel(address, ServiceRole::Metastore);
    let channels = addresses.iter().map(channel).collect::<Result<_, _>>();
    channels.map_err(anyhow::Error::msg).context("--metastore")
}

fn options(prefixes: Vec<Bytes>) -> ClientOptions {
    let first_node = std::process::id() as usize;
    ClientOptions { prefixes, timeout: CALL_WITHIN, clock: clock::now, first_node }
}

/// The metadata store, for a command that asks it something and ends. It may be starting.
pub(crate) async fn ask(arguments: &ClusterArgs) -> Result<Client> {
    let client = ask_nodes(arguments.identity.folder(), &arguments.metastore)?;
    let level = tokio::time::timeout(START_WITHIN, client.level()).await;
    level.context("no node of the metadata store answers (--metastore)")?;
    Ok(client)
}

/// The same, by the folder of an operator's certificate and the addresses of nodes; without waiting.
pub(crate) fn ask_nodes(certificate: &Path, addresses: &[String]) -> Result<Client> {
    let tls = cluster_tls::read(certificate, &[ServiceRole::Operator])?;
    Ok(Client::new(metastore(&tls, addresses)?, options(Vec::new())))
}

/// Where pushes to a service without connections would go.
struct Nobody;

impl Delivery for Nobody {
    fn push(&self, _core: u16, pushes: &mut Vec<Push>) {
        pushes.clear();
    }
}

impl Wake for Nobody {
    fn wake(&self) {}
}

/// The routing tables, for any number of readers.
#[derive(Clone)]
pub(crate) struct Tables(watch::Receiver<Option<Arc<RoutingTable>>>);

impl Tables {
    pub(crate) fn follow(membership: &dyn Membership) -> Self {
        let (sender, receiver) = watch::channel(None);
        let mut tables = membership.table();
        tokio::spawn(async move {
            while let Some(table) = tables.next().await {
                sender.send_replace(Some(table));
            }
        });
        Self(receiver)
    }

    /// All from now on; those that were overtaken are left out.
    pub(crate) fn stream(&self) -> TableStream {
        let mut receiver = self.0.clone();
        receiver.mark_changed();
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            loop {
                receiver.changed().await.ok()?;
                let table = receiver.borrow_and_update().clone();
                if let Some(table) = table {
                    return Some((table, receiver));
                }
            }
        }))
    }
}

/// Becomes a member, which is not relied upon yet. Its lease is to be renewed.
pub(crate) async fn join(
    membership: &Arc<dyn Membership>,
    role: Role,
    address: String,
) -> Result<Incarnation> {
    eventually(|| membership.join(role, address.clone(), env!("CARGO_PKG_VERSION").to_owned()))
        .await
        .context("cannot join the cluster")
}

/// A member's seat: its lease is renewed until it leaves.
pub(crate) struct Seat {
    pub(crate) incarnation: Incarnation,
    membership: Arc<dyn Membership>,
    renewing: AbortHandle,
    lost: watch::Receiver<bool>,
}

impl Seat {
    /// Joins, and begins to renew the lease.
    pub(crate) async fn take(membership: &Arc<dyn Membership>, role: Role, address: String) -> Result<Self> {
        let incarnation = join(membership, role, address).await?;
        let (losing, lost) = watch::channel(false);
        let renewing = tokio::spawn(renew(membership.clone(), incarnation, losing)).abort_handle();
        Ok(Self { incarnation, membership: membership.clone(), renewing, lost })
    }

    /// From here on the member is relied upon.
    pub(crate) async fn serve(&self) -> Result<()> {
        let serving = || self.membership.set_phase(self.incarnation, Phase::Serving);
        eventually(serving).await.context("cannot begin to serve")
    }

    /// Returns when the others have gone on without this member.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The sender ends with the renewals, which end with the seat.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Gives the seat up.
    pub(crate) async fn leave(self) {
        if let Err(error) = self.membership.leave(self.incarnation).await {
            tracing::warn!(%error, "the others find out that this process is gone when its lease has run out");
        }
        self.renewing.abort();
    }
}

async fn renew(membership: Arc<dyn Membership>, incarnation: Incarnation, losing: watch::Sender<bool>) {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match membership.renew(incarnation).await {
            Ok(()) => {}
            Err(CallError::Refused(refused)) => {
                tracing::error!(error = %refused, "this process is a member of the cluster no more");
                losing.send_replace(true);
                return;
            }
            Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
        }
    }
}

/// Asks until there is an answer, while starting.
async fn eventually<'a, T>(
    ask: impl Fn() -> fleethaven_fabric::metadata::BoxFuture<'a, Result<T, CallError>>,
) -> Result<T> {
    let asking = async {
        loop {
            match ask().await {
                // Asking twice does no harm: a seat that nobody renews is given up.
                Err(error @ (CallError::Unavailable(_) | CallError::Unknown)) => {
                    tracing::info!(%error, "the metadata store is not there yet");
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    };
    Ok(tokio::time::timeout(START_WITHIN, asking).await.context("the metadata store does not answer")??)
}
