//! `fleethaven api`: AWS's REST in front of a cluster.

use std::sync::Arc;

use anyhow::{Context, Result};
use fleethaven_api::HostPort;
use fleethaven_fabric::membership::Role;
use fleethaven_fabric_grpc::connections::ConnectionsClient;
use fleethaven_net::tls::{self, Endpoint};
use fleethaven_net::{CertificateGate, Gate, ServerTls, TicketKeys};
use fleethaven_pki::ServiceRole;
use fleethaven_registry::keys;
use serde::Serialize;

use crate::audit;
use crate::certificates;
use crate::cli::ApiArgs;
use crate::cluster::Cluster;
use crate::config;
use crate::https::{Door, Https};
use crate::logs;
use crate::operators::{Kept, operator};
use crate::presence;
use crate::process::{self, Process};
use crate::ready::{host, host_port};
use crate::reload::Reload;
use crate::traces::traced;
use crate::wiring::{Naming, Shared};
use crate::{housekeeping, metrics};

/// Where the API is.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    role: &'static str,
    iot_endpoint: String,
    admin: String,
}

/// Runs until it is told to stop.
pub(crate) async fn run(arguments: ApiArgs, settings: config::Settings) -> Result<()> {
    let mut process = Process::start(&arguments.process, "api").await?;
    let listener = process::bind("--https", arguments.web.https).await?;
    let https = listener.local_addr()?;
    let serving = process.admin.readiness("serving");
    let role = ServiceRole::Api;
    let metrics = metrics::Metrics::new(&process.registry)?;
    let reload = Reload::start(certificates::given(&arguments.server)?, metrics.clone())?;
    // Of what there is, only functions are kept here, as testing an authorizer calls them, what is logged, where rule actions go, by
    // which bulk registration reads files, and who signs requests, so that not each of them has to ask the leader who that is.
    let mut kept = vec![
        keys::functions_prefix(),
        keys::logging_prefix(),
        keys::connections_prefix(),
        keys::rule_destinations_prefix(),
    ];
    kept.extend(keys::operators_prefixes());
    let cluster =
        Cluster::connect(&process, metrics, &arguments.cluster, &arguments.store, role, kept).await?;
    let logs = logs::open(&arguments.iot_log, None, &process.registry)?;
    let mut shared = Shared::new(&arguments.scope, settings, &process, logs.clone());
    let stores = cluster.stores();
    shared.follow_logging(&stores.metadata);
    shared.issue_with(&arguments.issuing);
    let usage = shared.count_usage(&stores.metadata, &arguments.usage);
    let journal = audit::open(&arguments.audit, None, &process.registry)?;
    let kept = Kept { journal: journal.clone(), logs };
    process.admin.operate(operator(stores.metadata.clone(), stores.rules.clone(), kept));
    housekeeping::rotate_keys(&*stores.metadata, shared.scope).await?;
    tokio::spawn(housekeeping::keep_keys(stores.metadata.clone(), shared.scope));
    tokio::spawn(housekeeping::end_expired_enrolments(stores.metadata.clone(), shared.scope));
    // Who connects here resumes here: devices' tickets are the gateways'.
    let tls = Arc::new(ServerTls::new(&tls::Settings {
        certificates: reload.certificates(),
        tickets: Arc::new(TicketKeys::default()),
        gate: Arc::new(NoDevices),
        versions: arguments.server.versions(),
    })?);
    tokio::spawn(reload.run());
    let at = match &arguments.data_endpoint {
        Some(at) => host_and_port("--data-endpoint", at)?,
        None => HostPort { host: host(https.ip()), port: https.port() },
    };
    let gateways = cluster.services(ServiceRole::Gateway);
    let connections =
        Arc::new(ConnectionsClient::new(stores.sessions.clone(), cluster.tables.stream(), gateways));
    let credentials = match &arguments.credentials_endpoint {
        Some(at) => host_and_port("--credentials-endpoint", at)?,
        None => at.clone(),
    };
    let naming = Naming { base_domain: arguments.server.base_domain.clone(), data: at, credentials };
    let publish = traced(Arc::new(cluster.publisher()), &process.traces);
    let publish = shared.door(&stores, publish)?;
    let functions = shared.functions(&stores, &arguments.outbound)?;
    let out = shared.outside(&stores, functions.clone(), &arguments.outbound)?;
    let authorizers = shared.authorizers(&stores, functions);
    let audit = audit::of_api(&arguments.audit, journal.as_ref());
    let api = shared.api(
        &stores,
        (naming, &arguments.web.cors_origin),
        (publish, connections),
        (authorizers, &arguments.outbound),
        audit,
    )?;
    let tasks = tokio::spawn(api.clone().work_on_tasks(out.buckets())).abort_handle();
    let door = Door::new(Endpoint::Https, &arguments.web.https_proxy);
    let traces = process.traces.clone();
    let served = Arc::new(Https { api, tls, traces, devices: None, credentials: None }).serve(
        listener,
        door,
        process.stopping.clone(),
    );
    let served = tokio::spawn(served);
    let looking = cluster.watch_readiness(&process, cluster.in_touch());
    let shown = presence::show(cluster.membership.clone(), Role::Api, https, process.stopping.clone());
    serving.set(true);
    process.ready(&Ready {
        ready: true,
        role: role.as_str(),
        iot_endpoint: format!("https://{}", host_port(https)),
        admin: host_port(process.admin_address),
    })?;

    process.told_to_stop().await;
    looking.abort();
    serving.set(false);
    arguments.drain.delay().await;
    process.stop();
    let _ = served.await;
    tasks.abort();
    let _ = shown.await;
    if let Some(usage) = usage {
        usage.finish().await;
    }
    drop(stores);
    cluster.close().await?;
    process.end().await;
    Ok(())
}

fn host_and_port(option: &str, text: &str) -> Result<HostPort> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.with_context(|| format!("{option} '{text}' is not HOST:PORT"))?;
    Ok(HostPort { host: host.to_owned(), port })
}

/// No client certificate is any good here.
struct NoDevices;

impl CertificateGate for NoDevices {
    fn check(&self, _certificate: &[u8]) -> Gate {
        Gate::Unknown
    }
}
