//! What a listener knows of the other side of a connection.

use std::net::SocketAddr;

use fleethaven_types::Scope;

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
}

impl Peer {
    /// A peer without certificate, server name and ALPN.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, local: None, certificate: None, server_name: None, alpn: None }
    }
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// 64 lower-case hexadecimal digits.
    pub certificate_id: String,
    /// The account and region it authenticates for, when the listener has found out.
    pub scope: Option<Scope>,
}
