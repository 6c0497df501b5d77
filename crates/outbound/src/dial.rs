//! Connections for what speaks no HTTP: in the clear, or by TLS with the same certificate authorities.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::client::OutboundError;
use crate::connect::Connector;

/// A connection in the clear, or by TLS.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Opens connections to what passes the [`AddressGuard`](crate::AddressGuard).
#[derive(Clone)]
pub struct Dialer {
    connector: Connector,
    tls: Arc<ClientConfig>,
}

impl Dialer {
    pub(crate) fn new(connector: Connector, tls: Arc<ClientConfig>) -> Self {
        Self { connector, tls }
    }

    /// A connection to `host`, a name or an address; `secured`: by TLS, with a certificate for that name.
    ///
    /// # Errors
    /// [`OutboundError`]: `Refused`, `Unreachable`, or `Broken` when no TLS comes about.
    pub async fn open(&self, host: &str, port: u16, secured: bool) -> Result<Stream, OutboundError> {
        let stream = self.tcp(host, port, secured).await?;
        if !secured {
            return Ok(Either::Left(stream));
        }
        let stream = self.secure(host, stream).await;
        stream
            .map(|stream| Either::Right(Box::new(stream)))
            .map_err(|error| OutboundError::Broken(error.to_string()))
    }

    /// A TCP connection. `secured`: whoever asks [makes it secure](Self::secure); otherwise only addresses that an operator
    /// has named are connected to.
    ///
    /// # Errors
    /// [`OutboundError`]: `Refused` or `Unreachable`.
    pub async fn tcp(&self, host: &str, port: u16, secured: bool) -> Result<TcpStream, OutboundError> {
        self.connector.connect_to(host, port, secured).await.map_err(|error| OutboundError::from(&error))
    }

    /// An address that `host` stands for and that may be called, for a client that connects by itself.
    ///
    /// # Errors
    /// [`OutboundError`]: `Refused` or `Unreachable`.
    pub async fn address(&self, host: &str, port: u16, secured: bool) -> Result<SocketAddr, OutboundError> {
        let resolved = self.connector.resolve(host, port, secured).await;
        let addresses = resolved.map_err(|error| OutboundError::from(&error))?;
        addresses.first().copied().ok_or_else(|| OutboundError::Refused(format!("'{host}' names no host")))
    }

    /// TLS over a stream, with a certificate for `host`.
    ///
    /// # Errors
    /// Those of the handshake.
    pub async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.tls.clone()).connect(name, stream).await
    }

    /// What [`secure`](Self::secure) uses, for a client that makes its own TLS.
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }
}
