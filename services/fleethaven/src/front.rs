//! The sockets that devices and API users connect to, and what is served on them. One process has all of them, a gateway of a
//! cluster too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fleethaven_api::{Api, Audit};
use fleethaven_authorizers::Authorizers;
use fleethaven_daemon::shutdown::Shutdown;
use fleethaven_fabric::{Connections, Publish};
use fleethaven_gateway::{Beat, Gateway, IdentityCache, Listener, ListenerKind, Protocol, Pulse};
use fleethaven_net::proxy::{Network, Trusted};
use fleethaven_net::tls::Endpoint;
use fleethaven_net::{ServerTls, quic, websocket};
use fleethaven_telemetry::admin::Admin;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::{ListenerArgs, OutboundArgs, ServerArgs};
use crate::https::{Devices, Door, Https};
use crate::process;
use crate::ready::Bound;
use crate::wiring::{Naming, Shared, Stores};

/// Sockets, bound before anything else is started, so that a port in use is said at once.
pub(crate) struct Sockets {
    mqtt_tls: Vec<std::net::TcpListener>,
    mqtt: Vec<std::net::TcpListener>,
    https: TcpListener,
    https_mtls: Option<TcpListener>,
}

impl Sockets {
    pub(crate) async fn bind(arguments: &ListenerArgs, cores: u8) -> Result<Self> {
        Ok(Self {
            mqtt_tls: on_all_cores("--mqtt-tls", arguments.mqtt_tls, cores)?,
            mqtt: arguments
                .mqtt
                .map_or_else(|| Ok(Vec::new()), |address| on_all_cores("--mqtt", address, cores))?,
            https: process::bind("--https", arguments.web.https).await?,
            https_mtls: match arguments.https_mtls {
                Some(address) => Some(process::bind("--https-mtls", address).await?),
                None => None,
            },
        })
    }

    /// Where they are; QUIC is bound when it is served.
    pub(crate) fn addresses(&self, admin: SocketAddr) -> Result<Bound> {
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

    /// The MQTT listeners, for each core its copy, and the others.
    pub(crate) fn split(self, arguments: &ListenerArgs, tls: &Arc<ServerTls>) -> (Vec<Vec<Listener>>, Web) {
        let kind = |protocol, proxies: &[Network]| {
            Arc::new(ListenerKind { protocol, proxies: Trusted::new(proxies.to_vec()) })
        };
        let with_tls = kind(Protocol::Tls(tls.clone()), &arguments.mqtt_tls_proxy);
        let plain = kind(Protocol::Plain, &arguments.mqtt_proxy);
        let with_tls = |socket| vec![Listener { socket, kind: with_tls.clone() }];
        let mut cores: Vec<Vec<Listener>> = self.mqtt_tls.into_iter().map(with_tls).collect();
        for (core, socket) in cores.iter_mut().zip(self.mqtt) {
            core.push(Listener { socket, kind: plain.clone() });
        }
        (cores, Web { https: self.https, https_mtls: self.https_mtls })
    }
}

/// The sockets that the gateway's cores do not have.
pub(crate) struct Web {
    https: TcpListener,
    https_mtls: Option<TcpListener>,
}

/// Who answers on them.
pub(crate) struct Answering<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) stores: &'a Stores,
    pub(crate) listeners: &'a ListenerArgs,
    pub(crate) server: &'a ServerArgs,
    pub(crate) outbound: &'a OutboundArgs,
    pub(crate) audit: Option<Audit>,
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) identity: Arc<IdentityCache>,
    pub(crate) authorizers: Arc<Authorizers>,
    pub(crate) gateway: Arc<Gateway>,
    /// Where what comes by HTTPS is published.
    pub(crate) publish: Arc<dyn Publish>,
    /// Who is connected, here or at another gateway.
    pub(crate) connections: Arc<dyn Connections>,
}

impl Web {
    /// Serves all of them until it is time to stop; where QUIC is wanted, it is bound here. The API that is served, and what
    /// ends when it does.
    pub(crate) fn serve(
        self,
        answering: Answering<'_>,
        (bound, stopping): (&mut Bound, &Shutdown),
    ) -> Result<(Api, Vec<JoinHandle<()>>)> {
        let Answering { shared, stores, listeners: arguments, server, outbound, audit, .. } = answering;
        let Answering { tls, identity, authorizers, gateway, publish, connections, .. } = answering;
        let base_domain = server.base_domain.clone();
        let naming = Naming::of_listeners(base_domain.clone(), bound.https, bound.https_mtls);
        let origins = &arguments.web.cors_origin;
        let doors = (publish, connections);
        let api = shared.api(stores, (naming, origins), doors, (authorizers.clone(), outbound), audit)?;
        let quic_tls = tls.quic();
        let frame = shared.packet_bytes();
        let websocket_limits = websocket::Limits { max_frame: frame, max_message: frame };
        let (identity_of, gateway_of) = (identity.clone(), gateway.clone());
        let devices = Devices { identity: identity_of, authorizers, gateway: gateway_of, websocket_limits };
        let https = Arc::new(Https {
            api: api.clone(),
            tls,
            traces: shared.traces.clone(),
            devices: Some(devices),
            credentials: base_domain.map(|base| format!(".credentials.{base}")),
        });
        let door = Door::new(Endpoint::Https, &arguments.web.https_proxy);
        let mut serving = vec![tokio::spawn(https.clone().serve(self.https, door, stopping.clone()))];
        if let Some(listener) = self.https_mtls {
            let door = Door::new(Endpoint::HttpsMutual, &arguments.https_mtls_proxy);
            serving.push(tokio::spawn(https.serve(listener, door, stopping.clone())));
        }
        if let Some(address) = arguments.quic {
            let settings = quic_settings(shared.longest_keep_alive());
            let endpoint = quic::listen(address, quic_tls, settings)
                .with_context(|| format!("cannot listen on UDP {address}: choose another --quic"))?;
            bound.quic = Some(endpoint.local_addr()?);
            serving.push(tokio::spawn(crate::quic::serve(endpoint, identity, gateway, stopping.clone())));
        }
        Ok((api, serving))
    }
}

/// Silence is the keep-alive's business: QUIC's own idle timeout only has to outlast it.
fn quic_settings(longest_keep_alive: u16) -> quic::Settings {
    let idle_timeout = Duration::from_secs(u64::from(longest_keep_alive) * 2);
    let settings = quic::Settings::default();
    quic::Settings { idle_timeout: idle_timeout.max(settings.idle_timeout), ..settings }
}

/// Shows on the admin port whether the event loops turn.
pub(crate) fn pulse(admin: &Admin, cores: u8) -> Pulse {
    let hearts: Vec<_> = (0..cores).map(|core| admin.heartbeat(&format!("gateway-{core}"))).collect();
    Arc::new(move |core, beat| {
        let Some(heart) = hearts.get(usize::from(core)) else { return };
        match beat {
            Beat::Turning => heart.tick(),
            Beat::Ended => heart.clone().retire(),
        }
    })
}

/// One listener per core on the same port.
fn on_all_cores(flag: &str, address: SocketAddr, cores: u8) -> Result<Vec<std::net::TcpListener>> {
    let failed = || format!("cannot listen on {address}: choose another {flag}");
    // Port reuse is between our own cores: a port that another process listens on is in use, whatever it allows.
    drop(std::net::TcpListener::bind(address).with_context(failed)?);
    let first = fleethaven_net::listen::tcp(address).with_context(failed)?;
    let chosen = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..cores {
        sockets.push(fleethaven_net::listen::tcp(chosen).with_context(failed)?);
    }
    Ok(sockets)
}
