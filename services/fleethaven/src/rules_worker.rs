//! `fleethaven rules-worker`: executes the rules of a cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use fleethaven_daemon::shutdown::{Shutdown, Trigger};
use fleethaven_fabric::membership::Role;
use fleethaven_pki::ServiceRole;
use fleethaven_rules_worker::Worker;
use serde::Serialize;
use tokio::task::JoinHandle;

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

/// A worker at work.
pub(crate) struct Working {
    task: JoinHandle<()>,
    stop: Trigger,
}

impl Working {
    pub(crate) fn start(worker: Worker) -> Self {
        let (stop, mut stopped) = Shutdown::new();
        Self { task: tokio::spawn(worker.run(async move { stopped.wait().await })), stop }
    }

    /// Lets it finish the messages that it has in hand, and claim no others. What it does not finish in time is given to others when
    /// the store is closed, or executed after the next start: at least once.
    pub(crate) async fn drain(mut self, within: Duration) {
        self.stop.fire();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            tracing::warn!(?within, "rules have not ended in time: their messages are executed again");
            self.task.abort();
        }
    }
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
    let worker = Working::start(worker);
    let looking = cluster.watch_readiness(&process, cluster.in_touch());
    let (members, admin) = (cluster.membership.clone(), process.admin_address);
    let shown = presence::show(members, Role::RulesWorker, admin, process.stopping.clone());
    process.ready(&Ready { ready: true, role: role.as_str(), admin: host_port(process.admin_address) })?;

    process.told_to_stop().await;
    looking.abort();
    worker.drain(Duration::from_secs(u64::from(arguments.process.grace_period))).await;
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
