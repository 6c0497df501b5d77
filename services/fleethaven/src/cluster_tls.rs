//! The certificate by which this process is known in its cluster, and its replacement while running.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fleethaven_daemon::shutdown::Shutdown;
use fleethaven_fabric_grpc::tls::{Files, Tls};
use fleethaven_pki::ServiceRole;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::IdentityArgs;
use crate::metrics::Metrics;

/// How often the files are looked at. Contents are compared, not times: a mounted secret is swapped by a link.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reads the certificate of a process of this role, and keeps it level with its files from then on.
pub(crate) fn open(
    arguments: &IdentityArgs,
    role: ServiceRole,
    metrics: &Metrics,
    stopping: &Shutdown,
) -> Result<Arc<Tls>> {
    let tls = read(arguments.folder(), &[role])?;
    tell(&tls, metrics);
    // From here on SIGHUP no longer ends the process.
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(follow(tls.clone(), metrics.clone(), hangup, stopping.clone()));
    Ok(tls)
}

/// Reads once who operates the metadata store: an operator, or one of its nodes, in whose container an operator is.
pub(crate) fn of_operator(folder: &Path) -> Result<Arc<Tls>> {
    read(folder, &[ServiceRole::Operator, ServiceRole::Metastore])
}

/// Reads it once.
pub(crate) fn read(folder: &Path, roles: &[ServiceRole]) -> Result<Arc<Tls>> {
    let files = Files::in_folder(folder);
    Tls::open(files, roles).context("--cluster-tls: `fleethaven pki issue` makes what is needed")
}

async fn follow(
    tls: Arc<Tls>,
    metrics: Metrics,
    mut hangup: tokio::signal::unix::Signal,
    mut stopping: Shutdown,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = hangup.recv() => {}
            () = stopping.wait() => return,
        }
        let looked = tls.clone();
        match tokio::task::spawn_blocking(move || looked.reload()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                tell(&tls, &metrics);
                metrics.certificate_reloads.with_label_values(&["success"]).inc();
                tracing::info!("the certificate of this process was reloaded");
            }
            Ok(Err(error)) => {
                metrics.certificate_reloads.with_label_values(&["refused"]).inc();
                let reason = error.to_string();
                tracing::error!(
                    reason,
                    "the new certificate of this process cannot be used: the old one stays"
                );
            }
            Err(error) => return tracing::error!(%error, "certificates are not reloaded any more"),
        }
    }
}

fn tell(tls: &Tls, metrics: &Metrics) {
    let file = tls.certificate_file().display().to_string();
    let gauge = metrics.certificate_expiry.with_label_values(&[file.as_str()]);
    gauge.set(i64::try_from(tls.not_after()).unwrap_or(i64::MAX));
}
