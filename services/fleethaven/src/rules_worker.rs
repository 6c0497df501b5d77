//! `fleethaven rules-worker`: executes the rules of a cluster.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use fleethaven_fabric::membership::Role;
use fleethaven_pki::ServiceRole;
use serde::Serialize;

use crate::cli::RulesWorkerArgs;
use crate::cluster::Cluster;
use crate::config;
use crate::logs;
use crate::metrics::Metrics;
use crate::operators::{Kept, operator};
use crate::presence;
use crate::process::Process;
use crate::ready::host_port;
use crate::wiring::Shared;

/// Where the worker is.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    role: &'static str,
    admin: String,
}

/// Runs until it is told to stop.
pub(crate) async fn run(arguments: RulesWorkerArgs, settings: config::Settings) -> Result<()> {
    let mut process = Process::start(&arguments.process, "rules-worker").await?;
    let role = ServiceRole::RulesWorker;
    let (metrics, all) = (Metrics::new(&process.registry)?, vec![Bytes::new()]);
    let cluster =
        Cluster::connect(&process, metrics, &arguments.cluster, &arguments.store, role, all).await?;
    let logs = logs::open(&arguments.iot_log, None, &process.registry)?;
    let mut shared = Shared::new(&arguments.scope, settings, &process, logs.clone());
    let stores = cluster.stores();
    shared.follow_logging(&stores.metadata);
    let usage = shared.count_usage(&stores.metadata, &arguments.usage);
    let kept = Kept { journal: None, logs };
    process.admin.operate(operator(stores.metadata.clone(), stores.rules.clone(), kept));
    let functions = shared.functions(&stores, &arguments.outbound)?;
    let door = shared.door(&stores, Arc::new(cluster.publisher()))?;
    let out = shared.outside(&stores, functions.clone(), &arguments.outbound)?;
    let worker = shared.worker(&stores, door, (functions, &out), &arguments.objects)?;
    cluster.caught_up().await?;
    let worker = tokio::spawn(worker.run());
    let looking = cluster.watch_readiness(&process, cluster.in_touch());
    let (members, admin) = (cluster.membership.clone(), process.admin_address);
    let shown = presence::show(members, Role::RulesWorker, admin, process.stopping.clone());
    process.ready(&Ready { ready: true, role: role.as_str(), admin: host_port(process.admin_address) })?;

    process.told_to_stop().await;
    looking.abort();
    // What it has claimed is given to others as the store closes, or executed again: at least once.
    worker.abort();
    process.stop();
    let _ = shown.await;
    if let Some(usage) = usage {
        usage.finish().await;
    }
    drop(stores);
    cluster.close().await?;
    process.end().await;
    Ok(())
}
