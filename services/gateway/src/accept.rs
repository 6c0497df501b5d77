//! Listeners, TLS handshakes, and who is connected: everything before the first MQTT byte.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use fleethaven_authorizers::Protocol as Spoken;
use fleethaven_net::ServerTls;
use fleethaven_net::handshake;
use fleethaven_net::possession::is_refusal;
use fleethaven_net::proxy::Trusted;
use fleethaven_net::tls::{Carries, Endpoint};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::budget;
use crate::core::Core;
use crate::gateway::Arrival;
use crate::identity::{self, Admitted};
use crate::mailbox::{Adopted, Control, Place};
use crate::transport::Transport;

/// Sockets in their TLS handshake that one core holds at a time; more wait in the kernel's queue. Clients that say nothing
/// hold a place until the timeout, so there are many; how much work is done for them in a turn is bounded apart from that.
pub(crate) const HANDSHAKES: usize = 4096;
/// What it costs to take in a socket, or to close one, about.
const ACCEPTING: Duration = Duration::from_micros(10);
/// Connections by which a core may exceed the least loaded one before it passes new sockets on.
const IMBALANCE: usize = 32;

/// How a listener treats those who connect.
pub struct ListenerKind {
    /// What it speaks below MQTT.
    pub protocol: Protocol,
    /// Load balancers whose PROXY protocol header tells the client's address.
    pub proxies: Trusted,
}

/// What is spoken below MQTT.
pub enum Protocol {
    /// MQTT over TLS with a client certificate.
    Tls(Arc<ServerTls>),
    /// Plain MQTT for local tools: clients are anonymous.
    Plain,
}

/// A bound listener; each core accepts on its own copy (SO_REUSEPORT).
pub struct Listener {
    /// Where; bound by [`fleethaven_net::listen::tcp`], so that accepted sockets are ready for use.
    pub socket: std::net::TcpListener,
    /// What.
    pub kind: Arc<ListenerKind>,
}

/// Accepts until the task is dropped (the core drains).
pub(crate) async fn run(
    core: Rc<Core>,
    socket: TcpListener,
    kind: Arc<ListenerKind>,
    handshakes: Arc<Semaphore>,
) {
    loop {
        // A permit before accepting: what cannot be worked on yet stays in the kernel's queue.
        let permit = handshakes.clone().acquire_owned().await;
        core.budget.admitted().await;
        core.budget.charge(ACCEPTING);
        match socket.accept().await {
            Ok((tcp, peer)) => {
                let (core, kind) = (core.clone(), kind.clone());
                tokio::task::spawn_local(async move {
                    place(&core, tcp, peer, kind).await;
                    drop(permit);
                });
            }
            Err(error) if fleethaven_net::listen::is_connection_error(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Keeps a new socket on this core, or passes it to the least loaded one.
async fn place(core: &Rc<Core>, tcp: TcpStream, peer: SocketAddr, kind: Arc<ListenerKind>) {
    let mine = core.mailbox.load.load(Ordering::Relaxed);
    let least = core.shared.mailboxes.least_loaded();
    let other = least.filter(|other| mine > other.load.load(Ordering::Relaxed) + IMBALANCE);
    match (other, tcp) {
        (None, tcp) => establish(core, tcp, peer, &kind, Place::on(&core.mailbox)).await,
        (Some(other), tcp) => match tcp.into_std() {
            Ok(tcp) => other.send(Control::Accepted(tcp, peer, kind, Place::on(other))),
            Err(error) => tracing::warn!(%error, "a socket could not be passed on"),
        },
    }
}

/// A socket that another core accepted.
pub(crate) fn accepted(
    core: &Rc<Core>,
    tcp: std::net::TcpStream,
    peer: SocketAddr,
    kind: Arc<ListenerKind>,
    place: Place,
) {
    match TcpStream::from_std(tcp) {
        Ok(tcp) => {
            let core = core.clone();
            tokio::task::spawn_local(async move { establish(&core, tcp, peer, &kind, place).await });
        }
        Err(error) => tracing::warn!(%error, "a socket could not be taken over"),
    }
}

/// A connection whose TLS handshake was done by the HTTPS listener.
pub(crate) fn adopt(core: &Rc<Core>, adopted: Adopted) {
    let Adopted { tcp, tls, arrival, place } = adopted;
    match TcpStream::from_std(tcp) {
        Ok(tcp) => {
            core.open(Transport::Tls(tcp, Box::new(tls)), arrival, place);
        }
        Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
    }
}

/// From socket to connection: handshake, then who it is.
async fn establish(core: &Rc<Core>, tcp: TcpStream, peer: SocketAddr, kind: &ListenerKind, place: Place) {
    let timeout = Duration::from_secs(u64::from(core.settings.limits.connect_timeout_secs));
    let mut admitting = pin!(admit(core, tcp, peer, kind, place));
    if tokio::time::timeout(timeout, admitting.as_mut()).await.is_err() {
        core.shared.metrics.handshakes.with_label_values(&["timeout"]).inc();
        // Many may have come at the same time, and each socket that goes is closed.
        core.budget.admitted().await;
        core.budget.charge(ACCEPTING);
    }
}

async fn admit(core: &Rc<Core>, mut tcp: TcpStream, peer: SocketAddr, kind: &ListenerKind, place: Place) {
    let peer = match kind.proxies.client(&mut tcp, peer).await {
        Ok(client) => client,
        Err(error) => {
            core.shared.metrics.handshakes.with_label_values(&["failed"]).inc();
            tracing::info!(source_ip = %peer.ip(), reason = %error, "no PROXY protocol header from a load balancer");
            return;
        }
    };
    match &kind.protocol {
        Protocol::Plain => {
            let principal = core.shared.identity.anonymous();
            core.open(
                Transport::Plain(tcp),
                Arrival { peer, local: None, principal, websocket: false, stranger: None },
                place,
            );
        }
        Protocol::Tls(tls) => identity::on_behalf_of(peer, greet(core, tcp, peer, tls, place)).await,
    }
}

/// Polls `work` as the core's budget allows.
async fn in_steps<T>(core: &Core, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut line = budget::Place::default();
    poll_fn(|cx: &mut Context<'_>| {
        if !core.budget.admit(&mut line, cx.waker()) {
            return Poll::Pending;
        }
        let before = core.tick();
        let polled = work.as_mut().poll(cx);
        core.charge_since(before);
        polled
    })
    .await
}

/// The TLS handshake, then who the client is.
async fn greet(core: &Rc<Core>, mut tcp: TcpStream, peer: SocketAddr, tls: &ServerTls, place: Place) {
    let count = |result: &str| core.shared.metrics.handshakes.with_label_values(&[result]).inc();
    let identity = &core.shared.identity;
    // The name in the hello says by which configuration the handshake goes on.
    let accepting = handshake::accept(&mut tcp, |hello| {
        tls.select(Endpoint::Mqtt, hello, identity.domain_tls(hello.server_name()))
    });
    let (connection, carries) = match in_steps(core, accepting).await {
        Ok(done) => done,
        Err(error) => {
            count("failed");
            // Then the gate has logged it, with the certificate.
            if is_refusal(&error) {
                return;
            }
            tracing::info!(source_ip = %peer.ip(), event = "Connection.AuthNError", reason = %error, "TLS handshake failed");
            return;
        }
    };
    let now = fleethaven_daemon::clock::now().as_secs();
    let chain = connection.peer_certificates().unwrap_or_default();
    let certificate = chain.first();
    let name = connection.server_name();
    let admitted = match (certificate, carries) {
        (Some(_), _) => identity.admit(chain, name, Spoken::Mqtt, now).await,
        (None, Carries::Mqtt) => identity.admit_stranger(name),
        (None, _) => return count("no_certificate"),
    };
    match admitted {
        Ok(Admitted { principal, stranger }) => {
            count("success");
            let arrival = Arrival { peer, local: None, principal, websocket: false, stranger };
            core.open(Transport::Tls(tcp, Box::new(connection)), arrival, place);
        }
        Err(error) => {
            count("not_authenticated");
            let certificate_id = certificate.map(|der| fleethaven_pki::CertificateId::of_der(der));
            if let Some(of) = certificate_id.map(|id| id.to_string()) {
                identity.log_refused((&of, name), peer, &error.to_string());
            }
            tracing::warn!(
                source_ip = %peer.ip(), principal_id = certificate_id.map(tracing::field::display),
                event = "Connection.AuthNError", reason = %error, "not authenticated"
            );
            // As AWS does: the connection just ends, without CONNACK.
            let mut transport = Transport::Tls(tcp, Box::new(connection));
            if let Some(farewell) = transport.close(true) {
                core.shut_down(farewell);
            }
        }
    }
}
