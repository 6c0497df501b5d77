//! `fleethaven router`: matches the messages of a cluster, and fans them out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use fleethaven_daemon::scheduling::as_event_loop;
use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, Phase, Role, TableStream};
use fleethaven_fabric_grpc::Routes;
use fleethaven_fabric_grpc::routing::{Deliveries, RoutingServer};
use fleethaven_fabric_grpc::tls::{Cores, Served};
use fleethaven_gateway::IdentityCache;
use fleethaven_lanes::router::Slots;
use fleethaven_pki::ServiceRole;
use fleethaven_router::Lane;
use fleethaven_router::metrics::SlotMetrics;
use fleethaven_router::slots::{SlotKeeper, gatherer};
use futures_util::StreamExt;
use serde::Serialize;

use crate::cli::RouterArgs;
use crate::cluster::{Cluster, join};
use crate::config;
use crate::housekeeping;
use crate::logs;
use crate::metrics::Metrics;
use crate::operators::{Kept, reader};
use crate::process::{Process, bind};
use crate::ready::host_port;
use crate::wiring::{Shared, router_metrics};

/// Where the router is.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    role: &'static str,
    listen: String,
    admin: String,
}

/// Returns when no other router is in service.
async fn alone(mut tables: TableStream, me: Incarnation) {
    while let Some(table) = tables.next().await {
        let mut others = table.routers().filter(|router| router.incarnation != me);
        if !others.any(|router| router.phase == Phase::Serving) {
            return;
        }
    }
}

/// Runs until it is told to stop, or the others go on without it.
pub(crate) async fn run(arguments: RouterArgs, settings: config::Settings) -> Result<()> {
    let mut process = Process::start(&arguments.process, "router").await?;
    let listener = bind("--listen", arguments.member.listen.listen).await?;
    let listen = listener.local_addr()?;
    let serving = process.admin.readiness("slots");
    let (metrics, role, all) = (Metrics::new(&process.registry)?, ServiceRole::Router, vec![Bytes::new()]);
    let cluster =
        Cluster::connect(&process, metrics, &arguments.cluster, &arguments.store, role, all).await?;
    let logs = logs::open(&arguments.iot_log, None, &process.registry)?;
    process.admin.operate(reader(Kept { journal: None, logs: logs.clone() }));
    let shared = Shared::new(&arguments.scope, settings, &process, logs);
    let stores = cluster.stores();
    shared.follow_logging(&stores.metadata);
    let metrics = router_metrics(&process.registry)?;
    let dropped = metrics.deliveries_dropped.clone();
    let deliveries = Arc::new(Deliveries::new(move |count| dropped.inc_by(count)));
    let router = shared.router(&stores, metrics, deliveries.clone());
    tokio::spawn(fleethaven_router::rules::follow(router.clone(), stores.metadata.clone()));
    cluster.caught_up().await?;

    let incarnation = join(&cluster.membership, Role::Router, arguments.member.address(listen)).await?;
    let slots = Arc::new(Slots::new(tokio::time::Instant::now().into_std()));
    SlotMetrics::register(slots.clone(), &process.registry)?;
    let (gatherer, gathered) = gatherer();
    let membership: Arc<dyn Membership> = cluster.membership.clone();
    let keeper = SlotKeeper::start(incarnation, membership, router.clone(), slots.clone(), gathered);
    let lanes = router.clone();
    let server = RoutingServer {
        router: incarnation,
        slots,
        lanes: Arc::new(move |wake| Box::new(Lane::new(lanes.clone(), wake))),
        deliveries,
        gathering: Arc::new(gatherer),
    };
    let served = Served {
        tls: cluster.tls.clone(),
        routes: server.add_service(Routes::default()),
        traces: process.traces.clone(),
        begin: as_event_loop,
    };
    let cores = Cores::start(arguments.cores.count(), listener, &served)?;
    drop(served);
    let mut standing = keeper.standing();
    standing.wait_for(|standing| standing.ready || standing.out).await?;
    let identity = Arc::new(IdentityCache::new(stores.metadata.clone(), shared.scope));
    let housekeeping = housekeeping::of_cluster(
        stores.sessions.clone(),
        cluster.publisher(),
        cluster.tables.stream(),
        identity,
    );
    let looking = cluster.watch_readiness(&process, cluster.in_touch());
    serving.set(true);
    process.ready(&Ready {
        ready: true,
        role: role.as_str(),
        listen: host_port(listen),
        admin: host_port(process.admin_address),
    })?;

    let out = tokio::select! {
        () = process.told_to_stop() => false,
        // An error would say that the keeper is gone, and with it all that this process is for.
        _ = standing.wait_for(|standing| standing.out) => true,
    };
    looking.abort();
    serving.set(false);
    if !out {
        // Until others have taken over what it owns, it serves.
        let leaving = cluster.membership.set_phase(incarnation, Phase::Leaving).await;
        if let Err(error) = leaving {
            tracing::warn!(%error, "the others are not told that this router is leaving");
        }
        let grace = Duration::from_secs(u64::from(arguments.process.grace_period));
        tokio::select! {
            _ = standing.wait_for(|standing| standing.owns_nothing || standing.out) => {}
            () = alone(cluster.tables.stream(), incarnation) => tracing::info!("no other router takes the slots"),
            () = tokio::time::sleep(grace) => tracing::warn!("slots were still owned at the end of the grace period"),
        }
        if let Err(error) = cluster.membership.leave(incarnation).await {
            tracing::warn!(%error, "the others find out that this router is gone when its lease has run out");
        }
    }
    housekeeping.abort();
    process.stop();
    cores.close().await;
    drop((keeper, stores, router));
    cluster.close().await?;
    process.end().await;
    if out {
        bail!("the cluster has gone on without this router: its lease had run out");
    }
    Ok(())
}
