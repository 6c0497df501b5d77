use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, VarInt};
use rcgen::CertifiedKey;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::tls::{self, ALPN_MQTT};
use crate::{CertificateGate, Gate, Identity, ServerTls};

const DEADLINE: Duration = Duration::from_secs(20);

/// Lets everyone on but the bearer of one certificate.
struct AllBut(Option<Vec<u8>>);

impl CertificateGate for AllBut {
    fn check(&self, certificate: &[u8]) -> Gate {
        if self.0.as_deref() == Some(certificate) { Gate::Inactive } else { Gate::Proceed }
    }
}

type Key = CertifiedKey<rcgen::KeyPair>;

fn certificate(name: &str) -> Key {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// A server, and a device with a certificate for it.
struct Scene {
    endpoint: Endpoint,
    server: Key,
    device: Key,
}

fn scene(settings: Settings) -> Scene {
    scene_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings, AllBut(None))
}

fn scene_at(address: SocketAddr, settings: Settings, gate: AllBut) -> Scene {
    let server = certificate("localhost");
    let gate: Arc<dyn CertificateGate> = Arc::new(gate);
    let tls = ServerTls::new(&identity(&server), &gate).unwrap();
    let endpoint = listen(address, tls.fixed(tls::Endpoint::Quic), settings).unwrap();
    Scene { endpoint, server, device: certificate("device") }
}

fn identity(key: &Key) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, private) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, key.cert.pem()).unwrap();
    std::fs::write(&private, key.signing_key.serialize_pem()).unwrap();
    Identity::from_files(&certificate, &private).unwrap()
}

impl Scene {
    fn config(&self, device: Option<&Key>, alpn: &[u8]) -> ClientConfig {
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
    fn device(&self) -> Client {
        Client::new(self.config(Some(&self.device), ALPN_MQTT), self.endpoint.local_addr().unwrap())
    }

    async fn next(&mut self) -> Result<Incoming, handshake::Error> {
        within(self.endpoint.accept()).await.expect("the endpoint has not stopped")
    }

    /// A device that has sent `CONNECT`, and the server's side of it.
    async fn connected(&mut self, client: &Client) -> (Link, Incoming) {
        let (link, incoming) = tokio::join!(client.link(), self.next());
        let mut incoming = incoming.unwrap();
        assert_eq!(&read::<7>(&mut incoming.stream).await, b"CONNECT");
        (link, incoming)
    }
}

struct Client {
    endpoint: quinn::Endpoint,
    config: ClientConfig,
    server: SocketAddr,
}

/// A client's connection with its stream.
struct Link {
    connection: Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
}

impl Client {
    fn new(config: ClientConfig, mut server: SocketAddr) -> Self {
        if server.ip().is_unspecified() {
            server.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Self { endpoint, config, server }
    }

    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let connecting = self.endpoint.connect_with(self.config.clone(), self.server, "localhost");
        within(connecting.unwrap()).await
    }

    async fn link(&self) -> Link {
        let connection = self.connect().await.unwrap();
        let (mut send, receive) = within(connection.open_bi()).await.unwrap();
        send.write_all(b"CONNECT").await.unwrap();
        Link { connection, send, receive }
    }

    /// How the server ends a connection that it does not want, whether during or after the client's handshake.
    async fn ending(&self) -> ConnectionError {
        match self.connect().await {
            Ok(connection) => within(connection.closed()).await,
            Err(error) => error,
        }
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

async fn read<const N: usize>(stream: &mut (impl AsyncReadExt + Unpin)) -> [u8; N] {
    let mut bytes = [0; N];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// The TLS alert in a close frame (RFC 9001 section 4.8).
fn alert(error: &ConnectionError) -> Option<u64> {
    let code = match error {
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::TransportError(error) => error.code,
        _ => return None,
    };
    u64::from(code).checked_sub(0x100)
}

fn is_refusal(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ConnectionClosed(close)
        if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
}

const NO_APPLICATION_PROTOCOL: u64 = 120;
const CERTIFICATE_REQUIRED: u64 = 116;
const CERTIFICATE_REVOKED: u64 = 44;

#[tokio::test]
async fn bytes_pass_both_ways_and_the_certificate_is_known() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    assert_eq!(incoming.peer, client.endpoint.local_addr().unwrap());
    assert_eq!(incoming.stream.peer(), incoming.peer);
    assert_eq!(incoming.client_certificate.as_ref(), Some(scene.device.cert.der()));
    assert_eq!(incoming.server_name.as_deref(), Some("localhost"));

    incoming.stream.write_all(b"CONNACK").await.unwrap();
    incoming.stream.flush().await.unwrap();
    assert_eq!(&read::<7>(&mut link.receive).await, b"CONNACK");
    link.send.finish().unwrap();
    assert_eq!(within(incoming.stream.read(&mut [0; 9])).await.unwrap(), 0);
}

#[tokio::test]
async fn more_than_the_windows_passes() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    let payload: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 253) as u8).collect();
    let echo = async {
        let mut buffer = vec![0; 10_000];
        loop {
            match incoming.stream.read(&mut buffer).await.unwrap() {
                0 => break incoming.stream.shutdown().await.unwrap(),
                count => incoming.stream.write_all(&buffer[..count]).await.unwrap(),
            }
        }
    };
    let sending = async {
        link.send.write_all(&payload).await.unwrap();
        link.send.finish().unwrap();
    };
    let receiving = link.receive.read_to_end(2_000_000);
    let (_, _, received) = within(async { tokio::join!(echo, sending, receiving) }).await;
    assert!(received.unwrap() == payload);
}

#[tokio::test]
async fn shutdown_delivers_everything_then_closes_with_code_0() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    incoming.stream.write_all(&[7; 100_000]).await.unwrap();
    let leaving = tokio::spawn(async move { incoming.stream.shutdown().await });
    let received = within(link.receive.read_to_end(200_000)).await.unwrap();
    assert_eq!(received.len(), 100_000);
    within(leaving).await.unwrap().unwrap();
    let ConnectionError::ApplicationClosed(close) = within(link.connection.closed()).await else {
        panic!("closed otherwise");
    };
    assert_eq!(close.error_code, VarInt::from_u32(0));
}

#[tokio::test]
async fn a_client_that_closes_has_ended_the_stream() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (link, mut incoming) = scene.connected(&client).await;
    link.connection.close(VarInt::from_u32(3), b"tired");
    assert_eq!(within(incoming.stream.read(&mut [0; 9])).await.unwrap(), 0);
    within(incoming.stream.shutdown()).await.unwrap();
    within(incoming.stream.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let mut scene = scene(Settings::default());
    let client = Client::new(scene.config(None, ALPN_MQTT), scene.endpoint.local_addr().unwrap());
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert_eq!(alert(&ending), Some(CERTIFICATE_REQUIRED));
    assert!(matches!(refusal, Err(handshake::Error::Connection { .. })));
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let mut scene = scene(Settings::default());
    let config = scene.config(Some(&scene.device), b"h3");
    let client = Client::new(config, scene.endpoint.local_addr().unwrap());
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert_eq!(alert(&ending), Some(NO_APPLICATION_PROTOCOL));
    assert!(refusal.is_err());
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_with_its_alert() {
    let device = certificate("device");
    let gate = AllBut(Some(device.cert.der().to_vec()));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut scene = Scene { device, ..scene_at(address, Settings::default(), gate) };
    let client = scene.device();
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert_eq!(alert(&ending), Some(CERTIFICATE_REVOKED));
    assert!(refusal.is_err());
}

#[tokio::test]
async fn a_resumed_session_still_shows_the_certificate() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    for _ in 0..2 {
        // The second time, the client's configuration holds a ticket.
        let (mut link, mut incoming) = scene.connected(&client).await;
        let shown = incoming.client_certificate.as_ref().map(CertificateDer::as_ref);
        assert_eq!(shown, Some(scene.device.cert.der().as_ref()));
        incoming.stream.write_all(b"CONNACK").await.unwrap();
        read::<7>(&mut link.receive).await;
    }
}

#[tokio::test]
async fn silence_ends_the_connection() {
    let idle_timeout = Duration::from_millis(200);
    let mut scene = scene(Settings { idle_timeout, ..Settings::default() });
    let client = scene.device();
    let (link, mut incoming) = scene.connected(&client).await;
    let error = within(incoming.stream.read(&mut [0; 9])).await.unwrap_err();
    assert!(matches!(
        error.get_ref().and_then(|source| source.downcast_ref()),
        Some(ConnectionError::TimedOut)
    ));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(within(link.connection.closed()).await, ConnectionError::TimedOut);
}

#[tokio::test]
async fn a_client_that_opens_no_stream_is_timed_out() {
    let handshake_timeout = Duration::from_millis(300);
    let mut scene = scene(Settings { handshake_timeout, ..Settings::default() });
    let client = scene.device();
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert!(matches!(refusal, Err(handshake::Error::TimedOut { .. })));
    assert!(matches!(ending, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn a_client_may_open_one_stream_only() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    incoming.stream.write_all(b"CONNACK").await.unwrap();
    read::<7>(&mut link.receive).await;
    assert!(futures_util::FutureExt::now_or_never(link.connection.open_bi()).is_none());
    assert!(futures_util::FutureExt::now_or_never(link.connection.open_uni()).is_none());
    assert_eq!(link.connection.max_datagram_size(), None);
}

#[tokio::test]
async fn under_load_an_address_is_proved_first() {
    let mut scene = scene(Settings { retry_above: 0, ..Settings::default() });
    let client = scene.device();
    let (link, _incoming) = scene.connected(&client).await;
    // The client's first flight was sent twice.
    assert!(link.connection.stats().frame_tx.crypto >= 2);
}

#[tokio::test]
async fn a_client_may_change_its_address() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    let moved = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.endpoint.rebind(moved).unwrap();
    link.send.write_all(b"PINGREQ").await.unwrap();
    assert_eq!(&read::<7>(&mut incoming.stream).await, b"PINGREQ");
    incoming.stream.write_all(b"PINGRESP").await.unwrap();
    assert_eq!(&read::<8>(&mut link.receive).await, b"PINGRESP");
    assert_ne!(incoming.stream.peer(), incoming.peer);
    assert_eq!(incoming.stream.peer(), client.endpoint.local_addr().unwrap());
}

#[tokio::test]
async fn an_ipv4_client_of_an_ipv6_socket_has_an_ipv4_address() {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let mut scene = scene_at(address, Settings::default(), AllBut(None));
    let client = scene.device();
    let (_link, incoming) = scene.connected(&client).await;
    assert_eq!(incoming.peer, client.endpoint.local_addr().unwrap());
}

#[tokio::test]
async fn a_stopped_endpoint_refuses_and_ends_but_its_streams_live() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    scene.endpoint.stop();
    assert!(within(scene.endpoint.accept()).await.is_none());
    assert!(is_refusal(&client.connect().await.unwrap_err()));
    incoming.stream.write_all(b"PINGRESP").await.unwrap();
    assert_eq!(&read::<8>(&mut link.receive).await, b"PINGRESP");
    within(scene.endpoint.close()).await;
    assert!(matches!(within(link.connection.closed()).await, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn streams_outlive_the_endpoint() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    drop(scene);
    incoming.stream.write_all(b"PINGRESP").await.unwrap();
    assert_eq!(&read::<8>(&mut link.receive).await, b"PINGRESP");
    within(incoming.stream.shutdown()).await.unwrap();
}

#[tokio::test]
async fn early_data_is_not_served() {
    let scene = scene(Settings::default());
    let gate: Arc<dyn CertificateGate> = Arc::new(AllBut(None));
    let tls = ServerTls::new(&identity(&scene.server), &gate).unwrap();
    let mut config = tls.fixed(tls::Endpoint::Quic).as_ref().clone();
    config.max_early_data_size = u32::MAX;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    assert!(matches!(
        listen(address, Arc::new(config), Settings::default()),
        Err(Error::EarlyData(u32::MAX))
    ));
}
