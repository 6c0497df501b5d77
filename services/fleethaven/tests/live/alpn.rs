//! What every listener makes of every ALPN name, with and without a client certificate, under TLS 1.2 and 1.3 (AWS page "Device
//! communication protocols"; the names of 443 are AWS's).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::support::Broker;
use crate::support::device::{Device, device, roots};
use bytes::BytesMut;
use fleethaven_mqtt::{Packet, Version, encode};
use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

const MQTT_CA: &str = "x-amzn-mqtt-ca";
const HTTP_CA: &str = "x-amzn-http-ca";

/// What clients offer.
const OFFERS: [&[&str]; 12] = [
    &[],
    &["mqtt"],
    &[MQTT_CA],
    &[HTTP_CA],
    &["http/1.1"],
    &["h2"],
    &["spdy/3"],
    &["mqtt", MQTT_CA],
    &["h2", "http/1.1"],
    &[HTTP_CA, MQTT_CA],
    &["spdy/3", MQTT_CA],
    &["spdy/3", "h3"],
];

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// CONNACK, under the name that was chosen.
    Mqtt(Option<&'static str>),
    /// CONNACK, which says that no authorizer lets the client in.
    Stranger,
    /// An answer of HTTP.
    Http(Option<&'static str>),
    /// Nothing: the handshake fails, or the connection is closed without a word.
    Nothing,
}

use Outcome::{Http, Mqtt, Nothing, Stranger};

/// What a listener makes of an offer, with or without a certificate.
type Expected = fn(&[&str], bool) -> Outcome;

/// MQTT with a client certificate, and no other way (AWS's 8883).
fn on_mqtt_tls(offer: &[&str], certificate: bool) -> Outcome {
    match offer {
        _ if !certificate => Nothing,
        [] => Mqtt(None),
        names if names.contains(&MQTT_CA) => Mqtt(Some(MQTT_CA)),
        ["mqtt"] => Mqtt(Some("mqtt")),
        _ => Nothing,
    }
}

/// AWS's 443: the name decides. `mqtt` is for custom authorizers, of which there is none.
fn on_https(offer: &[&str], certificate: bool) -> Outcome {
    match offer {
        names if names.contains(&MQTT_CA) => if_shown(certificate, Mqtt(Some(MQTT_CA))),
        [HTTP_CA] => if_shown(certificate, Http(Some(HTTP_CA))),
        ["mqtt"] => Stranger,
        [] => Http(None),
        ["h2", ..] => Http(Some("h2")),
        ["http/1.1"] => Http(Some("http/1.1")),
        _ => Nothing,
    }
}

/// HTTPS with a client certificate, and no other way (AWS's 8443).
fn on_https_mtls(offer: &[&str], certificate: bool) -> Outcome {
    match offer {
        _ if !certificate => Nothing,
        [] => Http(None),
        names if names.contains(&HTTP_CA) => Http(Some(HTTP_CA)),
        names if names.contains(&"http/1.1") => Http(Some("http/1.1")),
        ["h2"] => Http(Some("h2")),
        _ => Nothing,
    }
}

/// QUIC has no connection without a name.
fn on_quic(offer: &[&str], certificate: bool) -> Outcome {
    if_shown(certificate && offer.contains(&"mqtt"), Mqtt(Some("mqtt")))
}

fn if_shown(certificate: bool, outcome: Outcome) -> Outcome {
    if certificate { outcome } else { Nothing }
}

/// A client that offers these names, and shows its certificate when it is asked for one.
fn client(
    broker: &Broker,
    device: Option<&Device>,
    offer: &[&str],
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots(broker));
    let mut config = match device {
        Some(device) => {
            builder.with_client_auth_cert(vec![device.certificate.clone()], device.key.clone_key()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// The name that was chosen, out of those offered.
fn chosen(name: Option<&[u8]>) -> Option<&'static str> {
    name.map(|name| {
        let known = OFFERS.into_iter().flatten().find(|known| known.as_bytes() == name);
        *known.expect("a name that was offered")
    })
}

fn connect_packet() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let connect = crate::support::clean(Version::V5, "by-alpn");
    encode(&Packet::Connect(Box::new(connect)), Version::V5, &mut bytes).unwrap();
    bytes.to_vec()
}

/// Opens a connection, says what its protocol begins with, and sees what comes back.
fn over_tls(address: SocketAddr, config: ClientConfig, mqtt: bool) -> Outcome {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, tcp);
    while stream.conn.is_handshaking() {
        if ended(stream.conn.complete_io(&mut stream.sock).map(|(read, _)| read)) {
            return Nothing;
        }
    }
    let name = chosen(stream.conn.alpn_protocol());
    let mqtt = name.map_or(mqtt, |name| name == "mqtt" || name == MQTT_CA);
    let (opening, outcome) = match name {
        _ if mqtt => (connect_packet(), Mqtt(name)),
        Some("h2") => {
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec(), Http(name))
        }
        _ => (b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), Http(name)),
    };
    let mut answer = [0; 9];
    if ended(stream.write(&opening)) || ended(stream.read_exact(&mut answer[..4]).map(|()| 4)) {
        return Nothing;
    }
    match (outcome, answer) {
        // CONNACK without a session, 0x00; MQTT 5 has properties after it.
        (Mqtt(_), [0x20, _, 0, 0, ..]) => outcome,
        (Mqtt(Some("mqtt")), [0x20, _, 0, 0x87, ..]) => Stranger,
        // The first frame is SETTINGS.
        (Http(Some("h2")), [_, _, _, 4, ..]) => outcome,
        (Http(name), [b'H', b'T', b'T', b'P', ..]) if name != Some("h2") => outcome,
        _ => panic!("{outcome:?}: {answer:?}"),
    }
}

/// Whether the other side has ended the connection; silence is a failure of the test.
fn ended(result: std::io::Result<usize>) -> bool {
    match result {
        Ok(bytes) => bytes == 0,
        Err(error) => {
            assert!(
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "nothing came in time"
            );
            true
        }
    }
}

async fn over_quic(address: SocketAddr, config: ClientConfig) -> Outcome {
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let config = QuicClientConfig::try_from(config).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let attempt = async {
        let connection = endpoint.connect(address, "localhost").unwrap().await.ok()?;
        let handshake =
            connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        send.write_all(&connect_packet()).await.ok()?;
        let mut answer = [0; 4];
        receive.read_exact(&mut answer).await.ok()?;
        assert!(matches!(answer, [0x20, _, 0, 0]), "{answer:?}");
        Some(Mqtt(chosen(handshake.protocol.as_deref())))
    };
    tokio::time::timeout(crate::support::DEADLINE, attempt).await.expect("an end in time").unwrap_or(Nothing)
}

#[tokio::test]
async fn every_listener_with_every_name() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "quic = \"127.0.0.1:0\"\nhttps-mtls = \"127.0.0.1:0\"\n");
    let device = device(&broker);
    let listeners: [(&str, Expected); 3] =
        [("mqtt_tls", on_mqtt_tls), ("iot_endpoint", on_https), ("https_mtls", on_https_mtls)];
    for offer in OFFERS {
        for shown in [Some(&device), None] {
            for (listener, expected) in listeners {
                for version in [&TLS12, &TLS13] {
                    let config = client(&broker, shown, offer, version);
                    let address = broker.address(listener);
                    let outcome = over_tls(address, config, listener == "mqtt_tls");
                    let case =
                        format!("{listener}, {version:?}, certificate: {}, {offer:?}", shown.is_some());
                    assert_eq!(outcome, expected(offer, shown.is_some()), "{case}");
                }
            }
            let config = client(&broker, shown, offer, &TLS13);
            let outcome = over_quic(broker.address("mqtt_quic"), config).await;
            assert_eq!(outcome, on_quic(offer, shown.is_some()), "quic, {}, {offer:?}", shown.is_some());
        }
    }
}
