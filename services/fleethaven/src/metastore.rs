//! `fleethaven metastore`: one node of the metadata store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::Admin;
use fleethaven_fabric_grpc::raft::peers::GrpcPeers;
use fleethaven_fabric_grpc::{admin, membership, raft, server, tls};
use fleethaven_metastore::{Config, Metastore, Sealing, Start};
use fleethaven_pki::ServiceRole;
use fleethaven_registry::Limits;
use fleethaven_telemetry::admin::Check;
use serde::Serialize;

use crate::cli::MetastoreArgs;
use crate::cluster::{Tables, publisher};
use crate::cluster_tls;
use crate::data_dir::DataDir;
use crate::encryption::issuing_keys::{self, Keeper};
use crate::encryption::{Masters, Safe, Watched, watch};
use crate::expiries;
use crate::join::Joining;
use crate::metrics::{Metrics, NodeMetrics, device_certificates};
use crate::process::{Process, bind};
use crate::ready::host_port;
use crate::traces::traced;

/// How often readiness and metrics are brought up to date.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long calls under way may take after leadership was handed over.
const CALLS_WITHIN: Duration = Duration::from_secs(2);

/// Where the node is.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    role: &'static str,
    node_id: u64,
    cluster: String,
    listen: String,
    admin: String,
}

/// Runs until it is told to stop.
pub(crate) async fn run(arguments: MetastoreArgs) -> Result<()> {
    let mut process = Process::start(&arguments.process, "metastore").await?;
    let listener = bind("--listen", arguments.listen.listen).await?;
    let listen = listener.local_addr()?;
    let certificate_metrics = Metrics::new(&process.registry)?;
    let role = ServiceRole::Metastore;
    let tls = cluster_tls::open(&arguments.identity, role, &certificate_metrics, &process.stopping)?;
    let data = DataDir::open(&arguments.data_dir)?;
    let node = arguments.node().map_err(anyhow::Error::msg)?;
    let cluster = tls.identity().cluster().to_owned();
    let store = arguments.store.clone().unwrap_or_else(|| cluster.clone());
    let (dialled, asking) = (tls.clone(), tls.clone());
    let channel = move |address: &str| dialled.channel(address, ServiceRole::Metastore);
    let state_groups = arguments.state_groups;
    let same = raft::Store::new(&store, state_groups).context("the store's name cannot be sent")?;
    let peers = GrpcPeers::new(same.clone(), Box::new(channel));
    let masters = Masters::of(&arguments.encryption)?;
    let safe = Safe::opened(masters.as_ref(), "metastore", &data.path("metastore")).await?;
    let sealed_by = issuing_keys::of_node(&arguments.encryption, arguments.identity.folder());
    let sealing = match &sealed_by {
        Some(file) => issuing_keys::sealing(file)?,
        None => {
            tracing::error!(
                "there is no --issuing-key-file: no account can be made, and private keys of issuing CAs stay as they are"
            );
            Sealing::new(None)
        }
    };
    let config = Config {
        sealing: sealing.clone(),
        vault: safe.as_ref().map(Safe::vault),
        node,
        cluster: store,
        start: start(&arguments),
        state_groups,
        ..Config::new(data.path("metastore"), clock::now, Limits::of(arguments.profile))
    };
    let opened = Metastore::open(config, Arc::new(peers)).await;
    let metastore = opened.context("cannot open the metadata store")?;
    if let Some((masters, safe)) = masters.zip(safe) {
        watch(masters, vec![Watched::metastore(safe, metastore.clone())], &process.registry)?;
    }
    if let Some(file) = sealed_by {
        let (metastore, tls) = (metastore.clone(), Some(tls.clone()));
        Keeper { metastore, sealing, file, tls, told: String::new() }.start()?;
    }
    let publisher = Arc::new(publisher(&tls, &Tables::follow(&*metastore)));
    metastore.publish_through(traced(publisher, &process.traces));
    let routes = server::service(metastore.clone());
    let routes = raft::server::add_service(routes, same, metastore.clone());
    let routes = membership::add_service(routes, metastore.clone());
    let routes = admin::add_service(routes, metastore.clone());
    let mut stopping = process.stopping.clone();
    let traces = process.traces.clone();
    let served = tls::serve(listener, tls, routes, traces, async move { stopping.wait().await });
    let served = tokio::spawn(served);

    let quorum = process.admin.readiness("quorum");
    let metrics = NodeMetrics::new(&process.registry)?;
    let looking = tokio::spawn(look(metastore.clone(), quorum.clone(), metrics));
    let certificates = device_certificates(&process.registry)?;
    let counting = tokio::spawn(expiries::count(metastore.clone(), certificates));
    // Ready to be spoken to. Whether there is a quorum, which needs the other nodes, /readyz tells.
    process.ready(&Ready {
        ready: true,
        role: role.as_str(),
        node_id: node,
        cluster,
        listen: host_port(listen),
        admin: host_port(process.admin_address),
    })?;

    if arguments.asks_to_join() {
        let joining = Joining {
            metastore: metastore.clone(),
            node,
            address: arguments.reached(node, listen),
            founders: arguments.peers(),
            tls: asking,
        };
        tokio::spawn(joining.join());
    }

    let failure = tokio::select! {
        () = process.told_to_stop() => None,
        failure = metastore.failed() => Some(failure),
    };
    looking.abort();
    counting.abort();
    quorum.set(false);
    if let Some(failure) = failure {
        bail!("the metadata store cannot go on, and is to be started again: {failure}");
    }
    if let Err(error) = metastore.hand_over().await {
        tracing::warn!(%error, "leadership could not be handed over");
    }
    process.stop();
    // Watches never end by themselves: their clients go on at another node.
    let _ = tokio::time::timeout(CALLS_WITHIN, served).await;
    metastore.shutdown().await.context("the metadata store did not close in order")?;
    process.end().await;
    Ok(())
}

/// What the node does when its directory is empty.
fn start(arguments: &MetastoreArgs) -> Start {
    match arguments.peers() {
        peers if peers.is_empty() && arguments.join => Start::Join,
        peers if peers.is_empty() => Start::Alone,
        _ if arguments.join => Start::Ask,
        peers => Start::Form(peers),
    }
}

/// Keeps readiness and metrics true: a node that is out of touch with the control group's quorum is not ready. State groups have
/// the same nodes; that one of them elects a leader is no reason to send clients elsewhere.
async fn look(metastore: Arc<Metastore>, quorum: Check, metrics: NodeMetrics) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut ready = false;
    loop {
        ticks.tick().await;
        let status = metastore.status_now();
        let control = &status.control;
        if ready != control.confirmed {
            ready = control.confirmed;
            tracing::info!(ready, leader = control.leader, term = control.term, "in touch with the quorum");
        }
        quorum.set(control.confirmed);
        metrics.show(&status);
    }
}
