use std::time::Duration;

use rcgen::CertifiedKey;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tickets::TicketKey;
use crate::tls::{self, Carries, Endpoint, Versions};
use crate::{CertificateGate, Gate, Identity, ServerCertificates, ServerTls, TicketKeys};

const DEADLINE: Duration = Duration::from_secs(20);

struct Says(Gate);

impl CertificateGate for Says {
    fn check(&self, _certificate: &[u8]) -> Gate {
        self.0
    }
}

/// A server for devices, and a device that keeps its tickets.
struct Scene {
    server: ServerTls,
    device: TlsConnector,
}

fn scene(versions: Versions, gate: Gate) -> Scene {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, private) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&private, signing_key.serialize_pem()).unwrap();
    let identity = Identity::from_files(&certificate, &private, &aws_lc_rs::default_provider()).unwrap();
    let tickets = Arc::new(TicketKeys::default());
    tickets.replace(TicketKey { number: 1, secret: [7; 32] }, &[], 3600);
    let certificates = Arc::new(ServerCertificates::new(&identity, &[]));
    let settings = tls::Settings { certificates, tickets, gate: Arc::new(Says(gate)), versions };
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let device = rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap();
    let private = PrivateKeyDer::try_from(device.signing_key.serialize_der()).unwrap();
    let device = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![device.cert.der().clone()], private)
        .unwrap();
    Scene { server: ServerTls::new(&settings).unwrap(), device: Arc::new(device).into() }
}

/// A connection of the device: its side, and the server's.
struct Connected {
    device: TlsStream<DuplexStream>,
    stream: DuplexStream,
    tls: ServerConnection,
}

impl Scene {
    async fn connect(&self) -> io::Result<Connected> {
        let (near, mut stream) = duplex(16 << 10);
        let device = self.device.connect(ServerName::try_from("localhost").unwrap(), near);
        let server = accept(&mut stream, |hello| self.server.select(Endpoint::Mqtt, hello, None));
        let (device, accepted) = within(async { tokio::join!(device, server) }).await;
        let (tls, carries) = accepted?;
        assert_eq!(carries, Carries::MqttWithCertificate);
        Ok(Connected { device: device?, stream, tls })
    }
}

impl Connected {
    /// The device speaks and is answered, with all that the server had to say.
    async fn talk(&mut self) {
        self.device.write_all(b"CONNECT").await.unwrap();
        self.device.flush().await.unwrap();
        let mut heard = [0; 7];
        within(poll_fn(|cx| {
            loop {
                if self.tls.reader().read_exact(&mut heard).is_ok() {
                    return Poll::Ready(());
                }
                let mut polled = Polled { stream: &mut self.stream, cx: &mut *cx };
                std::task::ready!(pending(self.tls.read_tls(&mut polled))).unwrap();
                self.tls.process_new_packets().unwrap();
            }
        }))
        .await;
        assert_eq!(&heard, b"CONNECT");
        self.tls.writer().write_all(b"CONNACK").unwrap();
        let mut answer = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut answer).unwrap();
        }
        self.stream.write_all(&answer).await.unwrap();
        within(self.device.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"CONNACK");
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

#[tokio::test]
async fn a_ticket_leaves_with_the_first_answer_and_is_good() {
    let scene = scene(Versions::Both, Gate::Proceed);
    for resumed in [false, true] {
        let mut connected = scene.connect().await.unwrap();
        assert!(connected.tls.wants_write(), "the ticket waits");
        assert_eq!(connected.tls.peer_certificates().map(<[_]>::len), Some(1));
        connected.talk().await;
        let kind = connected.tls.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed);
    }
}

#[tokio::test]
async fn clients_of_tls_1_2_get_the_servers_last_flight_at_once() {
    let scene = scene(Versions::Tls12, Gate::Proceed);
    for resumed in [false, true] {
        let mut connected = scene.connect().await.unwrap();
        assert!(!connected.tls.wants_write());
        connected.talk().await;
        let kind = connected.tls.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed);
    }
}

#[tokio::test]
async fn who_is_refused_is_told_by_an_alert() {
    let scene = scene(Versions::Both, Gate::Inactive);
    let (near, mut stream) = duplex(16 << 10);
    let device = async {
        // With TLS 1.3 the client is done before the server has looked at its certificate.
        let mut device =
            scene.device.connect(ServerName::try_from("localhost").unwrap(), near).await.unwrap();
        device.read(&mut [0; 10]).await.unwrap_err()
    };
    let server = accept(&mut stream, |hello| scene.server.select(Endpoint::Mqtt, hello, None));
    let (told, refused) = within(async { tokio::join!(device, server) }).await;
    assert!(crate::possession::is_refusal(&refused.err().unwrap()));
    assert!(told.to_string().contains("CertificateRevoked"), "{told}");
}

#[tokio::test]
async fn noise_is_refused_and_an_end_is_noticed() {
    let scene = scene(Versions::Both, Gate::Proceed);
    for (sent, kind) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], io::ErrorKind::InvalidData),
        (b"\x16\x03\x01", io::ErrorKind::UnexpectedEof),
    ] {
        let (mut near, mut stream) = duplex(16 << 10);
        near.write_all(sent).await.unwrap();
        near.shutdown().await.unwrap();
        let refused = accept(&mut stream, |hello| scene.server.select(Endpoint::Mqtt, hello, None));
        assert_eq!(within(refused).await.err().unwrap().kind(), kind);
    }
}
