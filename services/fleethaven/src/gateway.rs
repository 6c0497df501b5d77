//! `fleethaven gateway`: where the devices of a cluster connect.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use fleethaven_fabric::membership::Role;
use fleethaven_fabric_grpc::connections::{self, ConnectionsClient, NeighboursClient};
use fleethaven_fabric_grpc::routing::{ClientOptions as LaneOptions, RoutingClient};
use fleethaven_fabric_grpc::{Routes, tls as services};
use fleethaven_gateway::gateway::RoutingFactory;
use fleethaven_lanes::gateway::Options as Bounds;
use fleethaven_net::{CertificateGate, ServerTls, tls};
use fleethaven_pki::ServiceRole;
use fleethaven_things::{Desk, DeskDoor, DeskLane};
use serde::Serialize;

use crate::audit;
use crate::certificates;
use crate::cli::GatewayArgs;
use crate::cluster::{Cluster, Seat};
use crate::config;
use crate::front::{Answering, Sockets, pulse};
use crate::logs;
use crate::metrics::Metrics;
use crate::operators::{Kept, reader};
use crate::process::{Process, bind};
use crate::ready::host_port;
use crate::reload::Reload;
use crate::traces::traced;
use crate::wiring::{Clients, Shared};

/// Where the gateway is; a listener that is off is null.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    role: &'static str,
    listen: String,
    data_endpoint: String,
    mqtt_tls: String,
    mqtt: Option<String>,
    mqtt_quic: Option<String>,
    https_mtls: Option<String>,
    admin: String,
}

/// Runs until it is told to stop, or the others go on without it.
pub(crate) async fn run(arguments: GatewayArgs, settings: config::Settings) -> Result<()> {
    let mut process = Process::start(&arguments.process, "gateway").await?;
    let cores = arguments.cores.count();
    let serving_check = process.admin.readiness("serving");
    let sockets = Sockets::bind(&arguments.listeners, cores).await?;
    let mut bound = sockets.addresses(process.admin_address)?;
    let listener = bind("--listen", arguments.member.listen.listen).await?;
    let listen = listener.local_addr()?;
    let metrics = Metrics::new(&process.registry)?;
    let reload = Reload::start(certificates::given(&arguments.server)?, metrics.clone())?;
    let (role, all) = (ServiceRole::Gateway, vec![Bytes::new()]);
    let cluster =
        Cluster::connect(&process, metrics, &arguments.cluster, &arguments.store, role, all).await?;
    let logs = logs::open(&arguments.iot_log, None, &process.registry)?;
    let journal = audit::open(&arguments.audit, None, &process.registry)?;
    process.admin.operate(reader(Kept { journal: journal.clone(), logs: logs.clone() }));
    let mut shared = Shared::new(&arguments.scope, settings, &process, logs);
    let stores = cluster.stores();
    shared.follow_logging(&stores.metadata);
    shared.issue_with(&arguments.issuing);
    let usage = shared.count_usage(&stores.metadata, &arguments.usage);
    let staleness = Duration::from_secs(arguments.auth_max_staleness.into());
    let front = (reload.certificates(), cores);
    let functions = shared.functions(&stores, &arguments.outbound)?;
    let outward = (functions.clone(), &arguments.outbound);
    let clients = Clients::follow(&shared, &stores.metadata, front, outward, Some(staleness))?;
    cluster.caught_up().await?;
    cluster.confirmed().await?;
    let seat = Seat::take(&cluster.membership, Role::Gateway, arguments.member.address(listen)).await?;

    let gate: Arc<dyn CertificateGate> = clients.identity.clone();
    let tls = Arc::new(ServerTls::new(&tls::Settings {
        certificates: reload.certificates(),
        tickets: clients.tickets.clone(),
        gate,
        versions: arguments.server.versions(),
    })?);
    tokio::spawn(reload.run());
    let (listeners, web) = sockets.split(&arguments.listeners, &tls);
    let authorizers = shared.authorizers(&stores, functions.clone());
    let on_cores = (listeners, pulse(&process.admin, cores));
    let (incarnation, gateways) = (seat.incarnation, cluster.services(ServiceRole::Gateway));
    let neighbours = Arc::new(NeighboursClient::new(cluster.tables.stream(), gateways.clone()));
    let publish = traced(Arc::new(cluster.publisher()), &process.traces);
    let desk = shared.desk(&stores, publish.clone(), Some(functions))?;
    let routing = lanes(&cluster, &seat, (&clients, cores), desk.clone());
    let gateway = clients.gateway(
        (&shared, &stores),
        (incarnation.0, neighbours),
        authorizers.clone(),
        routing,
        on_cores,
    )?;
    let displaced = gateway.clone();
    let displaced = Arc::new(move |address| displaced.taken_over(address));
    let routes = connections::add_service(Routes::default(), incarnation, gateway.clone(), displaced);
    let mut stopping = process.stopping.clone();
    let traces = process.traces.clone();
    let served =
        services::serve(listener, cluster.tls.clone(), routes, traces, async move { stopping.wait().await });
    let served = tokio::spawn(served);
    seat.serve().await?;

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
        publish: Arc::new(DeskDoor::new(publish, desk)),
        connections: Arc::new(ConnectionsClient::new(
            stores.sessions.clone(),
            cluster.tables.stream(),
            gateways,
        )),
    };
    let (_, serving) = web.serve(answering, (&mut bound, &process.stopping))?;
    let identity = clients.identity.clone();
    let looking = cluster.watch_readiness(&process, move || !identity.is_stale());
    serving_check.set(true);
    process.ready(&Ready {
        ready: true,
        role: role.as_str(),
        listen: host_port(listen),
        data_endpoint: format!("https://{}", host_port(bound.https)),
        mqtt_tls: host_port(bound.mqtt_tls),
        mqtt: bound.mqtt.map(host_port),
        mqtt_quic: bound.quic.map(host_port),
        https_mtls: bound.https_mtls.map(host_port),
        admin: host_port(process.admin_address),
    })?;

    let out = tokio::select! {
        () = process.told_to_stop() => false,
        // Its sessions have been given up: whoever is still here connects again, elsewhere.
        () = seat.lost() => true,
    };
    looking.abort();
    serving_check.set(false);
    if !out {
        arguments.drain.delay().await;
    }
    gateway.drain(Duration::from_secs(u64::from(arguments.process.grace_period))).await;
    process.stop();
    for task in serving {
        let _ = task.await;
    }
    served.abort();
    if let Some(usage) = usage {
        usage.finish().await;
    }
    seat.leave().await;
    drop(stores);
    cluster.close().await?;
    process.end().await;
    if out {
        bail!("the cluster has gone on without this gateway: its lease had run out");
    }
    Ok(())
}

/// Each core's lanes to all routers, with the desk beside them.
fn lanes(
    cluster: &Cluster,
    seat: &Seat,
    (clients, cores): (&Clients, u8),
    desk: Arc<Desk>,
) -> RoutingFactory {
    let (incarnation, channel) = (seat.incarnation, cluster.services(ServiceRole::Router));
    let (tables, mailboxes) = (cluster.tables.clone(), clients.mailboxes.clone());
    let dropped = clients.dropped();
    Arc::new(move |core, wake| {
        let lane = RoutingClient::start(LaneOptions {
            incarnation,
            core: core.into(),
            cores: cores.into(),
            channel: channel.clone(),
            delivery: mailboxes.clone(),
            wake: wake.clone(),
            tables: tables.stream(),
            dropped: dropped.clone(),
            lanes: Bounds::default(),
        });
        Box::new(DeskLane::new(Box::new(lane), desk.clone(), wake))
    })
}
