//! From a client's first datagram to its MQTT stream.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};
use rustls_pki_types::CertificateDer;

use super::stream::MqttStream;

/// Why a client got no MQTT stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The QUIC or TLS handshake failed, such as for want of a certificate or of the ALPN name `mqtt`; or the
    /// client left before it opened a stream.
    #[error("QUIC handshake with {peer}: {source}")]
    Connection {
        /// The client's address.
        peer: SocketAddr,
        /// What went wrong.
        source: ConnectionError,
    },
    /// The handshake took too long, or no stream was opened after it.
    #[error("QUIC handshake with {peer}: no MQTT stream within {timeout:?}")]
    TimedOut {
        /// The client's address.
        peer: SocketAddr,
        /// The time given.
        timeout: Duration,
    },
}

impl Error {
    /// Whether the handshake failed because the [gate](crate::CertificateGate) did not let the client's certificate pass.
    pub fn is_refusal(&self) -> bool {
        let Self::Connection { source: ConnectionError::TransportError(error), .. } = self else {
            return false;
        };
        REFUSALS.iter().any(|alert| error.code == TransportErrorCode::crypto(*alert))
    }
}

/// The alerts certificate_revoked and certificate_unknown (RFC 8446 section 6).
const REFUSALS: [u8; 2] = [44, 46];

/// A client with its stream, on which its CONNECT arrives.
pub struct Incoming {
    /// Its address when it connected; IPv4 addresses in their own form, also on an IPv6 socket.
    pub peer: SocketAddr,
    /// The certificate whose key it has proved to hold, now or in the session it resumes, and what it sent beside it. What it
    /// is allowed is to be looked up ([`possession`](crate::possession)).
    pub client_certificates: Vec<CertificateDer<'static>>,
    /// The host name it asked for (SNI).
    pub server_name: Option<String>,
    /// Its MQTT bytes.
    pub stream: MqttStream,
}

/// Does one handshake and waits for the stream.
pub(super) async fn establish(attempt: quinn::Incoming, timeout: Duration) -> Result<Incoming, Error> {
    let peer = canonical(attempt.remote_address());
    match tokio::time::timeout(timeout, converse(attempt, peer)).await {
        Ok(result) => result.map_err(|source| Error::Connection { peer, source }),
        // What is left of the connection was dropped with the future, which closes it.
        Err(_) => Err(Error::TimedOut { peer, timeout }),
    }
}

async fn converse(attempt: quinn::Incoming, peer: SocketAddr) -> Result<Incoming, ConnectionError> {
    let connection = attempt.await?;
    let (send, receive) = connection.accept_bi().await?;
    // The one stream is there; a second, after its end, would never be read.
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(0));
    Ok(Incoming {
        peer,
        client_certificates: client_certificates(&connection),
        server_name: server_name(&connection),
        stream: MqttStream::new(connection, send, receive),
    })
}

fn client_certificates(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let chain = connection.peer_identity().and_then(|identity| identity.downcast().ok());
    chain.map(|chain| *chain).unwrap_or_default()
}

fn server_name(connection: &Connection) -> Option<String> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.server_name
}

/// An IPv4 peer of a socket for both families, in its own form.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
