//! TCP connections to addresses that passed the guard.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::address::{AddressGuard, Refused};

/// How long one address may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Addresses of one name that are tried.
const TRIES: usize = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Every address of the name may not be called.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// In the clear to an address that the operator has not named.
    #[error(
        "{0} is called in the clear: use https, or have an operator allow the address with --allow-outbound"
    )]
    InTheClear(IpAddr),
    /// The address is no name or no port.
    #[error("'{0}' names no host")]
    NoHost(String),
    /// The name stands for no address.
    #[error("the name {0} cannot be resolved: {1}")]
    Unresolved(String, std::io::Error),
    /// Nobody answers there.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(SocketAddr, std::io::Error),
}

/// Connects by name: resolves once, and connects to nothing but what was checked.
#[derive(Debug, Clone)]
pub struct Connector {
    guard: Arc<AddressGuard>,
}

impl Connector {
    /// Connections to what `guard` lets through.
    pub fn new(guard: Arc<AddressGuard>) -> Self {
        Self { guard }
    }

    /// The addresses that `host`, a name or an address (IPv6 in brackets or without), stands for and that may be called.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
        secured: bool,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let unresolved = |error| ConnectError::Unresolved(bare.to_owned(), error);
        let resolved = tokio::time::timeout(CONNECT_WITHIN, tokio::net::lookup_host((bare, port)));
        let resolved = resolved.await.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(unresolved)?;
        let (mut addresses, mut failure) = (Vec::new(), ConnectError::NoHost(bare.to_owned()));
        for address in resolved.take(TRIES) {
            if let Err(refused) = self.guard.check(address.ip()) {
                failure = refused.into();
            } else if !secured && !self.guard.is_named(address.ip()) {
                failure = ConnectError::InTheClear(address.ip());
            } else {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(failure) } else { Ok(addresses) }
    }

    /// A connection to `host`. Unless it will be `secured`, only to an address that the operator has named.
    pub(crate) async fn connect_to(
        &self,
        host: &str,
        port: u16,
        secured: bool,
    ) -> Result<TcpStream, ConnectError> {
        let mut failure = ConnectError::NoHost(host.to_owned());
        for address in self.resolve(host, port, secured).await? {
            let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = ConnectError::Unreachable(address, error),
            }
        }
        Err(failure)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let secured = address.scheme_str() == Some("https");
            let host = address.host().ok_or_else(|| ConnectError::NoHost(address.to_string()))?;
            let port = address.port_u16().unwrap_or(if secured { 443 } else { 80 });
            connector.connect_to(host, port, secured).await.map(TokioIo::new)
        })
    }
}
