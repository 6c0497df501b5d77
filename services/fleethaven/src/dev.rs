//! `fleethaven dev`: every service in one process, on embedded storage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::{Functions, Metadata, Publish};
use fleethaven_gateway::gateway::RoutingFactory;
use fleethaven_metastore::{Config as MetastoreConfig, Metastore, NoPeers};
use fleethaven_net::{CertificateGate, ServerCertificates, ServerTls, tls};
use fleethaven_router::publisher::Backpressure;
use fleethaven_router::{Lane, Publisher, Router};
use fleethaven_storage::Dead;
use fleethaven_storage_embedded::{EmbeddedStore, Options as StoreOptions};
use fleethaven_things::{Desk, DeskDoor, DeskLane};
use fleethaven_types::Profile;
use prometheus::Registry;

use crate::account;
use crate::audit;
use crate::certificates;
use crate::cli::DevArgs;
use crate::config;
use crate::data_dir::{ADMIN_FILE, DataDir};
use crate::encryption::issuing_keys::{self, Keeper};
use crate::encryption::{Masters, Safe, Watched, watch};
use crate::expiries;
use crate::front::{Answering, Sockets, pulse};
use crate::housekeeping::{self, Here};
use crate::logs;
use crate::metrics::{Metrics, StoreMetrics, device_certificates};
use crate::operators::{Kept, operator};
use crate::process::Process;
use crate::ready::Ready;
use crate::reload::Reload;
use crate::rules_worker::Working;
use crate::traces::traced;
use crate::wiring::{Clients, Out, Shared, Stores, caught_up, router_metrics, warm_up};

/// Runs until it is told to stop.
pub(crate) async fn run(arguments: DevArgs, settings: config::Settings) -> Result<()> {
    let mut process = Process::start(&arguments.process, "dev").await?;
    let cores = arguments.cores.count();
    let sockets = Sockets::bind(&arguments.listeners, cores).await?;
    let mut bound = sockets.addresses(process.admin_address)?;
    let data = DataDir::open(&arguments.data_dir)?;
    let now = clock::now().as_secs();
    let server = certificates::server(&arguments.server, &data, now)?;
    let registry = process.registry.clone();
    let ca_file = server.ca_file.clone();
    let reload = Reload::start(server, Metrics::new(&registry)?)?;
    let readiness = process.admin.readiness("services");

    let masters = Masters::of(&arguments.encryption)?;
    let sealed_by = issuing_keys::of_directory(&arguments.encryption, &data)?;
    let disk = Disk::open((&data.path(""), sealed_by), arguments.scope.profile, masters, &registry).await?;
    let logs = logs::open(&arguments.iot_log, Some(data.path("logs")), &registry)?;
    let mut shared = Shared::new(&arguments.scope, settings, &process, logs.clone());
    let credentials = account::bootstrap(&*disk.metastore, shared.scope).await?;
    housekeeping::rotate_keys(&*disk.metastore, shared.scope).await?;
    tokio::spawn(housekeeping::keep_keys(disk.metastore.clone(), shared.scope));
    tokio::spawn(housekeeping::end_expired_enrolments(disk.metastore.clone(), shared.scope));
    let stores = disk.stores();
    let certificates = device_certificates(&registry)?;
    let counting = tokio::spawn(expiries::count(stores.metadata.clone(), certificates));
    shared.follow_logging(&stores.metadata);
    shared.issue_with(&arguments.issuing);
    let usage = shared.count_usage(&stores.metadata, &arguments.usage);
    let journal = audit::open(&arguments.audit, Some(data.path("audit")), &registry)?;
    let kept = Kept { journal: journal.clone(), logs };
    process.admin.operate(operator(stores.metadata.clone(), stores.rules.clone(), kept));
    // For commands on the directory: they ask this process while it has the store open.
    data.write(ADMIN_FILE, &process.admin_address.to_string())?;
    let front = (reload.certificates(), cores);
    let services = Services::start(&disk, &stores, (&shared, &arguments), front, &registry).await?;
    let Services { clients, router, publish, desk, incarnation, .. } = &services;
    let gate: Arc<dyn CertificateGate> = clients.identity.clone();
    let tls = Arc::new(ServerTls::new(&tls::Settings {
        certificates: reload.certificates(),
        tickets: clients.tickets.clone(),
        gate,
        versions: arguments.server.versions(),
    })?);
    tokio::spawn(reload.run());
    let (listeners, web) = sockets.split(&arguments.listeners, &tls);
    let (lanes, desk) = (router.clone(), desk.clone());
    let routing: RoutingFactory = Arc::new(move |_, wake| {
        let lane = Box::new(Lane::new(lanes.clone(), wake.clone()));
        Box::new(DeskLane::new(lane, desk.clone(), wake))
    });
    let authorizers = shared.authorizers(&stores, services.functions.clone());
    let on_cores = (listeners, pulse(&process.admin, cores));
    let gateway = clients.gateway(
        (&shared, &stores),
        (*incarnation, Arc::new(())),
        authorizers.clone(),
        routing,
        on_cores,
    )?;
    let answering = Answering {
        shared: &shared,
        stores: &stores,
        listeners: &arguments.listeners,
        server: &arguments.server,
        outbound: &arguments.outbound,
        audit: audit::of_api(&arguments.audit, journal.as_ref()),
        tls,
        identity: clients.identity.clone(),
        authorizers,
        gateway: gateway.clone(),
        publish: publish.clone(),
        connections: gateway.clone(),
    };
    let (api, serving) = web.serve(answering, (&mut bound, &process.stopping))?;
    let tasks = tokio::spawn(api.work_on_tasks(services.out.buckets())).abort_handle();
    readiness.set(true);
    process.ready(&Ready::new(shared.scope, &bound, credentials, ca_file, &data)?)?;

    let failure = tokio::select! {
        () = process.told_to_stop() => None,
        failure = disk.metastore.failed() => Some(failure),
    };
    readiness.set(false);
    if let Some(failure) = failure {
        bail!("the metadata store cannot go on, and is to be started again: {failure}");
    }
    arguments.drain.delay().await;
    let grace = Duration::from_secs(u64::from(arguments.process.grace_period));
    // What rules have not finished by then is executed after the next start.
    tokio::join!(gateway.drain(grace), services.worker.drain(grace / 2));
    process.stop();
    for task in serving {
        let _ = task.await;
    }
    tasks.abort();
    counting.abort();
    if let Some(usage) = usage {
        usage.finish().await;
    }
    data.remove(ADMIN_FILE);
    disk.close().await?;
    process.end().await;
    Ok(())
}

/// The stores of one process.
struct Disk {
    metastore: Arc<Metastore>,
    sessions: Arc<EmbeddedStore>,
}

impl Disk {
    /// Opens both below `dir`, encrypted if there are master keys; those of issuing CAs are sealed under keys of a file in any case.
    async fn open(
        (dir, file): (&Path, PathBuf),
        profile: Profile,
        masters: Option<Masters>,
        registry: &Registry,
    ) -> Result<Self> {
        let limits = fleethaven_registry::Limits::of(profile);
        let (metastore_dir, sessions_dir) = (dir.join("metastore"), dir.join("sessions"));
        let metastore_safe = Safe::opened(masters.as_ref(), "metastore", &metastore_dir).await?;
        let sessions_safe = Safe::opened(masters.as_ref(), "sessions", &sessions_dir).await?;
        let sealing = issuing_keys::sealing(&file)?;
        let config = MetastoreConfig {
            vault: metastore_safe.as_ref().map(Safe::vault),
            sealing: sealing.clone(),
            ..MetastoreConfig::new(metastore_dir, clock::now, limits)
        };
        let metastore =
            Metastore::open(config, Arc::new(NoPeers)).await.context("cannot open the metadata store")?;
        let keeper = Keeper { metastore: metastore.clone(), sealing, file, tls: None, told: String::new() };
        keeper.start()?;
        let options = StoreOptions {
            vault: sessions_safe.as_ref().map(Safe::vault),
            ..StoreOptions::new(Arc::new(clock::now))
        };
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&sessions_dir, options));
        let sessions = opened.await?.context("cannot open the session store")?;
        if let Some(masters) = masters {
            let metastore = metastore_safe.map(|safe| Watched::metastore(safe, metastore.clone()));
            let sessions = sessions_safe.map(|safe| Watched::sessions(safe, sessions.clone()));
            watch(masters, metastore.into_iter().chain(sessions).collect(), registry)?;
        }
        Ok(Self { metastore, sessions })
    }

    fn stores(&self) -> Stores {
        Stores {
            metadata: self.metastore.clone(),
            sessions: self.sessions.clone(),
            retained: self.sessions.clone(),
            rules: self.sessions.clone(),
        }
    }

    async fn close(self) -> Result<()> {
        self.metastore.shutdown().await.context("the metadata store did not close in order")?;
        tokio::task::spawn_blocking(move || self.sessions.close()).await?;
        Ok(())
    }
}

/// The services that need no listener.
struct Services {
    clients: Clients,
    router: Arc<Router>,
    publish: Arc<dyn Publish>,
    desk: Arc<Desk>,
    functions: Arc<dyn Functions>,
    out: Out,
    incarnation: u64,
    worker: Working,
}

impl Services {
    /// When it returns, all subscriptions and rules are loaded and the wills of an earlier process are published.
    async fn start(
        disk: &Disk,
        stores: &Stores,
        (shared, arguments): (&Shared, &DevArgs),
        front: (Arc<ServerCertificates>, u8),
        registry: &Registry,
    ) -> Result<Self> {
        StoreMetrics::register(disk.sessions.clone(), registry)?;
        let metadata: &Arc<dyn Metadata> = &stores.metadata;
        let functions = shared.functions(stores, &arguments.outbound)?;
        let outward = (functions.clone(), &arguments.outbound);
        let clients = Clients::follow(shared, metadata, front, outward, None)?;
        let router = shared.router(stores, router_metrics(registry)?, clients.mailboxes.clone());
        let sessions = warm_up(&router).await?;
        tokio::spawn(fleethaven_router::rules::follow(router.clone(), metadata.clone()));
        // Held back, a republish could wait for the very queue that it is emptying.
        let republish: Arc<dyn Publish> = Arc::new(Publisher::start(router.clone(), Backpressure::Exempt));
        let answers = traced(republish.clone(), &shared.traces);
        let desk = shared.desk(stores, answers, Some(functions.clone()))?;
        let door = Arc::new(DeskDoor::new(republish, desk.clone()));
        let out = shared.outside(stores, functions.clone(), &arguments.outbound)?;
        let worker = shared.worker(stores, door, (functions.clone(), &out), &arguments.objects)?;
        caught_up(&**metadata).await?;
        // Before anything waits for its publishes: a full rules queue holds them back until it is emptied.
        let worker = Working::start(worker);
        let publisher = Publisher::start(router.clone(), Backpressure::Held);
        let traced_publisher = traced(Arc::new(publisher.clone()), &shared.traces);
        disk.metastore.publish_through(traced_publisher.clone());
        let incarnation = uuid::Uuid::new_v4().as_u64_pair().0;
        let store = stores.sessions.clone();
        let identity = &clients.identity;
        let (broker, dead) = (Here(publisher.clone(), router.clone()), Dead::AllBut(incarnation));
        let orphans = housekeeping::end_orphans(&store, dead, &broker, identity).await?;
        tokio::spawn(housekeeping::publish_wills(store.clone(), broker.clone()));
        tokio::spawn(housekeeping::expire_sessions(store, broker));
        tracing::info!(sessions, orphans, "services wired");
        let publish = Arc::new(DeskDoor::new(traced_publisher, desk.clone()));
        Ok(Self { clients, router, publish, desk, functions, out, incarnation, worker })
    }
}
