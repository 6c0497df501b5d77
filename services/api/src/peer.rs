//! What a listener knows of the other side of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use fleethaven_authorizers::{Granted, HttpRequest};
use fleethaven_types::Scope;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The other side.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The listener's address that it connected to.
    pub local: Option<SocketAddr>,
    /// The certificate it proved to hold in the TLS handshake. The listener admits registered, active ones
    /// only; the API asks again for each request, because a connection outlives changes.
    pub certificate: Option<ClientCertificate>,
    /// Server name of the TLS handshake.
    pub server_name: Option<String>,
    /// The protocol agreed on by ALPN, e.g. `http/1.1` or `x-amzn-http-ca`.
    pub alpn: Option<String>,
    /// What a custom authorizer allowed on this connection.
    pub remembered: Remembered,
}

impl Peer {
    /// A peer without certificate, server name and ALPN.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            local: None,
            certificate: None,
            server_name: None,
            alpn: None,
            remembered: Remembered::default(),
        }
    }
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// 64 lower-case hexadecimal digits.
    pub certificate_id: String,
    /// The account and region it authenticates for, when the listener has found out.
    pub scope: Option<Scope>,
    /// PEM, where a custom authorizer decides as well.
    pub pem: Option<String>,
}

/// The last answer of a custom authorizer with caching for a connection: it holds for further requests of the same sender
/// until the function is to be asked again.
#[derive(Debug, Clone, Default)]
pub struct Remembered(Arc<Mutex<Option<Answered>>>);

#[derive(Debug)]
struct Answered {
    sender: HttpRequest,
    granted: Arc<Granted>,
    until: Instant,
}

impl Remembered {
    pub(crate) fn find(&self, request: &HttpRequest, now: Instant) -> Option<Arc<Granted>> {
        let answered = self.0.lock();
        let answered = answered.as_ref().filter(|answered| now < answered.until)?;
        (answered.sender == request.sender()).then(|| answered.granted.clone())
    }

    pub(crate) fn keep(&self, request: &HttpRequest, granted: &Arc<Granted>, now: Instant) {
        if granted.holds_for_http {
            let until = now + granted.refresh_after.min(granted.disconnect_after);
            *self.0.lock() = Some(Answered { sender: request.sender(), granted: granted.clone(), until });
        }
    }
}
