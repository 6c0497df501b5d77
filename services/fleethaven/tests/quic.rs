//! MQTT over QUIC, from a real QUIC client with a certificate of the account: connect, subscribe, publish, receive; and no way
//! in without an active certificate.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use fleethaven_mqtt::{
    Connect, ConnectProperties, DecodeLimits, Decoder, Packet, Publish, QoS, ReasonCode, Subscribe,
    Subscription, SubscriptionOptions, Version, encode,
};
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, RecvStream, SendStream};
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::Broker;
use tempfile::TempDir;

fn roots(broker: &Broker) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(broker.ready("ca_file")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

fn tls() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// One signed call of the control plane.
fn call(broker: &Broker, method: &str, path: &str, query: &str, body: &str) -> serde_json::Value {
    let host = broker.ready("iot_endpoint").strip_prefix("https://").unwrap();
    let request = RequestParts { method, path, query, headers: vec![("host", host.as_bytes())] };
    let credentials = Credentials {
        access_key_id: broker.ready("access_key_id"),
        secret_access_key: broker.ready("secret_access_key"),
        session_token: None,
    };
    let target =
        Target { region: broker.ready("region"), service: "iot", path_encoding: PathEncoding::Twice };
    let signed = sign(&request, &credentials, &target, PayloadHash::of(body.as_bytes()), unix_seconds());
    let headers: String = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
    let config = tls().with_root_certificates(roots(broker)).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", port)).unwrap());
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    write!(
        stream,
        "{method} {uri} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    // Some servers end without close_notify; what was read stands.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{method} {uri}: {answer}");
    serde_json::from_str(if body.is_empty() { "{}" } else { body }).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "requests are signed for the time of the broker's own clock")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A certificate of the account with a policy that allows everything.
struct Device {
    arn: String,
    id: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn device(broker: &Broker) -> Device {
    let made = call(broker, "POST", "/keys-and-certificate", "setAsActive=true", "");
    let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;
    let policy = serde_json::json!({ "policyDocument": document }).to_string();
    call(broker, "POST", "/policies/all", "", &policy);
    let target = serde_json::json!({ "target": text("/certificateArn") }).to_string();
    call(broker, "PUT", "/target-policies/all", "", &target);
    Device {
        arn: text("/certificateArn"),
        id: text("/certificateId"),
        certificate: CertificateDer::from_pem_slice(text("/certificatePem").as_bytes()).unwrap(),
        key: PrivateKeyDer::from_pem_slice(text("/keyPair/PrivateKey").as_bytes()).unwrap(),
    }
}

/// A QUIC connection with one stream of MQTT.
struct QuicClient {
    send: SendStream,
    receive: RecvStream,
    decoder: Decoder,
    buffer: BytesMut,
    endpoint: Endpoint,
}

impl QuicClient {
    async fn open(broker: &Broker, device: &Device) -> Result<Self, String> {
        let mut config = tls()
            .with_root_certificates(roots(broker))
            .with_client_auth_cert(vec![device.certificate.clone()], device.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(
            QuicClientConfig::try_from(config).unwrap(),
        )));
        let port = broker.ready("mqtt_quic").rsplit_once(':').unwrap().1.parse().unwrap();
        let connecting = endpoint.connect(SocketAddr::from(([127, 0, 0, 1], port)), "localhost").unwrap();
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let (send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let decoder = Decoder::client(Version::V5, DecodeLimits::default());
        Ok(Self { send, receive, decoder, buffer: BytesMut::new(), endpoint })
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        encode(packet, Version::V5, &mut bytes).unwrap();
        self.send.write_all(&bytes).await.unwrap();
    }

    /// The next packet; `None` when the connection has ended.
    async fn next(&mut self) -> Option<Packet> {
        let next = async {
            loop {
                if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                    return Some(packet);
                }
                match self.receive.read_chunk(4096, true).await {
                    Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                    Ok(None) | Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(support::DEADLINE, next).await.expect("an answer in time")
    }
}

fn connect() -> Packet {
    Packet::Connect(Box::new(Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: "over-quic".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }))
}

#[tokio::test]
async fn a_device_publishes_and_receives_over_quic() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start_with(&dir, "quic = \"127.0.0.1:0\"");
    let device = device(&broker);
    let mut client = QuicClient::open(&broker, &device).await.unwrap();
    client.send(&connect()).await;
    let Some(Packet::Connack(connack)) = client.next().await else { panic!("no CONNACK") };
    assert_eq!(connack.reason, ReasonCode::Success);
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    client
        .send(&Packet::Subscribe(Subscribe {
            packet_id: 1.try_into().unwrap(),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![Subscription { filter: "quic/#".into(), options }],
        }))
        .await;
    assert!(matches!(client.next().await, Some(Packet::Suback(_))));
    // Larger than a datagram and than a stream's first window.
    let payload = vec![7; 600_000];
    client
        .send(&Packet::Publish(Publish {
            qos: QoS::AtLeastOnce,
            topic: "quic/a".into(),
            packet_id: Some(2.try_into().unwrap()),
            payload: payload.clone().into(),
            ..Publish::default()
        }))
        .await;
    let (mut received, mut acknowledged) = (false, false);
    while !(received && acknowledged) {
        match client.next().await {
            Some(Packet::Publish(publish)) => {
                assert_eq!((publish.topic.as_str(), publish.payload.len()), ("quic/a", payload.len()));
                received = true;
            }
            Some(Packet::Puback(ack)) => acknowledged = ack.reason == ReasonCode::Success,
            other => panic!("unexpected: {other:?}"),
        }
    }
    // Deactivated, the live connection is closed with a reason, and the next one gets nowhere.
    assert!(device.arn.ends_with(&device.id));
    call(&broker, "PUT", &format!("/certificates/{}", device.id), "newStatus=INACTIVE", "");
    let Some(Packet::Disconnect(disconnect)) = client.next().await else { panic!("no DISCONNECT") };
    assert_eq!(disconnect.reason, ReasonCode::AdministrativeAction);
    assert!(client.next().await.is_none());
    if let Ok(mut refused) = QuicClient::open(&broker, &device).await {
        let mut bytes = BytesMut::new();
        encode(&connect(), Version::V5, &mut bytes).unwrap();
        // The refusal may reach us before or after our CONNECT.
        let _ = refused.send.write_all(&bytes).await;
        assert!(refused.next().await.is_none(), "an inactive certificate gets no answer");
    }
    broker.terminate();
    assert!(broker.wait().success());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains("Connection.AuthNError")).collect();
    assert_eq!(refusals.len(), 1, "one line for one refusal: {refusals:?}");
    assert!(refusals.iter().all(|line| line.contains(&device.id)), "{refusals:?}");
}

#[tokio::test]
async fn a_connection_goes_on_from_another_address() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "quic = \"127.0.0.1:0\"");
    let device = device(&broker);
    let mut client = QuicClient::open(&broker, &device).await.unwrap();
    client.send(&connect()).await;
    assert!(matches!(client.next().await, Some(Packet::Connack(_))));
    // As when a device's NAT forgets it, or it goes from one network to another.
    for _ in 0..3 {
        let before = client.endpoint.local_addr().unwrap();
        client.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_ne!(client.endpoint.local_addr().unwrap(), before);
        client.send(&Packet::Pingreq).await;
        assert!(matches!(client.next().await, Some(Packet::Pingresp)));
    }
    assert_eq!(broker.metric("fleethaven_mqtt_connect_total{result=\"success\""), 1.0, "the same connection");
}
