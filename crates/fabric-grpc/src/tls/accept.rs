//! The called side: a listener whose connections are those of services of the cluster.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleethaven_fabric::Traces;
use fleethaven_pki::Certificate;
use futures_util::stream;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::access::{AccessLayer, Peer};
use super::{KEEP_ALIVE, Tls, WINDOWS};
use crate::trace::IncomingLayer;

/// Handshakes under way at a time; further connections wait in the listen queue.
pub(super) const HANDSHAKES: usize = 64;
/// How long one may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Calls of one connection that their caller gave up before they were looked at. After a cut or a pause all that it gave up
/// meanwhile come at once, and with the library's bound of 20, which is meant for callers that nobody knows, the connection
/// would be refused, and with it the calls that are still waited for.
const GIVEN_UP: usize = 4096;
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `routes` on `listener` to the services that may call them, until `shutdown` ends; calls under way are then let
/// finish. Calls whose trace is recorded are recorded in `traces`.
///
/// # Errors
///
/// Those of the transport.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<Tls>,
    routes: Routes,
    traces: Traces,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (connections, accepted) = mpsc::channel(1);
    let accepting = Accepting(tokio::spawn(accept(listener, tls, connections)).abort_handle());
    // The listener closes as the drain begins: from then on nobody is accepted.
    let shutdown = async move {
        shutdown.await;
        drop(accepting);
    };
    serve_connections(accepted, routes, traces, shutdown).await
}

/// Serves the connections that come through a channel.
pub(super) async fn serve_connections(
    mut accepted: mpsc::Receiver<Authenticated>,
    routes: Routes,
    traces: Traces,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let incoming = stream::poll_fn(move |cx| accepted.poll_recv(cx).map(|next| next.map(Ok::<_, io::Error>)));
    let (stream, connection) = WINDOWS;
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE * 10))
        .http2_keepalive_timeout(Some(KEEP_ALIVE * 5))
        .http2_max_pending_accept_reset_streams(Some(GIVEN_UP))
        .http2_max_local_error_reset_streams(Some(GIVEN_UP))
        .initial_stream_window_size(stream)
        .initial_connection_window_size(connection)
        .layer(IncomingLayer(traces))
        .layer(AccessLayer)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
}

/// The task that accepts; ends when dropped.
struct Accepting(AbortHandle);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: TcpListener, tls: Arc<Tls>, connections: mpsc::Sender<Authenticated>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(place) = places.clone().acquire_owned().await {
        let (tcp, address) = accepted(&listener).await;
        let arrival = Arrival { tcp, address, load: Load::default() };
        tokio::spawn(admit(arrival, tls.clone(), connections.clone(), place));
    }
}

/// The next connection, however long that takes.
pub(super) async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "the listener for services cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts the connections of a place where they are served: each holds a clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Load(Arc<()>);

impl Load {
    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// A connection before its handshake.
pub(super) struct Arrival {
    pub(super) tcp: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) load: Load,
}

/// Finds out who called, and hands the connection on when it is a service of the cluster.
pub(super) async fn admit(
    arrival: Arrival,
    tls: Arc<Tls>,
    connections: mpsc::Sender<Authenticated>,
    place: OwnedSemaphorePermit,
) {
    let address = arrival.address;
    match tokio::time::timeout(HANDSHAKE_WITHIN, authenticate(arrival, tls)).await {
        Ok(Ok(connection)) => drop(connections.send(connection).await),
        Ok(Err(error)) => tracing::warn!(%address, reason = %error, "a caller is no service of this cluster"),
        Err(_) => tracing::warn!(%address, "a caller did not finish its handshake"),
    }
    drop(place);
}

async fn authenticate(arrival: Arrival, tls: Arc<Tls>) -> io::Result<Authenticated> {
    let Arrival { tcp, address, load } = arrival;
    tcp.set_nodelay(true)?;
    let generation = tls.generation();
    let stream = TlsAcceptor::from(tls.current().server.clone()).accept(tcp).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let now = UnixTime::now();
    let identity = tls.current().trust.check(&chain, now).map_err(io::Error::other)?;
    let first = chain.first().ok_or_else(|| io::Error::other("no certificate"))?;
    let not_after = Certificate::parse_der(first).map_err(io::Error::other)?.not_after;
    let remaining = Duration::from_secs(not_after.saturating_sub(now.as_secs()));
    Ok(Authenticated {
        stream,
        peer: Peer { identity, address },
        chain,
        tls,
        generation,
        expiry: Box::pin(tokio::time::sleep(remaining)),
        _load: load,
    })
}

/// A connection whose peer has proven who it is, for as long as that holds.
pub(super) struct Authenticated {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    /// Of what the chain was checked against last.
    generation: u64,
    expiry: Pin<Box<Sleep>>,
    _load: Load,
}

impl Authenticated {
    /// Whether the peer is still trusted. Probes keep even a silent connection coming here.
    fn stands(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.expiry.as_mut().poll(cx).is_ready() {
            return Err(self.ended("its certificate has expired"));
        }
        let generation = self.tls.generation();
        if generation != self.generation {
            self.generation = generation;
            let checked = self.tls.current().trust.check(&self.chain, UnixTime::now());
            checked.map_err(|error| self.ended(&error.to_string()))?;
        }
        Ok(())
    }

    fn ended(&self, reason: &str) -> io::Error {
        tracing::warn!(peer = %self.peer.identity, address = %self.peer.address, reason, "a connection ends");
        io::Error::new(io::ErrorKind::PermissionDenied, reason)
    }
}

impl Connected for Authenticated {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Authenticated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stands(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Authenticated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
