//! The life of every long-running command around its services: logs, admin port, ready line, signals.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::scheduling;
use fleethaven_daemon::shutdown::{Shutdown, Signals, Trigger};
use fleethaven_fabric::Traces;
use fleethaven_telemetry::admin::Admin;
use fleethaven_telemetry::logs::{self, LogOptions};
use fleethaven_telemetry::traces::Exporter;
use prometheus::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::ProcessArgs;
use crate::traces;

/// Runs a command that has a gateway's or a router's cores to its end: see [`main`]. All else in the process gives way to them.
pub(crate) fn with_event_loops(arguments: &ProcessArgs, run: impl Future<Output = Result<()>>) -> Result<()> {
    // Before there are other threads: they take it over.
    scheduling::behind_event_loops();
    main(arguments, run)
}

/// Runs a command to its end on a runtime of its own.
pub(crate) fn main(arguments: &ProcessArgs, run: impl Future<Output = Result<()>>) -> Result<()> {
    let mut log = LogOptions { filter: arguments.log.clone(), ..LogOptions::default() };
    if let Some(format) = &arguments.log_format {
        log.format = format.parse()?;
    }
    logs::init(&log)?;
    use_aws_lc()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run);
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

/// Runs a command that does one thing and ends; its errors are its log.
pub(crate) fn brief<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    use_aws_lc()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run)
}

fn use_aws_lc() -> Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        bail!("a crypto provider was installed before");
    }
    Ok(())
}

/// A process that runs.
pub(crate) struct Process {
    pub(crate) registry: Registry,
    pub(crate) admin: Admin,
    pub(crate) admin_address: SocketAddr,
    /// What becomes of messages and requests.
    pub(crate) traces: Traces,
    /// For tasks that end with the process.
    pub(crate) stopping: Shutdown,
    signals: Signals,
    stop: Trigger,
    served: JoinHandle<()>,
    exporter: Option<Exporter>,
}

impl Process {
    /// Begins: from here on signals are waited for, and the admin port answers. `role` is what traces name the process by.
    pub(crate) async fn start(arguments: &ProcessArgs, role: &'static str) -> Result<Self> {
        let signals = Signals::new().context("cannot wait for signals")?;
        let listener = bind("--admin", arguments.admin).await?;
        let admin_address = listener.local_addr()?;
        let registry = Registry::new();
        let admin = Admin::new(registry.clone());
        let (stop, stopping) = Shutdown::new();
        let mut ended = stopping.clone();
        let served = admin.clone().serve(listener, async move { ended.wait().await });
        let served = tokio::spawn(served);
        let (traces, exporter) = traces::start(&arguments.traces, role, &registry, &admin)?;
        Ok(Self { registry, admin, admin_address, traces, stopping, signals, stop, served, exporter })
    }

    /// Says that starting is over: prints the one line that standard output ever gets.
    pub(crate) fn ready(&self, line: &impl Serialize) -> Result<()> {
        self.admin.started();
        print_line(line)
    }

    /// Waits until somebody asks the process to stop.
    pub(crate) async fn told_to_stop(&mut self) {
        let signal = self.signals.wait().await;
        tracing::info!(signal, "draining");
    }

    /// Ends the tasks that wait for [`stopping`](Self::stopping).
    pub(crate) fn stop(&self) {
        self.stop.fire();
    }

    /// Ends the process; last of all the admin port.
    pub(crate) async fn end(self) {
        self.stop.fire();
        if let Some(exporter) = self.exporter {
            exporter.close().await;
        }
        let _ = self.served.await;
        tracing::info!("stopped");
    }
}

/// Prints a line of JSON on standard output.
pub(crate) fn print_line(line: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Prints text on standard output.
pub(crate) fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// A listener; an address that cannot be had is told with the flag that chooses another.
pub(crate) async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another {flag}"))
}
