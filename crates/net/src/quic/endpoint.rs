//! The UDP socket and who is admitted to a handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::task::{JoinError, JoinSet};

use super::handshake::{self, Incoming};
use crate::listen;

/// Bytes a client may send before they are read, per connection.
const RECEIVE_WINDOW: u32 = 256 << 10;
/// Bytes written that are not acknowledged yet, per connection; then writing waits.
const SEND_WINDOW: u64 = 256 << 10;
/// Connection attempts that wait for a handshake; more are dropped, and come again.
const BACKLOG: usize = 4096;
/// Bytes kept for one waiting attempt: a client's first flight with a certificate in it.
const BACKLOG_BYTES_EACH: u64 = 16 << 10;
/// Bytes kept for all waiting attempts.
const BACKLOG_BYTES: u64 = 16 << 20;

/// Why an endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be bound.
    #[error("cannot listen on UDP {address}: {reason}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// The crypto provider lacks TLS_AES_128_GCM_SHA256, in which every QUIC connection starts (RFC 9001
    /// section 5.2).
    #[error("the TLS configuration cannot be used for QUIC: {0}")]
    Tls(#[from] NoInitialCipherSuite),
    /// 0-RTT can be replayed, so it is not offered.
    #[error("the TLS configuration allows {0} bytes of early data; QUIC is served without 0-RTT")]
    EarlyData(u32),
    /// QUIC counts the idle timeout in milliseconds below 2^62.
    #[error("an idle timeout of {0:?} is too long for QUIC")]
    IdleTimeout(Duration),
}

/// How an endpoint treats its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the first datagram until the client has opened its stream, that is, has sent the first bytes of
    /// its CONNECT.
    pub handshake_timeout: Duration,
    /// A connection without datagrams for so long is lost; the client may have asked for less. The server
    /// sends no keep-alives of its own, which would keep a sleeping device awake, so this is to be above one
    /// and a half times the longest MQTT keep-alive. Zero: as the client asks.
    pub idle_timeout: Duration,
    /// Handshakes under way at a time; further attempts wait unread.
    pub max_handshakes: usize,
    /// With so many handshakes under way, a new client first has to prove its address (Retry, RFC 9000
    /// section 8.1.2), which costs it a round trip and us no state.
    pub retry_above: usize,
}

impl Default for Settings {
    /// 10 s for handshakes, 30 min of silence, 256 handshakes, Retry above 64.
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30 * 60),
            max_handshakes: 256,
            retry_above: 64,
        }
    }
}

/// Opens the UDP socket. `tls` is the configuration of [`tls::Endpoint::Quic`](crate::tls::Endpoint::Quic).
/// To be called within the tokio runtime that is to drive the connections.
///
/// # Errors
/// When the socket cannot be bound or the configuration is not one for QUIC.
pub fn listen(
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    settings: Settings,
) -> Result<Endpoint, Error> {
    if tls.max_early_data_size != 0 {
        return Err(Error::EarlyData(tls.max_early_data_size));
    }
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    server
        .transport_config(Arc::new(transport(settings.idle_timeout)?))
        .migration(true)
        .max_incoming(BACKLOG)
        .incoming_buffer_size(BACKLOG_BYTES_EACH)
        .incoming_buffer_size_total(BACKLOG_BYTES);
    let bind = |reason| Error::Bind { address, reason };
    let socket = listen::udp(address).map_err(bind)?;
    let inner = quinn::Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
        .map_err(bind)?;
    Ok(Endpoint { inner, handshakes: JoinSet::new(), refusals: JoinSet::new(), settings, stopped: false })
}

fn transport(idle_timeout: Duration) -> Result<TransportConfig, Error> {
    let idle = IdleTimeout::try_from(idle_timeout).map_err(|_| Error::IdleTimeout(idle_timeout))?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout((!idle_timeout.is_zero()).then_some(idle))
        .keep_alive_interval(None);
    Ok(transport)
}

/// A listening UDP socket. Dropping it ignores new clients and abandons handshakes; established connections
/// live on as long as their streams.
pub struct Endpoint {
    inner: quinn::Endpoint,
    handshakes: JoinSet<Result<Incoming, handshake::Error>>,
    /// After [`Endpoint::stop`], the task that answers new clients.
    refusals: JoinSet<()>,
    settings: Settings,
    stopped: bool,
}

impl Endpoint {
    /// Where it listens, with the port the system chose for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The next client that has finished its handshake and opened its stream, or a handshake that failed, to
    /// be counted and logged. `None` after [`stop`](Self::stop), when the handshakes begun before it are
    /// done. Handshakes run side by side in tasks of their own. Cancel-safe.
    pub async fn accept(&mut self) -> Option<Result<Incoming, handshake::Error>> {
        loop {
            let room = self.handshakes.len() < self.settings.max_handshakes.max(1);
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Some(result) = finished(done) {
                        return Some(result);
                    }
                }
                attempt = self.inner.accept(), if room && !self.stopped => match attempt {
                    Some(attempt) => self.admit(attempt),
                    None => self.stopped = true,
                },
                else => return None,
            }
        }
    }

    /// Refuses new clients from now on, so that they can turn to another gateway at once. Those in the
    /// backlog are still served: see [`accept`](Self::accept). To be called within the runtime.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        while let Some(Some(attempt)) = self.inner.accept().now_or_never() {
            self.admit(attempt);
        }
        let inner = self.inner.clone();
        self.refusals.spawn(async move {
            while let Some(attempt) = inner.accept().await {
                attempt.refuse();
            }
        });
    }

    /// Closes all connections (code 0) and waits until their peers have been told, as a process does at its
    /// end.
    pub async fn close(mut self) {
        self.handshakes.abort_all();
        self.inner.close(VarInt::from_u32(0), b"");
        self.inner.wait_idle().await;
    }

    /// Begins a handshake, which is to run in the caller's runtime.
    fn admit(&mut self, attempt: quinn::Incoming) {
        if self.handshakes.len() >= self.settings.retry_above && !attempt.remote_address_validated() {
            // Fails only for attempts that carry a token already.
            let _ = attempt.retry();
            return;
        }
        self.handshakes.spawn(handshake::establish(attempt, self.settings.handshake_timeout));
    }
}

impl Drop for Endpoint {
    /// Nobody would take what arrives from now on.
    fn drop(&mut self) {
        self.inner.set_server_config(None);
    }
}

fn finished(
    done: Result<Result<Incoming, handshake::Error>, JoinError>,
) -> Option<Result<Incoming, handshake::Error>> {
    done.inspect_err(|error| tracing::error!(%error, "a QUIC handshake ended abnormally")).ok()
}
