//! A server with a certificate, a device with one, and what both see of each other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError};
use rcgen::CertifiedKey;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt;

use super::super::{Endpoint, Incoming, Settings, handshake, listen};
use crate::tickets::TicketKey;
use crate::tls::{self, ALPN_MQTT};
use crate::{CertificateGate, Gate, Identity, ServerCertificates, ServerTls, TicketKeys};

pub(super) const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Lets everyone on but the bearer of one certificate.
pub(super) struct AllBut(pub(super) Option<Vec<u8>>);

/// Counts how often it is asked.
#[derive(Default)]
pub(super) struct Counting(pub(super) AtomicUsize);

impl CertificateGate for Counting {
    fn check(&self, _certificate: &[u8]) -> Gate {
        self.0.fetch_add(1, Ordering::Relaxed);
        Gate::Proceed
    }
}

impl CertificateGate for AllBut {
    fn check(&self, certificate: &[u8]) -> Gate {
        if self.0.as_deref() == Some(certificate) { Gate::Inactive } else { Gate::Proceed }
    }
}

pub(super) type Key = CertifiedKey<rcgen::KeyPair>;

pub(super) fn certificate(name: &str) -> Key {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// A server, and a device with a certificate for it.
pub(super) struct Scene {
    pub(super) endpoint: Endpoint,
    pub(super) server: Key,
    pub(super) device: Key,
}

pub(super) fn scene(settings: Settings) -> Scene {
    scene_at(LOCALHOST, settings, Arc::new(AllBut(None)))
}

pub(super) fn scene_at(address: SocketAddr, settings: Settings, gate: Arc<dyn CertificateGate>) -> Scene {
    let server = certificate("localhost");
    let tls = server_tls(&server, gate);
    let endpoint = listen(address, tls.quic(), settings).unwrap();
    Scene { endpoint, server, device: certificate("device") }
}

pub(super) fn identity(key: &Key) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, private) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, key.cert.pem()).unwrap();
    std::fs::write(&private, key.signing_key.serialize_pem()).unwrap();
    Identity::from_files(&certificate, &private, &aws_lc_rs::default_provider()).unwrap()
}

pub(super) fn server_tls(server: &Key, gate: Arc<dyn CertificateGate>) -> ServerTls {
    let tickets = Arc::new(TicketKeys::default());
    tickets.replace(TicketKey { number: 1, secret: [7; 32] }, &[], 3600);
    let certificates = Arc::new(ServerCertificates::new(&identity(server), &[]));
    let settings = tls::Settings { certificates, tickets, gate, versions: tls::Versions::Both };
    ServerTls::new(&settings).unwrap()
}

impl Scene {
    pub(super) fn config(&self, device: Option<&Key>, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.cert.der().clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match device {
            None => builder.with_no_client_auth(),
            Some(key) => {
                let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![key.cert.der().clone()], private).unwrap()
            }
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }

    /// The device as it should be.
    pub(super) fn device(&self) -> Client {
        Client::new(self.config(Some(&self.device), ALPN_MQTT), self.endpoint.local_addr().unwrap())
    }

    pub(super) async fn next(&mut self) -> Result<Incoming, handshake::Error> {
        within(self.endpoint.accept()).await.expect("the endpoint has not stopped")
    }

    /// A device that has sent `CONNECT`, and the server's side of it.
    pub(super) async fn connected(&mut self, client: &Client) -> (Link, Incoming) {
        let (link, incoming) = tokio::join!(client.link(), self.next());
        let mut incoming = incoming.unwrap();
        assert_eq!(&read::<7>(&mut incoming.stream).await, b"CONNECT");
        (link, incoming)
    }
}

pub(super) struct Client {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) config: ClientConfig,
    pub(super) server: SocketAddr,
}

/// A client's connection with its stream.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) send: quinn::SendStream,
    pub(super) receive: quinn::RecvStream,
}

impl Client {
    pub(super) fn new(config: ClientConfig, mut server: SocketAddr) -> Self {
        if server.ip().is_unspecified() {
            server.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let endpoint = quinn::Endpoint::client(LOCALHOST).unwrap();
        Self { endpoint, config, server }
    }

    pub(super) async fn connect(&self) -> Result<Connection, ConnectionError> {
        let connecting = self.endpoint.connect_with(self.config.clone(), self.server, "localhost");
        within(connecting.unwrap()).await
    }

    pub(super) async fn link(&self) -> Link {
        let connection = self.connect().await.unwrap();
        let (mut send, receive) = within(connection.open_bi()).await.unwrap();
        send.write_all(b"CONNECT").await.unwrap();
        Link { connection, send, receive }
    }

    /// How the server ends a connection that it does not want, whether during or after the client's
    /// handshake.
    pub(super) async fn ending(&self) -> ConnectionError {
        match self.connect().await {
            Ok(connection) => within(connection.closed()).await,
            Err(error) => error,
        }
    }
}

pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

pub(super) async fn read<const N: usize>(stream: &mut (impl AsyncReadExt + Unpin)) -> [u8; N] {
    let mut bytes = [0; N];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// The TLS alert in a close frame (RFC 9001 section 4.8).
pub(super) fn alert(error: &ConnectionError) -> Option<u64> {
    let code = match error {
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::TransportError(error) => error.code,
        _ => return None,
    };
    u64::from(code).checked_sub(0x100)
}

pub(super) fn is_refusal(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ConnectionClosed(close)
        if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
}
