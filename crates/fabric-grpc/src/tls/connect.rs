//! The calling side: TCP, then TLS with what is in force at that moment.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use fleethaven_pki::ServiceRole;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

use super::Tls;

/// The TLS name of every service: it is neither sent nor checked.
const NAME: &str = "service.fleethaven.internal";

/// Connects to one address, each time anew.
pub(super) struct Connector {
    tls: Arc<Tls>,
    address: String,
    role: ServiceRole,
}

impl Connector {
    pub(super) fn new(tls: Arc<Tls>, address: &str, role: ServiceRole) -> Self {
        Self { tls, address: address.to_owned(), role }
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Connecting {
        let (tls, address, role) = (self.tls.clone(), self.address.clone(), self.role);
        Box::pin(async move {
            let tcp = TcpStream::connect(&address).await?;
            tcp.set_nodelay(true)?;
            let config = tls.client(role).map_err(io::Error::other)?;
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
            // The reason stands in the error's cause, which few logs show: it is what an operator needs.
            let connected = connected.inspect_err(|error| {
                tracing::warn!(address, %role, reason = %error, "a service is not the one that was called");
            });
            Ok(TokioIo::new(connected?))
        })
    }
}
