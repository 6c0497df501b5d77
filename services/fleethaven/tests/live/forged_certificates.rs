//! Client certificates that are not what they seem: of another's key, of no key, broken, far too large, hidden behind or before
//! others. Each ends its own handshake on every listener, and the certificate that it is like goes on.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::BytesMut;
use fleethaven_mqtt::{Packet, Version, encode};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::support::Broker;
use crate::support::device::{Device, call, device, roots};

/// Listener and the name that is offered there.
const DOORS: [(&str, Option<&str>); 4] = [
    ("mqtt_tls", None),
    ("https_mtls", None),
    ("iot_endpoint", Some("x-amzn-mqtt-ca")),
    ("iot_endpoint", Some("x-amzn-http-ca")),
];

/// A client that shows this chain, whatever key it signs with: rustls looks at neither.
fn showing(
    broker: &Broker,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key.clone_key()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    builder.with_root_certificates(roots(broker)).with_client_cert_resolver(Arc::new(shown))
}

/// Whether the listener answers anything of its protocol but a refusal.
fn let_in(broker: &Broker, (listener, alpn): (&str, Option<&str>), mut config: ClientConfig) -> bool {
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(broker.address(listener)).unwrap();
    tcp.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, tcp);
    let mqtt = listener == "mqtt_tls" || alpn == Some("x-amzn-mqtt-ca");
    let opening = if mqtt { connect_packet() } else { publish_request() };
    let mut answer = [0; 12];
    let expected = if mqtt { &mut answer[..4] } else { &mut answer[..] };
    if stream.write_all(&opening).is_err() || stream.read_exact(expected).is_err() {
        return false;
    }
    if mqtt { matches!(answer, [0x20, _, _, 0, ..]) } else { answer == *b"HTTP/1.1 200" }
}

fn connect_packet() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let connect = crate::support::clean(Version::V5, "forged");
    encode(&Packet::Connect(Box::new(connect)), Version::V5, &mut bytes).unwrap();
    bytes.to_vec()
}

fn publish_request() -> Vec<u8> {
    b"POST /topics/forged?qos=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx".to_vec()
}

/// A certificate over a key of its own that nobody has registered, and that key.
fn stranger(broker: &Broker) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    use rustls_pki_types::pem::PemObject;
    let made = call(broker, "POST", "/keys-and-certificate", "setAsActive=false", "");
    let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let id = text("/certificateId");
    call(broker, "DELETE", &format!("/certificates/{id}"), "", "");
    (
        CertificateDer::from_pem_slice(text("/certificatePem").as_bytes()).unwrap(),
        PrivateKeyDer::from_pem_slice(text("/keyPair/PrivateKey").as_bytes()).unwrap(),
    )
}

/// What a forger shows, by name, with the key that signs.
fn forgeries<'k>(
    device: &'k Device,
    other: (&CertificateDer<'static>, &'k PrivateKeyDer<'static>),
) -> Vec<(&'static str, Vec<CertificateDer<'static>>, &'k PrivateKeyDer<'static>)> {
    let real = &device.certificate;
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut der = real.to_vec();
        change(&mut der);
        CertificateDer::from(der)
    };
    let (certificate, key) = other;
    vec![
        ("another's key", vec![real.clone()], key),
        ("a stranger", vec![certificate.clone()], key),
        ("a stranger before the real one", vec![certificate.clone(), real.clone()], key),
        ("the real one, signed for by the stranger behind it", vec![real.clone(), certificate.clone()], key),
        ("nothing", vec![CertificateDer::from(Vec::new())], &device.key),
        ("noise", vec![CertificateDer::from(vec![0x5a; 700])], &device.key),
        (
            "a length without end",
            vec![CertificateDer::from(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff])],
            &device.key,
        ),
        ("half of it", vec![changed(|der| der.truncate(der.len() / 2))], &device.key),
        ("a byte more", vec![changed(|der| der.push(0))], &device.key),
        (
            "another signature of the issuer's",
            vec![changed(|der| {
                if let Some(last) = der.last_mut() {
                    *last ^= 1;
                }
            })],
            &device.key,
        ),
        ("far too much", vec![changed(|der| der.resize(60_000, 0))], &device.key),
        ("a stranger and a long chain", vec![certificate.clone(); 60], key),
    ]
}

#[test]
fn forged_certificates_let_nobody_in() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "https-mtls = \"127.0.0.1:0\"\n");
    let device = device(&broker);
    let (certificate, key) = stranger(&broker);
    for version in [&TLS12, &TLS13] {
        for door in DOORS {
            let real = || showing(&broker, vec![device.certificate.clone()], &device.key, version);
            assert!(let_in(&broker, door, real()), "{door:?}, {version:?}: the real one");
            for (what, chain, key) in forgeries(&device, (&certificate, &key)) {
                let config = showing(&broker, chain, key, version);
                assert!(!let_in(&broker, door, config), "{door:?}, {version:?}: {what}");
            }
            assert!(let_in(&broker, door, real()), "{door:?}, {version:?}: the real one afterwards");
        }
    }
}
