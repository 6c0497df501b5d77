//! Listeners, TLS handshakes, and who is connected: everything before the first MQTT byte.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fleethaven_net::ServerTls;
use fleethaven_net::tls::Endpoint;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::core::Core;
use crate::mailbox::{Adopted, Control};
use crate::transport::Transport;

/// TLS handshakes that one core works on at a time: a reconnect storm waits in the kernel's queue instead of stalling live
/// traffic.
pub(crate) const HANDSHAKES: usize = 64;
/// Connections by which a core may exceed the least loaded one before it passes new sockets on.
const IMBALANCE: usize = 32;

/// What a listener speaks below MQTT.
pub enum ListenerKind {
    /// MQTT over TLS with a client certificate.
    Tls(Arc<ServerTls>),
    /// Plain MQTT for local tools: clients are anonymous.
    Plain,
}

/// A bound listener; each core accepts on its own copy (SO_REUSEPORT).
pub struct Listener {
    /// Where.
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
        (None, tcp) => establish(core, tcp, peer, &kind).await,
        (Some(other), tcp) => match tcp.into_std() {
            Ok(tcp) => other.send(Control::Accepted(tcp, peer, kind)),
            Err(error) => tracing::warn!(%error, "a socket could not be passed on"),
        },
    }
}

/// A socket that another core accepted.
pub(crate) fn accepted(core: &Rc<Core>, tcp: std::net::TcpStream, peer: SocketAddr, kind: Arc<ListenerKind>) {
    match TcpStream::from_std(tcp) {
        Ok(tcp) => {
            let core = core.clone();
            tokio::task::spawn_local(async move { establish(&core, tcp, peer, &kind).await });
        }
        Err(error) => tracing::warn!(%error, "a socket could not be taken over"),
    }
}

/// A connection whose TLS handshake was done by the HTTPS listener.
pub(crate) fn adopt(core: &Rc<Core>, adopted: Adopted) {
    match TcpStream::from_std(adopted.tcp) {
        Ok(tcp) => core.open(Transport::Tls(tcp, Box::new(adopted.tls)), adopted.peer, adopted.principal),
        Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
    }
}

/// From socket to connection: handshake, then who it is.
async fn establish(core: &Rc<Core>, tcp: TcpStream, peer: SocketAddr, kind: &ListenerKind) {
    // Small packets leave at once; batching is the turn's business.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    match kind {
        ListenerKind::Plain => core.open(Transport::Plain(tcp), peer, core.shared.identity.anonymous()),
        ListenerKind::Tls(tls) => {
            let timeout = Duration::from_secs(u64::from(core.settings.limits.connect_timeout_secs));
            if tokio::time::timeout(timeout, handshake(core, tcp, peer, tls)).await.is_err() {
                core.shared.metrics.handshakes.with_label_values(&["timeout"]).inc();
            }
        }
    }
}

async fn handshake(core: &Rc<Core>, tcp: TcpStream, peer: SocketAddr, tls: &ServerTls) {
    let count = |result: &str| core.shared.metrics.handshakes.with_label_values(&[result]).inc();
    let stream = match TlsAcceptor::from(tls.fixed(Endpoint::Mqtt)).accept(tcp).await {
        Ok(stream) => stream,
        Err(error) => {
            count("failed");
            tracing::info!(source_ip = %peer.ip(), event = "Connection.AuthNError", reason = %error, "TLS handshake failed");
            return;
        }
    };
    let (tcp, connection) = stream.into_inner();
    let now = fleethaven_daemon::clock::now().as_secs();
    let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) else {
        count("no_certificate");
        return;
    };
    match core.shared.identity.certificate(certificate, now).await {
        Ok(principal) => {
            count("success");
            core.open(Transport::Tls(tcp, Box::new(connection)), peer, principal);
        }
        Err(error) => {
            count("not_authenticated");
            let certificate_id = fleethaven_pki::CertificateId::of_der(certificate);
            tracing::warn!(
                source_ip = %peer.ip(), principal_id = %certificate_id,
                event = "Connection.AuthNError", reason = %error, "not authenticated"
            );
            // As AWS does: the connection just ends, without CONNACK.
            let mut transport = Transport::Tls(tcp, Box::new(connection));
            transport.close();
        }
    }
}
