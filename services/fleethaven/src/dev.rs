//! The life of `fleethaven dev`: start, ready, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fleethaven_api::HostPort;
use fleethaven_daemon::clock;
use fleethaven_gateway::{Beat, Listener, ListenerKind, Protocol, Pulse};
use fleethaven_net::proxy::{Network, Trusted};
use fleethaven_net::tls::{self, Endpoint};
use fleethaven_net::{CertificateGate, ServerTls, quic, websocket};
use fleethaven_session::Settings;
use fleethaven_telemetry::admin::Admin;
use tokio::net::TcpListener;

use crate::account;
use crate::certificates;
use crate::cli::{DevArgs, ListenerArgs};
use crate::config;
use crate::data_dir::DataDir;
use crate::housekeeping;
use crate::https::{Door, Https};
use crate::metrics::Metrics;
use crate::process::{self, Process};
use crate::ready::{Bound, Ready, host};
use crate::reload::Reload;
use crate::wiring::{Services, Stores};

/// Sockets, bound before anything else is started, so that a port in use is said at once.
struct Sockets {
    mqtt_tls: Vec<std::net::TcpListener>,
    mqtt: Vec<std::net::TcpListener>,
    https: TcpListener,
    https_mtls: Option<TcpListener>,
}

/// Runs until it is told to stop.
pub(crate) async fn run(arguments: DevArgs, settings: config::Settings) -> Result<()> {
    let mut process = Process::start(&arguments.process).await?;
    let scope = arguments.scope.scope();
    let cores = arguments.cores.unwrap_or_else(available_cores);
    let sockets = Sockets::bind(&arguments.listeners, cores).await?;
    let mut bound = sockets.addresses(process.admin_address)?;
    let data = DataDir::open(&arguments.data_dir)?;
    let now = clock::now().as_secs();
    let server = certificates::server(&arguments.server, &data, now)?;
    let registry = process.registry.clone();
    let ca_file = server.ca_file.clone();
    let reload = Reload::start(server, Metrics::new(&registry)?)?;
    let readiness = process.admin.readiness("services");
    let stopping = process.stopping.clone();

    let stores = Stores::open(&data.path(""), arguments.scope.profile).await?;
    let credentials = account::bootstrap(&*stores.metastore, scope, now).await?;
    housekeeping::rotate_ticket_keys(&*stores.metastore, scope).await?;
    tokio::spawn(housekeeping::keep_ticket_keys(stores.metastore.clone(), scope));
    let config::Settings { limits, behaviour, .. } = settings;
    let settings = Settings::new(behaviour, limits.default.clone(), scope);
    let services = Services::start(&stores, settings, limits, scope, cores, &registry).await?;
    let gate: Arc<dyn CertificateGate> = services.identity.clone();
    let tls = Arc::new(ServerTls::new(&tls::Settings {
        certificates: reload.certificates(),
        tickets: services.tickets.clone(),
        gate,
        versions: arguments.server.versions(),
    })?);
    tokio::spawn(reload.run());
    let quic_tls = tls.fixed(Endpoint::Quic);
    let front = |protocol, proxies: &[Network]| {
        Arc::new(ListenerKind { protocol, proxies: Trusted::new(proxies.to_vec()) })
    };
    let wanted = &arguments.listeners;
    let listeners = listeners(
        (sockets.mqtt_tls, front(Protocol::Tls(tls.clone()), &wanted.mqtt_tls_proxy)),
        (sockets.mqtt, front(Protocol::Plain, &wanted.mqtt_proxy)),
    );
    let gateway = Arc::new(services.gateway(&stores, listeners, pulse(&process.admin, cores))?);
    let at = HostPort { host: host(bound.https.ip()), port: bound.https.port() };
    let naming = (arguments.server.base_domain.clone(), arguments.scope.single_region, at);
    let profile = arguments.scope.profile;
    let api = services.api(&stores, scope, profile, naming, gateway.clone(), &registry)?;
    let identity = services.identity.clone();
    let frame = services.packet_bytes();
    let websocket_limits = websocket::Limits { max_frame: frame, max_message: frame };
    let https = Arc::new(Https { api, tls, identity, gateway: gateway.clone(), websocket_limits });
    let mut serving = vec![tokio::spawn(https.clone().serve(
        sockets.https,
        Door::new(Endpoint::Https, &wanted.https_proxy),
        stopping.clone(),
    ))];
    if let Some(listener) = sockets.https_mtls {
        let door = Door::new(Endpoint::HttpsMutual, &wanted.https_mtls_proxy);
        serving.push(tokio::spawn(https.clone().serve(listener, door, stopping.clone())));
    }
    drop(https);
    if let Some(address) = wanted.quic {
        let settings = quic_settings(services.longest_keep_alive());
        let endpoint = quic::listen(address, quic_tls, settings)
            .with_context(|| format!("cannot listen on UDP {address}: choose another --quic"))?;
        bound.quic = Some(endpoint.local_addr()?);
        let identity = services.identity.clone();
        serving.push(tokio::spawn(crate::quic::serve(endpoint, identity, gateway.clone(), stopping)));
    }
    readiness.set(true);
    process.ready(&Ready::new(scope, &bound, credentials, ca_file, &data)?)?;

    process.told_to_stop().await;
    readiness.set(false);
    gateway.drain(Duration::from_secs(u64::from(arguments.process.grace_period))).await;
    process.stop();
    for task in serving {
        let _ = task.await;
    }
    services.stop();
    stores.metastore.shutdown().await.context("the metadata store did not close in order")?;
    let store = stores.store.clone();
    tokio::task::spawn_blocking(move || store.close()).await?;
    process.end().await;
    Ok(())
}

/// Silence is the keep-alive's business: QUIC's own idle timeout only has to outlast it.
fn quic_settings(longest_keep_alive: u16) -> quic::Settings {
    let idle_timeout = Duration::from_secs(u64::from(longest_keep_alive) * 2);
    let settings = quic::Settings::default();
    quic::Settings { idle_timeout: idle_timeout.max(settings.idle_timeout), ..settings }
}

/// Shows on the admin port whether the event loops turn.
fn pulse(admin: &Admin, cores: u8) -> Pulse {
    let hearts: Vec<_> = (0..cores).map(|core| admin.heartbeat(&format!("gateway-{core}"))).collect();
    Arc::new(move |core, beat| {
        let Some(heart) = hearts.get(usize::from(core)) else { return };
        match beat {
            Beat::Turning => heart.tick(),
            Beat::Ended => heart.clone().retire(),
        }
    })
}

fn available_cores() -> u8 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u8::try_from(cores).unwrap_or(u8::MAX)
}

/// Per core, its copy of each MQTT listener.
fn listeners(
    (mqtt_tls, tls): (Vec<std::net::TcpListener>, Arc<ListenerKind>),
    (mqtt, plain): (Vec<std::net::TcpListener>, Arc<ListenerKind>),
) -> Vec<Vec<Listener>> {
    let mut cores: Vec<Vec<Listener>> =
        mqtt_tls.into_iter().map(|socket| vec![Listener { socket, kind: tls.clone() }]).collect();
    for (core, socket) in cores.iter_mut().zip(mqtt) {
        core.push(Listener { socket, kind: plain.clone() });
    }
    cores
}

impl Sockets {
    async fn bind(arguments: &ListenerArgs, cores: u8) -> Result<Self> {
        Ok(Self {
            mqtt_tls: shared("--mqtt-tls", arguments.mqtt_tls, cores)?,
            mqtt: arguments
                .mqtt
                .map_or_else(|| Ok(Vec::new()), |address| shared("--mqtt", address, cores))?,
            https: process::bind("--https", arguments.https).await?,
            https_mtls: match arguments.https_mtls {
                Some(address) => Some(process::bind("--https-mtls", address).await?),
                None => None,
            },
        })
    }

    fn addresses(&self, admin: SocketAddr) -> Result<Bound> {
        let of = |sockets: &[std::net::TcpListener]| {
            sockets.first().map(std::net::TcpListener::local_addr).transpose()
        };
        Ok(Bound {
            mqtt_tls: of(&self.mqtt_tls)?.context("there is no event loop")?,
            mqtt: of(&self.mqtt)?,
            https: self.https.local_addr()?,
            https_mtls: self.https_mtls.as_ref().map(TcpListener::local_addr).transpose()?,
            quic: None,
            admin,
        })
    }
}

/// One listener per core on the same port.
fn shared(flag: &str, address: SocketAddr, cores: u8) -> Result<Vec<std::net::TcpListener>> {
    let bind = |address: SocketAddr| {
        fleethaven_net::listen::tcp(address)
            .with_context(|| format!("cannot listen on {address}: choose another {flag}"))
    };
    // Port reuse is between our own cores: a port that another process listens on is in use, whatever it allows.
    drop(
        std::net::TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}: choose another {flag}"))?,
    );
    let first = bind(address)?;
    let chosen = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..cores {
        sockets.push(bind(chosen)?);
    }
    Ok(sockets)
}
